//! The Jalali (Solar Hijri) calendar: the year begins on the day whose noon in Iran follows the vernal equinox.
//!
//! In the years [`JALALI_YEAR_MIN`] to [`JALALI_YEAR_MAX`] that is the same as a cycle of 33 years with 8 leap years; a test
//! computes the equinoxes. Outside them the cycle drifts from the sky, so there is an error instead of a date.

use core::fmt;
use core::str::FromStr;

use jiff::ToSpan as _;
use jiff::civil::{Date, Weekday, date};

/// The first year that is converted: 1799 of the Gregorian calendar.
pub const JALALI_YEAR_MIN: i16 = 1178;
/// The last year that is converted: until 2123; in 1502 the 33-year cycle leaves the equinox.
pub const JALALI_YEAR_MAX: i16 = 1501;

/// Months in Latin letters.
pub const MONTH_NAMES: [&str; 12] = [
    "Farvardin",
    "Ordibehesht",
    "Khordad",
    "Tir",
    "Mordad",
    "Shahrivar",
    "Mehr",
    "Aban",
    "Azar",
    "Dey",
    "Bahman",
    "Esfand",
];
/// Months in Persian.
pub const MONTH_NAMES_FA: [&str; 12] = [
    "فروردین",
    "اردیبهشت",
    "خرداد",
    "تیر",
    "مرداد",
    "شهریور",
    "مهر",
    "آبان",
    "آذر",
    "دی",
    "بهمن",
    "اسفند",
];

/// 1403-01-01, from which years are counted.
const EPOCH: (i16, Date) = (1403, date(2024, 3, 20));
/// The first six months have 31 days, the others 30, the last one 29 or 30.
const LONG_MONTHS: i8 = 6;
const LONG_MONTHS_DAYS: i16 = 186;

/// Why there is no such date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The year is outside the range in which the calendar is exact.
    #[error("expected a Jalali year from {JALALI_YEAR_MIN} to {JALALI_YEAR_MAX}, got {year}")]
    Year {
        /// As given.
        year: i16,
    },
    /// A Gregorian date outside that range.
    #[error("expected a date within the Jalali years {JALALI_YEAR_MIN} to {JALALI_YEAR_MAX}, got {date}")]
    Date {
        /// As given.
        date: Date,
    },
    /// The month or the day does not exist in that year.
    #[error(
        "there is no {year:04}-{month:02}-{day:02}: expected month 1 to 12 and a day of that month (1 to {last})"
    )]
    Day {
        /// As given.
        year: i16,
        /// As given.
        month: i8,
        /// As given.
        day: i8,
        /// The month's last day; 31 for a month that does not exist.
        last: i8,
    },
    /// The text is no date.
    #[error("expected a Jalali date such as 1404-01-31, got {text:?}")]
    Text {
        /// As given.
        text: String,
    },
}

/// A date of the Jalali calendar that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Jalali {
    year: i16,
    month: i8,
    day: i8,
}

/// Whether Esfand has 30 days.
///
/// # Errors
/// When the year is outside [`JALALI_YEAR_MIN`] to [`JALALI_YEAR_MAX`].
pub fn is_leap_year(year: i16) -> Result<bool, CalendarError> {
    if (JALALI_YEAR_MIN..=JALALI_YEAR_MAX).contains(&year) {
        Ok(is_leap(year))
    } else {
        Err(CalendarError::Year { year })
    }
}

/// 8 years of every 33: 1, 5, 9, 13, 17, 22, 26, 30.
const fn is_leap(year: i16) -> bool {
    matches!(year.rem_euclid(33), 1 | 5 | 9 | 13 | 17 | 22 | 26 | 30)
}

const fn year_days(year: i16) -> i16 {
    if is_leap(year) { 366 } else { 365 }
}

const fn month_days(year: i16, month: i8) -> i8 {
    match month {
        1..=LONG_MONTHS => 31,
        12 if !is_leap(year) => 29,
        _ => 30,
    }
}

impl Jalali {
    /// A date, if it exists: month 1 to 12, day 1 to 29, 30 or 31.
    ///
    /// # Errors
    /// When the year is out of range or the day does not exist.
    pub fn new(year: i16, month: i8, day: i8) -> Result<Self, CalendarError> {
        is_leap_year(year)?;
        let exists = (1..=12).contains(&month);
        let last = if exists { month_days(year, month) } else { 31 };
        if exists && (1..=last).contains(&day) {
            Ok(Self { year, month, day })
        } else {
            Err(CalendarError::Day {
                year,
                month,
                day,
                last,
            })
        }
    }

    /// The Jalali name of a Gregorian date.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn from_gregorian(gregorian: Date) -> Result<Self, CalendarError> {
        let out = || CalendarError::Date { date: gregorian };
        let mut year = EPOCH.0;
        let mut days = days_between(EPOCH.1, gregorian);
        while days < 0 {
            year -= 1;
            days += i32::from(year_days(year));
        }
        while days >= i32::from(year_days(year)) {
            days -= i32::from(year_days(year));
            year += 1;
        }
        is_leap_year(year).map_err(|_| out())?;
        let day_of_year = i16::try_from(days).map_err(|_| out())?;
        let (month, day) = if day_of_year < LONG_MONTHS_DAYS {
            (day_of_year / 31, day_of_year % 31)
        } else {
            let rest = day_of_year - LONG_MONTHS_DAYS;
            (6 + rest / 30, rest % 30)
        };
        let small = |value: i16| i8::try_from(value + 1).map_err(|_| out());
        Self::new(year, small(month)?, small(day)?)
    }

    /// The Gregorian date of the same day.
    #[must_use]
    pub fn to_gregorian(self) -> Date {
        let years: i32 = if self.year >= EPOCH.0 {
            (EPOCH.0..self.year).map(|year| i32::from(year_days(year))).sum()
        } else {
            -(self.year..EPOCH.0)
                .map(|year| i32::from(year_days(year)))
                .sum::<i32>()
        };
        // Within 1799 to 2123, so the calendar of `Date` never ends.
        EPOCH
            .1
            .saturating_add((years + i32::from(self.day_of_year()) - 1).days())
    }

    /// The year.
    #[must_use]
    pub const fn year(self) -> i16 {
        self.year
    }

    /// 1 (Farvardin) to 12 (Esfand).
    #[must_use]
    pub const fn month(self) -> i8 {
        self.month
    }

    /// 1 to 31.
    #[must_use]
    pub const fn day(self) -> i8 {
        self.day
    }

    /// 1 to 366.
    #[must_use]
    pub fn day_of_year(self) -> i16 {
        let (month, day) = (i16::from(self.month) - 1, i16::from(self.day));
        day + month * 30 + month.min(i16::from(LONG_MONTHS))
    }

    /// Whether its year is a leap year.
    #[must_use]
    pub const fn is_in_leap_year(self) -> bool {
        is_leap(self.year)
    }

    /// 0 (Saturday, the week's first day) to 6 (Friday).
    #[must_use]
    pub fn weekday_from_saturday(self) -> i8 {
        self.to_gregorian().weekday().since(Weekday::Saturday)
    }

    /// The days of its month, 29 to 31.
    #[must_use]
    pub const fn days_in_month(self) -> i8 {
        month_days(self.year, self.month)
    }

    /// 1 for Farvardin to Shahrivar, 2 for Mehr to Esfand: tariffs change with the half-year.
    #[must_use]
    pub const fn half_year(self) -> u8 {
        if self.month <= LONG_MONTHS { 1 } else { 2 }
    }
}

fn days_between(from: Date, to: Date) -> i32 {
    // `Date` spans less than 20,000 years, which a count of days in i32 holds.
    from.until(to).map_or(0, |span| span.get_days())
}

impl fmt::Display for Jalali {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Jalali {
    type Err = CalendarError;

    /// `1404-01-31` or `1404/1/31`.
    fn from_str(text: &str) -> Result<Self, CalendarError> {
        let no_date = || CalendarError::Text {
            text: text.to_owned(),
        };
        let mut parts = text.trim().split(['-', '/']);
        let mut next = || parts.next().ok_or_else(no_date);
        let (year, month, day) = (next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(no_date());
        }
        let small = |part: &str| part.parse::<i8>().map_err(|_| no_date());
        Self::new(year.parse().map_err(|_| no_date())?, small(month)?, small(day)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        assert!(Jalali::new(1403, 12, 30).is_ok());
        let error = Jalali::new(1404, 12, 30).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no 1404-12-30: expected month 1 to 12 and a day of that month (1 to 29)"
        );
        for (month, day) in [(0, 1), (13, 1), (7, 31), (1, 0), (1, 32)] {
            assert!(Jalali::new(1404, month, day).is_err(), "{month} {day}");
        }
        assert!(Jalali::new(1502, 1, 1).is_err() && Jalali::from_gregorian(date(1700, 1, 1)).is_err());
        assert!(Jalali::from_gregorian(Date::MAX).is_err() && Jalali::from_gregorian(Date::MIN).is_err());
    }

    #[test]
    fn text_is_read_and_written() {
        let day: Jalali = "1404/1/5".parse().unwrap();
        assert_eq!((day.to_string().as_str(), day.day_of_year()), ("1404-01-05", 5));
        for text in ["", "1404-01", "1404-01-01-01", "x-1-1", "1404-99-1"] {
            assert!(text.parse::<Jalali>().is_err(), "{text}");
        }
        assert_eq!(Jalali::new(1403, 12, 30).unwrap().day_of_year(), 366);
    }

    proptest! {
        #[test]
        fn every_day_comes_back(offset in -80_000..36_000_i32) {
            let gregorian = EPOCH.1.saturating_add(offset.days());
            let day = Jalali::from_gregorian(gregorian).unwrap();
            prop_assert_eq!(day.to_gregorian(), gregorian);
            prop_assert_eq!(day.to_string().parse::<Jalali>().unwrap(), day);
            let next = Jalali::from_gregorian(gregorian.tomorrow().unwrap()).unwrap();
            prop_assert!(next > day);
            prop_assert_eq!((next.weekday_from_saturday() - day.weekday_from_saturday()).rem_euclid(7), 1);
        }
    }
}
