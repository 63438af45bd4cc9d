//! The file's own form: keys, units and defaults as people write them.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use taraz_firmware::{CourierSettings, LinkSettings, MeterSettings, POLL_INTERVAL_MS_MAX};
use taraz_telemetry::{DeviceId, DeviceKey, KEY_LEN, KeyGeneration, MeterAddress, MeterDriver};

use super::{ConfigError, DeviceConfig, History, KeySource, wrong};
use crate::address::AddressError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    device: String,
    #[serde(default = "one")]
    key_generation: KeyGeneration,
    key: Option<String>,
    key_file: Option<PathBuf>,
    bus: String,
    broker: String,
    state: PathBuf,
    #[serde(default = "poll_interval_s")]
    poll_interval_s: f64,
    #[serde(default = "response_timeout_ms")]
    response_timeout_ms: u32,
    #[serde(default = "one")]
    retries: u8,
    #[serde(default = "queue_records")]
    queue_records: u32,
    #[serde(default = "clock_error_ms")]
    clock_error_ms: u32,
    #[serde(default = "keep_alive_s")]
    keep_alive_s: u16,
    #[serde(default = "ack_timeout_s")]
    ack_timeout_s: u32,
    history: Option<History>,
    #[serde(default)]
    meter: Vec<FileMeter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileMeter {
    address: u8,
    #[serde(default)]
    driver: MeterDriver,
}

pub(super) const fn one() -> u8 {
    1
}
pub(super) const fn poll_interval_s() -> f64 {
    10.0
}
pub(super) const fn response_timeout_ms() -> u32 {
    1_000
}
pub(super) const fn queue_records() -> u32 {
    500_000
}
pub(super) const fn clock_error_ms() -> u32 {
    500
}
pub(super) const fn keep_alive_s() -> u16 {
    60
}
pub(super) const fn ack_timeout_s() -> u32 {
    30
}

impl DeviceConfig {
    /// Reads and checks a configuration; opens nothing.
    ///
    /// # Errors
    /// [`ConfigError`] with key, value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(Box::new)?;
        let interval_ms = file.poll_interval_s * 1_000.0;
        if !(interval_ms.is_finite() && (1.0..=f64::from(POLL_INTERVAL_MS_MAX)).contains(&interval_ms)) {
            return Err(wrong(
                "poll_interval_s",
                file.poll_interval_s,
                "0.2 to 86400 seconds",
            ));
        }
        // Checked to be within the range of u32 just above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let poll_interval_ms = interval_ms.round() as u32;
        let ack_timeout_ms = u64::from(file.ack_timeout_s) * 1_000;
        let courier = CourierSettings {
            ack_timeout_ms,
            ack_timeout_ms_max: ack_timeout_ms * 8,
        };
        let config = Self {
            device: DeviceId::new(&file.device).map_err(|error| wrong("device", &file.device, error))?,
            key: key_source(file.key, file.key_file, file.key_generation)?,
            key_generation: file.key_generation,
            bus: parsed("bus", &file.bus)?,
            broker: parsed("broker", &file.broker)?,
            state: file.state,
            poll_interval_ms,
            response_timeout_ms: file.response_timeout_ms,
            retries: file.retries,
            queue_records: file.queue_records,
            clock_error_ms: file.clock_error_ms,
            link: LinkSettings {
                keep_alive_s: file.keep_alive_s,
                ..LinkSettings::default()
            },
            courier,
            meters: file.meter.iter().map(meter).collect::<Result<_, _>>()?,
            history: file.history,
        };
        config.check()?;
        Ok(config)
    }
}

pub(super) const KEY_EXPECTED: &str = "the device's key as 64 hexadecimal digits";

fn key_source(
    key: Option<String>,
    key_file: Option<PathBuf>,
    generation: KeyGeneration,
) -> Result<KeySource, ConfigError> {
    match (key, key_file) {
        (Some(text), None) => {
            // A secret is never shown, not even a wrong one.
            let bytes = key_bytes(&text).ok_or_else(|| wrong("key", "…", KEY_EXPECTED))?;
            Ok(KeySource::Key(DeviceKey::new(bytes, generation)))
        }
        (None, Some(path)) => Ok(KeySource::File(path)),
        (Some(_), Some(_)) => Err(wrong("key", "…", "either key or key_file, not both")),
        (None, None) => Err(wrong(
            "key_file",
            "(missing)",
            "key_file, or key: one of them is needed",
        )),
    }
}

pub(super) fn key_bytes(text: &str) -> Option<[u8; KEY_LEN]> {
    let digits = text.trim().as_bytes();
    let mut bytes = [0; KEY_LEN];
    if digits.len() != 2 * KEY_LEN {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn meter(meter: &FileMeter) -> Result<MeterSettings, ConfigError> {
    let address =
        MeterAddress::new(meter.address).ok_or_else(|| wrong("meter.address", meter.address, "1 to 247"))?;
    Ok(MeterSettings {
        address,
        driver: meter.driver,
    })
}

fn parsed<T: FromStr<Err = AddressError>>(key: &'static str, text: &str) -> Result<T, ConfigError> {
    text.parse()
        .map_err(|error: AddressError| wrong(key, format!("{text:?}"), error))
}
