//! How long live readings take until they are stored: the store is looked at as an auditor does, beside the ingest that writes it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use taraz_ingest::{Archive, StoreError};
use taraz_load::{Histogram, device_id};

use crate::now_ms;

/// From one look to the next: what is told is too long by as much.
const PERIOD: Duration = Duration::from_millis(100);
/// How far back a look goes: a reading that takes longer is told as missing by the load itself.
const BACK_MS: i64 = 300_000;

/// Whose readings, and until when.
#[derive(clap::Args)]
pub(crate) struct Followed {
    /// The folder of ingest's store
    #[arg(long, value_name = "FOLDER")]
    store: PathBuf,
    /// The first so many devices of the load, which must publish live readings only
    #[arg(long, default_value_t = 10)]
    devices: usize,
    /// From when this file is there on, times are told apart from those before
    #[arg(long, value_name = "FILE")]
    half_file: PathBuf,
    /// Ends when this file is there
    #[arg(long, value_name = "FILE")]
    end_file: PathBuf,
}

/// Looks until it is to end; the times from when readings were taken to the look that saw them in the store.
pub(crate) fn run(followed: &Followed) -> Result<Value> {
    let mut seen: Vec<HashSet<i64>> = vec![HashSet::new(); followed.devices];
    let (mut before, mut after) = (Histogram::default(), Histogram::default());
    while !followed.end_file.exists() {
        let is_after = followed.half_file.exists();
        let times = if is_after { &mut after } else { &mut before };
        look(&followed.store, &mut seen, times)?;
        std::thread::sleep(PERIOD);
    }
    Ok(json!({ "live_to_stored": before.json(), "live_to_stored_after_half": after.json() }))
}

fn look(store: &Path, seen: &mut [HashSet<i64>], times: &mut Histogram) -> Result<()> {
    let archive = match Archive::open(store) {
        Err(StoreError::Missing(_)) => return Ok(()),
        opened => opened?,
    };
    let now_ms = i64::try_from(now_ms()?)?;
    for (index, seen) in seen.iter_mut().enumerate() {
        archive.readings_between(&device_id(index)?, now_ms - BACK_MS, i64::MAX, |placed| {
            if seen.insert(placed.time_ms) {
                let late_ms = u64::try_from(now_ms - placed.time_ms).unwrap_or(0);
                times.add(late_ms * 1_000);
            }
            Ok(())
        })?;
    }
    Ok(())
}
