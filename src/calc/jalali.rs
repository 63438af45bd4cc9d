//! `taraz calc jalali`.

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use jiff::civil::Date;
use taraz_analytics::calendar::{Jalali, jalali_day_bounds_ms};

use super::Files;
use super::table::{Row, Table, Writer};

const COLUMNS: &[&str] = &[
    "jalali",
    "gregorian",
    "weekday_sat0",
    "is_leap",
    "utc_start",
    "utc_end",
    "hours",
    "tou_half",
];
const HOUR_MS: f64 = 3_600_000.0;

pub(super) fn run(files: &Files) -> anyhow::Result<()> {
    let table = Table::read(&files.input, &[])?;
    ensure!(
        table
            .columns()
            .iter()
            .any(|name| name == "jalali" || name == "gregorian"),
        "{} lacks the column gregorian or jalali; it has: {}",
        files.input.display(),
        table.columns().join(", ")
    );
    let mut writer = Writer::create(&files.output, COLUMNS)?;
    for row in table.rows() {
        let day = day(row).with_context(|| row.place())?;
        let (start_ms, end_ms) = jalali_day_bounds_ms(day);
        writer.row(&[
            day.to_string(),
            day.to_gregorian().to_string(),
            day.weekday_from_saturday().to_string(),
            u8::from(day.is_in_leap_year()).to_string(),
            minute(start_ms)?,
            minute(end_ms)?,
            format!("{:?}", (end_ms - start_ms) as f64 / HOUR_MS),
            day.half_year().to_string(),
        ])?;
    }
    writer.finish()
}

fn day(row: Row<'_>) -> anyhow::Result<Jalali> {
    let named = row.text("jalali").map(str::parse::<Jalali>).transpose()?;
    let Some(gregorian) = row.text("gregorian") else {
        return named.context("jalali and gregorian are empty: give one of them");
    };
    let date: Date = gregorian
        .parse()
        .with_context(|| format!("expected a date such as 2025-03-21, got {gregorian:?}"))?;
    let day = Jalali::from_gregorian(date)?;
    if let Some(named) = named.filter(|&named| named != day) {
        bail!("{gregorian} is {day}, but jalali says {named}: leave one of them out");
    }
    Ok(day)
}

/// `2025-03-20T20:30Z`.
fn minute(time_ms: i64) -> anyhow::Result<String> {
    Ok(Timestamp::from_millisecond(time_ms)?
        .strftime("%Y-%m-%dT%H:%MZ")
        .to_string())
}
