//! What a plant should have made in a quarter-hour, and by what that is said.
//!
//! In: the plant's model, the sky over the quarter-hour, what was measured, how clear its neighbours found the sky. Out: energy with its
//! method, or nothing. A measured irradiance goes before the neighbours' word; without both, nothing is said but at night.

use taraz_analytics::solar::{Sky, clear_sky_index, expect_under};

use super::weather::Measured;
use super::{PlantModel, QUARTER_MS};
use crate::view::ExpectationMethod;

/// Power is taken at the middle of each of these parts of a quarter-hour.
const PART_MS: i64 = 5 * 60_000;
const PARTS: usize = 3;
const PART_H: f64 = 1.0 / 12.0;
/// Hours in a quarter-hour.
pub(crate) const QUARTER_H: f64 = 0.25;
/// A sensor that the clear sky would give less says nothing about the sky's clearness, in W/m².
const INDEX_CLEAR_W_M2_MIN: f64 = 50.0;
/// A sensor beside clouds may see more than the clear sky gives; more than this is a fault.
const MEASURED_INDEX_MAX: f64 = 1.5;

/// The skies over the parts of a quarter-hour.
#[derive(Clone, Debug)]
pub(crate) struct QuarterSky {
    start_ms: i64,
    /// Night: there is no sky to look at then.
    is_dark: bool,
    skies: Vec<Sky>,
}

/// What is expected of a plant in a quarter-hour.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QuarterExpectation {
    /// In Wh; `None` where nothing says how clear the sky was.
    pub(crate) expected_wh: Option<f64>,
    pub(crate) method: Option<ExpectationMethod>,
    /// Under a clear sky, in Wh.
    pub(crate) clear_sky_wh: f64,
    /// Light over the clear sky's, 1 is a clear sky; `None` at night and where nobody says it.
    pub(crate) clear_sky_index: Option<f64>,
    /// Mean irradiance in the plane of the arrays in W/m², as measured or as expected.
    pub(crate) plane_w_m2: Option<f64>,
}

impl QuarterSky {
    pub(crate) fn over(model: &PlantModel, start_ms: i64) -> Self {
        let parts = || (0..PARTS as i64).map(|part| start_ms + part * PART_MS + PART_MS / 2);
        let is_dark = parts().all(|at_ms| model.is_surely_dark(at_ms));
        let skies = if is_dark {
            Vec::new()
        } else {
            parts().filter_map(|at_ms| model.sky(at_ms)).collect()
        };
        Self {
            start_ms,
            is_dark,
            skies,
        }
    }

    /// The sun is below the horizon throughout.
    pub(crate) fn is_night(&self) -> bool {
        self.is_dark || self.skies.len() == PARTS && self.skies.iter().all(|sky| sky.clear.ghi_w_m2 <= 0.0)
    }

    /// Energy under a clear sky in Wh.
    pub(crate) fn clear_wh(&self, model: &PlantModel) -> f64 {
        self.energy(model, |at_ms| model.weather(at_ms, 1.0)).0
    }

    /// Energy in Wh and mean irradiance in the arrays' planes in W/m² under a weather.
    fn energy(
        &self,
        model: &PlantModel,
        weather: impl Fn(i64) -> taraz_analytics::solar::Weather,
    ) -> (f64, f64) {
        let weather = weather(self.start_ms + QUARTER_MS / 2);
        let made = self
            .skies
            .iter()
            .map(|sky| expect_under(sky, &model.system, &weather));
        let (ac_w, plane_w_m2) = made.fold((0.0, 0.0), |sum, one| (sum.0 + one.ac_w, sum.1 + one.plane_w_m2));
        (ac_w * PART_H, plane_w_m2 / PARTS as f64)
    }

    /// Measured irradiance over the clear sky's in the plane of the first array.
    fn index_of(&self, model: &PlantModel, plane_w_m2: f64) -> Option<f64> {
        let surface = model.system.arrays.first()?.surface;
        let clear_w_m2 = self.skies.iter().map(|sky| sky.plane_w_m2(&surface)).sum::<f64>() / PARTS as f64;
        (clear_w_m2 >= INDEX_CLEAR_W_M2_MIN).then(|| (plane_w_m2 / clear_w_m2).min(MEASURED_INDEX_MAX))
    }

    /// What is expected of the plant, by what was measured, else by how clear the neighbours found the sky.
    pub(crate) fn expect(
        &self,
        model: &PlantModel,
        measured: &Measured,
        neighbours_index: Option<f64>,
    ) -> QuarterExpectation {
        if self.is_night() {
            return QuarterExpectation {
                expected_wh: Some(0.0),
                method: Some(ExpectationMethod::Night),
                plane_w_m2: Some(0.0),
                ..QuarterExpectation::default()
            };
        }
        let clear_sky_wh = self.clear_wh(model);
        let (method, index) = match (measured.plane_w_m2, neighbours_index) {
            _ if self.skies.len() < PARTS => return QuarterExpectation::default(),
            (Some(plane_w_m2), _) => (ExpectationMethod::Measured, self.index_of(model, plane_w_m2)),
            (None, Some(index)) => (ExpectationMethod::Neighbours, Some(index)),
            (None, None) => {
                return QuarterExpectation {
                    clear_sky_wh,
                    ..QuarterExpectation::default()
                };
            }
        };
        let (expected_wh, plane_w_m2) = self.energy(model, |at_ms| {
            let usual = model.weather(at_ms, index.unwrap_or(1.0));
            taraz_analytics::solar::Weather {
                air_c: measured.ambient_c.unwrap_or(usual.air_c),
                wind_m_s: measured.wind_m_s.unwrap_or(usual.wind_m_s),
                plane_w_m2: measured.plane_w_m2,
                module_c: measured.module_c,
                ..usual
            }
        });
        QuarterExpectation {
            expected_wh: Some(expected_wh),
            method: Some(method),
            clear_sky_wh,
            clear_sky_index: index,
            plane_w_m2: Some(plane_w_m2),
        }
    }

    /// The power in W that is expected at this instant, of a sky that stands for it alone.
    pub(crate) fn power_w(
        model: &PlantModel,
        sky: &Sky,
        at_ms: i64,
        measured: &Measured,
        neighbours_index: Option<f64>,
    ) -> Option<(f64, ExpectationMethod)> {
        if sky.clear.ghi_w_m2 <= 0.0 {
            return Some((0.0, ExpectationMethod::Night));
        }
        let instant = Self {
            start_ms: at_ms - QUARTER_MS / 2,
            is_dark: false,
            skies: vec![*sky; PARTS],
        };
        let expected = instant.expect(model, measured, neighbours_index);
        Some((expected.expected_wh? / QUARTER_H, expected.method?))
    }
}

/// What a neighbour made in a quarter-hour, and would have made under a clear sky, both in Wh; rated in W.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbour {
    pub(crate) made_wh: Option<i64>,
    pub(crate) clear_wh: f64,
    pub(crate) rated_w: f64,
}

/// How clear the neighbours found the sky; `None` with too few whose quarter-hour is known whole.
pub(crate) fn neighbours_index(neighbours: &[Neighbour]) -> Option<f64> {
    let known: Vec<_> = neighbours
        .iter()
        // Far below 2^53.
        .filter_map(|one| {
            Some((
                one.made_wh? as f64 / QUARTER_H,
                one.clear_wh / QUARTER_H,
                one.rated_w,
            ))
        })
        .collect();
    clear_sky_index(&known)
}

#[cfg(test)]
mod tests {
    use taraz_fleet::Fleet;

    use super::*;

    /// 2026-06-21T08:30Z, about noon at Sari.
    const NOON_MS: i64 = 1_782_030_600_000;

    fn model() -> PlantModel {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        PlantModel::of(&fleet, &fleet.plants[0])
    }

    #[test]
    fn what_is_measured_goes_first_then_the_neighbours_then_nothing() {
        let model = model();
        let sky = QuarterSky::over(&model, NOON_MS);
        let measured = Measured {
            plane_w_m2: Some(500.0),
            module_c: Some(25.0),
            ..Measured::default()
        };
        let by_sensor = sky.expect(&model, &measured, Some(1.0));
        assert_eq!(by_sensor.method, Some(ExpectationMethod::Measured));
        // 30 kWp at half the standard light and 25 °C, 14.0757 % lost, then the inverter at about 0.96.
        let dc_wh = 15_000.0 * (1.0 - 0.140_757) * QUARTER_H;
        let efficiency = by_sensor.expected_wh.unwrap() / dc_wh;
        assert!((0.95..0.97).contains(&efficiency), "{efficiency}");
        assert!(
            (0.4..0.7).contains(&by_sensor.clear_sky_index.unwrap()),
            "{by_sensor:?}"
        );

        let by_neighbours = sky.expect(&model, &Measured::default(), Some(0.5));
        assert_eq!(by_neighbours.method, Some(ExpectationMethod::Neighbours));
        let share = by_neighbours.expected_wh.unwrap() / by_neighbours.clear_sky_wh;
        assert!(
            (0.5..0.62).contains(&share),
            "cooler cells, so a little more than half: {share}"
        );

        let by_nobody = sky.expect(&model, &Measured::default(), None);
        assert_eq!((by_nobody.expected_wh, by_nobody.method), (None, None));
        assert!(by_nobody.clear_sky_wh > 5_000.0);
    }

    #[test]
    fn a_night_needs_no_weather() {
        let model = model();
        let sky = QuarterSky::over(&model, NOON_MS + 12 * 3_600_000);
        let expected = sky.expect(&model, &Measured::default(), None);
        assert_eq!(
            (expected.expected_wh, expected.method),
            (Some(0.0), Some(ExpectationMethod::Night))
        );
    }

    #[test]
    fn nights_that_are_not_looked_at_are_those_of_a_whole_day_of_skies() {
        let model = model();
        let mut dark = 0;
        for quarter in 0..96 {
            let start_ms = (NOON_MS / QUARTER_MS + quarter) * QUARTER_MS;
            let sky = QuarterSky::over(&model, start_ms);
            let middles = (0..PARTS as i64).map(|part| start_ms + part * PART_MS + PART_MS / 2);
            let is_night = middles
                .into_iter()
                .all(|at_ms| model.sky(at_ms).unwrap().clear.ghi_w_m2 <= 0.0);
            assert_eq!(sky.is_night(), is_night, "{start_ms}");
            assert!(!is_night || sky.clear_wh(&model) == 0.0, "{start_ms}");
            dark += usize::from(sky.is_dark);
        }
        // About 9 hours and a quarter in June.
        assert!((33..=37).contains(&dark), "{dark}");
    }

    #[test]
    fn a_sky_over_nothing_says_nothing() {
        let model = model();
        let sky = QuarterSky::over(&model, i64::MAX / 2);
        assert_eq!(
            sky.expect(&model, &Measured::default(), Some(1.0)),
            QuarterExpectation::default()
        );
    }

    #[test]
    fn neighbours_that_are_known_whole_say_how_clear_the_sky_is() {
        let one = |made_wh| Neighbour {
            made_wh,
            clear_wh: 2_000.0,
            rated_w: 10_000.0,
        };
        let four = [one(Some(1_000)), one(Some(1_200)), one(Some(0)), one(None)];
        assert_eq!(neighbours_index(&four), Some(0.5));
        assert_eq!(neighbours_index(&four[1..]), None);
    }
}
