//! Whether it is night, for the price of a few multiplications.

use super::position::Sun;
use super::{Place, SolarError};

/// The sun's direction is that from the earth's middle: from a place it stands lower by its parallax, at most 0.0025°. Four times that is left
/// open, in degrees.
const OPEN_DEG: f64 = 0.01;
/// The sine of −1°: below that elevation no refraction is applied (SPA §3.14.2 ends it at −0.83°), so that nothing comes in.
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

    /// The sun is more than a degree below the horizon at `time_ms` (UTC ms): [`sky`](super::sky) is dark. False says nothing.
    ///
    /// # Errors
    /// When the year is outside −2000 to 6000.
    pub fn is_surely_dark(&self, time_ms: i64) -> Result<bool, SolarError> {
        Ok(self.sin_elevation(time_ms)? < SIN_DARK)
    }

    /// Whether the sun's geometric elevation at `time_ms` (UTC ms) is below `elevation_deg`, −89 to 89; `None` within 0.01° of it, where
    /// only [`sun_position`](super::sun_position) can say so.
    ///
    /// # Errors
    /// When the year is outside −2000 to 6000.
    pub fn is_below(&self, elevation_deg: f64, time_ms: i64) -> Result<Option<bool>, SolarError> {
        let sin_elevation = self.sin_elevation(time_ms)?;
        let sin = |degrees: f64| degrees.to_radians().sin();
        if sin_elevation < sin(elevation_deg - OPEN_DEG) {
            return Ok(Some(true));
        }
        Ok((sin_elevation > sin(elevation_deg + OPEN_DEG)).then_some(false))
    }

    /// Of the sun as the earth's middle sees it.
    fn sin_elevation(&self, time_ms: i64) -> Result<f64, SolarError> {
        let [x, y, z] = self.0;
        Sun::with(time_ms, |sun| {
            x * sun.direction[0] + y * sun.direction[1] + z * sun.direction[2]
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
