//! What a plant should make: the whole chain, array by array, behind one inverter rating.

use super::{
    Atmosphere, ClearSky, INVERTER_EFFICIENCY, Place, SOLAR_CONSTANT_W_M2, SolarError, SunPosition, Surface,
    absolute_air_mass, cell_faiman_c, extraterrestrial_w_m2, haydavies, ineichen, pvwatts_ac_w, pvwatts_dc_w,
    relative_air_mass, sun_position,
};

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

/// What is known of the weather at an instant. What is not measured is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weather {
    /// Air in °C.
    pub air_c: f64,
    /// Wind in m/s.
    pub wind_m_s: f64,
    /// Irradiance measured in the plane of the arrays; it replaces the clear sky.
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

/// What a plant of `arrays` behind inverters of `rated_ac_w` should make at `time_ms`; `gamma_per_k` is its temperature
/// coefficient, `losses` the share lost between the cells and the inverter (0 to 1).
///
/// # Errors
/// As [`sun_position`].
pub fn expect(
    site: &Site,
    arrays: &[Array],
    rated_ac_w: f64,
    gamma_per_k: f64,
    losses: f64,
    weather: &Weather,
    time_ms: i64,
) -> Result<Expectation, SolarError> {
    let air = Atmosphere::at_altitude(site.place.altitude_m);
    let sun = sun_position(site.place, air, time_ms)?;
    let outside_w_m2 = extraterrestrial_w_m2(time_ms, SOLAR_CONSTANT_W_M2);
    let air_mass = relative_air_mass(sun.apparent_zenith_deg)
        .map(|relative| absolute_air_mass(relative, air.pressure_pa));
    let sky = ineichen(
        sun.apparent_zenith_deg,
        air_mass,
        site.linke,
        site.place.altitude_m,
        outside_w_m2,
    );
    let mut dc_w = 0.0;
    let mut weighted = 0.0;
    for array in arrays {
        let modelled =
            haydavies(&array.surface, &sun, &sky, outside_w_m2).global_w_m2() * weather.clear_sky_index;
        let plane_w_m2 = weather.plane_w_m2.unwrap_or(modelled).max(0.0);
        let cell_c = weather
            .module_c
            .unwrap_or_else(|| cell_faiman_c(plane_w_m2, weather.air_c, weather.wind_m_s));
        dc_w += pvwatts_dc_w(plane_w_m2, cell_c, array.peak_w, gamma_per_k) * (1.0 - losses);
        weighted += plane_w_m2 * array.peak_w;
    }
    let peak_w: f64 = arrays.iter().map(|array| array.peak_w).sum();
    Ok(Expectation {
        sun,
        sky,
        plane_w_m2: if peak_w > 0.0 { weighted / peak_w } else { 0.0 },
        dc_w,
        ac_w: pvwatts_ac_w(dc_w, rated_ac_w, INVERTER_EFFICIENCY),
    })
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
    let mut indices: Vec<f64> = plants
        .iter()
        .filter(|&&(made_w, clear_w, rated_w)| {
            made_w.is_finite() && clear_w > 0.0 && clear_w >= INDEX_LOAD_MIN * rated_w
        })
        .map(|&(made_w, clear_w, _)| made_w / clear_w)
        .collect();
    if indices.len() < INDEX_PLANTS_MIN {
        return None;
    }
    indices.sort_by(f64::total_cmp);
    let middle = indices.len() / 2;
    let median = if indices.len() % 2 == 1 {
        indices[middle]
    } else {
        f64::midpoint(indices[middle - 1], indices[middle])
    };
    Some(median.clamp(0.0, INDEX_MAX))
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
        expect(
            &Site { place, linke: 3.0 },
            arrays,
            27_000.0,
            -0.004,
            0.14,
            weather,
            time_ms,
        )
        .unwrap()
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
