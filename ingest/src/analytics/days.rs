//! Local days as ingest asks for them; the calendar itself is `taraz_analytics::calendar`.

pub(crate) use taraz_analytics::calendar::date_start_ms;
use taraz_analytics::calendar::day_bounds_ms;

/// The begin of the day in Tehran that an instant lies in, UTC ms.
pub(crate) fn day_start_ms(time_ms: i64) -> i64 {
    day_bounds_ms(time_ms).0
}

/// The end of the day in Tehran that an instant lies in, UTC ms, excluded.
pub(crate) fn day_end_ms(time_ms: i64) -> i64 {
    day_bounds_ms(time_ms).1
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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
