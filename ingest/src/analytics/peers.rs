//! How a plant does beside its neighbours: specific yield against the median of its district.

use taraz_analytics::median;

/// The fewest complete peers that a ratio needs.
pub(crate) const PEERS_MIN: usize = 2;

/// A plant as its peers see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PeerPlant<'a> {
    /// Plants of one district see the same weather.
    pub(crate) district: &'a str,
    /// Wh per W of rated DC power over the period; `None` when incomplete or when the sun was low.
    pub(crate) specific_yield_h: Option<f64>,
    /// The yield that a neighbour must have for this plant's registers to be fine enough to be compared.
    pub(crate) least_yield_h: f64,
}

/// Each plant's yield over the median of its district's other plants (the plant itself left out). `None` without a yield
/// of its own, with fewer than [`PEERS_MIN`] peers, when the peers' median is 0, or when so little sun says more about the plant's
/// coarse registers than about the plant. What the plant itself yields is no reason to leave it out: it may be ill.
pub(crate) fn peer_ratios(plants: &[PeerPlant<'_>]) -> Vec<Option<f64>> {
    let ratio = |(at, plant): (usize, &PeerPlant<'_>)| {
        let own = plant.specific_yield_h?;
        let others = plants
            .iter()
            .enumerate()
            .filter(|&(other, peer)| other != at && peer.district == plant.district);
        let median = median(
            others.filter_map(|(_, peer)| peer.specific_yield_h).collect(),
            PEERS_MIN,
        )?;
        (median > 0.0 && median >= plant.least_yield_h).then(|| own / median)
    };
    plants.iter().enumerate().map(ratio).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plants(yields: &[(&'static str, Option<f64>)]) -> Vec<PeerPlant<'static>> {
        yields
            .iter()
            .map(|&(district, specific_yield_h)| PeerPlant {
                district,
                specific_yield_h,
                least_yield_h: 0.0,
            })
            .collect()
    }

    #[test]
    fn each_plant_is_measured_against_the_others() {
        let ratios = peer_ratios(&plants(&[
            ("a", Some(0.5)),
            ("a", Some(1.0)),
            ("a", Some(1.0)),
            ("a", Some(2.0)),
        ]));
        assert_eq!(ratios, [Some(0.5), Some(1.0), Some(1.0), Some(2.0)]);
    }

    #[test]
    fn registers_that_are_too_coarse_for_little_sun_are_not_compared() {
        let mut all = plants(&[("a", Some(0.125)), ("a", Some(0.0625)), ("a", Some(0.0625))]);
        all[0].least_yield_h = 0.1;
        assert_eq!(peer_ratios(&all)[0], None, "two counts more or less");
        for neighbour in &mut all[1..] {
            neighbour.specific_yield_h = Some(0.5);
        }
        assert_eq!(
            peer_ratios(&all)[0],
            Some(0.25),
            "an ill plant in the sun is found"
        );
    }

    #[test]
    fn too_few_peers_other_districts_and_incomplete_data_give_none() {
        let ratios = peer_ratios(&plants(&[
            ("a", Some(0.5)),
            ("a", Some(1.0)),
            ("a", None),
            ("b", Some(1.0)),
        ]));
        assert_eq!(ratios, [None, None, None, None]);
        assert_eq!(
            peer_ratios(&plants(&[("a", Some(0.5)), ("a", Some(0.0)), ("a", Some(0.0))])),
            [None, Some(0.0), Some(0.0)]
        );
    }
}
