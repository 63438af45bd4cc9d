//! The file's own form: keys, units and defaults as people write them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use taraz_firmware::{CourierSettings, LinkSettings, MeterSettings, POLL_INTERVAL_MS_MAX};
use taraz_settings::{Document, Mistake, Place, Wrong};
use taraz_telemetry::{DeviceId, DeviceKey, KEY_LEN, KeyGeneration, MeterAddress, MeterDriver};

use super::keys::{self, SECTIONS};
use super::{DeviceConfig, History, KeySource};

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
    /// [`Self::read`] of a file in the working folder that is called as it usually is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let document = Document::parse("device.toml", text, SECTIONS)?;
        Self::of(document.read()?).map_err(|wrong| document.mistake(wrong))
    }

    /// Reads and checks a configuration, the key's file included; opens nothing else. `file` is what messages call it,
    /// and paths in it count from `folder`.
    ///
    /// # Errors
    /// [`Mistake`] names file, line and key, what was found, and what is allowed.
    pub fn read(file: &str, text: &str, folder: &Path) -> Result<Self, Mistake> {
        let document = Document::parse(file, text, SECTIONS)?;
        let read = || {
            let mut config = Self::of(document.read()?).map_err(|wrong| document.mistake(wrong))?;
            config.state = folder.join(&config.state);
            if let KeySource::File(path) = &mut config.key {
                *path = folder.join(&*path);
            }
            let key = config.key.load(config.key_generation);
            key.map_err(|wrong| document.mistake(wrong))?;
            Ok(config)
        };
        read()
    }

    fn of(file: File) -> Result<Self, Wrong> {
        let interval_ms = file.poll_interval_s * 1_000.0;
        if !(interval_ms.is_finite() && (1.0..=f64::from(POLL_INTERVAL_MS_MAX)).contains(&interval_ms)) {
            return Err(Wrong::new(
                "poll_interval_s",
                file.poll_interval_s,
                keys::POLL_INTERVAL,
            ));
        }
        // Checked to be within the range of u32 just above.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let poll_interval_ms = interval_ms.round() as u32;
        if !(1..=3_600).contains(&file.ack_timeout_s) {
            return Err(Wrong::new("ack_timeout_s", file.ack_timeout_s, keys::ACK_TIMEOUT));
        }
        let ack_timeout_ms = u64::from(file.ack_timeout_s) * 1_000;
        let courier = CourierSettings {
            ack_timeout_ms,
            ack_timeout_ms_max: ack_timeout_ms * 8,
        };
        let config = Self {
            device: DeviceId::new(&file.device)
                .map_err(|error| Wrong::new("device", &file.device, error.to_string()))?,
            key: key_source(file.key, file.key_file, file.key_generation)?,
            key_generation: file.key_generation,
            bus: (file.bus.parse()).map_err(|_| Wrong::new("bus", &file.bus, keys::BUS))?,
            broker: (file.broker.parse()).map_err(|_| Wrong::new("broker", &file.broker, keys::BROKER))?,
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
            meters: file
                .meter
                .iter()
                .enumerate()
                .map(meter)
                .collect::<Result<_, _>>()?,
            history: file.history,
        };
        config.check()?;
        Ok(config)
    }
}

fn key_source(
    key: Option<String>,
    key_file: Option<PathBuf>,
    generation: KeyGeneration,
) -> Result<KeySource, Wrong> {
    match (key, key_file) {
        (Some(text), None) => {
            let bytes = key_bytes(&text).ok_or_else(|| Wrong::secret("key", keys::KEY))?;
            Ok(KeySource::Key(DeviceKey::new(bytes, generation)))
        }
        (None, Some(path)) => Ok(KeySource::File(path)),
        (Some(_), Some(_)) => Err(Wrong::secret("key", "either key or key_file, not both")),
        (None, None) => Err(Wrong::missing(
            "key_file",
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

fn meter((at, meter): (usize, &FileMeter)) -> Result<MeterSettings, Wrong> {
    let place = || Place::top().item("meter", at).key("address");
    let address = MeterAddress::new(meter.address);
    Ok(MeterSettings {
        address: address.ok_or_else(|| Wrong::new(place(), meter.address, keys::ADDRESS))?,
        driver: meter.driver,
    })
}
