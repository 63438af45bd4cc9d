//! `device.toml`: what a device on a computer is told.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;
use taraz_firmware::{
    CourierSettings, DeviceSettings, LinkSettings, METERS_MAX, MeterSettings, POLL_INTERVAL_MS_MAX,
    SettingsError,
};
use taraz_telemetry::{
    DeviceId, DeviceKey, FirmwareVersion, KEY_LEN, KeyGeneration, MeterAddress, MeterDriver,
};

use crate::address::{AddressError, BrokerAddress, BusAddress};
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

const fn one() -> u8 {
    1
}
const fn poll_interval_s() -> f64 {
    10.0
}
const fn response_timeout_ms() -> u32 {
    1_000
}
const fn queue_records() -> u32 {
    500_000
}
const fn clock_error_ms() -> u32 {
    500
}
const fn keep_alive_s() -> u16 {
    60
}
const fn ack_timeout_s() -> u32 {
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
            response_timeout_ms: response_timeout_ms(),
            retries: one(),
            queue_records: queue_records(),
            clock_error_ms: clock_error_ms(),
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
        if self.meters.len() > METERS_MAX {
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
                let bytes = key_bytes(&text).ok_or_else(|| wrong("key_file", &shown, KEY_EXPECTED))?;
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

const KEY_EXPECTED: &str = "the device's key as 64 hexadecimal digits";

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

fn key_bytes(text: &str) -> Option<[u8; KEY_LEN]> {
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

fn wrong(key: &'static str, value: impl ToString, expected: impl ToString) -> ConfigError {
    ConfigError::Value {
        key,
        value: value.to_string(),
        expected: expected.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_parses() {
        let config = DeviceConfig::parse(example_config()).unwrap();
        assert_eq!(config.device.as_str(), "sari-01");
        assert_eq!(config.meters.len(), 2);
    }

    #[test]
    fn every_key_of_the_example_is_known_and_none_is_missing() {
        let keys: Vec<&str> = example_config()
            .lines()
            .filter_map(|line| line.trim_start_matches("# ").split_once(" = "))
            .map(|(key, _)| key.trim())
            .collect();
        for key in [
            "device",
            "key_generation",
            "key_file",
            "key",
            "bus",
            "broker",
            "state",
            "poll_interval_s",
            "response_timeout_ms",
            "retries",
            "queue_records",
            "clock_error_ms",
            "keep_alive_s",
            "ack_timeout_s",
            "history",
            "address",
            "driver",
        ] {
            assert!(keys.contains(&key), "the example does not explain {key}");
        }
    }

    fn with(change: impl Fn(&mut toml::Table)) -> String {
        let mut table: toml::Table = example_config().parse().unwrap();
        change(&mut table);
        DeviceConfig::parse(&table.to_string()).unwrap_err().to_string()
    }

    #[test]
    fn a_wrong_value_names_key_value_and_what_is_allowed() {
        let set = |key: &'static str, value: toml::Value| {
            with(move |table| {
                table.insert(key.into(), value.clone());
            })
        };
        for (key, value, shown) in [
            (
                "device",
                toml::Value::from("Sari 1"),
                "device = Sari 1: a device id is",
            ),
            ("poll_interval_s", 0.0.into(), "poll_interval_s = 0: 0.2 to 86400"),
            ("poll_interval_s", f64::NAN.into(), "0.2 to 86400"),
            ("bus", "tcp:nowhere".into(), "bus = \"tcp:nowhere\": "),
            ("broker", "http://x".into(), "broker = \"http://x\": "),
            ("retries", 9.into(), "retries = 9: 0 to 5"),
            ("queue_records", 1.into(), "queue_records = 1: 256 to"),
            ("keep_alive_s", 1.into(), "10 to 3600"),
            ("poll_intervall_s", 1.into(), "poll_intervall_s"),
            ("key", "ab".into(), "either key or key_file"),
        ] {
            let message = set(key, value);
            assert!(message.contains(shown), "{key}: {message}");
        }
        let message = with(|table| {
            table.remove("key_file");
            table.insert("key".into(), "secret".into());
        });
        assert!(
            message.contains("64 hexadecimal digits") && !message.contains("secret"),
            "{message}"
        );
    }

    #[test]
    fn a_history_must_fit() {
        let history = |days: i64, step_s: i64| {
            with(move |table| {
                let mut history = toml::Table::new();
                history.insert("days".into(), days.into());
                history.insert("step_s".into(), step_s.into());
                table.insert("bus".into(), "tcp://127.0.0.1:5020".into());
                table.insert("history".into(), history.into());
            })
        };
        assert!(history(0, 300).contains("history.days = 0"));
        assert!(history(30, 7).contains("history.step_s = 7"));
        assert!(history(366, 60).contains("so that the history fits"));
    }
}
