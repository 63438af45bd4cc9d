//! What a plant would generate under a clear sky: the measure by which the rest of a year is projected.

use taraz_analytics::solar::{Site, SolarError, Weather, expect};
use taraz_fleet::Plant;

use crate::analytics::{place_of, system_of};

/// Linke turbidity. Only the course of the year counts here: the level cancels against what was generated.
const LINKE: f64 = 3.5;
/// Air and wind of the same kind.
const AIR_C: f64 = 20.0;
const WIND_M_S: f64 = 1.0;
/// Power is taken at the middle of each step.
const STEP_MS: i64 = 3_600_000;
const STEP_H: f64 = 1.0;

/// Energy under a clear sky in Wh on each day (begin and end in UTC ms).
pub(super) fn clear_sky_wh(plant: &Plant, days: &[(i64, i64)]) -> Result<Vec<f64>, SolarError> {
    let site = Site {
        place: place_of(plant),
        linke: LINKE,
    };
    let system = system_of(plant);
    let weather = Weather {
        air_c: AIR_C,
        wind_m_s: WIND_M_S,
        plane_w_m2: None,
        module_c: None,
        clear_sky_index: 1.0,
    };
    let mut energies = Vec::with_capacity(days.len());
    for &(start_ms, end_ms) in days {
        let mut energy_wh = 0.0;
        let mut at_ms = start_ms + STEP_MS / 2;
        while at_ms < end_ms {
            let made = expect(&site, &system, &weather, at_ms)?;
            energy_wh += made.ac_w * STEP_H;
            at_ms += STEP_MS;
        }
        energies.push(energy_wh);
    }
    Ok(energies)
}

#[cfg(test)]
mod tests {
    use taraz_analytics::calendar::{Jalali, jalali_day_bounds_ms};
    use taraz_fleet::Fleet;

    use super::*;

    #[test]
    fn a_clear_summer_day_gives_more_than_a_winter_day_and_less_than_the_rating_allows() {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let plant = &fleet.plants[0];
        let days = [(1404, 4, 1), (1404, 10, 1)]
            .map(|(year, month, day)| jalali_day_bounds_ms(Jalali::new(year, month, day).unwrap()));
        let energies = clear_sky_wh(plant, &days).unwrap();
        // 30 kWp at 36.6° north, tilted 30° south: 5 to 7 kWh per kWp in June, 2.5 to 5 in December.
        assert!((150_000.0..210_000.0).contains(&energies[0]), "{energies:?}");
        assert!(
            (75_000.0..150_000.0).contains(&energies[1]) && energies[1] < energies[0],
            "{energies:?}"
        );
    }
}
