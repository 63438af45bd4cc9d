//! Which authentic records are held back from analytics until somebody decides.
//!
//! Few rules, each a bound that no healthy plant crosses: a wrong hold costs a look, a wrong pass costs an interval.

use std::ops::RangeInclusive;

use taraz_fleet::DeviceRef;
use taraz_telemetry::{Hold, MeterAddress, Outcome, Quantities, Reading, Record};

/// How far ahead of the gateway's clock a record may be, in ms.
pub const FUTURE_MAX_MS: u64 = 5 * 60 * 1_000;
/// Before the commissioning date: a day for time zones and for tests of the plant on the eve.
const COMMISSIONING_SLACK_MS: u64 = 24 * 60 * 60 * 1_000;
/// Power above the nameplate that is still believed, in percent: cloud edges and cold modules stay below 130.
const RATED_POWER_PERCENT_MAX: u64 = 150;
/// AC voltages in 0.1 V: EN 50160 allows 253 V to neutral and 440 V between phases; some inverters feed 800 V.
const AC_VOLTAGE_DV_MAX: u32 = 10_000;
/// DC voltages in 0.1 V: IEC 62548 limits arrays to 1,500 V; the rest is for the meter's error.
const DC_VOLTAGE_DV_MAX: u32 = 16_500;
/// Grid frequency in mHz; 0 is what a meter without a grid states.
const FREQUENCY_MHZ: RangeInclusive<u32> = 40_000..=70_000;
/// Irradiance in 0.1 W/m²: sensors read a little below zero at night, cloud edges stay below 1,800 W/m².
const IRRADIANCE_DWM2: RangeInclusive<i32> = -500..=20_000;
/// Temperatures in 0.1 °C.
const TEMPERATURE_DC: RangeInclusive<i32> = -600..=2_000;

/// What is believed of one device.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    oldest_ms: u64,
    /// Highest power in W of each registered meter; `None` when the registry does not rate it.
    power_max_w: Box<[(MeterAddress, Option<u64>)]>,
}

impl Limits {
    pub(crate) fn new(entry: DeviceRef<'_>) -> Self {
        // A civil date has a midnight in UTC; if it had none, no record would be too old.
        let commissioned_ms = entry
            .plant
            .commissioned
            .in_tz("UTC")
            .map_or(0, |midnight| midnight.timestamp().as_millisecond());
        let oldest_ms = u64::try_from(commissioned_ms)
            .unwrap_or(0)
            .saturating_sub(COMMISSIONING_SLACK_MS);
        let rated = |rated_w: u32| (rated_w > 0).then(|| u64::from(rated_w) * RATED_POWER_PERCENT_MAX / 100);
        let power_max_w = entry
            .device
            .meters
            .iter()
            .map(|meter| (meter.address, rated(meter.rated_w)))
            .collect();
        Self {
            oldest_ms,
            power_max_w,
        }
    }

    /// Why the record is held, or `None` when it is plausible.
    pub(crate) fn judge(&self, record: &Record, now_ms: u64) -> Option<Hold> {
        if let Record::Reading(reading) = record {
            let mut known = self.power_max_w.iter();
            let Some((_, power_max_w)) = known.find(|(meter, _)| *meter == reading.meter) else {
                return Some(Hold::UnknownMeter);
            };
            if values(reading).is_some_and(|quantities| !plausible(quantities, *power_max_w)) {
                return Some(Hold::ImplausibleValue);
            }
        }
        // Time that only counts since the boot is placed later, by an anchor.
        let ms = record.stamp().utc_ms()?;
        let plausible = (self.oldest_ms..=now_ms.saturating_add(FUTURE_MAX_MS)).contains(&ms);
        (!plausible).then_some(Hold::ImplausibleTime)
    }
}

const fn values(reading: &Reading) -> Option<&Quantities> {
    match &reading.outcome {
        Outcome::Values(quantities) => Some(quantities),
        Outcome::Failed(_) => None,
    }
}

fn plausible(q: &Quantities, power_max_w: Option<u64>) -> bool {
    let powers = [
        q.ac_power_w,
        q.ac_power_a_w,
        q.ac_power_b_w,
        q.ac_power_c_w,
        q.dc_power_w,
    ];
    let power = powers
        .into_iter()
        .flatten()
        .all(|w| power_max_w.is_none_or(|max| u64::from(w.unsigned_abs()) <= max));
    let ac_voltages = [
        q.voltage_an_dv,
        q.voltage_bn_dv,
        q.voltage_cn_dv,
        q.voltage_ab_dv,
        q.voltage_bc_dv,
        q.voltage_ca_dv,
    ];
    let ac_voltage = ac_voltages
        .into_iter()
        .flatten()
        .all(|dv| dv <= AC_VOLTAGE_DV_MAX);
    let dc_voltage = q.dc_voltage_dv.is_none_or(|dv| dv <= DC_VOLTAGE_DV_MAX);
    let frequency = q
        .frequency_mhz
        .is_none_or(|mhz| mhz == 0 || FREQUENCY_MHZ.contains(&mhz));
    let irradiance = q
        .irradiance_dwm2
        .is_none_or(|dwm2| IRRADIANCE_DWM2.contains(&dwm2));
    let temperatures = [
        q.temperature_dc,
        q.module_temperature_dc,
        q.ambient_temperature_dc,
    ];
    let temperature = temperatures
        .into_iter()
        .flatten()
        .all(|dc| TEMPERATURE_DC.contains(&dc));
    power && ac_voltage && dc_voltage && frequency && irradiance && temperature
}
