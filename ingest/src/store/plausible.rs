//! Whether a record that was held may be released: the rule by which gateways hold records, read from the registry as it
//! is now.
//!
//! The rule is shared with `gateway/src/validate/plausible.rs`, and a bound that changes there changes here: the meter is
//! registered; no power is above [`RATED_POWER_PERCENT_MAX`] of its nameplate; voltages, frequency, irradiance and
//! temperatures are what an instrument of a plant can state; the time is not before the eve of the plant's commissioning.
//! A time that was in the future when the record was received is believed once it has passed by the clock of now.

use std::ops::RangeInclusive;

use taraz_fleet::{DeviceRef, Plant};
use taraz_telemetry::{Outcome, Quantities, Record};

use crate::analytics::{RATED_POWER_PERCENT_MAX, date_start_ms};

/// Before the commissioning date: a day for time zones and for tests of the plant on the eve.
const COMMISSIONING_SLACK_MS: i64 = 24 * 60 * 60 * 1_000;

/// AC voltages in 0.1 V.
const AC_VOLTAGE_DV_MAX: u32 = 10_000;
/// DC voltages in 0.1 V.
const DC_VOLTAGE_DV_MAX: u32 = 16_500;
/// Grid frequency in mHz; 0 is what a meter without a grid states.
const FREQUENCY_MHZ: RangeInclusive<u32> = 40_000..=70_000;
/// Irradiance in 0.1 W/m².
const IRRADIANCE_DWM2: RangeInclusive<i32> = -500..=20_000;
/// Temperatures in 0.1 °C.
const TEMPERATURE_DC: RangeInclusive<i32> = -600..=2_000;

/// The oldest time that is believed of a plant, UTC ms. Its day begins in Tehran, before the gateway's day in UTC, so
/// nothing that a gateway lets pass is held here.
pub(super) fn oldest_ms(plant: &Plant) -> i64 {
    date_start_ms(plant.commissioned) - COMMISSIONING_SLACK_MS
}

/// Nothing speaks against the record; `time_ms` is where it is placed, if it is.
pub(super) fn is_plausible(
    found: DeviceRef<'_>,
    record: &Record,
    time_ms: Option<i64>,
    oldest_ms: i64,
    now_ms: i64,
) -> bool {
    if time_ms.is_some_and(|time_ms| !(oldest_ms..=now_ms).contains(&time_ms)) {
        return false;
    }
    let Record::Reading(reading) = record else {
        return true;
    };
    let Some(meter) = found.device.meter(reading.meter) else {
        return false;
    };
    match &reading.outcome {
        Outcome::Values(quantities) => believes(quantities, meter.rated_w),
        Outcome::Failed(_) => true,
    }
}

fn believes(q: &Quantities, rated_w: u32) -> bool {
    let power_max_w = i64::from(rated_w) * RATED_POWER_PERCENT_MAX / 100;
    let powers = [
        q.ac_power_w,
        q.ac_power_a_w,
        q.ac_power_b_w,
        q.ac_power_c_w,
        q.dc_power_w,
    ];
    let ac_voltages = [
        q.voltage_an_dv,
        q.voltage_bn_dv,
        q.voltage_cn_dv,
        q.voltage_ab_dv,
        q.voltage_bc_dv,
        q.voltage_ca_dv,
    ];
    let temperatures = [
        q.temperature_dc,
        q.module_temperature_dc,
        q.ambient_temperature_dc,
    ];
    let mut powers = powers.into_iter().flatten();
    let mut ac_voltages = ac_voltages.into_iter().flatten();
    let mut temperatures = temperatures.into_iter().flatten();
    powers.all(|w| rated_w == 0 || i64::from(w).abs() <= power_max_w)
        && ac_voltages.all(|dv| dv <= AC_VOLTAGE_DV_MAX)
        && q.dc_voltage_dv.is_none_or(|dv| dv <= DC_VOLTAGE_DV_MAX)
        && q.frequency_mhz
            .is_none_or(|mhz| mhz == 0 || FREQUENCY_MHZ.contains(&mhz))
        && q.irradiance_dwm2
            .is_none_or(|dwm2| IRRADIANCE_DWM2.contains(&dwm2))
        && temperatures.all(|dc| TEMPERATURE_DC.contains(&dc))
}
