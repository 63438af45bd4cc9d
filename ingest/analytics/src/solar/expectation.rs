//! What a plant should make: the whole chain, array by array, behind one inverter rating.

use super::position::Sun;
use super::{
    Atmosphere, ClearSky, INVERTER_EFFICIENCY, Place, SapmMount, SolarError, SunPosition, Surface,
    absolute_air_mass, cell_faiman_c, cell_sapm_c, haydavies, ineichen, pvwatts_ac_w, pvwatts_dc_w,
    relative_air_mass,
};
use crate::median::median;

/// Where a plant stands and what the air above it is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    /// Its place.
    pub place: Place,
    /// The Linke turbidity of the month.
    pub linke: f64,
}

/// One array of a plant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Array {
    /// How it lies.
    pub surface: Surface,
    /// Rated DC power in W.
    pub peak_w: f64,
}

/// How hot a cell gets in the light.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum CellModel {
    /// [`cell_faiman_c`].
    #[default]
    Faiman,
    /// [`cell_sapm_c`] with this mounting.
    Sapm(SapmMount),
}

/// What a plant is built of.
#[derive(Clone, Debug, PartialEq)]
pub struct System {
    /// Its arrays.
    pub arrays: Vec<Array>,
    /// Rated AC power of all its inverters in W.
    pub rated_ac_w: f64,
    /// Temperature coefficient of the modules' power in 1/K.
    pub gamma_per_k: f64,
    /// The share lost between the cells and the inverters, 0 to 1.
    pub losses: f64,
    /// How hot its cells get.
    pub cell: CellModel,
}

/// What is known of the weather at an instant. What is not measured is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Air in °C.
    pub air_c: f64,
    /// Wind in m/s.
    pub wind_m_s: f64,
    /// Irradiance measured in the plane of the first array; it replaces the clear sky.
    pub plane_w_m2: Option<f64>,
    /// Module temperature measured; it replaces the model's.
    pub module_c: Option<f64>,
    /// Measured over clear-sky irradiance of the neighbourhood, 0 to 1.2; 1 is a clear sky. Not used where it is measured.
    pub clear_sky_index: f64,
}

/// What a plant should make at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Expectation {
    /// Where the sun stands.
    pub sun: SunPosition,
    /// The clear sky above.
    pub sky: ClearSky,
    /// Irradiance in the plane of the arrays, weighted with their power.
    pub plane_w_m2: f64,
    /// DC power after losses.
    pub dc_w: f64,
    /// AC power, clipped at the inverters' rating.
    pub ac_w: f64,
}

/// Sun and clear sky over a place at an instant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sky {
    /// Where the sun stands.
    pub sun: SunPosition,
    /// What reaches the ground when no cloud is in the way.
    pub clear: ClearSky,
    /// What comes in at the top, in W/m².
    pub outside_w_m2: f64,
}

/// Sun and clear sky at `time_ms` (UTC ms).
///
/// # Errors
/// As [`sun_position`](crate::solar::sun_position).
pub fn sky(site: &Site, time_ms: i64) -> Result<Sky, SolarError> {
    let air = Atmosphere::at_altitude(site.place.altitude_m);
    let (sun, outside_w_m2) = Sun::with(time_ms, |sun| (sun.seen(site.place, air), sun.outside_w_m2))?;
    let sun = sun?;
    let air_mass = relative_air_mass(sun.apparent_zenith_deg)
        .map(|relative| absolute_air_mass(relative, air.pressure_pa));
    let altitude_m = site.place.altitude_m;
    let clear = ineichen(
        sun.apparent_zenith_deg,
        air_mass,
        site.linke,
        altitude_m,
        outside_w_m2,
    );
    Ok(Sky {
        sun,
        clear,
        outside_w_m2,
    })
}

impl Sky {
    /// Irradiance under the clear sky in the plane of a surface, in W/m².
    #[must_use]
    pub fn plane_w_m2(&self, surface: &Surface) -> f64 {
        haydavies(surface, &self.sun, &self.clear, self.outside_w_m2).global_w_m2()
    }
}

/// What a plant of this kind should make under this sky.
#[must_use]
pub fn expect_under(sky: &Sky, system: &System, weather: &Weather) -> Expectation {
    let mut dc_w = 0.0;
    let mut weighted = 0.0;
    let first = system.arrays.first().map(|array| array.surface);
    for array in &system.arrays {
        let plane_w_m2 = array_w_m2(sky, &array.surface, first.as_ref(), weather);
        let cell_c = weather.module_c.unwrap_or_else(|| match system.cell {
            CellModel::Faiman => cell_faiman_c(plane_w_m2, weather.air_c, weather.wind_m_s),
            CellModel::Sapm(mount) => cell_sapm_c(plane_w_m2, weather.air_c, weather.wind_m_s, mount),
        });
        let made_w = pvwatts_dc_w(plane_w_m2, cell_c, array.peak_w, system.gamma_per_k);
        dc_w += made_w * (1.0 - system.losses);
        weighted += plane_w_m2 * array.peak_w;
    }
    let peak_w: f64 = system.arrays.iter().map(|array| array.peak_w).sum();
    Expectation {
        sun: sky.sun,
        sky: sky.clear,
        plane_w_m2: if peak_w > 0.0 { weighted / peak_w } else { 0.0 },
        dc_w,
        ac_w: pvwatts_ac_w(dc_w, system.rated_ac_w, INVERTER_EFFICIENCY),
    }
}

/// Clear-sky irradiance in a sensor's plane from which on it says how clear the sky is, in W/m²; below, it sees little but the sky's
/// diffuse light, which all planes see about alike.
const SENSOR_CLEAR_W_M2_MIN: f64 = 50.0;

/// Irradiance in an array's plane in W/m²: measured, where the array lies as the sensor does (the first array's way); measured over the
/// clear sky's in the sensor's plane, times the clear sky's in its own, where it lies otherwise; else the clear sky's, times the index.
fn array_w_m2(sky: &Sky, surface: &Surface, first: Option<&Surface>, weather: &Weather) -> f64 {
    let Some(measured_w_m2) = weather.plane_w_m2 else {
        return (sky.plane_w_m2(surface) * weather.clear_sky_index).max(0.0);
    };
    let of_sensor = first
        .filter(|&first| first != surface)
        .map(|first| sky.plane_w_m2(first));
    match of_sensor.filter(|&clear_w_m2| clear_w_m2 >= SENSOR_CLEAR_W_M2_MIN) {
        Some(clear_w_m2) => (measured_w_m2 / clear_w_m2).clamp(0.0, INDEX_MAX) * sky.plane_w_m2(surface),
        None => measured_w_m2.max(0.0),
    }
}

/// [`expect_under`] the sky at `time_ms`.
///
/// # Errors
/// As [`sun_position`](crate::solar::sun_position).
pub fn expect(
    site: &Site,
    system: &System,
    weather: &Weather,
    time_ms: i64,
) -> Result<Expectation, SolarError> {
    Ok(expect_under(&sky(site, time_ms)?, system, weather))
}

/// The fewest neighbours that state a clear-sky index.
pub const INDEX_PLANTS_MIN: usize = 3;
/// A plant that would make less than this share of its rating under a clear sky says nothing about the sky.
const INDEX_LOAD_MIN: f64 = 0.05;
/// Clouds beside the sun may add light; more than this is a fault.
const INDEX_MAX: f64 = 1.2;

/// The clear-sky index of a neighbourhood, 0 to 1.2: the median of made over possible power of its healthy plants, each given as
/// (made in W, [`Expectation::ac_w`] under a clear sky, rating in W). Plants that the clear sky would not load by 5 % of their rating
/// are left out; `None` with fewer than [`INDEX_PLANTS_MIN`] others.
#[must_use]
pub fn clear_sky_index(plants: &[(f64, f64, f64)]) -> Option<f64> {
    let indices: Vec<f64> = plants
        .iter()
        .filter(|&&(made_w, clear_w, rated_w)| {
            made_w.is_finite() && clear_w > 0.0 && clear_w >= INDEX_LOAD_MIN * rated_w
        })
        .map(|&(made_w, clear_w, _)| made_w / clear_w)
        .collect();
    median(indices, INDEX_PLANTS_MIN).map(|index| index.clamp(0.0, INDEX_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON_MS: i64 = 1_750_494_600_000; // 2025-06-21T08:30Z, solar noon at Sari

    fn weather() -> Weather {
        Weather {
            air_c: 25.0,
            wind_m_s: 2.0,
            plane_w_m2: None,
            module_c: None,
            clear_sky_index: 1.0,
        }
    }

    fn power(weather: &Weather, arrays: &[Array], time_ms: i64) -> Expectation {
        let place = Place {
            latitude_deg: 36.56,
            longitude_deg: 53.06,
            altitude_m: 50.0,
        };
        let site = Site { place, linke: 3.0 };
        expect(&site, &system(arrays), weather, time_ms).unwrap()
    }

    fn system(arrays: &[Array]) -> System {
        System {
            arrays: arrays.to_vec(),
            rated_ac_w: 27_000.0,
            gamma_per_k: -0.004,
            losses: 0.14,
            cell: CellModel::Faiman,
        }
    }

    fn array(azimuth_deg: f64, peak_w: f64) -> Array {
        let surface = Surface {
            tilt_deg: 20.0,
            azimuth_deg,
            albedo: 0.2,
        };
        Array { surface, peak_w }
    }

    #[test]
    fn east_and_west_together_make_the_sum_of_both() {
        let (east, west) = (array(90.0, 10_000.0), array(270.0, 10_000.0));
        let both = power(&weather(), &[east, west], NOON_MS).dc_w;
        let sum = power(&weather(), &[east], NOON_MS).dc_w + power(&weather(), &[west], NOON_MS).dc_w;
        assert!((both - sum).abs() < 1e-6 && both > 10_000.0, "{both} {sum}");
    }

    #[test]
    fn what_is_measured_replaces_what_is_modelled() {
        let measured = Weather {
            plane_w_m2: Some(500.0),
            module_c: Some(25.0),
            ..weather()
        };
        let expected = power(&measured, &[array(180.0, 30_000.0)], NOON_MS);
        assert!((expected.dc_w - 15_000.0 * 0.86).abs() < 1e-6, "{expected:?}");
    }

    #[test]
    fn a_sensor_speaks_for_arrays_that_lie_otherwise_by_how_clear_it_finds_the_sky() {
        let morning_ms = NOON_MS - 3 * 3_600_000;
        let (east, west) = (array(90.0, 10_000.0), array(270.0, 10_000.0));
        let clear = |arrays: &[Array]| power(&weather(), arrays, morning_ms);
        let measured = Weather {
            plane_w_m2: Some(clear(&[east]).plane_w_m2 / 2.0),
            ..weather()
        };
        let both = power(&measured, &[east, west], morning_ms).plane_w_m2;
        let expected = (clear(&[east]).plane_w_m2 + clear(&[west]).plane_w_m2) / 4.0;
        assert!((both - expected).abs() < 1e-9, "{both} {expected}");
        assert!(clear(&[east]).plane_w_m2 > 1.2 * clear(&[west]).plane_w_m2);
    }

    #[test]
    fn the_cell_model_is_a_choice() {
        let sapm = System {
            cell: CellModel::Sapm(crate::solar::SAPM_OPEN_RACK_GLASS_GLASS),
            ..system(&[array(180.0, 30_000.0)])
        };
        let measured = Weather {
            plane_w_m2: Some(800.0),
            ..weather()
        };
        let place = Place {
            latitude_deg: 36.56,
            longitude_deg: 53.06,
            altitude_m: 50.0,
        };
        let made = expect(&Site { place, linke: 3.0 }, &sapm, &measured, NOON_MS).unwrap();
        let cell_c = cell_sapm_c(800.0, 25.0, 2.0, crate::solar::SAPM_OPEN_RACK_GLASS_GLASS);
        let expected_w = 24_000.0 * (1.0 - 0.004 * (cell_c - 25.0)) * 0.86;
        assert!(
            (made.dc_w - expected_w).abs() < 1e-6 && cell_c > 45.0,
            "{made:?} {cell_c}"
        );
    }

    #[test]
    fn neighbours_state_how_clear_the_sky_is() {
        let plants = [
            (4.0, 8.0, 10.0),
            (6.0, 10.0, 10.0),
            (0.0, 9.0, 10.0),
            (5.0, 10.0, 10.0),
        ];
        assert_eq!(clear_sky_index(&plants), Some(0.5));
        assert_eq!(clear_sky_index(&plants[..2]), None);
        // In the evening nobody says anything.
        assert_eq!(clear_sky_index(&[(0.1, 0.2, 10.0); 5]), None);
        assert_eq!(clear_sky_index(&[(20.0, 10.0, 10.0); 3]), Some(1.2));
    }

    #[test]
    fn clouds_and_nights_take_it_away() {
        let arrays = [array(180.0, 30_000.0)];
        let cloudy = Weather {
            clear_sky_index: 0.3,
            ..weather()
        };
        let clear_w = power(&weather(), &arrays, NOON_MS).ac_w;
        assert!(power(&cloudy, &arrays, NOON_MS).ac_w < 0.4 * clear_w && clear_w > 18_000.0);
        assert_eq!(power(&weather(), &arrays, NOON_MS + 43_200_000).ac_w, 0.0);
    }
}
