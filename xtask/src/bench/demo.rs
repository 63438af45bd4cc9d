//! The demo's devices with history in their queues, which deliver it to a gateway and an ingest of their own.

use std::path::Path;

use anyhow::Result;

use super::installation::Installation;
use super::report::{Figure, Report};
use super::{machine, runs};

/// Measures the whole path, then its halves.
///
/// # Errors
/// When a process ends or says an error, or a part of the history does not arrive in time.
pub(super) fn measure(binary: &Path, days: u32, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    report.add([Figure::new(
        "machine",
        "history of each device",
        f64::from(days),
        "days",
    )]);
    println!("━━ whole path: reading the past and delivering it at once ━━");
    let installation = Installation::lay_out(&folder.join("whole"), binary, days)?;
    report.add(runs::whole_path(&installation)?);
    println!("━━ apart: first reading the past, then delivering it ━━");
    let installation = Installation::lay_out(&folder.join("apart"), binary, days)?;
    report.add(runs::apart(&installation)?);
    report.add([machine::after()?]);
    Ok(report)
}
