//! `taraz gaps`: of every record that the devices have written, what became of it.
//!
//! In: the store, read-only, beside a running ingest. Out: a table that adds up, with the runs that are not here, or the same as JSON.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde::Serialize;
use taraz_ingest::{BootGaps, BootPeriod, DeviceGaps, Fate, Gap, GapCounts};

use crate::cli::GapsArgs;
use crate::energy::time_ms;
use crate::report;

/// The most runs that the table prints of one boot.
const RUNS_SHOWN_MAX: usize = 20;

/// Everything that is said.
#[derive(Serialize)]
struct Answer {
    totals: GapCounts,
    devices: Vec<DeviceGaps>,
}

/// Answers one question.
pub(crate) fn run(args: &GapsArgs) -> anyhow::Result<()> {
    let time = |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), time_ms);
    let from_ms = time(&args.from, i64::MIN).context("--from")?;
    let to_ms = time(&args.to, i64::MAX).context("--to")?;
    ensure!(from_ms < to_ms, "--to: expected a time after --from");
    let (_, archive) = report::open(&args.source)?;
    let mut devices = archive.gaps()?;
    if let Some(id) = &args.device {
        devices.retain(|device| device.device == id.as_str());
        ensure!(
            !devices.is_empty(),
            "nothing was ever received from a device \"{id}\"; `taraz gaps` without --device lists all"
        );
    }
    if args.from.is_some() || args.to.is_some() {
        devices = devices
            .into_iter()
            .map(|device| device.within(from_ms, to_ms))
            .collect();
    }
    let mut totals = GapCounts::default();
    for device in &devices {
        totals.add(&device.counts);
    }
    let answer = Answer { totals, devices };
    let text = if args.json {
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        table(&answer)?
    };
    report::write(None, &text)
}

fn table(answer: &Answer) -> anyhow::Result<String> {
    let mut text = format!(
        "{:<32} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9}\n",
        "device", "written", "stored", "held", "pending", "dropped", "unknown"
    );
    for device in &answer.devices {
        line(&mut text, &device.device, &device.counts)?;
        for (reason, records) in &device.held_by_reason {
            writeln!(text, "  {records} held: {reason}")?;
        }
        for boot in device.boots.iter().filter(|boot| !boot.gaps.is_empty()) {
            of_boot(&mut text, boot)?;
        }
    }
    line(&mut text, "all", &answer.totals)?;
    Ok(text)
}

fn line(text: &mut String, name: &str, counts: &GapCounts) -> std::fmt::Result {
    writeln!(
        text,
        "{name:<32} {:>12} {:>12} {:>9} {:>9} {:>9} {:>9}",
        counts.written, counts.stored, counts.held, counts.pending, counts.dropped, counts.unknown
    )
}

fn of_boot(text: &mut String, boot: &BootGaps) -> std::fmt::Result {
    let period = boot.period.as_ref().map_or("no known time".to_owned(), words);
    let end = if boot.ended { "" } else { ", the latest" };
    write!(
        text,
        "  boot {} of {:08x}{end} ({period}):",
        boot.boot, boot.incarnation
    )?;
    for gap in boot.gaps.iter().take(RUNS_SHOWN_MAX) {
        write!(text, " {}", run_words(gap))?;
    }
    let more = boot.gaps.len().saturating_sub(RUNS_SHOWN_MAX);
    if more > 0 {
        write!(text, " … and {more} more; --json tells them")?;
    }
    writeln!(text)
}

fn run_words(gap: &Gap) -> String {
    let fate = match gap.fate {
        Fate::Pending => "pending",
        Fate::Dropped => "dropped",
        Fate::Unknown => "unknown",
    };
    if gap.first == gap.last {
        format!("{} {fate};", gap.first)
    } else {
        format!("{}..{} {fate};", gap.first, gap.last)
    }
}

fn words(period: &BootPeriod) -> String {
    let second = |ms: i64| {
        Timestamp::from_millisecond(ms.div_euclid(1_000) * 1_000)
            .map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
    };
    format!("{} to {}", second(period.first_ms), second(period.last_ms))
}
