//! String imbalance: each string or MPPT input against the median of those that face the same way.

use crate::median::median;

/// The fewest strings of one orientation that can be compared.
pub const PEERS_MIN: usize = 3;

/// One string or MPPT input at one instant (or its mean over an interval).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StringPower {
    /// Which strings face the same way; the same number means the same tilt and azimuth.
    pub orientation: u16,
    /// Power in W, 0 or more; `None` is not known.
    pub power_w: Option<f64>,
    /// Rated DC power in W, above 0.
    pub peak_w: f64,
}

/// How far each string is from the median of its orientation, in percent of that median, < 0 is too little. Strings are
/// compared by their power per rated power. `None` for a string without a power, for an orientation with fewer than
/// [`PEERS_MIN`] known strings, and while the orientation's median is below `gate` (share of rated power, e.g. 0.1): in weak
/// light every string is noise.
#[must_use]
pub fn string_imbalance(strings: &[StringPower], gate: f64) -> Vec<Option<f64>> {
    let per_peak = |string: &StringPower| {
        let power_w = string.power_w.filter(|power| power.is_finite())?;
        (string.peak_w > 0.0).then(|| power_w / string.peak_w)
    };
    let deviation = |string: &StringPower| {
        let own = per_peak(string)?;
        let peers = strings
            .iter()
            .filter(|peer| peer.orientation == string.orientation);
        let median = median(peers.filter_map(per_peak).collect(), PEERS_MIN)?;
        (median > 0.0 && median >= gate).then(|| (own / median - 1.0) * 100.0)
    };
    strings.iter().map(deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(orientation: u16, power_w: f64) -> StringPower {
        StringPower {
            orientation,
            power_w: Some(power_w),
            peak_w: 5_000.0,
        }
    }

    #[test]
    fn a_dead_string_stands_out_among_its_own() {
        let strings = [
            string(1, 4_000.0),
            string(1, 4_000.0),
            string(1, 0.0),
            string(2, 1_000.0),
            string(2, 1_000.0),
            string(2, 1_100.0),
        ];
        let found = string_imbalance(&strings, 0.1);
        assert_eq!(found[..4], [Some(0.0), Some(0.0), Some(-100.0), Some(0.0)]);
        assert!((found[5].unwrap() - 10.0).abs() < 1e-9);
    }

    #[test]
    fn weak_light_few_peers_and_silence_say_nothing() {
        let weak = [string(1, 100.0), string(1, 90.0), string(1, 0.0)];
        assert_eq!(string_imbalance(&weak, 0.1), [None, None, None]);
        assert_eq!(string_imbalance(&weak[..2], 0.0), [None, None]);
        let silent = StringPower {
            power_w: None,
            ..string(1, 0.0)
        };
        let strings = [string(1, 4_000.0), string(1, 4_000.0), string(1, 4_000.0), silent];
        assert_eq!(string_imbalance(&strings, 0.1)[3], None);
    }
}
