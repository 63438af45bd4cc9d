//! A herd: devices that all come back at once with a week of backlog, beside live ones, and a gateway that is killed in the middle.
//!
//! What is told: how long the backlog takes, what a live reading waits for its PUBACK meanwhile, and the most memory of each
//! process. A run in which anything acknowledged is not stored in the end has failed.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use taraz_load::Usage;

use super::build::Binaries;
use super::machine;
use super::options::{HerdOptions, Processes};
use super::report::{Figure, Report};
use super::rig::{Rig, raised};

const PART: &str = "herd";
/// Made by the generator when half of the backlog is acknowledged.
const HALF: &str = "half";
const FIGURES: &str = "herd.json";
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Lets the herd come, kills the gateway when half of the backlog is acknowledged, and waits until everything is stored.
///
/// # Errors
/// When a process ends by itself, or readings are missing in the end.
pub(super) fn measure(binaries: &Binaries, options: &HerdOptions, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let at = folder.join("herd");
    let mut rig = Rig::start(
        &at,
        binaries,
        Processes::Two,
        options.connections + options.live,
        1,
    )?;
    let (half, json) = (at.join(HALF), at.join(FIGURES));
    let words = words(options, &rig, &at);
    let mut generator = Command::new("/bin/sh")
        .args(raised(&binaries.load, &words))
        .spawn()
        .context("/bin/sh")?;
    let mut peaks_kib = [0; 2];
    let mut is_killed = false;
    let status = loop {
        if let Some(status) = generator.try_wait()? {
            break status;
        }
        for (peak, (_, usage)) in peaks_kib.iter_mut().zip(rig.usages()?) {
            *peak = usage.rss_peak_kib.max(*peak);
        }
        if !is_killed && half.exists() {
            rig.kill_and_start("gateway", binaries)?;
            is_killed = true;
        }
        std::thread::sleep(LOOK_INTERVAL);
    };
    if !status.success() {
        bail!("taraz-load {}: {status}", words.join(" "));
    }
    let text = std::fs::read_to_string(&json).with_context(|| json.display().to_string())?;
    let figures: Value = serde_json::from_str(&text)?;
    let names: Vec<&str> = rig.usages()?.into_iter().map(|(name, _)| name).collect();
    rig.stop()?;
    report.add(told(&figures));
    for (name, peak_kib) in names.iter().zip(peaks_kib) {
        let name = format!("{name}, most memory");
        report.add([Figure::new(
            PART,
            &name,
            f64::from(u32::try_from(peak_kib)?) / 1_024.0,
            "MiB",
        )]);
    }
    report.add([machine::after()?]);
    if !is_killed {
        bail!("the backlog was over before the gateway could be killed: more --backlog-readings");
    }
    if figures["missing_readings"]
        .as_f64()
        .is_none_or(|missing| missing > 0.0)
    {
        bail!("readings are missing in the store: {figures:#}");
    }
    Ok(report)
}

/// What the generator is told.
fn words(options: &HerdOptions, rig: &Rig, at: &Path) -> Vec<String> {
    [
        "herd".to_owned(),
        format!("--broker={}", rig.mqtt()),
        format!("--master-key={}", at.join("master.key").display()),
        format!("--connections={}", options.connections),
        format!("--backlog-readings={}", options.backlog_readings),
        format!("--live={}", options.live),
        format!("--half-file={}", at.join(HALF).display()),
        format!("--json={}", at.join(FIGURES).display()),
        format!(
            "--stored={}/metrics#ingest_records_total{{kind=\"reading\"",
            rig.http()
        ),
    ]
    .to_vec()
}

fn told(figures: &Value) -> Vec<Figure> {
    let of = |pointer: &str| figures.pointer(pointer).and_then(Value::as_f64);
    let mut told = Vec::new();
    let mut add = |name: &str, pointer: &str, scale: f64, unit| {
        told.extend(of(pointer).map(|value| Figure::new(PART, name, value * scale, unit)));
    };
    add("devices that come back at once", "/connections", 1.0, "");
    add("devices that publish live beside them", "/live", 1.0, "");
    add("readings of backlog", "/backlog_readings", 1.0, "");
    add(
        "until all of it is acknowledged, the kill included",
        "/drained_s",
        1.0,
        "s",
    );
    add("connections that were tried", "/connects", 1.0, "");
    add("frames sent again", "/frames_sent_again", 1.0, "");
    for (when, key) in [
        ("until the kill", "live_publish_to_puback"),
        ("from the kill on", "live_publish_to_puback_after_half"),
    ] {
        for (share, field) in [("p50", "p50_us"), ("p99", "p99_us"), ("longest", "max_us")] {
            let name = format!("live reading to PUBACK {when}, {share}");
            add(&name, &format!("/{key}/{field}"), 1e-3, "ms");
        }
    }
    add("readings missing in the end", "/missing_readings", 1.0, "");
    told
}

/// What a process has used, by its name.
pub(super) type Usages = Vec<(&'static str, Usage)>;
