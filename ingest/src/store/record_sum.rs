//! The check sum of a record that has a row of its own.
//!
//! It covers what never changes once the row is written. Its place in the feed, its time, why it is held and since when it waits
//! change with what is known later, and are not part of it.

use taraz_telemetry::{Crc32, Sequence};

use super::damage::Damaged;
use super::rows::boot_key;
use super::state::BootKey;

/// What the sum is made from, and the sum: to be selected for [`Summed::read`].
pub(super) const COLUMNS: &str =
    "record.device, incarnation, boot, sequence, kind, meter, clock, received_ms, bytes, crc";
/// How many columns that are.
pub(super) const COLUMNS_LEN: usize = 10;

/// What never changes of a record's row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summed<'b> {
    pub(super) boot: BootKey,
    pub(super) sequence: Sequence,
    pub(super) kind: u8,
    pub(super) meter: Option<u8>,
    pub(super) clock: u8,
    pub(super) received_ms: i64,
    pub(super) bytes: &'b [u8],
}

impl<'r> Summed<'r> {
    /// The row, and the sum that stands in it, from [`COLUMNS`] beginning at this one.
    pub(super) fn read(row: &'r rusqlite::Row<'_>, at: usize) -> rusqlite::Result<(Self, u32)> {
        let summed = Self {
            boot: boot_key(row, at)?,
            sequence: row.get(at + 3)?,
            kind: row.get(at + 4)?,
            meter: row.get(at + 5)?,
            clock: row.get(at + 6)?,
            received_ms: row.get(at + 7)?,
            bytes: row.get_ref(at + 8)?.as_blob()?,
        };
        Ok((summed, row.get(at + 9)?))
    }

    /// The CRC-32 of each number as eight bytes, little-endian, in the order of the fields (no meter is -1), then the record.
    pub(super) fn sum(&self) -> u32 {
        let numbers = [
            self.boot.device,
            i64::from(self.boot.incarnation),
            i64::from(self.boot.boot),
            i64::from(self.sequence),
            i64::from(self.kind),
            self.meter.map_or(-1, i64::from),
            i64::from(self.clock),
            self.received_ms,
        ];
        let mut head = [0; 8 * 8];
        for (bytes, number) in head.chunks_exact_mut(8).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        Crc32::new().bytes(&head).bytes(self.bytes).sum()
    }

    /// Whether the row is what was written.
    pub(super) fn check(&self, id: i64, crc: u32) -> Result<(), Damaged> {
        if self.sum() == crc {
            return Ok(());
        }
        Err(Damaged {
            table: "record",
            id,
            readings: 1,
            what: "it has another check sum",
        })
    }
}
