//! The device's time: monotonic milliseconds since the boot, and UTC as far as it can be trusted.
//!
//! In: samples of UTC with their error (SNTP, the computer's clock). Out: [`Stamp`]s and [`Anchor`]s. Between samples the
//! error grows with [`DRIFT_PPM`]; above [`SYNCED_ERROR_MS_MAX`] a stamp is *holdover*, above [`HOLDOVER_ERROR_MS_MAX`] it is
//! *unsynced* and carries the boot's monotonic time, which an anchor places later.
//!
//! The drift of the crystal is not estimated: it moves with the temperature of a box in the sun, and an estimate that is
//! off would make the stated error a guess. The bound holds without one, for a week of holdover.
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

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncOutcome {
    /// The clock goes by it from now on.
    Taken,
    /// It contradicts what is known; the next one that agrees with it is taken.
    Doubted,
    /// Its error is above [`HOLDOVER_ERROR_MS_MAX`]; it changes nothing.
    TooVague,
}

/// What a sample led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What became of it.
    pub outcome: SyncOutcome,
    /// To be recorded: it places the boot's unsynced stamps.
    pub anchor: Option<Anchor>,
}

/// How the clock is at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStatus {
    /// The quality of what would be stamped now.
    pub clock: Clock,
    /// UTC, if it is known well enough to be stamped, in ms.
    pub utc_ms: Option<u64>,
    /// By how much UTC may be off, once there was a sample, in ms.
    pub error_ms: Option<u64>,
    /// How long ago the last sample was taken, in ms.
    pub last_sync_age_ms: Option<u64>,
}

/// The clock of one boot.
#[derive(Clone, Debug)]
pub struct DeviceClock {
    boot: Boot,
    sample: Option<Sample>,
    /// A sample that contradicts `sample` and waits for a second one.
    doubted: Option<Sample>,
    last_utc_ms: Option<u64>,
    /// Unsynced stamps were given in this boot.
    has_unsynced: bool,
    /// The sample of the last anchor.
    anchored: Option<Sample>,
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
            has_unsynced: false,
            anchored: None,
        }
    }

    /// Takes a sample: at `monotonic_ms` it was `utc_ms`, off by at most `error_ms`. Returns the anchor to be recorded, too,
    /// if stamps wait for one.
    ///
    /// A sample that is off by more than both errors while the clock is known is taken only when the next one agrees with
    /// it.
    pub fn sync(&mut self, monotonic_ms: u64, utc_ms: u64, error_ms: u32) -> Synced {
        let nothing = |outcome| Synced {
            outcome,
            anchor: None,
        };
        let sample = Sample {
            monotonic_ms,
            utc_ms,
            error_ms: u64::from(error_ms),
        };
        if error_ms > HOLDOVER_ERROR_MS_MAX {
            return nothing(SyncOutcome::TooVague);
        }
        let known = self
            .sample
            .filter(|known| known.at(monotonic_ms).1 <= u64::from(HOLDOVER_ERROR_MS_MAX));
        let contradicts = known.is_some_and(|known| !known.agrees(&sample));
        let confirmed = self.doubted.is_some_and(|doubted| doubted.agrees(&sample));
        if contradicts && !confirmed {
            self.doubted = Some(sample);
            return nothing(SyncOutcome::Doubted);
        }
        self.doubted = None;
        self.sample = Some(sample);
        if !self.needs_anchor(&sample) {
            return nothing(SyncOutcome::Taken);
        }
        self.anchored = Some(sample);
        let anchor = Anchor {
            boot: self.boot,
            monotonic_ms,
            utc_ms,
            error_ms,
        };
        Synced {
            outcome: SyncOutcome::Taken,
            anchor: Some(anchor),
        }
    }

    /// A boot with unsynced stamps is anchored at once, then now and then, since the nearest anchor has the least drift, and
    /// whenever UTC turns out to be another one than the last anchor said.
    fn needs_anchor(&self, sample: &Sample) -> bool {
        self.has_unsynced
            && self.anchored.is_none_or(|anchored| {
                sample.monotonic_ms >= anchored.monotonic_ms + ANCHOR_INTERVAL_MS || !anchored.agrees(sample)
            })
    }

    /// How it is now.
    #[must_use]
    pub fn status(&self, monotonic_ms: u64) -> ClockStatus {
        let reckoned = self.sample.map(|sample| sample.at(monotonic_ms));
        let stamped = reckoned.and_then(|(utc_ms, error_ms)| {
            let ahead_ms = self
                .last_utc_ms
                .map_or(0, |last_ms| (last_ms + 1).saturating_sub(utc_ms));
            Some((utc_ms, quality(error_ms + ahead_ms)?))
        });
        ClockStatus {
            clock: stamped.map_or(Clock::Unsynced, |(_, clock)| clock),
            utc_ms: stamped.map(|(utc_ms, _)| utc_ms),
            error_ms: reckoned.map(|(_, error_ms)| error_ms),
            last_sync_age_ms: self
                .sample
                .map(|sample| monotonic_ms.saturating_sub(sample.monotonic_ms)),
        }
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
            self.has_unsynced = true;
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
            Synced {
                outcome: SyncOutcome::Taken,
                anchor: Some(Anchor {
                    boot: 3,
                    monotonic_ms: 2_000,
                    utc_ms: UTC_MS,
                    error_ms: 20
                })
            }
        );
        assert_eq!(
            clock.stamp(2_500),
            Stamp {
                ms: UTC_MS + 500,
                clock: Clock::Synced
            }
        );
        assert_eq!(
            clock.sync(3_000, UTC_MS + 1_000, 20).anchor,
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
        assert!(anchor.anchor.is_some(), "the unsynced stamp has to be placed");
    }

    #[test]
    fn a_boot_that_was_anchored_is_anchored_every_hour() {
        let mut clock = DeviceClock::new(1);
        clock.stamp(0);
        let anchors = (0..=180).filter(|minute| {
            let now_ms = minute * 60_000;
            clock.sync(now_ms, UTC_MS + now_ms, 20).anchor.is_some()
        });
        assert_eq!(anchors.collect::<Vec<_>>(), [0, 60, 120, 180]);
    }

    #[test]
    fn one_wild_sample_changes_nothing_and_two_that_agree_do() {
        let mut clock = DeviceClock::new(1);
        clock.sync(0, UTC_MS, 20);
        assert_eq!(
            clock.sync(1_000, UTC_MS + 86_400_000, 20).outcome,
            SyncOutcome::Doubted
        );
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
            clock
                .sync(20_000, UTC_MS + 20_000 - 3_600_000, 0)
                .anchor
                .is_some(),
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

    #[test]
    fn an_anchor_that_turns_out_wrong_is_followed_by_one_that_is_right() {
        let mut clock = DeviceClock::new(1);
        clock.stamp(0);
        assert!(clock.sync(1_000, UTC_MS + 86_400_000, 20).anchor.is_some());
        assert_eq!(clock.stamp(1_500).ms, UTC_MS + 86_400_500);
        assert_eq!(
            clock.sync(2_000, UTC_MS + 1_000, 20).outcome,
            SyncOutcome::Doubted
        );
        let mended = clock.sync(3_000, UTC_MS + 2_000, 20);
        assert_eq!(mended.anchor.map(|anchor| anchor.utc_ms), Some(UTC_MS + 2_000));
        // Unsynced until UTC has passed the day; the anchor is good for all of it.
        for now_ms in (13_000..3_600_000).step_by(10_000) {
            assert_eq!(clock.stamp(now_ms).clock, Clock::Unsynced);
            assert_eq!(clock.sync(now_ms, UTC_MS + now_ms - 1_000, 20).anchor, None);
        }
    }

    #[test]
    fn the_status_says_what_would_be_stamped_and_since_when() {
        let mut clock = DeviceClock::new(1);
        let unknown = ClockStatus {
            clock: Clock::Unsynced,
            utc_ms: None,
            error_ms: None,
            last_sync_age_ms: None,
        };
        assert_eq!(clock.status(5_000), unknown);
        clock.sync(5_000, UTC_MS, 20);
        let later = ClockStatus {
            clock: Clock::Holdover,
            utc_ms: Some(UTC_MS + 20_000_000),
            error_ms: Some(1_020),
            last_sync_age_ms: Some(20_000_000),
        };
        assert_eq!(clock.status(20_005_000), later);
        let lost = clock.status(700_005_000);
        assert_eq!(
            (lost.clock, lost.utc_ms, lost.error_ms),
            (Clock::Unsynced, None, Some(35_020))
        );
    }

    const DAY_MS: i64 = 86_400_000;

    /// What the time server says is off by this, now and then by a day.
    fn lie_ms() -> impl Strategy<Value = i64> {
        prop_oneof![4 => Just(0), 1 => Just(DAY_MS), 1 => Just(-DAY_MS), 1 => -2_000..2_000_i64, 1 => -40_000..40_000_i64]
    }

    proptest! {
        /// The clock steps by a day and back, the crystal drifts: no stamp is given twice, none is earlier than the one before
        /// it on the same scale, and what is stamped while the server tells the truth is as good as it says.
        #[test]
        fn steps_never_reorder_or_duplicate(
            drift_ppm in -50_i64..=50,
            events in proptest::collection::vec((1_u64..3_000_000, proptest::option::of(lie_ms())), 1..150)
        ) {
            let mut clock = DeviceClock::new(1);
            let (mut now_ms, mut last_utc_ms, mut last_unsynced_ms) = (0_u64, 0, 0);
            let mut lied = false;
            for (passed_ms, sync) in events {
                now_ms += passed_ms;
                let true_ms = UTC_MS + now_ms.saturating_add_signed(now_ms.cast_signed() * drift_ppm / 1_000_000);
                if let Some(lie_ms) = sync {
                    lied |= lie_ms != 0;
                    clock.sync(now_ms, true_ms.saturating_add_signed(lie_ms), 20);
                }
                let expected = clock.status(now_ms).clock;
                let stamp = clock.stamp(now_ms);
                prop_assert_eq!(stamp.clock, expected);
                let Some(utc_ms) = stamp.utc_ms() else {
                    prop_assert_eq!(stamp.ms, now_ms);
                    prop_assert!(now_ms > last_unsynced_ms);
                    last_unsynced_ms = now_ms;
                    continue;
                };
                prop_assert!(utc_ms > last_utc_ms);
                last_utc_ms = utc_ms;
                let bound_ms = if stamp.clock == Clock::Synced { SYNCED_ERROR_MS_MAX } else { HOLDOVER_ERROR_MS_MAX };
                prop_assert!(lied || utc_ms.abs_diff(true_ms) <= u64::from(bound_ms));
            }
        }

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
