//! Runs of equal failures: an inverter asleep at night is one record every [`FAILURE_RUN_MS_MAX`], not one per poll.

use heapless::Vec;
use taraz_telemetry::{MeterAddress, Outcome, PollFailure, PollStatus, Quantities, Reading, Stamp};

use super::METERS_MAX;

/// The longest run in ms: then it is recorded even if it goes on, so that a power cut loses little of it.
pub const FAILURE_RUN_MS_MAX: u64 = 15 * 60 * 1_000;
/// The most readings that one poll gives: the run it ends, and itself.
pub const READINGS_PER_POLL_MAX: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Run {
    meter: MeterAddress,
    status: PollStatus,
    first: Stamp,
    first_ms: u64,
    last_ms: u64,
    count: u32,
}

impl Run {
    fn reading(&self) -> Reading {
        let span_ms = u32::try_from(self.last_ms - self.first_ms).unwrap_or(u32::MAX);
        let failure = PollFailure {
            status: self.status,
            count: self.count,
            span_ms,
        };
        Reading {
            meter: self.meter,
            stamp: self.first,
            outcome: Outcome::Failed(failure),
        }
    }
}

/// The open run of each meter, by its index in the schedule.
#[derive(Clone, Debug, Default)]
pub struct FailureRuns {
    runs: [Option<Run>; METERS_MAX],
}

impl FailureRuns {
    /// No run is open.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A poll of the meter of this index is over at `now_ms` (monotonic). Returns what to record, in this order.
    pub fn polled(
        &mut self,
        index: usize,
        meter: MeterAddress,
        stamp: Stamp,
        now_ms: u64,
        result: Result<Quantities, PollStatus>,
    ) -> Vec<Reading, READINGS_PER_POLL_MAX> {
        let mut readings = Vec::new();
        let Some(open) = self.runs.get_mut(index) else {
            return readings;
        };
        let goes_on = open
            .as_ref()
            .is_some_and(|run| Err(run.status) == result.as_ref().map(|_| ()).map_err(|s| *s));
        if !goes_on && let Some(run) = open.take() {
            let _ = readings.push(run.reading());
        }
        match (result, open) {
            (Ok(quantities), _) => {
                let _ = readings.push(Reading {
                    meter,
                    stamp,
                    outcome: Outcome::Values(quantities),
                });
            }
            (Err(_), Some(run)) => {
                run.count = run.count.saturating_add(1);
                run.last_ms = now_ms;
            }
            (Err(status), open) => {
                *open = Some(Run {
                    meter,
                    status,
                    first: stamp,
                    first_ms: now_ms,
                    last_ms: now_ms,
                    count: 1,
                });
            }
        }
        readings
    }

    /// A run that is open for [`FAILURE_RUN_MS_MAX`]: closed, to be recorded. Ask until there is none.
    pub fn overdue(&mut self, now_ms: u64) -> Option<Reading> {
        let limit_ms = now_ms.saturating_sub(FAILURE_RUN_MS_MAX);
        let overdue = self
            .runs
            .iter_mut()
            .find(|run| run.is_some_and(|run| run.first_ms <= limit_ms))?;
        overdue.take().map(|run| run.reading())
    }

    /// When the next run is overdue (monotonic ms).
    #[must_use]
    pub fn next_overdue_ms(&self) -> Option<u64> {
        self.runs
            .iter()
            .flatten()
            .map(|run| run.first_ms + FAILURE_RUN_MS_MAX)
            .min()
    }

    /// Any open run, closed, at a stop. Ask until there is none.
    pub fn close(&mut self) -> Option<Reading> {
        self.runs
            .iter_mut()
            .find_map(Option::take)
            .map(|run| run.reading())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use taraz_telemetry::Clock;

    fn meter(index: usize) -> MeterAddress {
        MeterAddress::new(u8::try_from(index).unwrap() + 1).unwrap()
    }

    fn stamp(ms: u64) -> Stamp {
        Stamp {
            ms,
            clock: Clock::Synced,
        }
    }

    fn failure(reading: &Reading) -> PollFailure {
        match reading.outcome {
            Outcome::Failed(failure) => failure,
            Outcome::Values(_) => panic!("values"),
        }
    }

    #[test]
    fn equal_failures_are_one_record_when_they_end() {
        let mut runs = FailureRuns::new();
        for poll in 0..5 {
            let now_ms = poll * 10_000;
            assert!(
                runs.polled(0, meter(0), stamp(now_ms), now_ms, Err(PollStatus::Timeout))
                    .is_empty()
            );
        }
        let readings = runs.polled(0, meter(0), stamp(50_000), 50_000, Ok(Quantities::default()));
        assert_eq!(readings.len(), 2);
        assert_eq!(readings[0].stamp, stamp(0));
        let expected = PollFailure {
            status: PollStatus::Timeout,
            count: 5,
            span_ms: 40_000,
        };
        assert_eq!(failure(&readings[0]), expected);
        assert_eq!(readings[1].stamp, stamp(50_000));
    }

    #[test]
    fn another_failure_ends_a_run_and_begins_one() {
        let mut runs = FailureRuns::new();
        runs.polled(0, meter(0), stamp(1), 1, Err(PollStatus::Timeout));
        let readings = runs.polled(0, meter(0), stamp(2), 2, Err(PollStatus::Exception(2)));
        assert_eq!(readings.len(), 1);
        assert_eq!(failure(&readings[0]).status, PollStatus::Timeout);
        let readings = runs.polled(0, meter(0), stamp(3), 3, Err(PollStatus::Exception(4)));
        assert_eq!(failure(&readings[0]).status, PollStatus::Exception(2));
        assert_eq!(failure(&runs.close().unwrap()).status, PollStatus::Exception(4));
        assert!(runs.close().is_none());
    }

    proptest! {
        /// Every failed poll is counted in exactly one record, and none waits longer than the limit.
        #[test]
        fn no_failure_is_lost_or_counted_twice(
            polls in proptest::collection::vec((0usize..METERS_MAX, 1u64..400_000, 0u8..4), 1..300)
        ) {
            let mut runs = FailureRuns::new();
            let (mut now_ms, mut failed, mut counted, mut answered, mut values) = (0, 0u32, 0u32, 0u32, 0u32);
            let mut take = |reading: &Reading| match &reading.outcome {
                Outcome::Failed(failure) => counted += failure.count,
                Outcome::Values(_) => values += 1,
            };
            for (index, passed_ms, outcome) in polls {
                now_ms += passed_ms;
                while let Some(reading) = runs.overdue(now_ms) {
                    take(&reading);
                }
                prop_assert!(runs.next_overdue_ms().is_none_or(|at_ms| at_ms > now_ms));
                let result = match outcome {
                    0 => Ok(Quantities::default()),
                    1 => Err(PollStatus::Timeout),
                    code => Err(PollStatus::Exception(code)),
                };
                if result.is_ok() { answered += 1 } else { failed += 1 }
                runs.polled(index, meter(index), stamp(now_ms), now_ms, result).iter().for_each(&mut take);
            }
            while let Some(reading) = runs.close() {
                take(&reading);
            }
            prop_assert_eq!((failed, answered), (counted, values));
        }
    }
}
