//! Where the sun stands.

use taraz_analytics::solar::{Atmosphere, Place, Zenith, sun_position};

/// Geometric elevation of the sun (no refraction) in degrees, −90 to 90; NaN when place or time are outside the algorithm's range
/// (years −2000 to 6000).
pub(crate) fn elevation_deg(place: Place, time_ms: i64) -> f64 {
    let air = Atmosphere::at_altitude(place.altitude_m);
    sun_position(place, air, time_ms).map_or(f64::NAN, |sun| sun.elevation_deg())
}

/// Whether [`elevation_deg`] is below so many degrees, −89 to 89; false where it is NaN. Mostly far cheaper than the elevation itself.
pub(crate) fn is_sun_below(place: Place, zenith: &Zenith, degrees: f64, time_ms: i64) -> bool {
    match zenith.is_below(degrees, time_ms) {
        Ok(Some(is_below)) => is_below,
        Ok(None) => elevation_deg(place, time_ms) < degrees,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn elevations_are_those_of_the_reference() {
        // Rows of an independent table (pvlib 0.16.1, SPA, Sari, 50 m): instant and geometric elevation.
        let sari = Place {
            latitude_deg: 36.56,
            longitude_deg: 53.06,
            altitude_m: 50.0,
        };
        for (instant, expected) in [
            ("2025-01-10T05:15:00Z", 14.829_472),
            ("2025-01-10T08:30:00Z", 31.527_378),
            ("2025-01-10T12:45:00Z", 7.088_263),
        ] {
            let time_ms = instant.parse::<Timestamp>().unwrap().as_millisecond();
            let elevation = elevation_deg(sari, time_ms);
            assert!(
                (elevation - expected).abs() < 1e-4,
                "{instant}: {elevation}, expected {expected}"
            );
        }
    }

    #[test]
    fn a_sun_is_below_a_line_where_its_elevation_is() {
        let place = Place {
            latitude_deg: 36.56,
            longitude_deg: 53.06,
            altitude_m: 50.0,
        };
        let zenith = Zenith::of(place);
        // Every 10 s around a sunrise: some are too close to the line for the short way.
        let start_ms: i64 = "2025-01-10T03:30:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_millisecond();
        let mut below = 0;
        for step in 0..360 {
            let time_ms = start_ms + step * 10_000;
            let is_below = is_sun_below(place, &zenith, -0.9, time_ms);
            assert_eq!(is_below, elevation_deg(place, time_ms) < -0.9, "{time_ms}");
            below += usize::from(is_below);
        }
        assert!((1..360).contains(&below), "{below}");
        assert!(!is_sun_below(place, &zenith, -0.9, i64::MAX));
    }
}
