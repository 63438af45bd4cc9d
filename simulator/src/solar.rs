//! Solar time: where the sun's day begins and ends at a longitude, in UTC.

use std::f64::consts::TAU;

use jiff::civil::Date;
use jiff::tz::Offset;

/// Milliseconds of a mean solar day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// Seconds of a mean solar day.
pub(crate) const DAY_S: i64 = 86_400;
/// Seconds by which one degree of longitude moves solar noon: 86,400 s / 360°.
const SECONDS_PER_DEGREE: f64 = 240.0;
/// Iran's time is UTC+03:30 all year since 1402.
const TEHRAN_S: i64 = 12_600;
/// Days of a mean Gregorian year.
const YEAR_DAYS: f64 = 365.2425;

/// The equation of time (apparent minus mean solar time) in seconds, −1,000 to 1,000.
///
/// Spencer, "Fourier series representation of the position of the sun", Search 2 (1971): good to about half a minute.
pub(crate) fn equation_of_time_s(unix_s: i64) -> i64 {
    // Days since a New Year; the leap day's shift stays far below the formula's own error.
    let days = (unix_s as f64 / DAY_S as f64).rem_euclid(YEAR_DAYS);
    let b = TAU * days / YEAR_DAYS;
    let radians = 0.000_075 + 0.001_868 * b.cos()
        - 0.032_077 * b.sin()
        - 0.014_615 * (2.0 * b).cos()
        - 0.040_849 * (2.0 * b).sin();
    whole(radians / TAU * DAY_S as f64)
}

/// The nearest integer of a number of seconds.
pub(crate) fn whole(seconds: f64) -> i64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds since 1970 are far inside i64"
    )]
    let whole = seconds.round() as i64;
    whole
}

/// Seconds since 1970 of the beginning of a civil day, as UTC.
pub(crate) fn midnight_unix_s(date: Date) -> i64 {
    // Every civil date of jiff is within the range of its timestamps but for the very ends of it.
    Offset::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_or(0, jiff::Timestamp::as_second)
}

/// Solar midnights at one longitude: day `i` lasts from `bound_ms(i)` up to, not including, `bound_ms(i + 1)`.
#[derive(Debug)]
pub(crate) struct SolarDays {
    bounds_ms: Vec<i64>,
    first: Date,
}

impl SolarDays {
    /// The solar days whose noons fall on `first` to `last`.
    pub(crate) fn new(longitude_deg: f64, first: Date, last: Date) -> Self {
        let from = midnight_unix_s(first);
        let days = (midnight_unix_s(last) - from) / DAY_S + 1;
        let bounds_ms = (0..=days.max(1))
            .map(|day| {
                let mean_noon_s = from + day * DAY_S + DAY_S / 2 - whole(longitude_deg * SECONDS_PER_DEGREE);
                let noon_s = mean_noon_s - equation_of_time_s(mean_noon_s);
                (noon_s - DAY_S / 2) * 1_000
            })
            .collect();
        Self { bounds_ms, first }
    }

    /// The days of the clock in Tehran from `first` to `last`, 24 hours each.
    pub(crate) fn of_the_clock(first: Date, last: Date) -> Self {
        let from = midnight_unix_s(first);
        let days = (midnight_unix_s(last) - from) / DAY_S + 1;
        let bounds_ms = (0..=days.max(1)).map(|day| (from + day * DAY_S - TEHRAN_S) * 1_000);
        Self {
            bounds_ms: bounds_ms.collect(),
            first,
        }
    }

    /// How many days there are, at least 1.
    pub(crate) fn len(&self) -> usize {
        self.bounds_ms.len() - 1
    }

    /// Where day `day` begins, in ms UTC; `len()` gives the end of the last.
    pub(crate) fn bound_ms(&self, day: usize) -> i64 {
        self.bounds_ms[day]
    }

    /// The civil date of a day's noon.
    pub(crate) fn date(&self, day: usize) -> Date {
        let days = i32::try_from(day).unwrap_or(i32::MAX);
        self.first.saturating_add(jiff::Span::new().days(days))
    }

    /// The day that holds an instant and the milliseconds since its beginning. An instant before the first day is the
    /// first one's beginning, one behind the last day is the last one's end.
    pub(crate) fn locate(&self, at_ms: i64) -> (usize, i64) {
        let last = self.len() - 1;
        let first_ms = self.bounds_ms[0];
        if at_ms <= first_ms {
            return (0, 0);
        }
        let mut day = usize::try_from((at_ms - first_ms) / DAY_MS)
            .unwrap_or(last)
            .min(last);
        // The equation of time moves a midnight by at most half a minute a day, a quarter of an hour in all.
        while day > 0 && self.bounds_ms[day] > at_ms {
            day -= 1;
        }
        while day < last && self.bounds_ms[day + 1] <= at_ms {
            day += 1;
        }
        let end_ms = self.bounds_ms[day + 1];
        (day, at_ms.min(end_ms) - self.bounds_ms[day])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_equation_of_time_has_its_known_extremes() {
        // Astronomical almanac: −14.2 min about 11 February, +16.4 min about 3 November, 0 about 15 April.
        let minutes = |d: Date| equation_of_time_s(midnight_unix_s(d)) as f64 / 60.0;
        assert!((minutes(date(2026, 2, 11)) + 14.2).abs() < 0.5);
        assert!((minutes(date(2026, 11, 3)) - 16.4).abs() < 0.5);
        assert!(minutes(date(2026, 4, 15)).abs() < 0.5);
    }

    #[test]
    fn days_follow_each_other_without_gap_and_noon_is_where_it_belongs() {
        let days = SolarDays::new(53.06, date(2026, 1, 1), date(2027, 12, 31));
        assert_eq!(days.len(), 730);
        for day in 0..days.len() {
            let length = days.bound_ms(day + 1) - days.bound_ms(day);
            assert!((length - DAY_MS).abs() <= 31_000, "day {day} lasts {length} ms");
            let noon = days.bound_ms(day) + DAY_MS / 2;
            assert_eq!(days.locate(noon), (day, DAY_MS / 2));
            assert_eq!(days.locate(days.bound_ms(day)), (day, 0));
        }
        assert_eq!(days.date(31), date(2026, 2, 1));
        // 53.06° E: 8 h 27 min 46 s UTC, and the equation of time of +13.5 min on 23 November.
        let day = 326;
        assert_eq!(days.date(day), date(2026, 11, 23));
        let noon_s = (days.bound_ms(day) / 1_000 + DAY_S / 2).rem_euclid(DAY_S);
        assert!((noon_s - (8 * 3600 + 27 * 60 + 46 - 810)).abs() < 60, "{noon_s}");
    }

    #[test]
    fn outside_the_table_the_ends_hold() {
        let days = SolarDays::new(0.0, date(2026, 1, 1), date(2026, 1, 2));
        assert_eq!(days.locate(0), (0, 0));
        assert_eq!(days.locate(i64::MAX), (1, days.bound_ms(2) - days.bound_ms(1)));
    }
}
