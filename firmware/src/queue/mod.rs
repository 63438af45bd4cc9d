//! Records between the poll and the gateway's acknowledgement, and what becomes of them when there is no room.
//!
//! A [`Queue`] is a ring of records that outlives power cuts: a flash on a board, a file on a computer. Records go in at
//! one end, each durable when [`Queue::append`] returns. They are freed by [`Queue::release`], in any order. What was not
//! released is *pending*. When the ring is full, its oldest block (an erasable page, a file) is freed whole: [`store`]
//! first writes a `Dropped` record that names what is in it, then evicts it, so that no loss goes unnamed.
//!
//! What the ring never does: read a clock, encode, sign or send anything, free a record on its own.

mod flash;
#[cfg(test)]
mod memory;
mod owner;
mod ranges;
mod store;

use taraz_telemetry::{Boot, Incarnation, RecordRange, Recovered, Sequence};

#[cfg(test)]
pub(crate) use flash::nor;
pub use flash::{
    FLASH_AREA_LEN_MAX, FLASH_PAGE_LEN_MAX, FLASH_PAGES_MAX, FLASH_RETIRED_MAX, FlashQueue, FlashQueueError,
};
#[cfg(test)]
pub(crate) use memory::MemoryQueue;
pub use owner::QueueOwner;
pub use ranges::DroppedRanges;
pub(crate) use store::store_encoded;
pub use store::{DROPPED_RESERVE_RECORDS, StoreError, Stored, store};

/// Where a record stands in a queue: records are ordered by boot, then by sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Which start of the device.
    pub boot: Boot,
    /// Which record of that boot.
    pub sequence: Sequence,
}

impl Position {
    /// In front of every record.
    pub const START: Self = Self { boot: 0, sequence: 0 };

    /// The position behind it.
    #[must_use]
    pub const fn after(self) -> Self {
        match self.sequence.checked_add(1) {
            Some(sequence) => Self {
                boot: self.boot,
                sequence,
            },
            None => Self {
                boot: self.boot.saturating_add(1),
                sequence: 0,
            },
        }
    }
}

/// What a queue found when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The newest record that outlived the restart; `None` for a queue just formatted.
    pub recovered: Option<Recovered>,
    /// Records that had been written and can't be read any more; to be named by a `Dropped` record.
    pub lost: DroppedRanges,
    /// There is no room in it for those of this boot and later ones: [`Queue::lost_from`] tells them.
    pub lost_more_from: Option<Boot>,
    /// What stood in the memory.
    pub found: Found,
}

/// What a queue found in its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Found {
    /// A queue of this device: it goes on.
    #[default]
    Own,
    /// No queue: the memory was formatted.
    Nothing,
    /// A queue that this program can't read, of another version or size: the memory was formatted.
    Unreadable,
    /// The queue of another device: the memory was formatted, as nobody could have sent its records in that one's name.
    OtherOwner {
        /// How many records were pending in it; they are gone.
        pending_records: u32,
    },
}

impl core::fmt::Display for Found {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Own => f.write_str("it goes on"),
            Self::Nothing => f.write_str("there was no queue"),
            Self::Unreadable => f.write_str("there was a queue of another version or size"),
            Self::OtherOwner { pending_records } => {
                write!(
                    f,
                    "it was another device's, {pending_records} records that waited are gone"
                )
            }
        }
    }
}

/// A durable ring of encoded records.
///
/// An implementation draws a random incarnation when it formats its memory, and counts the boot up when it is opened.
/// Every call but `append`, `skip`, `release` and `evict` leaves the memory as it is. An interrupted write is undone by the next
/// opening; an interrupted release may be forgotten (the record is sent again), never the other way round.
pub trait Queue {
    /// The memory failed: the operation had no effect and may be tried again.
    type Error: core::fmt::Debug + core::fmt::Display;

    /// Which formatting of the memory this is.
    fn incarnation(&self) -> Incarnation;

    /// Which start of the device; every record appended now belongs to it.
    fn boot(&self) -> Boot;

    /// The sequence that the next record gets, from 0.
    fn next_sequence(&self) -> Sequence;

    /// What was found at the start.
    fn recovery(&self) -> &Recovery;

    /// What was found lost at the start, of boots from `from` on: as many ranges as one `Dropped` holds, those of the earliest
    /// boots, and the boot to go on with. To be asked behind [`Recovery::lost_more_from`].
    ///
    /// # Errors
    /// The memory can't be read.
    fn lost_from(&mut self, from: Boot) -> Result<(DroppedRanges, Option<Boot>), Self::Error> {
        let _ = from;
        Ok((DroppedRanges::new(), None))
    }

    /// All that was found lost at the start is named in the queue by now; until then, every opening tells it again.
    fn lost_is_named(&mut self) {}

    /// How many blocks of the memory are not used any more because they failed.
    fn retired_blocks(&self) -> u32 {
        0
    }

    /// Appends one encoded record of at most `RECORD_LEN_MAX` bytes and returns its sequence. The record is durable when
    /// this returns.
    ///
    /// # Errors
    /// The memory failed, or has no room although it is not [full](Self::is_full) (never, in a sound implementation).
    fn append(&mut self, record: &[u8]) -> Result<Sequence, Self::Error>;

    /// Leaves out the next `count` sequences, of records that could not be written: they are never used. Returns the first of
    /// them. Not durable before the next [`append`](Self::append) returns.
    ///
    /// # Errors
    /// The memory failed, or the boot has no more sequences.
    fn skip(&mut self, count: u32) -> Result<Sequence, Self::Error>;

    /// The first pending record at or behind `from`.
    ///
    /// # Errors
    /// The memory can't be read.
    fn next_pending(&mut self, from: Position) -> Result<Option<Position>, Self::Error>;

    /// The bytes of a pending record; `None` when there is none, or when its bytes are damaged.
    ///
    /// # Errors
    /// The memory can't be read.
    fn read<'b>(&mut self, at: Position, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Self::Error>;

    /// Frees the records of a range and returns how many of them were pending. Another incarnation's range frees nothing.
    ///
    /// # Errors
    /// The memory failed.
    fn release(&mut self, range: RecordRange) -> Result<u32, Self::Error>;

    /// The oldest block has to be [evicted](Self::evict) before the next [`append`](Self::append). True early enough that
    /// [`DROPPED_RESERVE_RECORDS`] records can be appended all the same.
    fn is_full(&self) -> bool;

    /// The end of the oldest block: every pending record in front of it is lost by the next [`evict`](Self::evict).
    ///
    /// # Errors
    /// The memory can't be read.
    fn oldest_block_end(&mut self) -> Result<Position, Self::Error>;

    /// Frees the oldest block and returns how many pending records were lost with it. If
    /// [`Self::oldest_block_end`] was asked before, it is that block, and nothing more when it is gone already (an
    /// implementation may have had to give it up itself, and named it).
    ///
    /// # Errors
    /// The memory failed.
    fn evict(&mut self) -> Result<u32, Self::Error>;

    /// How many records are pending.
    fn pending_records(&self) -> u32;

    /// How many records there is room for.
    fn capacity_records(&self) -> u32;
}
