//! What a plant would generate under a clear sky: the measure by which the rest of a year is projected.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::thread;

use taraz_analytics::solar::{Site, SolarError, System, Weather, Zenith, expect};
use taraz_fleet::Plant;

use crate::analytics::{place_of, system_of};

/// Linke turbidity. Only the course of the year counts here: the level cancels against what was generated.
const LINKE: f64 = 3.5;
/// Air and wind of the same kind.
const WEATHER: Weather = Weather {
    air_c: 20.0,
    wind_m_s: 1.0,
    plane_w_m2: None,
    module_c: None,
    clear_sky_index: 1.0,
};
/// Power is taken at the middle of each step.
const STEP_MS: i64 = 3_600_000;
const STEP_H: f64 = 1.0;

/// The most threads that share the plants.
const THREADS_MAX: usize = 8;

/// Energy under a clear sky in Wh of each plant on each day (begin and end in UTC ms), in the order of the plants.
///
/// Day by day and all plants of a day together: the sun's terms of an instant cost far more than a place, and are the same for all.
pub(super) fn clear_skies_wh(plants: &[&Plant], days: &[(i64, i64)]) -> Result<Vec<Vec<f64>>, SolarError> {
    let threads = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(THREADS_MAX);
    thread::scope(|scope| {
        let parts: Vec<_> = plants
            .chunks(plants.len().div_ceil(threads).max(1))
            .map(|some| scope.spawn(move || of_some(some, days)))
            .collect();
        let mut energies = Vec::with_capacity(plants.len());
        for part in parts {
            energies.extend(part.join().unwrap_or_else(|panic| resume_unwind(panic))?);
        }
        Ok(energies)
    })
}

fn of_some(plants: &[&Plant], days: &[(i64, i64)]) -> Result<Vec<Vec<f64>>, SolarError> {
    let models: Vec<Model> = plants.iter().map(|plant| Model::of(plant)).collect();
    let mut energies = vec![Vec::with_capacity(days.len()); plants.len()];
    for &(start_ms, end_ms) in days {
        for (model, energies) in models.iter().zip(&mut energies) {
            energies.push(model.clear_wh(start_ms, end_ms)?);
        }
    }
    Ok(energies)
}

/// A plant as its clear sky is computed.
struct Model {
    site: Site,
    system: System,
    zenith: Zenith,
}

impl Model {
    fn of(plant: &Plant) -> Self {
        let place = place_of(plant);
        Self {
            site: Site { place, linke: LINKE },
            system: system_of(plant),
            zenith: Zenith::of(place),
        }
    }

    fn clear_wh(&self, start_ms: i64, end_ms: i64) -> Result<f64, SolarError> {
        let mut energy_wh = 0.0;
        let mut at_ms = start_ms + STEP_MS / 2;
        while at_ms < end_ms {
            if !self.zenith.is_surely_dark(at_ms)? {
                energy_wh += expect(&self.site, &self.system, &WEATHER, at_ms)?.ac_w * STEP_H;
            }
            at_ms += STEP_MS;
        }
        Ok(energy_wh)
    }
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
        let energies = clear_skies_wh(&[plant], &days).unwrap().remove(0);
        // 30 kWp at 36.6° north, tilted 30° south: 5 to 7 kWh per kWp in June, 2.5 to 5 in December.
        assert!((150_000.0..210_000.0).contains(&energies[0]), "{energies:?}");
        assert!(
            (75_000.0..150_000.0).contains(&energies[1]) && energies[1] < energies[0],
            "{energies:?}"
        );
    }

    #[test]
    fn many_plants_together_come_to_the_same_bits_as_each_alone_and_by_night_too() {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let plants: Vec<Plant> = (0..19)
            .map(|step| {
                let mut plant = fleet.plants[step % fleet.plants.len()].clone();
                plant.latitude_deg = 7.0 * step as f64 - 60.0;
                plant.longitude_deg = 19.0 * step as f64 - 170.0;
                plant
            })
            .collect();
        let days: Vec<_> = (1..=12)
            .map(|month| jalali_day_bounds_ms(Jalali::new(1404, month, 3).unwrap()))
            .collect();
        let together = clear_skies_wh(&plants.iter().collect::<Vec<_>>(), &days).unwrap();
        for (plant, together) in plants.iter().zip(&together) {
            let (model, mut alone) = (Model::of(plant), Vec::new());
            for &(start_ms, end_ms) in &days {
                let middles =
                    (0..(end_ms - start_ms) / STEP_MS).map(|hour| start_ms + hour * STEP_MS + STEP_MS / 2);
                let powers =
                    middles.map(|at_ms| expect(&model.site, &model.system, &WEATHER, at_ms).unwrap().ac_w);
                alone.push(powers.fold(0.0, |sum, ac_w| sum + ac_w * STEP_H).to_bits());
            }
            let together: Vec<u64> = together.iter().map(|energy_wh| energy_wh.to_bits()).collect();
            assert_eq!(together, alone, "{}", plant.latitude_deg);
        }
    }

    #[test]
    fn a_place_that_is_none_is_an_error() {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let mut plant = fleet.plants[0].clone();
        plant.latitude_deg = 91.0;
        let day = jalali_day_bounds_ms(Jalali::new(1404, 4, 1).unwrap());
        assert!(clear_skies_wh(&[&plant], &[day]).is_err());
        assert_eq!(clear_skies_wh(&[], &[day]).unwrap().len(), 0);
    }
}
