//! What follows from the end of a quarter-hour and of a day: all figures of many plants that a sink gets, and the duty report.

use std::path::Path;

use anyhow::Result;

use super::build::Binaries;
use super::machine;
use super::report::{Figure, Report};
use super::stages::{number, past};

/// Plants, meters of each, days of one poll a minute.
const PASTS: [(u64, u64, u64); 4] = [(100, 1, 2), (1_000, 1, 2), (10_000, 1, 2), (100, 1, 31)];

/// Fills a store for each past and computes what follows.
///
/// # Errors
/// When one of these fails.
pub(super) fn measure(binaries: &Binaries, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    for (plants, meters, days) in PASTS {
        let part = format!("plants {plants} × days {days}");
        println!("━━ {part} ━━");
        let told = past(binaries, "close", (plants, meters, days), &folder.join("past"))?;
        let mut add = |name: &str, value: f64, unit| report.add([Figure::new(&part, name, value, unit)]);
        add("figures of a quarter-hour", number(&told, "quarter_s")?, "s");
        add("their points", number(&told, "quarter_lines")?, "");
        add("figures of a local day", number(&told, "day_s")?, "s");
        add("their points, of the day", number(&told, "day_lines")?, "");
        add("duty report of the year", number(&told, "duty_s")?, "s");
    }
    report.add([machine::after()?]);
    Ok(report)
}
