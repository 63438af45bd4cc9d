//! How a sink goes, for metrics and the API.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The most lines that were set aside of which a sink remembers the text.
pub(crate) const QUARANTINE_SAMPLES_MAX: usize = 16;

/// What lines are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Readings = 0,
    Figures = 1,
}

/// How a sink goes; counters count since the start.
#[derive(Debug)]
pub(crate) struct SinkStatus {
    name: String,
    /// Of [`What`]: readings that the store has and the sink has not; changes, days and sites that the sink has not got.
    lag: [AtomicU64; 2],
    written: [AtomicU64; 2],
    quarantined: [AtomicU64; 2],
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

/// A line that the server will never take; what it states stays in the store.
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
    /// How many changes of devices whose figures are closed, days that are over and whole sites the sink has not got.
    pub(crate) lag_changes: u64,
    /// Points of figures that the server has taken.
    pub(crate) written_figures: u64,
    /// Points of figures set aside because the server will never take them.
    pub(crate) quarantined_figures: u64,
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
            lag: Default::default(),
            written: Default::default(),
            quarantined: Default::default(),
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
            lag_readings: load(&self.lag[What::Readings as usize]),
            written_readings: load(&self.written[What::Readings as usize]),
            quarantined_readings: load(&self.quarantined[What::Readings as usize]),
            lag_changes: load(&self.lag[What::Figures as usize]),
            written_figures: load(&self.written[What::Figures as usize]),
            quarantined_figures: load(&self.quarantined[What::Figures as usize]),
            ok_writes: load(&self.ok_writes),
            refused_writes: load(&self.refused_writes),
            failed_writes: load(&self.failed_writes),
            last_error: texts.last_error.clone(),
            quarantine_samples: texts.samples.iter().cloned().collect(),
        }
    }

    pub(super) fn set_lag(&self, what: What, behind: u64) {
        self.lag[what as usize].store(behind, Ordering::Relaxed);
    }

    pub(super) fn written(&self, what: What, lines: usize) {
        self.ok_writes.fetch_add(1, Ordering::Relaxed);
        self.written[what as usize].fetch_add(lines as u64, Ordering::Relaxed);
        self.texts().last_error = None;
    }

    pub(super) fn refused(&self) {
        self.refused_writes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, error: String) {
        self.failed_writes.fetch_add(1, Ordering::Relaxed);
        self.texts().last_error = Some(error);
    }

    pub(super) fn quarantined(&self, what: What, sample: Quarantined) {
        self.quarantined[what as usize].fetch_add(1, Ordering::Relaxed);
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
