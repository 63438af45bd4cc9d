//! What the gateway hands to ingest: committed runs of records, each with where it stands in the spool.
//!
//! A batch is trusted (the token of the hop), bounded, and idempotent: ingest may get the same one any number of times. Its check sum
//! finds what the link has changed; it authenticates nothing.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::{Boot, Crc32, Incarnation, Records, Sequence};

/// The version byte of a batch.
pub const BATCH_VERSION: u8 = 1;
/// The longest batch in bytes.
pub const BATCH_LEN_MAX: usize = 4 << 20;

/// Behind the items: the CRC-32 of everything before it, little-endian.
const CHECK_SUM_LEN: usize = 4;

/// Why a record is held back from analytics until somebody decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// Its time is before the plant's commissioning or in the future.
    ImplausibleTime,
    /// A value is outside what the meter's nameplate allows.
    ImplausibleValue,
    /// The meter is not in the registry.
    UnknownMeter,
}

impl Hold {
    /// Every reason, for metrics that name them all.
    pub const ALL: [Self; 3] = [Self::ImplausibleTime, Self::ImplausibleValue, Self::UnknownMeter];

    /// The word that stands for it in labels and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImplausibleTime => "implausible_time",
            Self::ImplausibleValue => "implausible_value",
            Self::UnknownMeter => "unknown_meter",
        }
    }
}

/// A run of consecutive records of one device, all held for the same reason or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchItem<'a> {
    /// Where it stands in the gateway's spool; verdicts name it.
    pub position: u64,
    /// When the gateway committed it, UTC ms.
    pub received_ms: u64,
    /// The device's id.
    pub device: &'a str,
    /// Identity of the first record.
    pub incarnation: Incarnation,
    /// Identity of the first record.
    pub boot: Boot,
    /// Identity of the first record.
    pub first: Sequence,
    /// Why it is held, if it is.
    pub hold: Option<Hold>,
    /// The records' bytes, one after the other.
    pub records: &'a [u8],
}

impl<'a> BatchItem<'a> {
    /// The records in their order.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records::new(self.records)
    }
}

/// Bytes that are no batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Another version.
    #[error("batch version {0}, expected {BATCH_VERSION}")]
    Version(u8),
    /// Longer than [`BATCH_LEN_MAX`], or too short for version and check sum.
    #[error("a batch has 5 to {BATCH_LEN_MAX} bytes, this one has {0}")]
    Length(usize),
    /// Not as it was written.
    #[error(
        "the batch says check sum {stated:08x}, its bytes have {found:08x}: it was changed or cut on the way"
    )]
    CheckSum {
        /// What stands behind the items.
        stated: u32,
        /// What the bytes before it give.
        found: u32,
    },
    /// An item can't be read.
    #[error("item {0} of the batch can't be read")]
    Malformed(usize),
}

/// Builds a batch.
#[derive(Debug)]
pub struct BatchWriter {
    bytes: Vec<u8>,
    items: usize,
}

impl Default for BatchWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchWriter {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: alloc::vec![BATCH_VERSION],
            items: 0,
        }
    }

    /// Appends an item. False, and nothing appended, if the batch would grow above [`BATCH_LEN_MAX`].
    pub fn push(&mut self, item: &BatchItem<'_>) -> bool {
        // Five varints of at most ten bytes, the id, the flag and two lengths.
        let room = item.records.len() + item.device.len() + 64;
        if self.bytes.len() + room + CHECK_SUM_LEN > BATCH_LEN_MAX {
            return false;
        }
        let start = self.bytes.len();
        self.bytes.resize(start + room, 0);
        // `room` is above the longest encoding, so this can't fail.
        let used = postcard::to_slice(item, &mut self.bytes[start..]).map_or(0, |used| used.len());
        self.bytes.truncate(start + used);
        self.items += usize::from(used > 0);
        used > 0
    }

    /// How many items it holds.
    #[must_use]
    pub const fn items(&self) -> usize {
        self.items
    }

    /// Its length so far in bytes, without the check sum.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// It holds no item.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The batch's bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let sum = crc_of(&self.bytes);
        self.bytes.extend_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

/// A batch as it was received.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    items: Vec<BatchItem<'a>>,
}

impl<'a> Batch<'a> {
    /// Reads version, check sum and items; the records inside are read item by item, so that one bad item spoils only itself.
    ///
    /// # Errors
    /// [`BatchError`] when it is not a batch at all.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let length = BatchError::Length(bytes.len());
        let (&version, _) = bytes
            .split_first()
            .filter(|_| bytes.len() <= BATCH_LEN_MAX)
            .ok_or(length)?;
        // First: another version may have its check sum elsewhere.
        if version != BATCH_VERSION {
            return Err(BatchError::Version(version));
        }
        let (summed, sum) = bytes
            .split_last_chunk::<CHECK_SUM_LEN>()
            .filter(|(summed, _)| !summed.is_empty())
            .ok_or(length)?;
        let (stated, found) = (u32::from_le_bytes(*sum), crc_of(summed));
        if stated != found {
            return Err(BatchError::CheckSum { stated, found });
        }
        let mut rest = summed.get(1..).ok_or(length)?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            let (item, after) =
                postcard::take_from_bytes(rest).map_err(|_| BatchError::Malformed(items.len()))?;
            items.push(item);
            rest = after;
        }
        Ok(Self { items })
    }

    /// The items in their order.
    #[must_use]
    pub fn items(&self) -> &[BatchItem<'a>] {
        &self.items
    }
}

fn crc_of(bytes: &[u8]) -> u32 {
    Crc32::new().bytes(bytes).sum()
}

/// Ingest's answer to a batch: 200 with no rejected item, or 422 with the ones that can never be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchVerdict {
    /// Items committed, repeated ones included.
    pub accepted: u64,
    /// Items that will be refused however often they come.
    pub rejected: Vec<RejectedItem>,
}

/// One item that can never be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedItem {
    /// Its position in the gateway's spool.
    pub position: u64,
    /// Why.
    pub reason: String,
}
