//! Local days: Asia/Tehran from the tz data that is compiled in, so that every machine has the same days.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// +03:30 since 2022-09-21, with daylight-saving time before: a day has 23, 24 or 25 h and begins at 00:00 or 01:00.
// The data are part of the program, not of the machine; a test reads them.
static TEHRAN: LazyLock<TimeZone> = LazyLock::new(|| {
    TimeZoneDatabase::bundled()
        .get("Asia/Tehran")
        .expect("Asia/Tehran is compiled in")
});

/// The begin of the day that an instant lies in, UTC ms.
pub(crate) fn day_start_ms(time_ms: i64) -> i64 {
    bounds(time_ms).0
}

/// The end of the day that an instant lies in, UTC ms, excluded.
pub(crate) fn day_end_ms(time_ms: i64) -> i64 {
    bounds(time_ms).1
}

/// The begin of a date, UTC ms.
pub(crate) fn date_start_ms(date: Date) -> i64 {
    date.to_zoned(TEHRAN.clone())
        .map_or(CALENDAR_MS.0, |midnight| midnight.timestamp().as_millisecond())
}

/// Begin and end; an instant outside the calendar (years −9999 to 9999) is taken as the calendar's nearest.
fn bounds(time_ms: i64) -> (i64, i64) {
    let clamped = time_ms.clamp(CALENDAR_MS.0, CALENDAR_MS.1);
    let instant = Timestamp::from_millisecond(clamped).unwrap_or(Timestamp::UNIX_EPOCH);
    let date = instant.to_zoned(TEHRAN.clone()).date();
    (
        date_start_ms(date),
        date.tomorrow().map_or(clamped, date_start_ms),
    )
}

/// 1900-01-01 to 2400-01-01: wider than anything a meter has seen.
const CALENDAR_MS: (i64, i64) = (-2_208_988_800_000, 13_569_465_600_000);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn days_begin_at_half_past_eight_in_the_evening_utc() {
        let noon = ms("2026-03-21T08:30:00Z");
        assert_eq!(day_start_ms(noon), ms("2026-03-20T20:30:00Z"));
        assert_eq!(day_end_ms(noon), ms("2026-03-21T20:30:00Z"));
        assert_eq!(
            day_start_ms(ms("2026-03-20T20:30:00Z")),
            ms("2026-03-20T20:30:00Z")
        );
        assert_eq!(
            day_start_ms(ms("2026-03-20T20:29:59.999Z")),
            ms("2026-03-19T20:30:00Z")
        );
    }

    #[test]
    fn daylight_saving_days_have_23_and_25_hours() {
        // 1401: clocks forward at the begin of 2022-03-22, back at the end of 2022-09-21 local time.
        let hours = |text: &str| (day_end_ms(ms(text)) - day_start_ms(ms(text))) / 3_600_000;
        assert_eq!(hours("2022-03-22T08:00:00Z"), 23);
        assert_eq!(hours("2022-09-21T08:00:00Z"), 25);
        assert_eq!(hours("2023-03-22T08:00:00Z"), 24);
    }

    #[test]
    fn an_instant_outside_the_calendar_does_not_panic() {
        assert!(day_start_ms(i64::MAX) > 0);
        assert!(day_end_ms(i64::MIN) < 0);
    }
}
