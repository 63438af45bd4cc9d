//! Why the ring in flash can't do what it is asked.

use core::fmt::Debug;

use taraz_telemetry::RECORD_LEN_MAX;

/// The flash can't be used as a queue, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashQueueError<E: Debug> {
    /// The driver of the flash failed.
    #[error("the flash failed: {0:?}")]
    Flash(E),
    /// The driver reported success, but what was written reads differently; the same record may be appended again and then
    /// goes elsewhere.
    #[error("the flash did not keep what was written at {address:#x}")]
    NotKept {
        /// Where, in the flash.
        address: u32,
    },
    /// The driver reported success, but what was erased does not read so: the page is tried again, then retired.
    #[error("the flash did not erase the page at {address:#x}")]
    NotErased {
        /// Where, in the flash.
        address: u32,
    },
    /// The area or the flash does not suit.
    #[error("the flash area does not suit: {0}")]
    Area(&'static str),
    /// A record is longer than `RECORD_LEN_MAX`.
    #[error("a record has at most {RECORD_LEN_MAX} bytes, this one has {0}")]
    TooLong(usize),
    /// There is no room, although the oldest block was given up.
    #[error("the flash has no room for the record")]
    NoRoom,
    /// Boots or sequences are used up.
    #[error("this queue has used up its boots or sequences; restart the device, or format the flash")]
    Exhausted,
}
