//! What is known of the present: the newest reading of every meter, by its number in the registry.
//!
//! All of it lies in three rows, so that it is copied in a moment: whoever looks at the whole fleet copies it, and the store's
//! writer waits for nobody.

use std::sync::Arc;

use taraz_telemetry::Quantities;

use crate::analytics::day_start_ms;
use crate::figures::{Figures, Outlook};
use crate::view::DeviceHealth;

/// A meter's values are gone after this many polls were missed.
const POLLS_MISSED_MAX: i64 = 3;
/// The shortest time in which they go: a poll interval of 10 s and less is not held against its jitter.
const STALE_MS_MIN: i64 = 30_000;
/// A meter whose poll interval isn't known yet is taken as polled this often.
const POLL_DEFAULT_MS: i64 = 10_000;
/// How many poll intervals are looked back at.
const INTERVALS_KEPT: usize = 4;
/// A backlog has drained when none of its readings came for so long.
const DRAINED_AFTER_MS: i64 = 10_000;
/// Figures older than this are unknown.
pub(crate) const FIGURES_AGE_MS_MAX: i64 = 60_000;
/// An outlook older than this is unknown: it changes with quarter-hours, and costs more.
const OUTLOOK_AGE_MS_MAX: i64 = 20 * 60_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// Of every meter, in the order of the registry.
    pub(super) meters: Vec<Option<MeterState>>,
    /// Of every device, by its number.
    pub(super) devices: Vec<DeviceState>,
    /// When a reading of a backlog came last, by plant.
    pub(super) late_ms: Vec<Option<i64>>,
    pub(super) figures: Arc<Figures>,
    pub(super) outlook: Arc<Outlook>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct DeviceState {
    pub(super) last_reading_ms: Option<i64>,
    pub(super) last_received_ms: Option<i64>,
    /// What it said of itself last.
    pub(super) health: Option<Arc<DeviceHealth>>,
}

#[derive(Clone, Debug)]
pub(super) struct MeterState {
    pub(super) time_ms: i64,
    pub(super) values: Quantities,
    /// The last distances between newest readings in ms, a ring.
    intervals_ms: [i64; INTERVALS_KEPT],
    /// How many of them are known.
    known: usize,
    next: usize,
}

impl MeterState {
    pub(super) fn new(time_ms: i64, values: &Quantities) -> Self {
        Self {
            time_ms,
            values: values.clone(),
            intervals_ms: [0; INTERVALS_KEPT],
            known: 0,
            next: 0,
        }
    }

    pub(super) fn set(&mut self, time_ms: i64, values: &Quantities) {
        self.time_ms = time_ms;
        self.values.clone_from(values);
    }

    pub(super) fn ac_power_w(&self) -> Option<i64> {
        self.values.ac_power_w.map(i64::from)
    }

    pub(super) fn learn(&mut self, interval_ms: i64) {
        self.intervals_ms[self.next] = interval_ms;
        self.known = (self.known + 1).min(INTERVALS_KEPT);
        self.next = (self.next + 1) % INTERVALS_KEPT;
    }

    /// Three polls, by the shortest of the last intervals: an outage does not make the next one look shorter.
    pub(super) fn is_stale(&self, now_ms: i64) -> bool {
        let shortest = self.intervals_ms[..self.known].iter().copied().min();
        let interval_ms = shortest.unwrap_or(POLL_DEFAULT_MS);
        now_ms - self.time_ms > (POLLS_MISSED_MAX * interval_ms).max(STALE_MS_MIN)
    }
}

impl Present {
    pub(super) fn is_draining(&self, plant: usize, now_ms: i64) -> bool {
        let late_ms = self.late_ms.get(plant).copied().flatten();
        late_ms.is_some_and(|late_ms| now_ms - late_ms <= DRAINED_AFTER_MS)
    }

    pub(super) fn fresh_figures(&self, now_ms: i64) -> Option<&Figures> {
        Some(&*self.figures).filter(|figures| (now_ms - figures.at_ms).abs() <= FIGURES_AGE_MS_MAX)
    }

    /// The outlook, while it is of today and not too old.
    pub(super) fn fresh_outlook(&self, now_ms: i64) -> Option<&Outlook> {
        let is_fresh = |outlook: &&Outlook| {
            (now_ms - outlook.at_ms).abs() <= OUTLOOK_AGE_MS_MAX
                && outlook.day_start_ms == day_start_ms(now_ms)
        };
        Some(&*self.outlook).filter(is_fresh)
    }
}

/// The newest reading of some meters, UTC ms.
pub(super) fn newest_ms(meters: &[Option<MeterState>]) -> Option<i64> {
    meters.iter().flatten().map(|state| state.time_ms).max()
}
