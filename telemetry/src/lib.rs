//! The contract between device, gateway and ingest: readings, frames, acknowledgements, batches, topics and keys.
//!
//! `no_std`, no IO, no allocation unless the `alloc` feature asks for it (batches, range sets). What goes over the wire is stated in `docs/protocol.md` and frozen by the golden bytes in `golden/`.
//!
//! What this crate never does: read a clock, open anything, decide whether a value is plausible.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod ack;
#[cfg(feature = "alloc")]
mod batch;
mod crc;
mod frame;
mod identity;
mod key;
mod meter;
mod page;
mod quantities;
#[cfg(feature = "alloc")]
mod ranges;
mod reading;
mod record;
mod topic;
#[cfg(feature = "alloc")]
mod varints;

pub use ack::{ACK_LEN_MAX, ACK_RANGES_MAX, Ack, AckError};
#[cfg(feature = "alloc")]
pub use batch::{
    BATCH_LEN_MAX, BATCH_VERSION, Batch, BatchError, BatchItem, BatchVerdict, BatchWriter, Hold, RejectedItem,
};
pub use crc::Crc32;
pub use frame::{
    FRAME_LEN_MAX, FRAME_LEN_MIN, Frame, FrameError, FrameWriter, HEAD_LEN_MAX, Peeked, Records, VERSION,
    VERSION_MIN, peek,
};
pub use identity::{
    Boot, DEVICE_ID_LEN_MAX, DeviceId, DeviceIdError, Incarnation, RecordId, RecordRange, Sequence,
};
pub use key::{
    DeviceKey, Direction, KEY_LEN, KeyGeneration, MasterKey, MasterKeyError, PASSWORD_LEN, TAG_LEN, Tag,
};
pub use meter::{MeterAddress, MeterDriver, MeterRole};
pub use page::{
    BOARD_MARKER_PREFIX, BOARD_NAME_LEN_MAX, BoardMarker, DevicePage, FLASH_MAP_FEATHER_NRF52840,
    FLASH_MAP_QEMU_LM3S6965, FLASH_MAP_W5500_EVB_PICO, FLASH_SECTOR_LEN, FlashMap, HOST_LEN_MAX,
    PAGE_BAUD_MAX, PAGE_BAUD_MIN, PAGE_LEN, PAGE_METERS_MAX, PAGE_POLL_INTERVAL_MS_MAX,
    PAGE_POLL_INTERVAL_MS_MIN, PAGE_RESPONSE_TIMEOUT_MS_MAX, PAGE_RESPONSE_TIMEOUT_MS_MIN, PAGE_VERSION,
    PageBus, PageError, PageNetwork, PageParity, board_markers, second_page_counts,
};
pub use quantities::{Field, MPPT_MAX, Mppt, Quantities};
#[cfg(feature = "alloc")]
pub use ranges::RangeSet;
pub use reading::{
    Clock, HOLDOVER_ERROR_MS_MAX, Outcome, PollFailure, PollStatus, Reading, SYNCED_ERROR_MS_MAX, Stamp,
};
pub use record::{
    Anchor, DIAGNOSTICS_METERS_MAX, DROPPED_RANGES_MAX, Diagnostics, Dropped, FirmwareVersion,
    MeterDiagnostics, RECORD_LEN_MAX, Record, RecordError, Recovered, ResetCause, Start,
};
pub use topic::{Channel, TOPIC_LEN_MAX, TOPIC_PREFIX, Topic, parse_topic};
