//! Where the sun stands.

use jiff::Timestamp;
use jiff::tz::Offset;
use solar_positioning::time::JulianDate;
use solar_positioning::{Location, SolarPositions};

/// TT − UT in s; the value the reference vectors were made with, within 3 s of the truth for 2015 to 2035 (below 1e-5°).
const DELTA_T_S: f64 = 67.0;

/// A place on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    /// North positive.
    pub(crate) latitude_deg: f64,
    /// East positive.
    pub(crate) longitude_deg: f64,
    /// Above the sea.
    pub(crate) altitude_m: f64,
}

/// Geometric elevation of the sun (no refraction) in degrees, −90 to 90, after the SPA (Reda and Andreas 2004); NaN when
/// place or time are outside its range (years −2000 to 6000).
pub(crate) fn elevation_deg(place: Place, time_ms: i64) -> f64 {
    position(place, time_ms).unwrap_or(f64::NAN)
}

fn position(place: Place, time_ms: i64) -> Option<f64> {
    let utc = Offset::UTC.to_datetime(Timestamp::from_millisecond(time_ms).ok()?);
    let second = f64::from(utc.second()) + f64::from(utc.subsec_nanosecond()) / 1e9;
    let part = |value: i8| u32::try_from(value).unwrap_or(0);
    let date = JulianDate::from_utc(
        i32::from(utc.year()),
        part(utc.month()),
        part(utc.day()),
        part(utc.hour()),
        part(utc.minute()),
        second,
        DELTA_T_S,
    );
    let location = Location {
        latitude: place.latitude_deg,
        longitude: place.longitude_deg,
    };
    let sun = SolarPositions::new()
        .at_from_julian(date.ok()?, location, place.altitude_m, None)
        .ok()?;
    Some(sun.elevation_angle())
}

#[cfg(test)]
mod tests {
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
