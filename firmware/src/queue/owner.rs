//! Whose records a queue holds.

use taraz_telemetry::{Crc32, DeviceId};

/// The owner of a queue in flash: a check sum of the device's id. Another device's queue is never gone on with, so that what one
/// device measured is not sent under another one's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueOwner(u32);

impl QueueOwner {
    /// The owner of this device's records; a new key does not change it.
    #[must_use]
    pub fn of(device: &DeviceId) -> Self {
        Self(Crc32::new().bytes(device.as_str().as_bytes()).sum())
    }

    /// As a page head holds it.
    pub(super) const fn word(self) -> u32 {
        self.0
    }

    pub(super) const fn from_word(word: u32) -> Self {
        Self(word)
    }
}
