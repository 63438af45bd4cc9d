//! Whether it is night, for the price of a few multiplications.

use super::position::Sun;
use super::{Place, SolarError};

/// The sine of −1°: below that no refraction is applied (SPA §3.14.2 ends it at −0.83°), and the 0.003° of parallax that a direction from the
/// earth's middle leaves out don't matter.
const SIN_DARK: f64 = -0.017_452_406_437_283_51;

/// Which way is up at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zenith([f64; 3]);

impl Zenith {
    /// Of a place.
    #[must_use]
    pub fn of(place: Place) -> Self {
        let (sin_latitude, cos_latitude) = place.latitude_deg.to_radians().sin_cos();
        let (sin_longitude, cos_longitude) = place.longitude_deg.to_radians().sin_cos();
        Self([
            cos_latitude * cos_longitude,
            cos_latitude * sin_longitude,
            sin_latitude,
        ])
    }

    /// The sun is more than a degree below the horizon at `time_ms` (UTC ms): [`sky`](super::sky) would be dark. False says nothing.
    ///
    /// # Errors
    /// When the year is outside −2000 to 6000.
    pub fn is_surely_dark(&self, time_ms: i64) -> Result<bool, SolarError> {
        let [x, y, z] = self.0;
        Sun::with(time_ms, |sun| {
            x * sun.direction[0] + y * sun.direction[1] + z * sun.direction[2] < SIN_DARK
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solar::{ClearSky, Site, sky};

    /// 2026-01-01T00:00Z.
    const START_MS: i64 = 1_767_225_600_000;

    #[test]
    fn what_is_surely_dark_is_dark_and_little_else_is() {
        for (latitude_deg, longitude_deg) in [(36.56, 53.06), (-33.9, -70.6), (69.6, 18.9), (0.0, 179.9)] {
            let place = Place {
                latitude_deg,
                longitude_deg,
                altitude_m: 1_200.0,
            };
            let (site, zenith) = (Site { place, linke: 3.0 }, Zenith::of(place));
            let mut surely = 0;
            // Every 7 h 10 min of a year, so every hour of the day in every season.
            for step in 0..1_222 {
                let time_ms = START_MS + step * 25_800_000;
                let sky = sky(&site, time_ms).unwrap();
                let is_dark = zenith.is_surely_dark(time_ms).unwrap();
                if is_dark {
                    assert_eq!(sky.clear, ClearSky::default(), "{place:?} {time_ms}");
                }
                let elevation_deg = sky.sun.elevation_deg();
                assert_eq!(
                    is_dark,
                    elevation_deg < -1.0,
                    "{place:?} {time_ms} {elevation_deg}"
                );
                surely += usize::from(is_dark);
            }
            assert!(surely > 400, "{surely}");
        }
    }

    #[test]
    fn a_time_without_a_sun_is_an_error() {
        let nowhere = Zenith::of(Place {
            latitude_deg: 0.0,
            longitude_deg: 0.0,
            altitude_m: 0.0,
        });
        assert!(nowhere.is_surely_dark(i64::MAX).is_err());
    }
}
