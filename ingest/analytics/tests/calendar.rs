//! Jalali dates and Tehran's days against independent vectors and against the sky.

#![allow(clippy::unwrap_used)]

mod common;

use common::{data, instant_ms, rows};
use jiff::civil::Date;
use taraz_analytics::calendar::{Jalali, jalali_day_bounds_ms};
use taraz_analytics::solar::{Atmosphere, Place, sun_position};

#[test]
fn the_vectors() {
    for row in rows(&data("jalali_vectors.csv")) {
        let day: Jalali = row.text("jalali").parse().unwrap();
        let gregorian: Date = row.text("gregorian").parse().unwrap();
        assert_eq!(day.to_gregorian(), gregorian, "{day}");
        assert_eq!(Jalali::from_gregorian(gregorian).unwrap(), day);
        assert_eq!(
            day.weekday_from_saturday().to_string(),
            row.text("weekday_sat0"),
            "{day}"
        );
        assert_eq!(
            u8::from(day.is_in_leap_year()).to_string(),
            row.text("is_leap"),
            "{day}"
        );
        let (start_ms, end_ms) = jalali_day_bounds_ms(day);
        assert_eq!(start_ms, instant_ms(row.text("utc_start")), "{day}");
        assert_eq!(end_ms, instant_ms(row.text("utc_end")), "{day}");
        let hours = (end_ms - start_ms) as f64 / 3_600_000.0;
        assert_eq!(hours, row.f64("hours"), "{day}");
        assert_eq!(day.half_year().to_string(), row.text("tou_half"), "{day}");
    }
}

/// When the sun crosses the equator northward in a Gregorian year, UTC ms: from the pole, its elevation is its declination.
fn equinox_ms(year: i16) -> i64 {
    let pole = Place {
        latitude_deg: 90.0,
        longitude_deg: 0.0,
        altitude_m: 0.0,
    };
    let north = |time_ms| {
        let sun = sun_position(pole, Atmosphere::at_altitude(0.0), time_ms).unwrap();
        // Parallax lowers the sun by 8.794″ at the horizon.
        sun.elevation_deg() + 8.794 / 3_600.0 >= 0.0
    };
    let (mut before, mut after) = (
        instant_ms(&format!("{year}-03-17T00:00Z")),
        instant_ms(&format!("{year}-03-24T00:00Z")),
    );
    assert!(!north(before) && north(after));
    while after - before > 1_000 {
        let middle = before + (after - before) / 2;
        if north(middle) {
            after = middle
        } else {
            before = middle
        }
    }
    after
}

#[test]
fn every_year_begins_with_the_equinox() {
    // The calendar's law (1304): the year begins on the day of the equinox, or on the next one when it comes after noon of
    // Iran's standard meridian (52.5° E: 08:30 UTC).
    // 1309 is left out: its equinox came within seconds of noon, by the earth's rotation of 1930.
    let mut nearest_ms = i64::MAX;
    for year in (1304..=1308).chain(1310..=1500_i16) {
        let equinox = equinox_ms(year + 621);
        let begin = Jalali::new(year, 1, 1).unwrap().to_gregorian();
        let noon_ms = instant_ms(&format!("{begin}T08:30Z"));
        let (early_ms, late_ms) = (noon_ms - equinox, equinox - (noon_ms - 86_400_000));
        assert!(
            early_ms >= 0 && late_ms > 0,
            "{year} begins on {begin}, equinox {equinox}"
        );
        nearest_ms = nearest_ms.min(early_ms).min(late_ms);
    }
    // No year is decided within what the earth's rotation may still do.
    assert!(nearest_ms > 400_000, "{nearest_ms} ms");
}
