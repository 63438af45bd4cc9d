//! Ingest without a gateway: batches in, commits out. Interval updates are what readings without a register do not cost.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use taraz_fleet::Fleet;
use taraz_ingest::{Config, InfluxConfig, Ingest, StoreConfig};
use taraz_load::{Device, Usage};
use taraz_telemetry::{BatchItem, BatchWriter, Frame};
use tokio_util::sync::CancellationToken;

use crate::{Amount, devices, now_ms};

/// Readings of a batch: what the gateway closes one at.
const BATCH_READINGS: usize = 10_000;

/// Stores all readings in batches, one after the other, each after the last one's commit.
///
/// # Errors
/// When ingest does not start, or a batch is not taken whole.
pub(crate) fn run(amount: &Amount, folder: &Path, without_registers: bool, with_sink: bool) -> Result<Value> {
    let (mut config, fleet) = prepared(amount, folder)?;
    config.influx.extend(with_sink.then(|| InfluxConfig {
        name: "away".to_owned(),
        // Port 9, discard: nobody listens there.
        url: "http://127.0.0.1:9".to_owned(),
        org: String::from("org"),
        bucket: String::from("bucket"),
        token: String::new(),
        overwrites: false,
    }));
    let now_ms = now_ms()?;
    let mut devices = devices(amount.devices, now_ms)?;
    if without_registers {
        devices.iter_mut().for_each(Device::leave_registers_out);
    }
    let batches = batches(&mut devices, amount, now_ms)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let registry = prometheus::Registry::new();
        let ingest = Ingest::start(config, fleet, registry, stop.clone()).await?;
        let receiver = ingest.receiver();
        let (before, begun) = (Usage::of(std::process::id())?, Instant::now());
        let count = batches.len();
        for batch in batches {
            let verdict = receiver.receive(batch).await?;
            if !verdict.rejected.is_empty() {
                bail!(
                    "ingest rejects {} items: {:?}",
                    verdict.rejected.len(),
                    verdict.rejected[0]
                );
            }
        }
        let seconds = begun.elapsed().as_secs_f64();
        let cpu_s = Usage::of(std::process::id())?.cpu_s - before.cpu_s;
        stop.cancel();
        ingest.stopped().await?;
        let readings = rounds(amount) * amount.devices * amount.readings_per_frame;
        Ok(json!({ "readings": readings, "batches": count, "seconds": seconds, "cpu_s": cpu_s }))
    })
}

/// Writes the registry of the devices into the new `folder`: what ingest is to be started with.
///
/// # Errors
/// When the folder can't be written.
pub(crate) fn prepared(amount: &Amount, folder: &Path) -> Result<(Config, Arc<Fleet>)> {
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    taraz_load::lay_out(folder, amount.devices, 1)?;
    let fleet = Fleet::parse(&std::fs::read_to_string(folder.join("fleet.toml"))?)?;
    let config = Config {
        data: folder.join("ingest"),
        listen: ([127, 0, 0, 1], 0).into(),
        token: "token-of-one-measured-stage".to_owned(),
        influx: Vec::new(),
        store: StoreConfig::default(),
    };
    Ok((config, Arc::new(fleet)))
}

fn rounds(amount: &Amount) -> usize {
    amount.readings / amount.readings_per_frame / amount.devices
}

/// One frame of each device after the other, as a spool holds them.
///
/// # Errors
/// When a frame can't be written or read.
pub(crate) fn batches(devices: &mut [Device], amount: &Amount, now_ms: u64) -> Result<Vec<Vec<u8>>> {
    let mut batches = Vec::new();
    let (mut writer, mut readings, mut position) = (BatchWriter::new(), 0, 0);
    for _ in 0..rounds(amount) {
        for device in devices.iter_mut() {
            let bytes = device.frame(amount.readings_per_frame, now_ms)?.to_vec();
            position += 1;
            let item = item(device, &bytes, position, now_ms)?;
            readings += amount.readings_per_frame;
            if readings > BATCH_READINGS || !writer.push(&item) {
                batches.push(std::mem::take(&mut writer).finish());
                readings = amount.readings_per_frame;
                if !writer.push(&item) {
                    bail!("a frame does not fit an empty batch");
                }
            }
        }
    }
    batches.push(writer.finish());
    Ok(batches)
}

/// A frame of a device as a spool holds it.
///
/// # Errors
/// When it is no frame of that device.
pub(crate) fn item<'a>(
    device: &'a Device,
    frame: &'a [u8],
    position: u64,
    received_ms: u64,
) -> Result<BatchItem<'a>> {
    let frame = Frame::open(frame, device.key(), device.id())?;
    let range = frame.range();
    Ok(BatchItem {
        position,
        received_ms,
        device: device.id().as_str(),
        incarnation: range.incarnation,
        boot: range.boot,
        first: range.first,
        hold: None,
        records: frame.record_bytes(),
    })
}
