//! A Jalali year up to a day, and what registers state about it.

use taraz_analytics::calendar::{CalendarError, date_start_ms, day_bounds_ms, year_bounds_ms};
use taraz_analytics::energy::Flags;
use taraz_fleet::Plant;

use crate::accounts::Account;

/// The days of a Jalali year, and how many of them are over.
#[derive(Clone, Debug)]
pub(super) struct Year {
    pub(super) year: i16,
    /// Begin and end of each local day, UTC ms.
    pub(super) days: Vec<(i64, i64)>,
    /// How many days are over.
    pub(super) so_far: usize,
}

/// What registers counted in the days that are over.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Counted {
    /// Per day; `None` where its total is not known.
    pub(super) days: Vec<Option<i64>>,
    /// All that was counted in Wh, also on days that are not known as a whole; `None` when there is no reading.
    pub(super) energy_wh: Option<i64>,
    /// For how much of the time the total is known, 0 to 1.
    pub(super) completeness: f64,
    pub(super) flags: Flags,
}

impl Year {
    /// The year as far as whole days are over at `now_ms`.
    pub(super) fn new(year: i16, now_ms: i64) -> Result<Self, CalendarError> {
        let (mut at_ms, end_ms) = year_bounds_ms(year)?;
        let mut days = Vec::with_capacity(366);
        while at_ms < end_ms {
            let day = day_bounds_ms(at_ms);
            days.push(day);
            // A day has 23 to 25 hours, so this always goes on.
            at_ms = day.1;
        }
        let so_far = days.partition_point(|&(_, day_end_ms)| day_end_ms <= now_ms);
        Ok(Self { year, days, so_far })
    }

    pub(super) fn start_ms(&self) -> i64 {
        self.days[0].0
    }

    pub(super) fn end_ms(&self) -> i64 {
        self.days[self.days.len() - 1].1
    }

    /// The end of the last day that is over; the year's begin when none is.
    pub(super) fn through_ms(&self) -> i64 {
        match self.so_far {
            0 => self.start_ms(),
            days => self.days[days - 1].1,
        }
    }

    /// How much of the days that are over, from `since_ms` on, a register states. Before `since_ms` there was nothing to count.
    pub(super) fn count(&self, account: &Account, since_ms: i64) -> Counted {
        let ledger = &account.ledger;
        let day = |&(start_ms, end_ms): &(i64, i64)| {
            if end_ms <= since_ms {
                return Some(0);
            }
            let begin_ms = start_ms.max(since_ms);
            let energy = ledger.period(begin_ms, end_ms);
            let is_known = account.unknown_within_ms(begin_ms, end_ms) == 0
                && energy.covered_ms == end_ms - begin_ms
                && !energy.flags.quarantined
                && !energy.flags.reset;
            is_known.then_some(energy.energy_wh)
        };
        let (from_ms, to_ms) = (self.start_ms().max(since_ms), self.through_ms());
        let whole = ledger.period(from_ms, to_ms);
        let is_later = from_ms >= to_ms && self.so_far > 0;
        Counted {
            days: self.days[..self.so_far].iter().map(day).collect(),
            energy_wh: (whole.covered_ms > 0 || is_later).then_some(whole.energy_wh),
            completeness: match to_ms - from_ms {
                // Days that no register has to state are known to be 0.
                ..=0 => f64::from(u8::from(is_later)),
                length_ms => {
                    let unknown_ms = account.unknown_within_ms(from_ms, to_ms);
                    (whole.known_ms - unknown_ms).max(0) as f64 / length_ms as f64
                }
            },
            flags: whole.flags,
        }
    }

    /// The sum of registers, each with its sign; nothing is known where one of them is not, or when there is none.
    pub(super) fn sum(&self, parts: &[(i64, &Counted)]) -> Counted {
        let total = |of: &dyn Fn(&Counted) -> Option<i64>| {
            if parts.is_empty() {
                return None;
            }
            parts.iter().map(|&(sign, part)| Some(sign * of(part)?)).sum()
        };
        Counted {
            days: (0..self.so_far)
                .map(|day| total(&|part| part.days[day]))
                .collect(),
            energy_wh: total(&|part| part.energy_wh),
            completeness: parts
                .iter()
                .map(|(_, part)| part.completeness)
                .reduce(f64::min)
                .unwrap_or(0.0),
            flags: parts
                .iter()
                .fold(Flags::default(), |flags, (_, part)| flags.union(part.flags)),
        }
    }
}

/// When a plant began to generate, UTC ms.
pub(super) fn commissioned_ms(plant: &Plant) -> i64 {
    date_start_ms(plant.commissioned)
}

#[cfg(test)]
mod tests {
    use taraz_analytics::energy::{Meter, Point, account};

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    /// A register that counts 100 Wh an hour from one instant to another.
    fn ledger(from_ms: i64, to_ms: i64) -> Account {
        let points: Vec<Point> = (0..=(to_ms - from_ms) / HOUR_MS)
            .map(|hour| Point {
                time_ms: from_ms + hour * HOUR_MS,
                value_wh: hour * 100,
            })
            .collect();
        Account::from(account(&Meter::new(10_000), &points))
    }

    #[test]
    fn only_whole_days_are_over() {
        let start_ms = year_bounds_ms(1404).unwrap().0;
        let over = |ms| Year::new(1404, ms).unwrap().so_far;
        assert_eq!(over(start_ms - 1), 0);
        assert_eq!(over(start_ms + 24 * HOUR_MS - 1), 0);
        assert_eq!(over(start_ms + 24 * HOUR_MS), 1);
        assert_eq!(over(i64::MAX), 365);
        assert_eq!(Year::new(1404, 0).unwrap().through_ms(), start_ms);
        assert_eq!(Year::new(1403, i64::MAX).unwrap().days.len(), 366);
    }

    #[test]
    fn a_day_without_readings_on_both_sides_is_unknown_and_not_zero() {
        let start_ms = year_bounds_ms(1404).unwrap().0;
        let year = Year::new(1404, start_ms + 4 * 24 * HOUR_MS).unwrap();
        let counted = year.count(
            &ledger(start_ms + 24 * HOUR_MS, start_ms + 60 * HOUR_MS),
            start_ms,
        );
        assert_eq!(counted.days, [None, Some(2_400), None, None]);
        assert_eq!(counted.energy_wh, Some(3_600));
        assert!((counted.completeness - 36.0 / 96.0).abs() < 1e-12);
        let nothing = year.count(&Account::default(), start_ms);
        assert_eq!((nothing.energy_wh, nothing.days), (None, vec![None; 4]));
    }

    #[test]
    fn before_it_was_commissioned_a_plant_generated_nothing() {
        let start_ms = year_bounds_ms(1404).unwrap().0;
        let year = Year::new(1404, start_ms + 3 * 24 * HOUR_MS).unwrap();
        let since_ms = start_ms + 24 * HOUR_MS;
        let counted = year.count(&ledger(since_ms, start_ms + 72 * HOUR_MS), since_ms);
        assert_eq!(counted.days, [Some(0), Some(2_400), Some(2_400)]);
        assert!((counted.completeness - 1.0).abs() < 1e-12);
        let later = year.count(&Account::default(), i64::MAX);
        assert_eq!((later.energy_wh, later.days), (Some(0), vec![Some(0); 3]));
    }

    #[test]
    fn a_sum_is_as_unknown_as_its_least_known_part() {
        let start_ms = year_bounds_ms(1404).unwrap().0;
        let year = Year::new(1404, start_ms + 2 * 24 * HOUR_MS).unwrap();
        let whole = year.count(&ledger(start_ms, start_ms + 48 * HOUR_MS), start_ms);
        let half = year.count(&ledger(start_ms, start_ms + 24 * HOUR_MS), start_ms);
        let sum = year.sum(&[(1, &whole), (-1, &half)]);
        assert_eq!(sum.days, [Some(0), None]);
        assert_eq!(sum.energy_wh, Some(2_400));
        assert!((sum.completeness - 0.5).abs() < 1e-12);
        assert_eq!(year.sum(&[]).days, [None, None]);
    }
}
