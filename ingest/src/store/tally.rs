//! Counts of a transaction that may still fail: added to the counters after its commit.

use crate::counters::{Counters, ReadingResult, RecordKind, StoreEvent};

/// Counts of a transaction that may still fail.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) readings: [u64; ReadingResult::ALL.len()],
    pub(super) records: [u64; RecordKind::ALL.len()],
    /// Readings of days that were given up.
    pub(super) too_late: u64,
}

impl Tally {
    pub(super) fn count(&self, counters: &Counters) {
        for &result in ReadingResult::ALL {
            counters.readings(result, self.readings[result as usize]);
        }
        for &kind in RecordKind::ALL {
            counters.records(kind, self.records[kind as usize]);
        }
        counters.store(StoreEvent::TooLate, self.too_late);
    }
}
