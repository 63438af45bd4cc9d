//! `taraz gaps`: of every record that the devices have written, what became of it, and when what is not here was written.
//!
//! In: the store, read-only, beside a running ingest. Out: a table that adds up, with the runs that are not here, or the same as JSON.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use serde::Serialize;
use taraz_ingest::{BootGaps, DeviceGaps, Fate, Gap, GapCounts, GapSpan, Unplaced};

use crate::cli::GapsArgs;
use crate::energy::time_ms;
use crate::quarantine::{count, time};
use crate::report;

/// The most runs that the table prints of one device.
const RUNS_SHOWN_MAX: usize = 200;

/// Everything that is said.
#[derive(Serialize)]
struct Answer {
    totals: GapCounts,
    devices: Vec<Device>,
}

/// A device, and what of it lies in no period.
#[derive(Serialize)]
struct Device {
    #[serde(flatten)]
    gaps: DeviceGaps,
    unplaced: Unplaced,
}

/// Answers one question.
pub(crate) fn run(args: &GapsArgs) -> anyhow::Result<()> {
    let instant = |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), time_ms);
    let from_ms = instant(&args.from, i64::MIN).context("--from")?;
    let to_ms = instant(&args.to, i64::MAX).context("--to")?;
    ensure!(from_ms < to_ms, "--to: expected a time after --from");
    let has_period = args.from.is_some() || args.to.is_some();
    let (_, archive) = report::open(&args.source)?;
    let mut answer = Answer {
        totals: GapCounts::default(),
        devices: Vec::new(),
    };
    let is_asked = |gaps: &DeviceGaps| args.device.as_ref().is_none_or(|id| id.as_str() == gaps.device);
    for mut gaps in archive.gaps()?.into_iter().filter(is_asked) {
        archive.time_gaps(&mut gaps)?;
        let unplaced = gaps.unplaced();
        if has_period {
            gaps.retain_within(from_ms, to_ms);
        }
        answer.totals.add(&gaps.counts);
        answer.devices.push(Device { gaps, unplaced });
    }
    if let Some(id) = &args.device {
        ensure!(
            !answer.devices.is_empty(),
            "nothing was ever received from a device \"{id}\"; `taraz gaps` without --device lists all"
        );
    }
    let text = if args.json {
        serde_json::to_string_pretty(&answer)? + "\n"
    } else {
        text(&answer, has_period)?
    };
    report::write(None, &text)
}

fn text(answer: &Answer, has_period: bool) -> anyhow::Result<String> {
    let mut text = String::new();
    for device in &answer.devices {
        one(&mut text, device, has_period)?;
    }
    writeln!(text, "all: {}", balance(&answer.totals))?;
    if has_period {
        text.push_str("the sums are of all times; of what is not here only that is listed which may have been written in the period\n");
    }
    Ok(text)
}

fn one(text: &mut String, Device { gaps, unplaced }: &Device, has_period: bool) -> std::fmt::Result {
    writeln!(text, "{}: {}", gaps.device, balance(&gaps.counts))?;
    for (reason, records) in &gaps.held_by_reason {
        writeln!(text, "  {records} held: {reason}")?;
    }
    if gaps.conflicts > 0 {
        writeln!(
            text,
            "  {} beside it: `taraz store conflicts --device {}`",
            count(gaps.conflicts, "conflict"),
            gaps.device
        )?;
    }
    let all = || {
        let boots = gaps.boots.iter();
        boots.flat_map(|boot| boot.gaps.iter().map(move |gap| (boot, gap)))
    };
    list(text, all().filter(|(_, gap)| !gap.is_unplaced()))?;
    if unplaced.gaps == 0 {
        return Ok(());
    }
    let (records, runs) = (count(unplaced.records, "record"), count(unplaced.gaps, "run"));
    if has_period {
        return writeln!(
            text,
            "  at no known time, in no period: {records} in {runs}; `taraz gaps --device {}` lists them",
            gaps.device
        );
    }
    writeln!(
        text,
        "  at no known time, nothing around them is placed in time: {records} in {runs}"
    )?;
    list(text, all().filter(|(_, gap)| gap.is_unplaced()))
}

fn list<'g>(text: &mut String, mut gaps: impl Iterator<Item = (&'g BootGaps, &'g Gap)>) -> std::fmt::Result {
    for (boot, gap) in gaps.by_ref().take(RUNS_SHOWN_MAX) {
        line(text, boot, gap)?;
    }
    match gaps.count() {
        0 => Ok(()),
        more => writeln!(
            text,
            "  … and {more} more; --from and --to choose among them, --json tells all"
        ),
    }
}

fn line(text: &mut String, boot: &BootGaps, gap: &Gap) -> std::fmt::Result {
    let fate = match gap.fate {
        Fate::Pending => "pending",
        Fate::Dropped => "dropped",
        Fate::Unknown => "unknown",
    };
    let end = if boot.ended { "" } else { ", the latest" };
    writeln!(
        text,
        "  {:>9} {fate}  {}  boot {} of {:08x}{end}, {}",
        gap.records(),
        span(gap.span.unwrap_or_default()),
        boot.boot,
        boot.incarnation,
        sequences(gap)
    )
}

fn sequences(gap: &Gap) -> String {
    if gap.first == gap.last {
        format!("record {}", gap.first)
    } else {
        format!("records {}..{}", gap.first, gap.last)
    }
}

/// In UTC, to the second.
fn span(span: GapSpan) -> String {
    let after = span.after_ms.map(|ms| format!("after {}", time(ms)));
    let before = span.before_ms.map(|ms| format!("before {}", time(ms)));
    let parts: Vec<_> = after.into_iter().chain(before).collect();
    if parts.is_empty() {
        return "at no known time".to_owned();
    }
    parts.join(", ")
}

/// What was written, and what became of it: both sides are equal.
fn balance(counts: &GapCounts) -> String {
    let parts = counts
        .states()
        .map(|(state, records)| format!("{records} {state}"));
    format!("{} written = {}", counts.written, parts.join(" + "))
}
