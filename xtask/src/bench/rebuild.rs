//! Intervals made anew from the readings of a year, and how that grows with days, meters and plants.

use std::path::Path;

use anyhow::Result;

use super::build::Binaries;
use super::machine;
use super::report::{Figure, Report};
use super::stages::{number, past};

/// Plants, meters of each, days of one poll a minute.
const PASTS: [(u64, u64, u64); 6] = [
    (1, 1, 91),
    (1, 1, 182),
    (1, 1, 365),
    (1, 3, 365),
    (3, 1, 365),
    (10, 1, 365),
];

/// Fills a store for each past and rebuilds it before and after its days are sealed.
///
/// # Errors
/// When one of these fails.
pub(super) fn measure(binaries: &Binaries, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    for (plants, meters, days) in PASTS {
        let part = format!("plants {plants} × meters {meters} × days {days}");
        println!("━━ {part} ━━");
        let told = past(binaries, "rebuild", (plants, meters, days), &folder.join("past"))?;
        let readings = number(&told, "readings")?;
        let mut add = |name: &str, value: f64, unit| report.add([Figure::new(&part, name, value, unit)]);
        add("readings", readings, "");
        for (name, key) in [
            ("rebuild, days open", "open_s"),
            ("rebuild, days sealed", "sealed_s"),
        ] {
            let seconds = number(&told, key)?;
            add(name, seconds, "s");
            add(&format!("{name}, rate"), readings / seconds, "readings/s");
        }
        add("sealing", number(&told, "seal_s")?, "s");
    }
    report.add([machine::after()?]);
    Ok(report)
}
