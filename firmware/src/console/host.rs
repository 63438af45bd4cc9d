//! What the console needs of the device and of the board.

use heapless::Vec;
use taraz_telemetry::{DeviceId, DevicePage, FirmwareVersion, PageError};

use crate::app::{Device, DeviceStatus, MeterStatus, Observer};
use crate::poll::METERS_MAX;
use crate::queue::Queue;

/// The device as the console sees it.
pub trait ConsoleDevice {
    /// Who it is.
    fn id(&self) -> DeviceId;
    /// What runs.
    fn firmware(&self) -> FirmwareVersion;
    /// How often each meter is polled, in ms.
    fn poll_interval_ms(&self) -> u32;
    /// How it is.
    fn status(&self) -> DeviceStatus;
    /// Its meters.
    fn meters(&self) -> Vec<MeterStatus, METERS_MAX>;
}

impl<Q: Queue, O: Observer> ConsoleDevice for Device<Q, O> {
    fn id(&self) -> DeviceId {
        Device::id(self)
    }

    fn firmware(&self) -> FirmwareVersion {
        self.settings().firmware.clone()
    }

    fn poll_interval_ms(&self) -> u32 {
        self.settings().poll_interval_ms
    }

    fn status(&self) -> DeviceStatus {
        Device::status(self)
    }

    fn meters(&self) -> Vec<MeterStatus, METERS_MAX> {
        Device::meters(self)
    }
}

/// What a board adds.
pub trait ConsoleHost {
    /// The board's name.
    fn board(&self) -> &str;

    /// How the run before this one ended, if it did not end in order.
    fn last_run(&self) -> Option<&str> {
        None
    }

    /// The network; `None` when none was started.
    fn net(&self) -> Option<NetStatus>;

    /// Reads the configuration page.
    ///
    /// # Errors
    /// [`PageError`]: what stands there is none.
    fn load_page(&self) -> Result<DevicePage, PageError>;

    /// Writes the configuration page; it is used from the next start on.
    ///
    /// # Errors
    /// [`PageSaveError`]: the page that counts on the board is the old one.
    fn save_page(&self, page: &DevicePage) -> Result<(), PageSaveError>;

    /// Starts anew, soon: what was said is still sent.
    fn reboot(&self);
}

/// A page that was not saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageSaveError {
    /// A value can't work.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The flash did not take it.
    #[error("the flash did not take the page; the one from before stays: save it again")]
    Memory,
}

/// The network of a board, IPv4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetStatus {
    /// The cable is plugged in; `None` where that can't be told.
    pub cable: Option<bool>,
    /// The Ethernet address.
    pub hardware_address: [u8; 6],
    /// Own address and bits of the network part; `None` while there is none.
    pub address: Option<([u8; 4], u8)>,
    /// The router to other networks.
    pub gateway: Option<[u8; 4]>,
    /// The first DNS server.
    pub dns: Option<[u8; 4]>,
    /// How long an address has been waited for, in ms; 0 with one.
    pub address_wait_ms: u64,
}
