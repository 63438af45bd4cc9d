//! What the end of a quarter-hour and of a day costs: all figures of all plants that a sink gets, and the duty report.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use taraz_analytics::calendar::{Jalali, date_of_ms, day_bounds_ms};
use taraz_fleet::Fleet;
use taraz_ingest::{Archive, Store, duty_report, figure_lines};

use crate::filled::{Past, filled};
use crate::now_ms;

const QUARTER_MS: i64 = 900_000;

/// Stores the past, then computes what follows from its last whole quarter-hour and local day.
///
/// # Errors
/// When one of these fails.
pub(crate) fn run(past: &Past, folder: &Path) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = filled(past, folder).await?;
        let now_ms = i64::try_from(now_ms()?)?;
        let today_ms = day_bounds_ms(now_ms).0;
        let quarter_ms = now_ms / QUARTER_MS * QUARTER_MS;
        let (quarter_s, quarter_lines) = timed(&store, quarter_ms - QUARTER_MS, quarter_ms)?;
        let (day_s, day_lines) = timed(&store, day_bounds_ms(today_ms - 1).0, today_ms)?;
        let fleet = Fleet::parse(&std::fs::read_to_string(folder.join("fleet.toml"))?)?;
        let archive = Archive::open(&folder.join("ingest"))?;
        let year = Jalali::from_gregorian(date_of_ms(now_ms))?.year();
        let begun = Instant::now();
        duty_report(&archive, &fleet, year, None, now_ms)?;
        let duty_s = begun.elapsed().as_secs_f64();
        drop(archive);
        store.close().await;
        Ok(json!({
            "readings": past.readings(), "quarter_s": quarter_s, "quarter_lines": quarter_lines, "day_s": day_s,
            "day_lines": day_lines, "duty_s": duty_s,
        }))
    })
}

/// Seconds and lines of all figures of the quarter-hour or the local day from `from_ms` to `to_ms`.
fn timed(store: &Store, from_ms: i64, to_ms: i64) -> Result<(f64, usize)> {
    let begun = Instant::now();
    let mut lines = 0;
    figure_lines(store, from_ms, to_ms, |some| lines += some.len())?;
    Ok((begun.elapsed().as_secs_f64(), lines))
}
