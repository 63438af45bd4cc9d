//! When to ask, and which answer counts: a round of a few questions, of which the one with the shortest way gives the time.

use super::packet::{KissCode, SntpRefusal, TimeSample};
use super::run::SntpFailure;
use crate::clock::{DRIFT_PPM, SyncOutcome};
use crate::link::{Backoff, Jitter};

/// Questions in a round. The way there and back varies with the network's queues; the shortest is the most certain.
pub const SNTP_SAMPLES: u8 = 4;
/// "With burst, … packets are sent at intervals of 2 s" (RFC 5905, section 13).
const SPACING_MS: u64 = 2_000;
/// The longest time between two rounds, 2^10 s: 50 ppm are 51 ms of drift, and a dozen rounds may fail before a clock is
/// off by a second.
pub const SNTP_INTERVAL_MS_MAX: u64 = 1_024_000;
/// The shortest time between two rounds, 2^6 s: "MINPOLL 6 default minimum poll interval (64 s)" (RFC 5905, appendix A.1.1).
const INTERVAL_MS_MIN: u64 = 64_000;
/// The first wait after a failure …
const RETRY_MS_MIN: u64 = 1_000;
/// … and the longest.
const RETRY_MS_MAX: u64 = 256_000;
/// However often a server asks for rest, it is asked this often: 50 ppm are 820 ms then.
const REST_MS_MAX: u64 = 16_384_000;
/// How long a server that denied access is left alone: "the client MUST … stop sending packets to that server" (RFC 5905,
/// section 7.4). After a day the name may stand for another server, as those of a pool do.
pub const SNTP_PAUSE_DENIED_MS: u64 = 86_400_000;

/// The schedule of one server.
#[derive(Clone, Debug)]
pub(super) struct Rounds {
    jitter: Jitter,
    backoff: Backoff,
    /// When the next question is due, monotonic ms.
    due_ms: u64,
    /// The least time between two questions, once the server asked for it.
    rest_ms: Option<u64>,
    /// The server denied access: it is not asked before this, monotonic ms.
    denied_until_ms: u64,
    /// The clock took a sample of ours.
    has_time: bool,
    asked: u8,
    best: Option<TimeSample>,
}

impl Rounds {
    /// The first question is due at once.
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            jitter: Jitter::new(seed),
            backoff: Backoff::new(RETRY_MS_MIN, RETRY_MS_MAX),
            due_ms: 0,
            rest_ms: None,
            denied_until_ms: 0,
            has_time: false,
            asked: 0,
            best: None,
        }
    }

    /// When to ask next, monotonic ms.
    pub(super) const fn due_ms(&self) -> u64 {
        self.due_ms
    }

    /// An answer. Returns what the clock is to be told, if it is time to: the first one of all at once, then the best of each
    /// round.
    pub(super) fn answered(&mut self, now_ms: u64, sample: TimeSample) -> Option<TimeSample> {
        let error_ms = |sample: &TimeSample| carried(sample, now_ms).error_ms;
        if self.best.is_none_or(|best| error_ms(&sample) < error_ms(&best)) {
            self.best = Some(sample);
        }
        let told = self.asked_once_more(now_ms);
        if told.is_none() && !self.has_time {
            return Some(sample);
        }
        told
    }

    /// No answer, or none that can be believed. Returns what the clock is to be told, if the round ends with this.
    pub(super) fn failed(&mut self, now_ms: u64, failure: SntpFailure) -> Option<TimeSample> {
        match failure {
            SntpFailure::Refused(SntpRefusal::Kiss(KissCode::Rate)) => {
                let rest_ms = self.rest_ms.map_or(2 * INTERVAL_MS_MIN, |rest_ms| rest_ms * 2);
                self.rest_ms = Some(rest_ms.min(REST_MS_MAX));
                self.end_round(now_ms)
            }
            SntpFailure::Refused(SntpRefusal::Kiss(KissCode::Denied)) => {
                let told = self.end_round(now_ms);
                self.denied_until_ms = now_ms + SNTP_PAUSE_DENIED_MS;
                self.due_ms = self.denied_until_ms;
                told
            }
            _ if self.best.is_some() => self.asked_once_more(now_ms),
            _ => {
                self.asked = 0;
                self.retry(now_ms);
                None
            }
        }
    }

    /// What the clock made of what it was told.
    pub(super) fn told(&mut self, now_ms: u64, outcome: SyncOutcome) {
        if outcome == SyncOutcome::Taken {
            self.has_time = true;
            self.backoff.reset();
        } else {
            // A second round confirms it or finds it wrong; a server that goes on saying now this, now that, is asked
            // less and less.
            self.retry(now_ms);
        }
    }

    fn asked_once_more(&mut self, now_ms: u64) -> Option<TimeSample> {
        self.asked += 1;
        let questions = if self.rest_ms.is_some() { 1 } else { SNTP_SAMPLES };
        if self.asked >= questions {
            return self.end_round(now_ms);
        }
        self.due_ms = now_ms + self.jitter.around_ms(SPACING_MS);
        None
    }

    fn end_round(&mut self, now_ms: u64) -> Option<TimeSample> {
        self.asked = 0;
        let told = self.best.take().map(|best| carried(&best, now_ms));
        let interval_ms = self.interval_ms(told.map_or(0, |sample| sample.error_ms));
        self.due_ms = now_ms + self.jitter.around_ms(interval_ms);
        told
    }

    /// A quarter of the time for which the clock stays synced after a sample with this error.
    fn interval_ms(&self, error_ms: u32) -> u64 {
        let left_ms = u64::from(taraz_telemetry::SYNCED_ERROR_MS_MAX.saturating_sub(error_ms));
        let held_ms = left_ms * 1_000_000 / DRIFT_PPM;
        (held_ms / 4)
            .clamp(INTERVAL_MS_MIN, SNTP_INTERVAL_MS_MAX)
            .max(self.rest_ms.unwrap_or(0))
    }

    fn retry(&mut self, now_ms: u64) {
        let wait_ms = self.backoff.after_failure_ms(&mut self.jitter);
        // What the round had brought may be doubted after the denial: that is no reason to ask.
        self.due_ms = (now_ms + wait_ms.max(self.rest_ms.unwrap_or(0))).max(self.denied_until_ms);
    }
}

/// What an earlier sample says about now.
fn carried(sample: &TimeSample, now_ms: u64) -> TimeSample {
    let passed_ms = now_ms.saturating_sub(sample.monotonic_ms);
    let drift_ms = (passed_ms * DRIFT_PPM).div_ceil(1_000_000);
    TimeSample {
        monotonic_ms: sample.monotonic_ms + passed_ms,
        utc_ms: sample.utc_ms + passed_ms,
        error_ms: sample
            .error_ms
            .saturating_add(u32::try_from(drift_ms).unwrap_or(u32::MAX)),
        round_trip_ms: sample.round_trip_ms,
    }
}
