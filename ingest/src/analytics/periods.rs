//! Periods that figures are asked for: quarter-hours, local days, months and years of both calendars.

use jiff::ToSpan as _;
use jiff::civil::Date;
use taraz_analytics::calendar::{Jalali, date_of_ms, date_start_ms};

use super::{QUARTER_MS, day_end_ms, day_start_ms, quarter_of};

/// How a time is cut into periods. Days, months and years are those of Asia/Tehran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeriodStep {
    /// 15 minutes of UTC.
    Quarter,
    Day,
    /// Of the Gregorian calendar.
    Month,
    JalaliMonth,
    /// Of the Gregorian calendar.
    Year,
    JalaliYear,
    /// Everything that was asked for, in one.
    Whole,
}

impl PeriodStep {
    /// Every step with the word that stands for it.
    pub(crate) const WORDS: [(&'static str, Self); 7] = [
        ("15m", Self::Quarter),
        ("1d", Self::Day),
        ("month", Self::Month),
        ("jalali_month", Self::JalaliMonth),
        ("year", Self::Year),
        ("jalali_year", Self::JalaliYear),
        ("whole", Self::Whole),
    ];

    /// The word that stands for it.
    pub(crate) fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, step)| *step == self)
            .map_or("", |(word, _)| word)
    }

    /// The first day of the period that a day lies in, and of the next one; `None` where a step is no calendar's, or the calendar
    /// ends.
    fn bounds(self, day: Date) -> Option<(Date, Date)> {
        match self {
            Self::Quarter | Self::Day | Self::Whole => None,
            Self::Month => Some((day.first_of_month(), day.last_of_month().tomorrow().ok()?)),
            Self::Year => Some((day.first_of_year(), day.last_of_year().tomorrow().ok()?)),
            Self::JalaliMonth => {
                let jalali = Jalali::from_gregorian(day).ok()?;
                let first = Jalali::new(jalali.year(), jalali.month(), 1).ok()?;
                let first_day = first.to_gregorian();
                let next = first_day
                    .checked_add(i64::from(first.days_in_month()).days())
                    .ok()?;
                Some((first_day, next))
            }
            Self::JalaliYear => {
                let year = Jalali::from_gregorian(day).ok()?.year();
                let first = |year| Jalali::new(year, 1, 1).ok().map(Jalali::to_gregorian);
                Some((first(year)?, first(year + 1)?))
            }
        }
    }

    /// What the period that begins at `start_ms` is called: `2026-11-23`, `2026-11`, `1405-09`, `1405`; a quarter-hour and a whole have no
    /// name.
    pub(crate) fn label(self, start_ms: i64) -> Option<String> {
        let day = date_of_ms(start_ms);
        let jalali = || Jalali::from_gregorian(day).ok();
        match self {
            Self::Quarter | Self::Whole => None,
            Self::Day => Some(day.to_string()),
            Self::Month => Some(format!("{:04}-{:02}", day.year(), day.month())),
            Self::Year => Some(format!("{:04}", day.year())),
            Self::JalaliMonth => jalali().map(|day| format!("{:04}-{:02}", day.year(), day.month())),
            Self::JalaliYear => jalali().map(|day| format!("{:04}", day.year())),
        }
    }
}

/// The whole periods of a step that overlap `from_ms..to_ms` (UTC ms), in order and without a gap between them; empty where the calendar
/// ends.
pub(crate) fn periods(from_ms: i64, to_ms: i64, step: PeriodStep) -> Vec<(i64, i64)> {
    if to_ms <= from_ms {
        return Vec::new();
    }
    if step == PeriodStep::Whole {
        let end_ms = (quarter_of(to_ms - 1) + 1) * QUARTER_MS;
        return vec![(quarter_of(from_ms) * QUARTER_MS, end_ms)];
    }
    let bounds_of = |time_ms: i64| match step {
        PeriodStep::Quarter => {
            let start_ms = quarter_of(time_ms) * QUARTER_MS;
            Some((start_ms, start_ms + QUARTER_MS))
        }
        PeriodStep::Day => Some((day_start_ms(time_ms), day_end_ms(time_ms))),
        calendar => {
            let (first, next) = calendar.bounds(date_of_ms(time_ms))?;
            Some((date_start_ms(first), date_start_ms(next)))
        }
    };
    let mut periods = Vec::new();
    let mut at_ms = from_ms;
    while at_ms < to_ms {
        match bounds_of(at_ms) {
            Some((start_ms, end_ms)) if end_ms > at_ms => {
                periods.push((start_ms, end_ms));
                at_ms = end_ms;
            }
            _ => break,
        }
    }
    periods
}

/// The quarter-hours from the first period's begin to the last one's end.
pub(crate) fn quarters_of(periods: &[(i64, i64)]) -> Vec<(i64, i64)> {
    match (periods.first(), periods.last()) {
        (Some(&(start_ms, _)), Some(&(_, end_ms))) => self::periods(start_ms, end_ms, PeriodStep::Quarter),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    /// Labels and hours of the periods of a time.
    fn cut(from: &str, to: &str, step: PeriodStep) -> Vec<(String, i64)> {
        let periods = periods(ms(from), ms(to), step);
        assert!(periods.windows(2).all(|pair| pair[0].1 == pair[1].0));
        let hours = |&(start_ms, end_ms): &(i64, i64)| (end_ms - start_ms) / 3_600_000;
        periods
            .iter()
            .map(|period| (step.label(period.0).unwrap_or_default(), hours(period)))
            .collect()
    }

    #[test]
    fn months_and_years_are_those_of_each_calendar() {
        let named = |pairs: &[(&str, i64)]| -> Vec<(String, i64)> {
            pairs
                .iter()
                .map(|&(label, days)| (label.to_owned(), days * 24))
                .collect()
        };
        let cut = |step| cut("2026-02-10T12:00:00Z", "2026-03-25T00:00:00Z", step);
        assert_eq!(cut(PeriodStep::Month), named(&[("2026-02", 28), ("2026-03", 31)]));
        assert_eq!(
            cut(PeriodStep::JalaliMonth),
            named(&[("1404-11", 30), ("1404-12", 29), ("1405-01", 31)])
        );
        assert_eq!(
            cut(PeriodStep::JalaliYear),
            named(&[("1404", 365), ("1405", 365)])
        );
        assert_eq!(cut(PeriodStep::Year), named(&[("2026", 365)]));
        assert_eq!(cut(PeriodStep::Day).len(), 44);
    }

    #[test]
    fn a_day_before_1402_may_have_23_hours() {
        assert_eq!(
            cut("2022-03-22T08:00:00Z", "2022-03-22T08:00:01Z", PeriodStep::Day),
            [("2022-03-22".to_owned(), 23)]
        );
    }

    #[test]
    fn quarters_fill_the_periods() {
        let days = periods(
            ms("2026-03-20T08:00:00Z"),
            ms("2026-03-21T08:00:00Z"),
            PeriodStep::Day,
        );
        assert_eq!(quarters_of(&days).len(), 192);
        assert_eq!(quarters_of(&[]), []);
        assert_eq!(periods(5, 5, PeriodStep::Day), []);
        let whole = periods(
            ms("2026-03-20T08:01:00Z"),
            ms("2026-03-20T08:16:00Z"),
            PeriodStep::Whole,
        );
        assert_eq!(whole, [(ms("2026-03-20T08:00:00Z"), ms("2026-03-20T08:30:00Z"))]);
    }

    #[test]
    fn every_step_has_its_word() {
        for (word, step) in PeriodStep::WORDS {
            assert_eq!(step.as_str(), word);
        }
    }

    #[test]
    fn the_end_of_the_calendar_ends_the_periods() {
        assert!(periods(i64::MAX - 10, i64::MAX, PeriodStep::JalaliYear).is_empty());
        assert!(periods(i64::MAX - 10, i64::MAX, PeriodStep::Day).is_empty());
    }
}
