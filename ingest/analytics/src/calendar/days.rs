//! Local days, months and years as bounds in UTC: Asia/Tehran from the tz data that is compiled in, so that every machine has
//! the same days.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::{CalendarError, JALALI_YEAR_MAX, Jalali};

/// +03:30 since 2022-09-21, with daylight-saving time before: a day has 23, 24 or 25 h and begins at 00:00 or 01:00.
// The data are part of the program, not of the machine; a test reads them.
static TEHRAN: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZoneDatabase::bundled()
        .get("Asia/Tehran")
        .expect("Asia/Tehran is compiled in")
});

/// 1900-01-01 to 2400-01-01: wider than anything a meter has seen.
const CALENDAR_MS: (i64, i64) = (-2_208_988_800_000, 13_569_465_600_000);

/// The local date at an instant (UTC ms); outside the years 1900 to 2400 the nearest of them.
#[must_use]
pub fn date_of_ms(time_ms: i64) -> Date {
    let clamped = time_ms.clamp(CALENDAR_MS.0, CALENDAR_MS.1);
    let instant = Timestamp::from_millisecond(clamped).unwrap_or(Timestamp::UNIX_EPOCH);
    instant.to_zoned(TEHRAN.clone()).date()
}

/// The begin of a local date, UTC ms. A date on which the clocks jump over midnight begins at 01:00.
#[must_use]
pub fn date_start_ms(date: Date) -> i64 {
    date.to_zoned(TEHRAN.clone())
        .map_or(CALENDAR_MS.0, |midnight| midnight.timestamp().as_millisecond())
}

/// Begin and end (excluded) of the local day that an instant lies in, UTC ms.
#[must_use]
pub fn day_bounds_ms(time_ms: i64) -> (i64, i64) {
    let date = date_of_ms(time_ms);
    let end_ms = date.tomorrow().map_or(CALENDAR_MS.1, date_start_ms);
    (date_start_ms(date), end_ms)
}

/// Begin and end (excluded) of a Jalali day, UTC ms.
#[must_use]
pub fn jalali_day_bounds_ms(day: Jalali) -> (i64, i64) {
    let date = day.to_gregorian();
    let end_ms = date.tomorrow().map_or(CALENDAR_MS.1, date_start_ms);
    (date_start_ms(date), end_ms)
}

/// Begin and end (excluded) of a Jalali month, UTC ms.
///
/// # Errors
/// When the year is out of range or there is no such month.
pub fn month_bounds_ms(year: i16, month: i8) -> Result<(i64, i64), CalendarError> {
    let first = Jalali::new(year, month, 1)?;
    let last = Jalali::new(year, month, first.days_in_month())?;
    Ok((jalali_day_bounds_ms(first).0, jalali_day_bounds_ms(last).1))
}

/// Begin and end (excluded) of a Jalali year, UTC ms.
///
/// # Errors
/// When the year is out of range ([`super::JALALI_YEAR_MIN`] to [`JALALI_YEAR_MAX`]).
pub fn year_bounds_ms(year: i16) -> Result<(i64, i64), CalendarError> {
    let (first_ms, _) = month_bounds_ms(year, 1)?;
    let (_, end_ms) = month_bounds_ms(year.min(JALALI_YEAR_MAX), 12)?;
    Ok((first_ms, end_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn days_begin_at_half_past_eight_in_the_evening_utc() {
        let bounds = (ms("2026-03-20T20:30:00Z"), ms("2026-03-21T20:30:00Z"));
        assert_eq!(day_bounds_ms(ms("2026-03-21T08:30:00Z")), bounds);
        assert_eq!(day_bounds_ms(bounds.0), bounds);
        assert_eq!(day_bounds_ms(bounds.0 - 1).1, bounds.0);
    }

    #[test]
    fn a_year_is_its_months() {
        for year in [1400, 1401, 1403, 1404] {
            let (start_ms, end_ms) = year_bounds_ms(year).unwrap();
            let mut at_ms = start_ms;
            for month in 1..=12 {
                let (from_ms, to_ms) = month_bounds_ms(year, month).unwrap();
                assert_eq!(from_ms, at_ms, "{year}-{month}");
                at_ms = to_ms;
            }
            assert_eq!(at_ms, end_ms, "{year}");
            assert_eq!(year_bounds_ms(year + 1).unwrap().0, end_ms);
        }
        assert!(year_bounds_ms(1600).is_err() && month_bounds_ms(1404, 13).is_err());
    }

    #[test]
    fn an_instant_outside_the_calendar_does_not_panic() {
        assert!(day_bounds_ms(i64::MAX).0 > 0);
        assert!(day_bounds_ms(i64::MIN).1 < 0);
    }
}
