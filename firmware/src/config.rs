//! What a device is told: who it is, and what it reads how often.
//!
//! On a board it comes from the configuration page, on a computer from a file; both end in these types, checked whole
//! before anything is opened.

use heapless::{String, Vec};
use taraz_telemetry::{DeviceId, DeviceKey, FirmwareVersion, MeterAddress, MeterDriver, PASSWORD_LEN};

use crate::link::{CourierSettings, LinkSettings};
use crate::poll::{METERS_MAX, POLL_INTERVAL_MS_MAX, POLL_INTERVAL_MS_MIN};

/// Who the device is, and the secret it shares with the gateway.
#[derive(Clone, Debug)]
pub struct Identity {
    device: DeviceId,
    key: DeviceKey,
    password: String<PASSWORD_LEN>,
}

impl Identity {
    /// From the device's id and key.
    #[must_use]
    pub fn new(device: DeviceId, key: DeviceKey) -> Self {
        let password = key.mqtt_password();
        Self {
            device,
            key,
            password,
        }
    }

    /// The device's id, also its MQTT user name and client id.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// The key that signs its frames.
    #[must_use]
    pub const fn key(&self) -> &DeviceKey {
        &self.key
    }

    /// Its MQTT password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }
}

/// One meter on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterSettings {
    /// Where it answers.
    pub address: MeterAddress,
    /// How it is read.
    pub driver: MeterDriver,
}

/// What the device does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSettings {
    /// The meters on the bus, each address once; none where the bus finds them by itself.
    pub meters: Vec<MeterSettings, METERS_MAX>,
    /// How often each is polled, in ms.
    pub poll_interval_ms: u32,
    /// What runs, for the `Start` record.
    pub firmware: FirmwareVersion,
    /// The session with the broker.
    pub link: LinkSettings,
    /// Acknowledgements and repetitions.
    pub courier: CourierSettings,
}

/// Settings that can't work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Two meters answer at one address.
    #[error("meter address {0} is there twice; each meter of a bus needs its own")]
    DuplicateAddress(MeterAddress),
    /// The interval is out of range.
    #[error("the poll interval is {POLL_INTERVAL_MS_MIN} to {POLL_INTERVAL_MS_MAX} ms, not {0}")]
    PollInterval(u32),
    /// The keep-alive is out of range.
    #[error("the keep-alive is 10 to 3600 s, not {0}")]
    KeepAlive(u16),
    /// The back-off's bounds are out of order.
    #[error("the back-off goes from at least 1 ms up to its maximum, not from {0} to {1} ms")]
    Backoff(u64, u64),
    /// The acknowledgement time-outs are out of order.
    #[error(
        "the acknowledgement time-out goes from at least 100 ms up to its maximum, not from {0} to {1} ms"
    )]
    AckTimeout(u64, u64),
}

impl DeviceSettings {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        for (index, meter) in self.meters.iter().enumerate() {
            if self
                .meters
                .iter()
                .take(index)
                .any(|other| other.address == meter.address)
            {
                return Err(SettingsError::DuplicateAddress(meter.address));
            }
        }
        if !(POLL_INTERVAL_MS_MIN..=POLL_INTERVAL_MS_MAX).contains(&self.poll_interval_ms) {
            return Err(SettingsError::PollInterval(self.poll_interval_ms));
        }
        let (link, courier) = (&self.link, &self.courier);
        if !(10..=3_600).contains(&link.keep_alive_s) {
            return Err(SettingsError::KeepAlive(link.keep_alive_s));
        }
        if link.backoff_min_ms == 0 || link.backoff_min_ms > link.backoff_max_ms {
            return Err(SettingsError::Backoff(link.backoff_min_ms, link.backoff_max_ms));
        }
        if courier.ack_timeout_ms < 100 || courier.ack_timeout_ms > courier.ack_timeout_ms_max {
            return Err(SettingsError::AckTimeout(
                courier.ack_timeout_ms,
                courier.ack_timeout_ms_max,
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> DeviceSettings {
        let meter = |address| MeterSettings {
            address: MeterAddress::new(address).unwrap(),
            driver: MeterDriver::Sunspec,
        };
        DeviceSettings {
            meters: Vec::from_slice(&[meter(1), meter(2)]).unwrap(),
            poll_interval_ms: 10_000,
            firmware: FirmwareVersion::new(),
            link: LinkSettings::default(),
            courier: CourierSettings::default(),
        }
    }

    #[test]
    fn every_bound_is_checked() {
        assert_eq!(settings().check(), Ok(()));
        let with = |change: fn(&mut DeviceSettings)| {
            let mut settings = settings();
            change(&mut settings);
            settings.check().unwrap_err()
        };
        assert!(matches!(
            with(|s| s.meters[1] = s.meters[0]),
            SettingsError::DuplicateAddress(_)
        ));
        assert_eq!(
            with(|s| s.poll_interval_ms = 199),
            SettingsError::PollInterval(199)
        );
        assert_eq!(with(|s| s.link.keep_alive_s = 9), SettingsError::KeepAlive(9));
        assert!(matches!(
            with(|s| s.link.backoff_min_ms = 0),
            SettingsError::Backoff(..)
        ));
        assert!(matches!(
            with(|s| s.courier.ack_timeout_ms_max = 1),
            SettingsError::AckTimeout(..)
        ));
    }
}
