//! Where the sun stands.

use taraz_analytics::solar::{Atmosphere, Place, sun_position};

/// Geometric elevation of the sun (no refraction) in degrees, −90 to 90; NaN when place or time are outside the algorithm's range
/// (years −2000 to 6000).
pub(crate) fn elevation_deg(place: Place, time_ms: i64) -> f64 {
    let air = Atmosphere::at_altitude(place.altitude_m);
    sun_position(place, air, time_ms).map_or(f64::NAN, |sun| sun.elevation_deg())
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
}
