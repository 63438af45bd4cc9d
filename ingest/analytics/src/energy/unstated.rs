//! A register that its meter states only once it counts.
//!
//! SunSpec's `acc32` says "not accumulated" at 0, so a two-way meter that never exported states no export. In every reading that
//! states the other register it stood at 0, and between two such readings it can't have counted.

use super::{Ledger, Meter, Point, account};

/// What a register did before its `first` value: it stood at 0 from the first reading that states the meter's other register to the
/// last one before `first` (`zero_ms`, both UTC ms), and counted to `first` from there. `None` when the meter can't have counted so
/// much in that time: then it stood elsewhere, and what was before is unknown. Without a `first` value it stands at 0 to the end.
#[must_use]
pub fn before_first(meter: &Meter, zero_ms: (i64, i64), first: Option<Point>) -> Option<Ledger> {
    let zero = |time_ms| Point { time_ms, value_wh: 0 };
    let (begin, last) = (zero(zero_ms.0), zero(zero_ms.1));
    let mut points = vec![begin];
    points.extend((last.time_ms > begin.time_ms).then_some(last));
    if let Some(first) = first {
        let since = account(meter, &[last, first]);
        if !since.segments().iter().all(|segment| segment.is_known()) {
            return None;
        }
        points.push(first);
    }
    Some(account(meter, &points))
}

impl Ledger {
    /// This, with what is known of the time before it.
    #[must_use]
    pub fn preceded_by(self, before: Self) -> Self {
        let mut both = before;
        both.segments.extend(self.segments);
        both.ignored.extend(self.ignored);
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn meter() -> Meter {
        Meter::new(10_000)
    }

    fn first(minute: i64, value_wh: i64) -> Option<Point> {
        Some(Point {
            time_ms: minute * MINUTE_MS,
            value_wh,
        })
    }

    #[test]
    fn it_stands_at_zero_and_then_counts_from_there() {
        let ledger = before_first(&meter(), (0, 600 * MINUTE_MS), first(605, 700)).unwrap();
        assert_eq!(ledger.total_wh(), 700);
        let before = ledger.period(0, 600 * MINUTE_MS);
        assert_eq!((before.energy_wh, before.known_ms), (0, 600 * MINUTE_MS));
        assert_eq!(
            ledger.period(600 * MINUTE_MS, 605 * MINUTE_MS).known_ms,
            5 * MINUTE_MS
        );
        let later = account(&meter(), &[first(605, 700).unwrap(), first(610, 900).unwrap()]);
        let whole = later.preceded_by(ledger);
        assert_eq!((whole.total_wh(), whole.segments().len()), (900, 3));
    }

    #[test]
    fn what_power_does_not_explain_was_not_zero_before() {
        assert_eq!(
            before_first(&meter(), (0, 600 * MINUTE_MS), first(605, 5_000_000)),
            None
        );
    }

    #[test]
    fn without_a_value_it_is_zero_between_readings_of_the_other() {
        let ledger = before_first(&meter(), (0, 600 * MINUTE_MS), None).unwrap();
        assert_eq!(
            ledger.period(0, 900 * MINUTE_MS).known_ms,
            600 * MINUTE_MS,
            "what comes after the last reading is unknown"
        );
        assert_eq!(before_first(&meter(), (5, 5), None), Some(Ledger::default()));
    }
}
