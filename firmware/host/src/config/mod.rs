//! `device.toml`: what a device on a computer is told.

mod file;
mod keys;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use serde::Deserialize;
use taraz_firmware::{
    CourierSettings, DeviceSettings, LinkSettings, METERS_MAX, MeterSettings, RETRIES_MAX, SettingsError,
};
use taraz_settings::{Place, Wrong};
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
    /// [`Wrong`] with key, value and what is allowed.
    pub fn check(&self) -> Result<(), Wrong> {
        if self.key_generation == 0 {
            return Err(Wrong::new("key_generation", 0, keys::GENERATION));
        }
        let queue_records = u64::from(self.queue_records);
        let queue_range = u64::from(QUEUE_RECORDS_MIN)..=u64::from(QUEUE_RECORDS_MAX);
        for (key, found, range, allowed) in [
            (
                "response_timeout_ms",
                self.response_timeout_ms.into(),
                1..=60_000,
                keys::TIMEOUT,
            ),
            (
                "retries",
                self.retries.into(),
                0..=RETRIES_MAX.into(),
                keys::RETRIES,
            ),
            ("queue_records", queue_records, queue_range, keys::QUEUE),
            (
                "clock_error_ms",
                self.clock_error_ms.into(),
                0..=1_000,
                keys::CLOCK,
            ),
        ] {
            if !range.contains(&found) {
                return Err(Wrong::new(key, found, allowed));
            }
        }
        if !(1..=METERS_MAX).contains(&self.meters.len()) {
            let found = format!("{} of them", self.meters.len());
            return Err(Wrong::new(
                "meter",
                found,
                format!("1 to {METERS_MAX} meters on one bus"),
            ));
        }
        if let Some(history) = &self.history {
            self.check_history(history)?;
        }
        self.settings().check().map_err(|error| self.of_settings(error))
    }

    /// What the firmware library refuses, at the key that it comes from.
    fn of_settings(&self, error: SettingsError) -> Wrong {
        let allowed = error.to_string();
        match error {
            SettingsError::DuplicateAddress(address) => {
                let second = self.meters.iter().rposition(|meter| meter.address == address);
                let meter = Place::top().item("meter", second.unwrap_or(0));
                Wrong::new(meter.key("address"), address, "each address once on a bus")
            }
            SettingsError::PollInterval(ms) => {
                let found = f64::from(ms) / 1_000.0;
                Wrong::new("poll_interval_s", found, keys::POLL_INTERVAL)
            }
            SettingsError::KeepAlive(s) => Wrong::new("keep_alive_s", s, keys::KEEP_ALIVE),
            SettingsError::AckTimeout(ms, _) => Wrong::new("ack_timeout_s", ms / 1_000, keys::ACK_TIMEOUT),
            SettingsError::Backoff(from, _) => Wrong::new("link", from, allowed),
        }
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

    fn check_history(&self, history: &History) -> Result<(), Wrong> {
        if !(1..=HISTORY_DAYS_MAX).contains(&history.days) {
            return Err(Wrong::new("history.days", history.days, keys::HISTORY_DAYS));
        }
        if history.step_s < HISTORY_STEP_S_MIN || 86_400 % history.step_s != 0 {
            return Err(Wrong::new("history.step_s", history.step_s, keys::HISTORY_STEP));
        }
        if !matches!(self.bus, BusAddress::Tcp { .. }) {
            let allowed = "only on a simulated bus over TCP that follows the clock";
            return Err(Wrong::new("history", "a history", allowed));
        }
        let rounds = u64::from(history.days) * u64::from(86_400 / history.step_s);
        let needed = rounds * self.meters.len() as u64 + HISTORY_RESERVE_RECORDS;
        if needed > u64::from(self.queue_records) {
            let allowed = format!("at least {needed} records, so that the history fits");
            return Err(Wrong::new("queue_records", self.queue_records, allowed));
        }
        Ok(())
    }
}

impl KeySource {
    /// The key itself.
    ///
    /// # Errors
    /// The file can't be read, or is not a key.
    pub fn load(&self, generation: KeyGeneration) -> Result<DeviceKey, Wrong> {
        match self {
            Self::Key(key) => Ok(key.clone()),
            Self::File(path) => {
                let wrong = |reason: String| {
                    let allowed = format!("a file with {}: {reason}", keys::KEY);
                    Wrong::new("key_file", format!("{path:?}"), allowed)
                };
                let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
                let bytes =
                    file::key_bytes(&text).ok_or_else(|| wrong("it holds something else".to_owned()))?;
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
