//! Whose turn it is.
//!
//! Every meter is due at the multiples of the interval, in UTC once it is known, so that all devices of a plant read at the
//! same instants. Meters that answered last time go first: a dead one costs the others at most its own time-out. A turn that
//! was missed is left out, never made up for.

use heapless::Vec;

/// The most meters on one bus.
pub const METERS_MAX: usize = 8;
/// The shortest interval between two polls of a meter.
pub const POLL_INTERVAL_MS_MIN: u32 = 200;
/// The longest interval: one day.
pub const POLL_INTERVAL_MS_MAX: u32 = 86_400_000;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Poll the meter of this index.
    Poll(usize),
    /// Nothing is due before this instant (monotonic ms).
    Wait {
        /// When to ask again.
        until_ms: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    due_ms: u64,
    failing: bool,
}

/// The poll schedule of one bus.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval_ms: u64,
    slots: Vec<Slot, METERS_MAX>,
}

impl Schedule {
    /// A schedule in which every meter is due at once. `meters` above [`METERS_MAX`] and intervals outside
    /// [`POLL_INTERVAL_MS_MIN`] to [`POLL_INTERVAL_MS_MAX`] are moved to the bound (the configuration refuses them before).
    #[must_use]
    pub fn new(meters: usize, interval_ms: u32) -> Self {
        let slots = (0..meters.min(METERS_MAX))
            .map(|_| Slot {
                due_ms: 0,
                failing: false,
            })
            .collect();
        Self {
            interval_ms: u64::from(interval_ms.clamp(POLL_INTERVAL_MS_MIN, POLL_INTERVAL_MS_MAX)),
            slots,
        }
    }

    /// One meter more, due at once; nothing changes when there are [`METERS_MAX`].
    pub fn add(&mut self) {
        let _ = self.slots.push(Slot {
            due_ms: 0,
            failing: false,
        });
    }

    /// Whose turn it is at `now_ms` (monotonic).
    #[must_use]
    pub fn next(&self, now_ms: u64) -> Turn {
        let due = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.due_ms <= now_ms);
        if let Some((index, _)) = due.min_by_key(|(index, slot)| (slot.failing, slot.due_ms, *index)) {
            return Turn::Poll(index);
        }
        let until_ms = self.slots.iter().map(|slot| slot.due_ms).min();
        Turn::Wait {
            until_ms: until_ms.unwrap_or(now_ms + self.interval_ms),
        }
    }

    /// A poll that began at `began_ms` is over at `now_ms`, when it was `utc_ms` if that is known.
    pub fn polled(&mut self, index: usize, began_ms: u64, now_ms: u64, utc_ms: Option<u64>, answered: bool) {
        let phase_ms = utc_ms.unwrap_or(now_ms) % self.interval_ms;
        let mut due_ms = now_ms + self.interval_ms - phase_ms;
        // A clock set back by a little must not make the instant just served due again.
        if due_ms < began_ms + self.interval_ms / 8 {
            due_ms += self.interval_ms;
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Slot {
                due_ms,
                failing: !answered,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UTC_MS: u64 = 1_760_000_003_456;

    #[test]
    fn all_are_due_at_once_then_at_multiples_of_the_interval_in_utc() {
        let mut schedule = Schedule::new(2, 10_000);
        assert_eq!(schedule.next(0), Turn::Poll(0));
        schedule.polled(0, 0, 100, Some(UTC_MS + 100), true);
        assert_eq!(schedule.next(100), Turn::Poll(1));
        schedule.polled(1, 100, 200, Some(UTC_MS + 200), true);
        // 3,456 ms behind the multiple of 10 s, so 6,544 ms before the next.
        assert_eq!(schedule.next(200), Turn::Wait { until_ms: 6_544 });
        assert_eq!(schedule.next(6_544), Turn::Poll(0));
    }

    #[test]
    fn without_utc_multiples_count_from_the_boot() {
        let mut schedule = Schedule::new(1, 10_000);
        schedule.polled(0, 1_234, 1_250, None, true);
        assert_eq!(schedule.next(1_250), Turn::Wait { until_ms: 10_000 });
    }

    #[test]
    fn a_clock_set_back_by_a_little_does_not_poll_twice() {
        let mut schedule = Schedule::new(1, 10_000);
        schedule.polled(0, 10_000, 10_001, Some(UTC_MS - 3_456 - 1), true);
        assert_eq!(schedule.next(10_001), Turn::Wait { until_ms: 20_002 });
    }

    proptest! {
        /// With any meters dead, one that answers is never further from its instant than one time-out and the answers of
        /// the other living ones.
        #[test]
        fn dead_meters_delay_the_living_by_one_time_out_at_most(dead in proptest::collection::vec(any::<bool>(), 1..=METERS_MAX)) {
            const TIMEOUT_MS: u64 = 3_000;
            const ANSWER_MS: u64 = 50;
            const INTERVAL_MS: u64 = 10_000;
            let mut schedule = Schedule::new(dead.len(), 10_000);
            let mut now_ms = 0;
            let mut polls = [0u32; METERS_MAX];
            while now_ms < 600_000 {
                match schedule.next(now_ms) {
                    Turn::Wait { until_ms } => now_ms = until_ms,
                    Turn::Poll(index) => {
                        let began_ms = now_ms;
                        // The first round does not know yet who is dead.
                        if began_ms >= 60_000 && !dead[index] {
                            let late_ms = began_ms % INTERVAL_MS;
                            prop_assert!(late_ms <= TIMEOUT_MS + ANSWER_MS * METERS_MAX as u64, "{index} is {late_ms} ms late");
                        }
                        now_ms += if dead[index] { TIMEOUT_MS } else { ANSWER_MS };
                        schedule.polled(index, began_ms, now_ms, None, !dead[index]);
                        polls[index] += 1;
                    }
                }
            }
            for (index, dead) in dead.iter().enumerate() {
                prop_assert!(*dead || polls[index] >= 57, "{index} was polled {} times", polls[index]);
                prop_assert!(polls[index] > 0);
            }
        }
    }
}
