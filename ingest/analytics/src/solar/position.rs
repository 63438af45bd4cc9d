//! Where the sun stands: SPA (Reda and Andreas 2004, NREL/TP-560-34302).

use core::f64::consts::TAU;
use std::cell::RefCell;

use jiff::Timestamp;
use jiff::tz::Offset;
use solar_positioning::time::JulianDate;
use solar_positioning::{Location, PreparedPositions, SolarPositions};

use super::{SOLAR_CONSTANT_W_M2, SolarError};

/// TT − UT in s, the value of the 2010s and 2020s within 3 s (below 1e-5° of the sun's place).
pub const DELTA_T_S: f64 = 67.0;
/// Standard pressure at the sea in Pa (ISO 2533).
pub const SEA_LEVEL_PA: f64 = 101_325.0;
/// Yearly mean temperature that the refraction is computed with in °C (SPA §3.14.2, its T).
const REFRACTION_C: f64 = 12.0;
/// Refraction at sunrise and sunset in degrees (SPA §3.14.2): below it, and the sun's radius, none is applied.
const HORIZON_REFRACTION_DEG: f64 = 0.5667;
/// The sun's radius in degrees (SPA §A.2.2).
const SUN_RADIUS_DEG: f64 = 0.266_67;
/// Julian date of 1970-01-01T00:00Z.
const UNIX_JD: f64 = 2_440_587.5;
/// Julian date of J2000.0.
const J2000_JD: f64 = 2_451_545.0;
const DAY_MS: f64 = 86_400_000.0;
/// Minutes of time in a degree of the earth's rotation.
const MIN_PER_DEG: f64 = 4.0;

/// A place on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    /// −90 to 90, north positive.
    pub latitude_deg: f64,
    /// −180 to 180, east positive.
    pub longitude_deg: f64,
    /// Above the sea; the Caspian coast is below it.
    pub altitude_m: f64,
}

/// The air that bends the sun's light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Atmosphere {
    /// Yearly mean pressure in Pa, above 0.
    pub pressure_pa: f64,
    /// Yearly mean temperature in °C.
    pub temperature_c: f64,
}

impl Atmosphere {
    /// The standard atmosphere at an altitude in m, at 12 °C.
    #[must_use]
    pub fn at_altitude(altitude_m: f64) -> Self {
        Self {
            pressure_pa: pressure_pa(altitude_m),
            temperature_c: REFRACTION_C,
        }
    }
}

/// Where the sun stands at an instant, seen from a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SunPosition {
    /// Angle from the vertical without refraction, 0 to 180°.
    pub zenith_deg: f64,
    /// The same with refraction: what an array sees.
    pub apparent_zenith_deg: f64,
    /// 0 to 360°, clockwise from true north.
    pub azimuth_deg: f64,
    /// Solar time − mean time in minutes, −20 to 20 (SPA §A.1).
    pub equation_of_time_min: f64,
}

impl SunPosition {
    /// Geometric elevation above the horizon in degrees, −90 to 90.
    #[must_use]
    pub const fn elevation_deg(&self) -> f64 {
        90.0 - self.zenith_deg
    }
}

/// Pressure at an altitude in m, in Pa (standard atmosphere, ISO 2533, troposphere).
#[must_use]
pub fn pressure_pa(altitude_m: f64) -> f64 {
    SEA_LEVEL_PA * (1.0 - 2.255_77e-5 * altitude_m).powf(5.255_88)
}

/// The sun's position at `time_ms` (UTC ms since 1970), after the SPA.
///
/// # Errors
/// When the place is not on the earth, or the year is outside −2000 to 6000.
pub fn sun_position(place: Place, atmosphere: Atmosphere, time_ms: i64) -> Result<SunPosition, SolarError> {
    Sun::with(time_ms, |sun| sun.seen(place, atmosphere))?
}

/// What of the sun is the same for every place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sun {
    time_ms: i64,
    prepared: PreparedPositions,
    equation_of_time_min: f64,
    /// Where it stands, seen from the earth's middle: towards the equator at Greenwich, at 90° E, and the pole; of length 1.
    pub(super) direction: [f64; 3],
    /// What comes in at the top of the atmosphere, in W/m².
    pub(super) outside_w_m2: f64,
}

/// Instants that each thread remembers: a fleet is computed plant by plant, each at the same instants, and the terms of an instant (some
/// hundred sines) cost far more than a place. Three days of slots: the middles of five minutes of yesterday and today, and the edges of
/// their quarter-hours, never push each other out.
const REMEMBERED: usize = 2_048;
/// Middles and edges of five minutes are so far apart, in ms.
const SLOT_MS: i64 = 150_000;
const _: () = assert!(SLOT_MS * REMEMBERED as i64 >= 3 * 86_400_000);

thread_local! {
    static SUNS: RefCell<Vec<Option<Sun>>> = const { RefCell::new(Vec::new()) };
}

impl Sun {
    /// What `look` makes of the sun of an instant: the same value as of [`Self::at`], which depends on the instant alone. `look` must not
    /// ask for another one.
    pub(super) fn with<T>(time_ms: i64, look: impl FnOnce(&Self) -> T) -> Result<T, SolarError> {
        SUNS.with_borrow_mut(|suns| {
            if suns.is_empty() {
                suns.resize(REMEMBERED, None);
            }
            let slot = &mut suns[slot_of(time_ms)];
            let sun = match slot {
                Some(known) if known.time_ms == time_ms => known,
                _ => slot.insert(Self::at(time_ms)?),
            };
            Ok(look(sun))
        })
    }

    /// As it is seen from a place, through the air there.
    pub(super) fn seen(&self, place: Place, atmosphere: Atmosphere) -> Result<SunPosition, SolarError> {
        let out_of_place = |_| SolarError::Place {
            latitude_deg: place.latitude_deg,
            longitude_deg: place.longitude_deg,
            altitude_m: place.altitude_m,
        };
        let at = location(place.latitude_deg, place.longitude_deg);
        let seen = self
            .prepared
            .at(at, place.altitude_m, None)
            .map_err(out_of_place)?;
        let elevation_deg = 90.0 - seen.zenith_angle();
        Ok(SunPosition {
            zenith_deg: seen.zenith_angle(),
            apparent_zenith_deg: seen.zenith_angle() - refraction_deg(elevation_deg, atmosphere),
            azimuth_deg: seen.azimuth(),
            equation_of_time_min: self.equation_of_time_min,
        })
    }

    fn at(time_ms: i64) -> Result<Self, SolarError> {
        let out_of_time = |_| SolarError::Time { time_ms };
        // Exact to 40 µs: a Julian date of today has that much room in a double.
        let julian = JulianDate::new(UNIX_JD + time_ms as f64 / DAY_MS, DELTA_T_S).map_err(out_of_time)?;
        let prepared = SolarPositions::new()
            .for_time_from_julian(julian)
            .map_err(out_of_time)?;
        // At the pole parallax does not turn the azimuth: it is 180° + Greenwich's hour angle of the sun.
        let pole = prepared.at(location(90.0, 0.0), 0.0, None).map_err(out_of_time)?;
        let hour_angle_deg = pole.azimuth() - 180.0;
        let (sin_declination, cos_declination) = prepared.declination().to_radians().sin_cos();
        let (sin_hour, cos_hour) = hour_angle_deg.to_radians().sin_cos();
        Ok(Self {
            time_ms,
            prepared,
            equation_of_time_min: equation_of_time_min(&julian, hour_angle_deg),
            direction: [
                cos_declination * cos_hour,
                -cos_declination * sin_hour,
                sin_declination,
            ],
            outside_w_m2: extraterrestrial_w_m2(time_ms, SOLAR_CONSTANT_W_M2),
        })
    }
}

/// Where an instant is remembered, below [`REMEMBERED`].
fn slot_of(time_ms: i64) -> usize {
    let turn = time_ms.div_euclid(SLOT_MS).rem_euclid(REMEMBERED as i64);
    usize::try_from(turn).unwrap_or(0)
}

const fn location(latitude: f64, longitude: f64) -> Location {
    Location { latitude, longitude }
}

/// How much higher than its geometric place the sun seems, in degrees (SPA eq. 42).
fn refraction_deg(elevation_deg: f64, air: Atmosphere) -> f64 {
    if elevation_deg < -(SUN_RADIUS_DEG + HORIZON_REFRACTION_DEG) {
        return 0.0;
    }
    let phase = (elevation_deg + 10.3 / (elevation_deg + 5.11)).to_radians();
    air.pressure_pa / 101_000.0 * (283.0 / (273.0 + air.temperature_c)) * 1.02 / (60.0 * phase.tan())
}

/// Equation of time in minutes (SPA eq. A1): `E = 4 (M − 0.0057183 − α + Δψ cos ε)`. With the hour angle of the true sun at
/// Greenwich `H = ν − α` and `Δψ cos ε = ν − ν₀` (eq. 28 and 29) it is `4 (M − 0.0057183 + H − ν₀)`.
fn equation_of_time_min(julian: &JulianDate, hour_angle_deg: f64) -> f64 {
    let days = julian.julian_date() - J2000_JD;
    let century = julian.julian_century();
    let mean_sidereal_deg = 280.460_618_37
        + 360.985_647_366_29 * days
        + century * century * (0.000_387_933 - century / 38_710_000.0);
    let t = julian.julian_ephemeris_millennium();
    let mean_longitude_deg = 280.466_456_7
        + t * (360_007.698_277_9
            + t * (0.030_320_28 + t * (1.0 / 49_931.0 + t * (-1.0 / 15_300.0 - t / 2_000_000.0))));
    let degrees = mean_longitude_deg - 0.005_718_3 + hour_angle_deg - mean_sidereal_deg;
    ((degrees + 180.0).rem_euclid(360.0) - 180.0) * MIN_PER_DEG
}

/// Irradiance outside the atmosphere on a surface that faces the sun, in W/m², about 1,320 to 1,415 (Spencer 1971), by the
/// UTC day of the year; NaN outside the calendar's years −9999 to 9999.
#[must_use]
pub fn extraterrestrial_w_m2(time_ms: i64, solar_constant_w_m2: f64) -> f64 {
    let Ok(instant) = Timestamp::from_millisecond(time_ms) else {
        return f64::NAN;
    };
    let day = f64::from(Offset::UTC.to_datetime(instant).date().day_of_year());
    let angle = TAU / 365.0 * (day - 1.0);
    solar_constant_w_m2
        * (1.000_11
            + 0.034_221 * angle.cos()
            + 0.001_28 * angle.sin()
            + 0.000_719 * (2.0 * angle).cos()
            + 7.7e-5 * (2.0 * angle).sin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days_of_instants_have_a_slot_each() {
        // A midnight of Tehran's; middles of five minutes and edges of quarter-hours.
        let day_ms = 1_795_379_400_000;
        let middles = (0..576).map(|n| day_ms + n * 300_000 + 150_000);
        let edges = (0..192).map(|n| day_ms + n * 900_000);
        let slots: std::collections::BTreeSet<usize> = middles.chain(edges).map(slot_of).collect();
        assert_eq!(slots.len(), 576 + 192);
    }

    #[test]
    fn what_is_remembered_of_an_instant_is_what_is_computed_of_it() {
        let place = |latitude_deg| Place {
            latitude_deg,
            longitude_deg: 53.06,
            altitude_m: 50.0,
        };
        // Instants that share slots, asked for in turns, at two places.
        let turn_ms = SLOT_MS * REMEMBERED as i64;
        for round in [0, 1, 0, 0, 1] {
            for at_ms in [1_782_030_600_000, 1_782_030_600_001, 1_782_030_749_999] {
                let time_ms = at_ms + round * turn_ms;
                for latitude_deg in [36.56, -12.0] {
                    let air = Atmosphere::at_altitude(50.0);
                    let got = sun_position(place(latitude_deg), air, time_ms).unwrap();
                    let fresh = Sun::at(time_ms).unwrap();
                    let seen = fresh
                        .prepared
                        .at(location(latitude_deg, 53.06), 50.0, None)
                        .unwrap();
                    assert_eq!(
                        (got.zenith_deg, got.azimuth_deg, got.equation_of_time_min),
                        (seen.zenith_angle(), seen.azimuth(), fresh.equation_of_time_min)
                    );
                }
            }
        }
    }
}
