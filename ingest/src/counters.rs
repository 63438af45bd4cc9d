//! What ingest counts about itself since it started: the source of its `ingest_*_total` metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The label's value.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }
        }
    };
}

labels! {
    /// What became of a reading.
    ReadingResult {
        /// New, placed in time and used.
        Stored = "stored",
        /// Here already, with the same bytes.
        Duplicate = "duplicate",
        /// Here already, with other bytes: kept apart.
        Conflict = "conflict",
        /// New, but held back from analytics.
        Held = "held",
        /// New, but its clock was never set and no anchor of its boot is known yet.
        Unplaced = "unplaced",
        /// Given to the sinks already, and now placed elsewhere by a better anchor; they keep the old point beside the new one.
        Moved = "moved",
    }
}

labels! {
    /// What became of a batch.
    BatchResult {
        /// Committed whole.
        Accepted = "accepted",
        /// No batch, or with items that can never be taken.
        Rejected = "rejected",
        /// Came without the right token.
        Unauthorised = "unauthorised",
        /// Could not be committed; it will come again.
        Failed = "failed",
    }
}

labels! {
    /// Kinds of records.
    RecordKind {
        /// A poll that was answered.
        Reading = "reading",
        /// A run of polls that failed.
        Failure = "failure",
        /// A start of a device.
        Start = "start",
        /// Records the device's full queue overwrote.
        Dropped = "dropped",
        /// A boot's monotonic time in UTC.
        Anchor = "anchor",
        /// How the device is.
        Diagnostics = "diagnostics",
    }
}

labels! {
    /// What became of stored readings.
    StoreEvent {
        /// Compressed, each time that they were.
        Sealed = "sealed",
        /// Compressed as they came, because they could not be put into columns.
        SealedRaw = "sealed_raw",
        /// Given up by `store.keep_readings_days`.
        Forgotten = "forgotten",
        /// Came after their day had been given up, and behind readings that are there: stored, but in no interval.
        TooLate = "too_late",
        /// Passed over because their chunk or run is damaged, each time that they were.
        Damaged = "damaged",
        /// Of days that stay as they are because something in them can't be sealed, each time that it was tried.
        Unsealable = "unsealable",
    }
}

/// Counters since the start; shared by whoever counts and whoever shows them.
#[derive(Debug, Default)]
pub struct Counters {
    readings: [AtomicU64; ReadingResult::ALL.len()],
    batches: [AtomicU64; BatchResult::ALL.len()],
    records: [AtomicU64; RecordKind::ALL.len()],
    store: [AtomicU64; StoreEvent::ALL.len()],
    clock_is_ahead: AtomicBool,
    store_is_blocked: AtomicBool,
}

/// The counters at one instant, each with its label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterSnapshot {
    /// `ingest_readings_total{result}`.
    pub readings: Vec<(&'static str, u64)>,
    /// `ingest_batches_total{result}`.
    pub batches: Vec<(&'static str, u64)>,
    /// `ingest_records_total{kind}`: new records by kind.
    pub records: Vec<(&'static str, u64)>,
    /// `ingest_store_readings_total{event}`: stored readings by what became of them.
    pub store: Vec<(&'static str, u64)>,
    /// `ingest_clock_ahead`.
    pub clock_is_ahead: bool,
    /// `ingest_store_blocked`.
    pub store_is_blocked: bool,
}

impl Counters {
    /// Counts a batch.
    pub fn batch(&self, result: BatchResult) {
        self.batches[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn readings(&self, result: ReadingResult, count: u64) {
        self.readings[result as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn records(&self, kind: RecordKind, count: u64) {
        self.records[kind as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn store(&self, event: StoreEvent, count: u64) {
        self.store[event as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// Keeps whether the system's clock is ahead of all readings; what was kept before.
    pub(crate) fn clock_is_ahead(&self, is_ahead: bool) -> bool {
        self.clock_is_ahead.swap(is_ahead, Ordering::Relaxed)
    }

    /// Keeps whether the last commit failed.
    pub(crate) fn store_is_blocked(&self, is_blocked: bool) {
        self.store_is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Every counter as it stands.
    #[must_use]
    pub fn snapshot(&self) -> CounterSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CounterSnapshot {
            readings: ReadingResult::ALL
                .iter()
                .map(|&r| (r.as_str(), load(&self.readings[r as usize])))
                .collect(),
            batches: BatchResult::ALL
                .iter()
                .map(|&r| (r.as_str(), load(&self.batches[r as usize])))
                .collect(),
            records: RecordKind::ALL
                .iter()
                .map(|&k| (k.as_str(), load(&self.records[k as usize])))
                .collect(),
            store: StoreEvent::ALL
                .iter()
                .map(|&e| (e.as_str(), load(&self.store[e as usize])))
                .collect(),
            clock_is_ahead: self.clock_is_ahead.load(Ordering::Relaxed),
            store_is_blocked: self.store_is_blocked.load(Ordering::Relaxed),
        }
    }
}
