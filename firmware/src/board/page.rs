//! From the configuration page to what a device is made of.

use heapless::Vec;
use taraz_telemetry::{DeviceId, DevicePage, FirmwareVersion};

use super::Seed;
use crate::config::{DeviceSettings, Identity, MeterSettings};
use crate::link::{CourierSettings, LinkSettings};

/// Who the page says the device is.
#[must_use]
pub fn identity(page: &DevicePage) -> Identity {
    Identity::new(page.device.clone(), page.device_key())
}

/// What the page tells the device to do.
#[must_use]
pub fn settings(page: &DevicePage, firmware: FirmwareVersion) -> DeviceSettings {
    let meters = page.meters.iter();
    DeviceSettings {
        meters: meters
            .map(|&(address, driver)| MeterSettings { address, driver })
            .collect::<Vec<_, _>>(),
        poll_interval_ms: page.poll_interval_ms,
        firmware,
        link: LinkSettings::default(),
        courier: CourierSettings::default(),
    }
}

/// An Ethernet address for a board that was made without one: another for every device id, locally administered (IEEE
/// 802-2014, 8.2: the second bit of the first byte), for one station (the first bit is 0).
#[must_use]
pub fn hardware_address(device: &DeviceId) -> [u8; 6] {
    let [a, b, c, d, e, ..] = Seed::new()
        .with(device.as_str().as_bytes())
        .draw("ethernet")
        .to_le_bytes();
    [0x02, a, b, c, d, e]
}

#[cfg(test)]
pub(super) mod tests {
    use taraz_telemetry::{MeterAddress, MeterDriver, PageBus, PageNetwork, PageParity};

    use super::*;

    pub(in crate::board) fn page() -> DevicePage {
        DevicePage {
            board: "b".try_into().unwrap(),
            device: DeviceId::new("dev-7").unwrap(),
            key_generation: 3,
            key: [9; 32],
            network: PageNetwork::Dhcp,
            broker_host: "broker".try_into().unwrap(),
            broker_port: 1883,
            sntp_host: "time".try_into().unwrap(),
            sntp_port: 123,
            bus: PageBus {
                baud: 9_600,
                parity: PageParity::None,
                stop_bits: 1,
                response_timeout_ms: 1_000,
            },
            poll_interval_ms: 5_000,
            meters: Vec::from_slice(&[(MeterAddress::new(3).unwrap(), MeterDriver::Sunspec)]).unwrap(),
        }
    }

    #[test]
    fn a_page_becomes_identity_and_settings() {
        let page = page();
        let identity = identity(&page);
        assert_eq!(identity.device().as_str(), "dev-7");
        assert_eq!(identity.key().bytes(), &[9; 32]);
        assert_eq!(identity.key().generation(), page.key_generation);
        let settings = settings(&page, FirmwareVersion::new());
        assert_eq!(settings.check(), Ok(()));
        assert_eq!((settings.poll_interval_ms, settings.meters.len()), (5_000, 1));
        assert_eq!(settings.meters[0].driver, MeterDriver::Sunspec);
    }

    #[test]
    fn hardware_addresses_are_local_and_differ() {
        let address = |id| hardware_address(&DeviceId::new(id).unwrap());
        let (one, two) = (address("dev-1"), address("dev-2"));
        assert_ne!(one, two);
        assert_eq!((one[0] & 0b11, two[0] & 0b11), (0b10, 0b10));
        assert_eq!(one, address("dev-1"), "the same at every start");
    }
}
