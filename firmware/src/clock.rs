//! The device's time: monotonic milliseconds since the boot, and UTC as far as it can be trusted.
//!
//! In: samples of UTC with their error (SNTP, the computer's clock). Out: [`Stamp`]s and [`Anchor`]s. Between samples the
//! error grows with [`DRIFT_PPM`]; above [`SYNCED_ERROR_MS_MAX`] a stamp is *holdover*, above [`HOLDOVER_ERROR_MS_MAX`] it is
//! *unsynced* and carries the boot's monotonic time, which an anchor places later.
//!
//! What it never does: read a timer, guess a time, give a stamp that is not later than the one before it. A sample that
//! contradicts what is known has to be confirmed by a second one. After a step back stamps wait at the last one given as long
//! as that is within the holdover's error; then they are unsynced until UTC has passed it.

use taraz_telemetry::{Anchor, Boot, Clock, HOLDOVER_ERROR_MS_MAX, SYNCED_ERROR_MS_MAX, Stamp};

/// How fast a crystal may drift, in millionths: 50 ppm are 4.3 s a day.
pub const DRIFT_PPM: u64 = 50;

/// A boot that had to be anchored is anchored again after this long.
const ANCHOR_INTERVAL_MS: u64 = 3_600_000;

/// UTC at an instant of the boot's monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sample {
    monotonic_ms: u64,
    utc_ms: u64,
    error_ms: u64,
}

impl Sample {
    /// UTC and its error at another instant, reckoned with the drift.
    fn at(&self, monotonic_ms: u64) -> (u64, u64) {
        let drift_ms = (monotonic_ms.abs_diff(self.monotonic_ms) * DRIFT_PPM).div_ceil(1_000_000);
        let utc_ms = (self.utc_ms + monotonic_ms).saturating_sub(self.monotonic_ms);
        (utc_ms, self.error_ms + drift_ms)
    }

    /// Both can be true within their errors.
    fn agrees(&self, later: &Self) -> bool {
        let (utc_ms, error_ms) = self.at(later.monotonic_ms);
        utc_ms.abs_diff(later.utc_ms) <= error_ms + later.error_ms
    }
}

/// The clock of one boot.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    boot: Boot,
    sample: Option<Sample>,
    /// A sample that contradicts `sample` and waits for a second one.
    doubted: Option<Sample>,
    last_utc_ms: Option<u64>,
    /// Unsynced stamps were given that no anchor places yet.
    owes_anchor: bool,
    /// The last anchor's instant.
    anchored_ms: Option<u64>,
}

impl DeviceClock {
    /// A clock that knows no UTC yet.
    #[must_use]
    pub const fn new(boot: Boot) -> Self {
        Self {
            boot,
            sample: None,
            doubted: None,
            last_utc_ms: None,
            owes_anchor: false,
            anchored_ms: None,
        }
    }

    /// Takes a sample: at `monotonic_ms` it was `utc_ms`, off by at most `error_ms`. Returns the anchor to be recorded, if
    /// stamps wait for one.
    ///
    /// A sample that is off by more than both errors while the clock is known is taken only when the next one agrees with
    /// it.
    pub fn sync(&mut self, monotonic_ms: u64, utc_ms: u64, error_ms: u32) -> Option<Anchor> {
        let sample = Sample {
            monotonic_ms,
            utc_ms,
            error_ms: u64::from(error_ms),
        };
        if error_ms > HOLDOVER_ERROR_MS_MAX {
            return None;
        }
        let known = self
            .sample
            .filter(|known| known.at(monotonic_ms).1 <= u64::from(HOLDOVER_ERROR_MS_MAX));
        let contradicts = known.is_some_and(|known| !known.agrees(&sample));
        let confirmed = self.doubted.is_some_and(|doubted| doubted.agrees(&sample));
        if contradicts && !confirmed {
            self.doubted = Some(sample);
            return None;
        }
        self.doubted = None;
        self.sample = Some(sample);
        // A boot with unsynced stamps is anchored again now and then: the nearest anchor has the least drift.
        let again = self
            .anchored_ms
            .is_some_and(|at_ms| monotonic_ms >= at_ms + ANCHOR_INTERVAL_MS);
        if !core::mem::take(&mut self.owes_anchor) && !again {
            return None;
        }
        self.anchored_ms = Some(monotonic_ms);
        Some(Anchor {
            boot: self.boot,
            monotonic_ms,
            utc_ms,
            error_ms,
        })
    }

    /// UTC now, in ms, if it is known well enough to be stamped.
    #[must_use]
    pub fn utc_ms(&self, monotonic_ms: u64) -> Option<u64> {
        let (utc_ms, error_ms) = self.sample?.at(monotonic_ms);
        quality(error_ms).map(|_| utc_ms)
    }

    /// The stamp of something that happens now, later than every stamp before it.
    pub fn stamp(&mut self, monotonic_ms: u64) -> Stamp {
        self.utc_stamp(monotonic_ms).unwrap_or_else(|| {
            self.owes_anchor = true;
            Stamp {
                ms: monotonic_ms,
                clock: Clock::Unsynced,
            }
        })
    }

    fn utc_stamp(&mut self, monotonic_ms: u64) -> Option<Stamp> {
        let (utc_ms, error_ms) = self.sample?.at(monotonic_ms);
        let held_ms = self.last_utc_ms.map_or(utc_ms, |last_ms| utc_ms.max(last_ms + 1));
        let clock = quality(error_ms + (held_ms - utc_ms))?;
        self.last_utc_ms = Some(held_ms);
        Some(Stamp { ms: held_ms, clock })
    }
}

fn quality(error_ms: u64) -> Option<Clock> {
    if error_ms <= u64::from(SYNCED_ERROR_MS_MAX) {
        Some(Clock::Synced)
    } else if error_ms <= u64::from(HOLDOVER_ERROR_MS_MAX) {
        Some(Clock::Holdover)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UTC_MS: u64 = 1_760_000_000_000;

    #[test]
    fn before_the_first_sample_time_counts_since_the_boot() {
        let mut clock = DeviceClock::new(3);
        assert_eq!(
            clock.stamp(1_500),
            Stamp {
                ms: 1_500,
                clock: Clock::Unsynced
            }
        );
        assert_eq!(clock.utc_ms(1_500), None);
        let anchor = clock.sync(2_000, UTC_MS, 20);
        assert_eq!(
            anchor,
            Some(Anchor {
                boot: 3,
                monotonic_ms: 2_000,
                utc_ms: UTC_MS,
                error_ms: 20
            })
        );
        assert_eq!(
            clock.stamp(2_500),
            Stamp {
                ms: UTC_MS + 500,
                clock: Clock::Synced
            }
        );
        assert_eq!(
            clock.sync(3_000, UTC_MS + 1_000, 20),
            None,
            "nothing waits for an anchor"
        );
    }

    /// 50 ppm: with 20 ms at the sample, 1,000 ms are reached after 980 ms / 50 ppm = 19,600 s.
    #[test]
    fn quality_falls_with_the_drift() {
        let mut clock = DeviceClock::new(1);
        clock.sync(0, UTC_MS, 20);
        assert_eq!(clock.stamp(19_600_000).clock, Clock::Synced);
        assert_eq!(clock.stamp(19_600_001).clock, Clock::Holdover);
        assert_eq!(clock.stamp(599_600_000).clock, Clock::Holdover);
        assert_eq!(
            clock.stamp(599_600_001),
            Stamp {
                ms: 599_600_001,
                clock: Clock::Unsynced
            }
        );
        let anchor = clock.sync(600_000_000, UTC_MS + 600_000_000, 20);
        assert!(anchor.is_some(), "the unsynced stamp has to be placed");
    }

    #[test]
    fn a_boot_that_was_anchored_is_anchored_every_hour() {
        let mut clock = DeviceClock::new(1);
        clock.stamp(0);
        let anchors = (0..=180).filter(|minute| {
            let now_ms = minute * 60_000;
            clock.sync(now_ms, UTC_MS + now_ms, 20).is_some()
        });
        assert_eq!(anchors.collect::<Vec<_>>(), [0, 60, 120, 180]);
    }

    #[test]
    fn one_wild_sample_changes_nothing_and_two_that_agree_do() {
        let mut clock = DeviceClock::new(1);
        clock.sync(0, UTC_MS, 20);
        clock.sync(1_000, UTC_MS + 86_400_000, 20);
        assert_eq!(clock.stamp(1_001).ms, UTC_MS + 1_001);
        clock.sync(2_000, UTC_MS + 2_010, 20);
        clock.sync(3_000, UTC_MS + 86_400_000, 20);
        clock.sync(4_000, UTC_MS + 86_401_000, 20);
        assert_eq!(clock.stamp(4_001).ms, UTC_MS + 86_401_001);
    }

    #[test]
    fn after_a_step_back_stamps_wait_then_are_unsynced_until_utc_has_passed() {
        let mut clock = DeviceClock::new(1);
        clock.sync(0, UTC_MS, 0);
        let before = clock.stamp(10_000);
        let back = |clock: &mut DeviceClock, by_ms: u64| {
            clock.sync(10_000, UTC_MS + 10_000 - by_ms, 0);
            clock.sync(10_001, UTC_MS + 10_001 - by_ms, 0)
        };
        let mut slightly = clock.clone();
        back(&mut slightly, 5_000);
        let held = slightly.stamp(10_002);
        assert_eq!(
            held,
            Stamp {
                ms: before.ms + 1,
                clock: Clock::Holdover
            }
        );

        back(&mut clock, 3_600_000);
        assert_eq!(
            clock.stamp(10_002),
            Stamp {
                ms: 10_002,
                clock: Clock::Unsynced
            }
        );
        assert!(
            clock.sync(20_000, UTC_MS + 20_000 - 3_600_000, 0).is_some(),
            "it is placed by an anchor"
        );
        let passed = clock.stamp(10_000 + 3_600_000 + 1);
        assert_eq!(
            passed,
            Stamp {
                ms: before.ms + 1,
                clock: Clock::Synced
            }
        );
    }

    proptest! {
        /// Whatever samples come, UTC stamps of one boot only grow.
        #[test]
        fn stamps_only_grow(
            events in proptest::collection::vec((1u64..100_000, proptest::option::of((0u64..10_000_000, 0u32..2_000))), 1..200)
        ) {
            let mut clock = DeviceClock::new(1);
            let (mut now_ms, mut last) = (0, 0);
            for (passed_ms, sample) in events {
                now_ms += passed_ms;
                if let Some((offset_ms, error_ms)) = sample {
                    clock.sync(now_ms, UTC_MS + offset_ms, error_ms);
                }
                if let Some(utc_ms) = clock.stamp(now_ms).utc_ms() {
                    prop_assert!(utc_ms > last);
                    last = utc_ms;
                }
            }
        }
    }
}
