//! From rows of the spool to one batch.

use std::collections::BTreeSet;

use taraz_telemetry::{BatchItem, BatchWriter};

use crate::spool::{SpoolError, SpoolReader, StoredRow};

/// Records below which a batch waits a moment for more: each batch costs ingest a commit.
pub const BATCH_READINGS_MIN: u32 = 500;
/// Records above which a batch is closed.
const READINGS_MAX: u32 = 10_000;
/// Items in one batch.
pub(super) const ITEMS_MAX: usize = 10_000;

/// A batch that can be delivered.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) bytes: Vec<u8>,
    /// The positions of its items.
    pub(super) positions: BTreeSet<u64>,
    /// The last position that was read for it.
    pub(super) last: u64,
    /// Positions that can't be forwarded because the row is damaged.
    pub(super) damaged: Vec<u64>,
    /// It ends because there is no more, and it is not much.
    pub(super) small: bool,
}

/// The oldest rows after a position; `None` when there are none.
pub(super) fn prepare(
    reader: &SpoolReader,
    after: u64,
    items_max: usize,
) -> Result<Option<Prepared>, SpoolError> {
    let mut writer = BatchWriter::new();
    let mut positions = BTreeSet::new();
    let (mut last, mut damaged, mut readings, mut full) = (None, Vec::new(), 0_u32, false);
    reader.after(after, |row| {
        full = writer.items() >= items_max || readings >= READINGS_MAX || !push(&mut writer, row);
        if full {
            return false;
        }
        last = Some(row.position);
        if row.damaged {
            damaged.push(row.position);
        } else {
            positions.insert(row.position);
            readings = readings.saturating_add(row.count);
        }
        true
    })?;
    let small = !full && readings < BATCH_READINGS_MIN;
    Ok(last.map(|last| Prepared {
        bytes: writer.finish(),
        positions,
        last,
        damaged,
        small,
    }))
}

/// False when the batch is full. A damaged row is passed over.
fn push(writer: &mut BatchWriter, row: &StoredRow<'_>) -> bool {
    row.damaged
        || writer.push(&BatchItem {
            position: row.position,
            received_ms: row.received_ms,
            device: row.device,
            incarnation: row.incarnation,
            boot: row.boot,
            first: row.first,
            hold: row.hold,
            records: row.records,
        })
}
