//! What figures depend on beside the program: cores, disk, and who else is at work.

use std::path::Path;

use anyhow::Result;
use taraz_load::load_average;

use super::disk;
use super::report::Figure;

/// What these figures are called.
pub(super) const PART: &str = "machine";

/// Before the first run; the disk is that of `folder`.
///
/// # Errors
/// When the disk can't be written or `/proc` can't be read.
pub(super) fn before(folder: &Path) -> Result<[Figure; 4]> {
    let syncs = disk::sync_times(folder)?;
    let cores = std::thread::available_parallelism()?.get();
    Ok([
        Figure::new(PART, "cores", cores as f64, ""),
        Figure::new(PART, "load before, 1 min", load_average()?, ""),
        Figure::new(PART, "fdatasync of 4 KiB, p50", syncs.p50_us, "µs"),
        Figure::new(PART, "fdatasync of 4 KiB, p99", syncs.p99_us, "µs"),
    ])
}

/// After the last run.
///
/// # Errors
/// When `/proc` can't be read.
pub(super) fn after() -> Result<Figure> {
    Ok(Figure::new(PART, "load after, 1 min", load_average()?, ""))
}
