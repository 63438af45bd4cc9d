//! `device.toml`: what a device on a computer is told.

mod file;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Deserialize;
use taraz_firmware::{
    CourierSettings, DeviceSettings, LinkSettings, METERS_MAX, MeterSettings, SettingsError,
};
use taraz_telemetry::{DeviceId, DeviceKey, FirmwareVersion, KeyGeneration};

use crate::address::{BrokerAddress, BusAddress};
use crate::queue::{QUEUE_RECORDS_MAX, QUEUE_RECORDS_MIN};

/// The longest history in days.
pub const HISTORY_DAYS_MAX: u32 = 366;
/// The shortest step of a history in s.
pub const HISTORY_STEP_S_MIN: u32 = 10;
/// Records that are no readings (start, diagnostics, failures) and must fit beside a history.
const HISTORY_RESERVE_RECORDS: u64 = 4_096;

/// What a device on a computer is told.
#[derive(Clone, Debug)]
pub struct DeviceConfig {
    /// The device's id, as in `fleet.toml`; also its MQTT user name.
    pub device: DeviceId,
    /// Where its key is.
    pub key: KeySource,
    /// Which rotation of the key this is, 1 to 255.
    pub key_generation: KeyGeneration,
    /// Where its meters answer.
    pub bus: BusAddress,
    /// The broker, or the gateway's own door.
    pub broker: BrokerAddress,
    /// The folder of its queue; each device needs its own.
    pub state: PathBuf,
    /// How often each meter is polled, in ms.
    pub poll_interval_ms: u32,
    /// How long a meter may take to answer, in ms.
    pub response_timeout_ms: u32,
    /// How often a request is sent again when no answer came.
    pub retries: u8,
    /// Records that the queue can hold.
    pub queue_records: u32,
    /// How far the computer's clock may be off, in ms.
    pub clock_error_ms: u32,
    /// The session with the broker.
    pub link: LinkSettings,
    /// Acknowledgements and repetitions.
    pub courier: CourierSettings,
    /// The meters on the bus.
    pub meters: Vec<MeterSettings>,
    /// Read the past first, from a simulated bus that follows the clock it is told.
    pub history: Option<History>,
}

/// Where the device's key is.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Here.
    Key(DeviceKey),
    /// In this file, as 64 hexadecimal digits.
    File(PathBuf),
}

/// How much of the past is read at the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// How many days back it begins.
    pub days: u32,
    /// From one round of polls to the next, in s.
    pub step_s: u32,
}

/// A configuration that can't work, told before anything is opened.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, a wrong key, or a value of the wrong kind.
    #[error("{0}")]
    Toml(#[from] Box<toml::de::Error>),
    /// A value out of range.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Settings that do not fit together.
    #[error("{0}")]
    Settings(#[from] SettingsError),
}

impl DeviceConfig {
    /// A configuration with every setting but these at its default.
    #[must_use]
    pub fn new(
        device: DeviceId,
        key: DeviceKey,
        bus: BusAddress,
        broker: BrokerAddress,
        state: PathBuf,
        meters: Vec<MeterSettings>,
    ) -> Self {
        Self {
            device,
            key_generation: key.generation(),
            key: KeySource::Key(key),
            bus,
            broker,
            state,
            poll_interval_ms: 10_000,
            response_timeout_ms: file::response_timeout_ms(),
            retries: file::one(),
            queue_records: file::queue_records(),
            clock_error_ms: file::clock_error_ms(),
            link: LinkSettings::default(),
            courier: CourierSettings::default(),
            meters,
            history: None,
        }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// [`ConfigError`] with key, value and what is allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.key_generation == 0 {
            return Err(wrong("key_generation", 0, "1 to 255"));
        }
        if !(1..=60_000).contains(&self.response_timeout_ms) {
            return Err(wrong(
                "response_timeout_ms",
                self.response_timeout_ms,
                "1 to 60000",
            ));
        }
        if self.retries > taraz_firmware::RETRIES_MAX {
            return Err(wrong(
                "retries",
                self.retries,
                format!("0 to {}", taraz_firmware::RETRIES_MAX),
            ));
        }
        if !(QUEUE_RECORDS_MIN..=QUEUE_RECORDS_MAX).contains(&self.queue_records) {
            let expected = format!("{QUEUE_RECORDS_MIN} to {QUEUE_RECORDS_MAX} records");
            return Err(wrong("queue_records", self.queue_records, expected));
        }
        if self.clock_error_ms > 1_000 {
            return Err(wrong(
                "clock_error_ms",
                self.clock_error_ms,
                "0 to 1000; a worse clock is not synced",
            ));
        }
        if !(1..=METERS_MAX).contains(&self.meters.len()) {
            return Err(wrong(
                "meter",
                self.meters.len(),
                format!("1 to {METERS_MAX} meters on one bus"),
            ));
        }
        if let Some(history) = &self.history {
            self.check_history(history)?;
        }
        Ok(self.settings().check()?)
    }

    /// The part that the firmware library needs.
    #[must_use]
    pub fn settings(&self) -> DeviceSettings {
        DeviceSettings {
            meters: self.meters.iter().take(METERS_MAX).copied().collect(),
            poll_interval_ms: self.poll_interval_ms,
            firmware: FirmwareVersion::try_from(env!("CARGO_PKG_VERSION")).unwrap_or_default(),
            link: self.link,
            courier: self.courier,
        }
    }

    fn check_history(&self, history: &History) -> Result<(), ConfigError> {
        if !(1..=HISTORY_DAYS_MAX).contains(&history.days) {
            return Err(wrong(
                "history.days",
                history.days,
                format!("1 to {HISTORY_DAYS_MAX}"),
            ));
        }
        if history.step_s < HISTORY_STEP_S_MIN || 86_400 % history.step_s != 0 {
            let expected = format!("at least {HISTORY_STEP_S_MIN} s, and a day must be a multiple of it");
            return Err(wrong("history.step_s", history.step_s, expected));
        }
        if !matches!(self.bus, BusAddress::Tcp { .. }) {
            return Err(wrong(
                "history",
                "{ … }",
                "only on a simulated bus over TCP that follows the clock",
            ));
        }
        let rounds = u64::from(history.days) * u64::from(86_400 / history.step_s);
        let needed = rounds * self.meters.len() as u64 + HISTORY_RESERVE_RECORDS;
        if needed > u64::from(self.queue_records) {
            let expected = format!("at least {needed} records, so that the history fits");
            return Err(wrong("queue_records", self.queue_records, expected));
        }
        Ok(())
    }
}

impl KeySource {
    /// The key itself.
    ///
    /// # Errors
    /// The file can't be read, or is not a key.
    pub fn load(&self, generation: KeyGeneration) -> Result<DeviceKey, ConfigError> {
        match self {
            Self::Key(key) => Ok(key.clone()),
            Self::File(path) => {
                let shown = path.display().to_string();
                let text = std::fs::read_to_string(path).map_err(|error| wrong("key_file", &shown, error))?;
                let bytes =
                    file::key_bytes(&text).ok_or_else(|| wrong("key_file", &shown, file::KEY_EXPECTED))?;
                Ok(DeviceKey::new(bytes, generation))
            }
        }
    }
}

/// A complete example with every key explained; it parses.
#[must_use]
pub const fn example_config() -> &'static str {
    include_str!("example.toml")
}

fn wrong(key: &'static str, value: impl ToString, expected: impl ToString) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        expected: expected.to_string(),
    }
}
