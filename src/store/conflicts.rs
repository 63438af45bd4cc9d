//! `taraz store conflicts`: records that contradict stored ones, beside those.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use taraz_ingest::{Archive, Conflict, Conflicts, Stated};

use crate::cli::ConflictsArgs;
use crate::quarantine::{count, time};
use crate::report;

/// What the operator does with them.
const NEXT: &str = "\
What to do: the stored record counts and stays, no number is wrong because of the other. Two boards with one id, or a copy of a
device's memory on a second board, write such records: look which boards use this id, give each its own (`taraz device add`), and
flash it. A single one after a power cut: look at the device's boot counter (solar_device_boots_total); it must rise with every start.
";

pub(super) fn run(args: &ConflictsArgs, folder: &Path) -> anyhow::Result<()> {
    let found = Archive::open(folder)?.conflicts(args.device.as_ref(), args.limit)?;
    let text = if args.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        text(args, &found)?
    };
    report::write(None, &text)
}

fn text(args: &ConflictsArgs, found: &Conflicts) -> anyhow::Result<String> {
    let mut text = format!(
        "{} kept, at most {}\n",
        count(found.kept, "conflict"),
        found.kept_max
    );
    if found.is_full {
        text.push_str(
            "no more are kept: further ones are only counted (ingest_readings_total{result=\"conflict\"}); what is stored is not affected\n",
        );
    }
    for conflict in &found.conflicts {
        one(&mut text, conflict)?;
    }
    if found.conflicts.is_empty() {
        if let Some(device) = args.device.as_ref().filter(|_| found.kept > 0) {
            writeln!(text, "none of {device}")?;
        }
        return Ok(text);
    }
    if found.conflicts.len() as u64 == u64::from(args.limit) {
        writeln!(
            text,
            "\nthe newest {}; --device and --limit choose among them",
            args.limit
        )?;
    }
    write!(text, "\n{NEXT}")?;
    Ok(text)
}

fn one(text: &mut String, conflict: &Conflict) -> std::fmt::Result {
    let Conflict {
        device,
        incarnation,
        boot,
        sequence,
        ..
    } = conflict;
    writeln!(
        text,
        "\n{device}  incarnation {incarnation:08x}, boot {boot}, record {sequence}"
    )?;
    let received = |side: &Stated| time(side.received_ms);
    let stored = match (&conflict.stored, &conflict.missing) {
        (Some(stored), _) => received(stored),
        (None, why) => format!("can't be shown: {}", why.as_deref().unwrap_or("nobody knows why")),
    };
    writeln!(text, "  stored: received {stored}")?;
    writeln!(text, "  came:   received {}", received(&conflict.came))?;
    let names: BTreeSet<_> = conflict
        .stored
        .iter()
        .chain([&conflict.came])
        .flat_map(|side| side.fields.keys())
        .collect();
    writeln!(text, "    {:<26} {:<38} came", "", "stored")?;
    for name in names {
        let value = |side: &Stated| {
            side.fields
                .get(name)
                .map_or("-".to_owned(), |value| words(name, value))
        };
        let came = value(&conflict.came);
        let stored = conflict.stored.as_ref().map(value);
        let mark = if stored.as_ref().is_some_and(|stored| *stored != came) {
            "≠"
        } else {
            " "
        };
        writeln!(
            text,
            "  {mark} {name:<26} {:<38} {came}",
            stored.unwrap_or_else(|| "?".to_owned())
        )?;
    }
    Ok(())
}

/// A value as people read it: a time as one, text without quotes.
fn words(name: &str, value: &serde_json::Value) -> String {
    match (name, value.as_i64(), value.as_str()) {
        ("time_ms" | "utc_ms", Some(ms), _) => format!("{ms} ({})", time(ms)),
        (_, _, Some(text)) => text.to_owned(),
        _ => value.to_string(),
    }
}
