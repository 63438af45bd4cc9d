//! How a sink goes, for metrics and the API.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The most lines that were set aside of which a sink remembers the text.
pub(crate) const QUARANTINE_SAMPLES_MAX: usize = 16;

/// How a sink goes; counters count since the start.
#[derive(Debug)]
pub(crate) struct SinkStatus {
    name: String,
    lag: AtomicU64,
    written_readings: AtomicU64,
    quarantined_readings: AtomicU64,
    ok_writes: AtomicU64,
    refused_writes: AtomicU64,
    failed_writes: AtomicU64,
    texts: Mutex<Texts>,
}

#[derive(Debug, Default)]
struct Texts {
    last_error: Option<String>,
    samples: VecDeque<Quarantined>,
}

/// A line that the server will never take; its reading stays in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Quarantined {
    /// The line.
    pub(crate) line: String,
    /// What the server said.
    pub(crate) reason: String,
}

/// A sink's status at one instant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct SinkSnapshot {
    /// The sink's name.
    pub(crate) name: String,
    /// How many readings the store has that the sink has not, at most.
    pub(crate) lag_readings: u64,
    /// Readings that the server has taken.
    pub(crate) written_readings: u64,
    /// Readings set aside because the server will never take them.
    pub(crate) quarantined_readings: u64,
    /// Writes that the server took.
    pub(crate) ok_writes: u64,
    /// Writes that it refused because of a line in them.
    pub(crate) refused_writes: u64,
    /// Writes that failed for another reason and were tried again.
    pub(crate) failed_writes: u64,
    /// The last failure that is not yet overcome.
    pub(crate) last_error: Option<String>,
    /// The newest lines that were set aside, at most [`QUARANTINE_SAMPLES_MAX`].
    pub(crate) quarantine_samples: Vec<Quarantined>,
}

impl SinkStatus {
    /// Nothing has happened yet.
    #[must_use]
    pub(crate) fn new(name: String) -> Self {
        Self {
            name,
            lag: AtomicU64::new(0),
            written_readings: AtomicU64::new(0),
            quarantined_readings: AtomicU64::new(0),
            ok_writes: AtomicU64::new(0),
            refused_writes: AtomicU64::new(0),
            failed_writes: AtomicU64::new(0),
            texts: Mutex::default(),
        }
    }

    /// The sink's name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The status as it stands.
    #[must_use]
    pub(crate) fn snapshot(&self) -> SinkSnapshot {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let texts = self.texts();
        SinkSnapshot {
            name: self.name.clone(),
            lag_readings: load(&self.lag),
            written_readings: load(&self.written_readings),
            quarantined_readings: load(&self.quarantined_readings),
            ok_writes: load(&self.ok_writes),
            refused_writes: load(&self.refused_writes),
            failed_writes: load(&self.failed_writes),
            last_error: texts.last_error.clone(),
            quarantine_samples: texts.samples.iter().cloned().collect(),
        }
    }

    pub(super) fn set_lag(&self, readings: u64) {
        self.lag.store(readings, Ordering::Relaxed);
    }

    pub(super) fn written(&self, readings: usize) {
        self.ok_writes.fetch_add(1, Ordering::Relaxed);
        self.written_readings
            .fetch_add(readings as u64, Ordering::Relaxed);
        self.texts().last_error = None;
    }

    pub(super) fn refused(&self) {
        self.refused_writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: String) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        self.texts().last_error = Some(error);
    }

    pub(super) fn quarantined(&self, sample: Quarantined) {
        self.quarantined_readings.fetch_add(1, Ordering::Relaxed);
        let samples = &mut self.texts().samples;
        if samples.len() == QUARANTINE_SAMPLES_MAX {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Texts are whole whatever happened to whoever held them, so a poisoned lock is taken as it is.
    fn texts(&self) -> MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
