//! Tag check and decode: what `validate` does with a frame before it judges the values.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use taraz_load::Usage;
use taraz_telemetry::Frame;

use crate::{Amount, devices, now_ms};

/// Opens every frame once.
///
/// # Errors
/// When a frame does not open.
pub(crate) fn run(amount: &Amount) -> Result<Value> {
    let now_ms = now_ms()?;
    let mut devices = devices(amount.devices, now_ms)?;
    let rounds = amount.readings / amount.readings_per_frame / amount.devices;
    let mut frames = Vec::with_capacity(rounds * devices.len());
    for _ in 0..rounds {
        for device in &mut devices {
            frames.push(device.frame(amount.readings_per_frame, now_ms)?.to_vec());
        }
    }
    let (before, begun) = (Usage::of(std::process::id())?, Instant::now());
    let mut records = 0;
    for (index, bytes) in frames.iter().enumerate() {
        let device = &devices[index % devices.len()];
        let frame = Frame::open(bytes, device.key(), device.id()).context("a frame of our own")?;
        records += u64::from(frame.count());
    }
    let seconds = begun.elapsed().as_secs_f64();
    let cpu_s = Usage::of(std::process::id())?.cpu_s - before.cpu_s;
    let bytes: usize = frames.iter().map(Vec::len).sum();
    Ok(json!({
        "readings": frames.len() * amount.readings_per_frame,
        "records": records,
        "seconds": seconds,
        "cpu_s": cpu_s,
        "bytes": bytes,
    }))
}
