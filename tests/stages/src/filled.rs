//! A store with the past of some plants, polled once a minute.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use taraz_fleet::Fleet;
use taraz_ingest::{Now, Store};
use taraz_telemetry::BatchWriter;

use crate::ingest::item;
use crate::{devices_from, now_ms};

const STEP_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;
/// Readings of one item, and so of one run: about what a device sends of its backlog at once.
const ITEM_READINGS: usize = 20;

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Past {
    /// Plants, each with a device
    #[arg(long, default_value_t = 1)]
    plants: usize,
    /// Meters of each
    #[arg(long, default_value_t = 1)]
    meters: usize,
    /// Days of one poll a minute, up to now
    #[arg(long, default_value_t = 365)]
    days: u64,
}

impl Past {
    /// The readings of all.
    pub(crate) const fn readings(&self) -> u64 {
        self.plants as u64 * self.meters as u64 * self.days * (DAY_MS / STEP_MS)
    }
}

/// Opens the store in the folder, with the registry that stands there.
///
/// # Errors
/// When the registry can't be read or the store not opened.
pub(crate) fn open(folder: &Path) -> Result<Store> {
    let fleet = Fleet::parse(&std::fs::read_to_string(folder.join("fleet.toml"))?)?;
    let now: Now = Arc::new(|| {
        now_ms()
            .ok()
            .and_then(|now_ms| now_ms.try_into().ok())
            .unwrap_or(0)
    });
    Ok(Store::open(&folder.join("ingest"), Arc::new(fleet), now)?)
}

/// Writes a registry into the new folder and stores the past through the door for batches.
///
/// # Errors
/// When the folder is there already, or a batch is not taken whole.
pub(crate) async fn filled(past: &Past, folder: &Path) -> Result<Store> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    taraz_load::lay_out(folder, past.plants, past.meters)?;
    let store = open(folder)?;
    let (receiver, now_ms) = (store.receiver(), now_ms()?);
    let mut devices = devices_from(past.plants, past.meters, now_ms - past.days * DAY_MS, STEP_MS)?;
    let (mut writer, mut position) = (BatchWriter::new(), 0);
    let of_each = past.readings() / past.plants as u64;
    for _ in 0..of_each.div_ceil(ITEM_READINGS as u64) {
        for device in &mut devices {
            let bytes = device.frame(ITEM_READINGS, now_ms)?.to_vec();
            position += 1;
            let item = item(device, &bytes, position, now_ms)?;
            if !writer.push(&item) {
                let verdict = receiver.receive(std::mem::take(&mut writer).finish()).await?;
                if !verdict.rejected.is_empty() || !writer.push(&item) {
                    bail!("a batch is not taken whole: {:?}", verdict.rejected.first());
                }
            }
        }
    }
    receiver.receive(writer.finish()).await?;
    Ok(store)
}
