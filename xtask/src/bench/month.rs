//! A month at rest: plants with three meters polled once a minute, pushed through the chain; what it takes on the disk, how
//! long questions take, and both extrapolated to 1,000 plants and a year.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::build::Binaries;
use super::disk::bytes_in;
use super::machine;
use super::options::{MonthOptions, Processes};
use super::report::{Figure, Report};
use super::rig::Rig;
use crate::command::{CommandLine, text};

const METERS: usize = 3;
const STEP_MS: u64 = 60_000;
const MINUTES_PER_DAY: u64 = 1_440;
/// Questions of each kind; the median is told.
const ASKED: usize = 21;
/// What is extrapolated to.
const PLANTS: f64 = 1_000.0;
const DAYS: f64 = 365.0;

const PART: &str = "month";

/// Fills a store, stops it, and asks it again after a new start.
///
/// # Errors
/// When readings are missing in the end, or a question is not answered.
pub(super) fn measure(binaries: &Binaries, options: &MonthOptions, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let readings = options.plants as u64 * METERS as u64 * options.days * MINUTES_PER_DAY;
    let at = folder.join("month");
    let rig = Rig::start(&at, binaries, Processes::One, options.plants, METERS)?;
    let arguments = [
        format!("--connections={}", options.plants),
        format!("--meters={METERS}"),
        "--times=backlog".to_owned(),
        format!("--backlog-days={}", options.days + 1),
        format!("--step-ms={STEP_MS}"),
        "--readings-per-frame=10".to_owned(),
        format!("--readings={readings}"),
    ];
    let figures = rig.load(binaries, METERS, &arguments)?;
    let missing = figures
        .pointer("/load/missing_readings")
        .and_then(serde_json::Value::as_f64);
    if missing != Some(0.0) {
        bail!("{missing:?} of {readings} readings are not stored");
    }
    let (_, hot_bytes) = rig.stop()?;
    // What ingest does by itself within ten minutes, done now.
    let taraz = text(&binaries.taraz)?;
    CommandLine::new(&[taraz, "store", "compact", "--config", "taraz.toml"])
        .within(&at)
        .run()?;
    let per_reading = bytes_in(&at.join("ingest"))? as f64 / readings as f64;
    let mut add = |name: &str, value: f64, unit| report.add([Figure::new(PART, name, value, unit)]);
    add(
        "plants with three meters, a poll a minute",
        options.plants as f64,
        "",
    );
    add("days", options.days as f64, "");
    add("readings", readings as f64, "");
    add(
        "store before days are sealed",
        hot_bytes as f64 / readings as f64,
        "B/reading",
    );
    add(
        "store at rest, with intervals and indices",
        per_reading,
        "B/reading",
    );
    let year = PLANTS * METERS as f64 * MINUTES_PER_DAY as f64 * DAYS;
    add("EXTRAPOLATED: readings of 1,000 plants in a year", year, "");
    add(
        "EXTRAPOLATED: store of 1,000 plants after a year",
        year * per_reading / 1e9,
        "GB",
    );
    let begun = Instant::now();
    let rig = Rig::start_again(&at, binaries)?;
    add("start with this store", begun.elapsed().as_secs_f64(), "s");
    for (name, days, step) in [
        ("a day by quarter-hours", 1, "15m"),
        ("a month by quarter-hours", options.days, "15m"),
        ("a month by days", options.days, "1d"),
    ] {
        add(
            &format!("question: {name}, p50"),
            question_ms(&rig, days, step)?,
            "ms",
        );
    }
    rig.stop()?;
    report.add([machine::after()?]);
    Ok(report)
}

/// The median time of one plant's intervals over so many of the stored days.
fn question_ms(rig: &Rig, days: u64, step: &str) -> Result<f64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let end_day = now.as_secs() / 86_400 - 1;
    let (from, to) = (civil(end_day - days), civil(end_day));
    let path = format!("/api/v1/plants/load-00001/intervals?from={from}&to={to}&step={step}");
    let mut times_ms = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let begun = Instant::now();
        let answer = taraz_load::page(rig.http(), &path)?;
        times_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        if !answer.contains("generated_wh") {
            bail!(
                "{path}: expected intervals, found {}",
                answer.chars().take(200).collect::<String>()
            );
        }
    }
    times_ms.sort_by(f64::total_cmp);
    times_ms.get(ASKED / 2).copied().context("no question was asked")
}

/// The date of a day counted from 1970-01-01, as `2026-11-27` (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms",
/// `civil_from_days`; days after 1970 only).
fn civil(day: u64) -> String {
    let shifted = day + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_their_dates() {
        for (day, date) in [
            (0, "1970-01-01"),
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_784, "2026-11-27"),
        ] {
            assert_eq!(civil(day), date);
        }
    }
}
