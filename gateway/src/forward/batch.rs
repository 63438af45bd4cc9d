//! From rows of the spool to one batch.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use taraz_telemetry::{BatchItem, BatchWriter};

use crate::spool::{SpoolError, SpoolReader, StoredRow};

/// Records from which on a batch takes no further item. A backlog comes in batches of this size; larger ones would keep a live reading
/// waiting behind one of them, and the doors while it is removed from the spool.
pub(super) const READINGS_MAX: u32 = 20_000;
/// Items in one batch.
pub(super) const ITEMS_MAX: usize = 20_000;
/// The part of a batch that stays for the oldest rows however much is live: a backlog must end some day.
const OLDEST_SHARE: u32 = 8;

/// A batch that can be delivered.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) bytes: Vec<u8>,
    /// The positions of its items.
    pub(super) positions: BTreeSet<u64>,
    /// Everything up to here is in it, or was before.
    pub(super) last: u64,
    /// And these ranges above it.
    pub(super) ahead: Vec<RangeInclusive<u64>>,
    /// Positions that can't be forwarded because the row is damaged.
    pub(super) damaged: BTreeSet<u64>,
    /// It ends because it is full, and more waits.
    pub(super) is_full: bool,
}

/// The rows of `live`, then the oldest ones after a position; `None` when there are none.
pub(super) fn prepare(
    reader: &SpoolReader,
    after: u64,
    live: &[RangeInclusive<u64>],
    items_max: usize,
) -> Result<Option<Prepared>, SpoolError> {
    let mut filling = Filling::default();
    let mut ahead = Vec::new();
    let live_items_max = items_max - items_max / OLDEST_SHARE as usize;
    let live_readings_max = READINGS_MAX - READINGS_MAX / OLDEST_SHARE;
    for range in live {
        let (mut last, mut is_full) = (None, false);
        reader.between(range, |row| {
            is_full = !filling.take(row, live_items_max, live_readings_max);
            last = if is_full { last } else { Some(row.position) };
            !is_full
        })?;
        ahead.extend(last.map(|last| *range.start()..=last));
        if is_full {
            break;
        }
    }
    let (mut last, mut is_full) = (after, false);
    reader.after(after, |row| {
        is_full = !filling.holds(row.position) && !filling.take(row, items_max, READINGS_MAX);
        last = if is_full { last } else { row.position };
        !is_full
    })?;
    if filling.positions.is_empty() && filling.damaged.is_empty() {
        return Ok(None);
    }
    Ok(Some(Prepared {
        is_full,
        bytes: filling.writer.finish(),
        positions: filling.positions,
        last,
        ahead,
        damaged: filling.damaged,
    }))
}

/// A batch that grows.
#[derive(Default)]
struct Filling {
    writer: BatchWriter,
    positions: BTreeSet<u64>,
    damaged: BTreeSet<u64>,
    readings: u32,
}

impl Filling {
    /// False when the batch is full. A damaged row is noted and passed over.
    fn take(&mut self, row: &StoredRow<'_>, items_max: usize, readings_max: u32) -> bool {
        if self.writer.items() >= items_max || self.readings >= readings_max {
            return false;
        }
        if row.damaged {
            self.damaged.insert(row.position);
            return true;
        }
        let item = BatchItem {
            position: row.position,
            received_ms: row.received_ms,
            device: row.device,
            incarnation: row.incarnation,
            boot: row.boot,
            first: row.first,
            hold: row.hold,
            records: row.records,
        };
        if !self.writer.push(&item) {
            return false;
        }
        self.positions.insert(row.position);
        self.readings = self.readings.saturating_add(row.count);
        true
    }

    fn holds(&self, position: u64) -> bool {
        self.positions.contains(&position) || self.damaged.contains(&position)
    }
}
