//! `taraz spool`: what waits in a gateway, told and checked; the work is the gateway's.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use taraz_gateway::{
    FindingKind, Repair, SpoolFile, SpoolListing, Verification, export_spool, import_spool, repair_spool,
};

use crate::cli::{ExportArgs, ImportArgs, SpoolArgs, SpoolCommand, SpoolPlace};
use crate::config::Config;
use crate::quarantine::{count, now_ms, time_of};

/// Lanes of one device that are printed.
const LANES_PRINTED_MAX: usize = 4;
/// Findings that are printed.
const FINDINGS_PRINTED_MAX: usize = 50;

/// `taraz spool …`
pub(crate) fn run(command: &SpoolCommand) -> anyhow::Result<()> {
    match command {
        SpoolCommand::List(args) => list(args),
        SpoolCommand::Verify(args) => verify(args),
        SpoolCommand::Repair(args) => repair(args),
        SpoolCommand::Export(args) => export(args),
        SpoolCommand::Import(args) => import(args),
    }
}

fn list(args: &SpoolArgs) -> anyhow::Result<()> {
    let listing = open(&args.place)?.list()?;
    print(args.json, &listing, listing_text)
}

fn verify(args: &SpoolArgs) -> anyhow::Result<()> {
    let found = open(&args.place)?.verify()?;
    print(args.json, &found, verification_text)?;
    ensure!(
        found.is_good(),
        "the spool has {}",
        count(found.findings_total, "finding")
    );
    Ok(())
}

fn repair(args: &SpoolArgs) -> anyhow::Result<()> {
    let done = repair_spool(&folder(&args.place)?, u64::try_from(now_ms()).unwrap_or(0))?;
    print(args.json, &done, repair_text)
}

fn export(args: &ExportArgs) -> anyhow::Result<()> {
    let device = args.device.as_ref().map(taraz_telemetry::DeviceId::as_str);
    let done = export_spool(&folder(&args.spool.place)?, device, &args.out)?;
    print(args.spool.json, &done, |done| {
        format!(
            "{}: {} with {}\n",
            args.out.display(),
            count(done.rows, "run"),
            count(done.records, "record")
        )
    })?;
    ensure!(
        done.left_out == 0,
        "{} left out because damaged; `taraz spool verify` names them",
        count(done.left_out, "run")
    );
    Ok(())
}

fn import(args: &ImportArgs) -> anyhow::Result<()> {
    let done = import_spool(&folder(&args.spool.place)?, &args.file)?;
    print(args.spool.json, &done, |done| {
        let (runs, records) = (count(done.rows, "run"), count(done.records, "record"));
        format!("{runs} with {records} now wait for ingest\n")
    })
}

/// The gateway's data folder.
fn folder(place: &SpoolPlace) -> anyhow::Result<PathBuf> {
    if let Some(data) = &place.data {
        let below = data.join("gateway");
        return Ok(if below.is_dir() { below } else { data.clone() });
    }
    let Some(config) = &place.config else {
        bail!("expected --config FILE or --data DIR");
    };
    Ok(Config::read(config)?.gateway()?.data_dir.clone())
}

fn open(place: &SpoolPlace) -> anyhow::Result<SpoolFile> {
    let folder = folder(place)?;
    SpoolFile::open(&folder)?.with_context(|| {
        format!(
            "there is no spool in {}: expected the data folder of a gateway that has run",
            folder.display()
        )
    })
}

fn print<T: Serialize>(is_json: bool, told: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<()> {
    let text = if is_json {
        serde_json::to_string_pretty(told)? + "\n"
    } else {
        text(told)
    };
    crate::out::text(&text);
    Ok(())
}

fn listing_text(listing: &SpoolListing) -> String {
    let runs: u64 = listing.waiting.iter().map(|device| device.runs).sum();
    let records: u64 = listing.waiting.iter().map(|device| device.records).sum();
    let mut text = format!(
        "{}: {} B and a log of {} B\nwaiting for ingest: {} with {}\n",
        listing.file,
        listing.file_bytes,
        listing.log_bytes,
        count(runs, "run"),
        count(records, "record"),
    );
    for device in &listing.waiting {
        let _ = write!(
            text,
            "  {}  {} in {}, {} B  received {} to {}",
            named(&device.device),
            count(device.records, "record"),
            count(device.runs, "run"),
            device.bytes,
            time_of(device.oldest_received_ms),
            time_of(device.newest_received_ms),
        );
        if device.held_records > 0 {
            let _ = write!(text, "  {} of them held", device.held_records);
        }
        if device.damaged_runs > 0 {
            let _ = write!(text, "  {} damaged", count(device.damaged_runs, "run"));
        }
        text.push('\n');
        for lane in device.lanes.iter().take(LANES_PRINTED_MAX) {
            let _ = writeln!(
                text,
                "    incarnation {:08x}  boot {}  records {} to {}",
                lane.incarnation, lane.boot, lane.first, lane.last
            );
        }
        let more = device.lanes_total.saturating_sub(LANES_PRINTED_MAX as u64);
        if more > 0 {
            let _ = writeln!(text, "    and {more} more");
        }
    }
    let items: u64 = listing.quarantined.iter().map(|group| group.runs).sum();
    let _ = writeln!(text, "in the quarantine: {}", count(items, "run"));
    for group in &listing.quarantined {
        let _ = writeln!(
            text,
            "  {}  {} in {}  since {}  {}",
            named(&group.device),
            count(group.records, "record"),
            count(group.runs, "run"),
            time_of(group.oldest_quarantined_ms),
            group.reason,
        );
    }
    text
}

fn verification_text(found: &Verification) -> String {
    let mut text = format!(
        "{} with {} wait, {} in the quarantine, {} missing, {} sent twice: {}\n",
        count(found.rows, "run"),
        count(found.records, "record"),
        count(found.quarantined_rows, "run"),
        count(found.missing_rows, "run"),
        count(found.repeated_records, "record"),
        if found.is_good() { "good" } else { "not good" },
    );
    for finding in found.findings.iter().take(FINDINGS_PRINTED_MAX) {
        let at = finding
            .position
            .map_or("the file".to_owned(), |position| format!("position {position}"));
        let _ = writeln!(text, "  {at}  {}  {}", named(&finding.device), finding.what);
    }
    let more = found.findings_total.saturating_sub(FINDINGS_PRINTED_MAX as u64);
    if more > 0 {
        let _ = writeln!(text, "  and {more} more");
    }
    let kinds = [
        FindingKind::File,
        FindingKind::Row,
        FindingKind::QuarantinedRow,
        FindingKind::Conflict,
        FindingKind::Missing,
        FindingKind::Mark,
    ];
    for kind in kinds
        .into_iter()
        .filter(|kind| found.findings.iter().any(|each| each.kind == *kind))
    {
        let what = match kind {
            FindingKind::File => "the file",
            FindingKind::Row => "a damaged run",
            FindingKind::QuarantinedRow => "a damaged run in the quarantine",
            FindingKind::Conflict => "a conflict",
            FindingKind::Missing => "missing runs",
            FindingKind::Mark => "the spool's mark",
        };
        let _ = writeln!(text, "what to do about {what}: {}", kind.remedy());
    }
    text
}

fn repair_text(done: &Repair) -> String {
    let mut text = format!(
        "{} good, {} put into the quarantine\n",
        count(done.good_rows, "run"),
        count(done.put_aside, "run")
    );
    if let Some(file) = &done.damaged_file {
        let _ = writeln!(
            text,
            "the file was damaged; a new one was made, and the old one is {}",
            file.display()
        );
    }
    if done.missing_rows > 0 {
        let _ = writeln!(
            text,
            "{} that had been acknowledged missing; `taraz gaps` names their records once the devices' next ones are stored",
            count(done.missing_rows, "run")
        );
    }
    for (first, last) in &done.missing {
        let _ = writeln!(text, "missing at the positions {first} to {last}");
    }
    let is_told = |stretch: &&(u64, u64)| {
        let mut told = done.missing.iter();
        !told.any(|missing| missing.0 <= stretch.0 && stretch.1 <= missing.1)
    };
    for (first, last) in done.unreadable.iter().filter(is_told) {
        let last = if *last == u64::MAX {
            "on".to_owned()
        } else {
            format!("to {last}")
        };
        let _ = writeln!(text, "nothing can be read at the positions {first} {last}");
    }
    text
}

fn named(device: &str) -> &str {
    if device.is_empty() { "-" } else { device }
}
