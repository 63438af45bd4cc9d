//! One run of the load generator against an installation of its own.

use std::path::Path;

use anyhow::{Context, Result};

use super::build::Binaries;
use super::machine;
use super::options::Processes;
use super::outcome::Outcome;
use super::report::Report;
use super::rig::Rig;

/// Starts gateway and ingest, loads them as `arguments` say, and gives the figures.
///
/// # Errors
/// When a process ends, or readings are missing in the end.
pub(super) fn measure(
    binaries: &Binaries,
    processes: Processes,
    arguments: &[String],
    folder: &Path,
) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let connections = number_of(arguments, "--connections", 1_000)?;
    let meters = number_of(arguments, "--meters", 1)?;
    let outcome = run(
        binaries,
        processes,
        connections,
        meters,
        arguments,
        &folder.join("load"),
    )?;
    report.add(outcome.figures("load"));
    report.add([machine::after()?]);
    outcome.check()?;
    Ok(report)
}

/// One run in the new `folder`.
///
/// # Errors
/// When a process ends.
pub(super) fn run(
    binaries: &Binaries,
    processes: Processes,
    connections: usize,
    meters: usize,
    arguments: &[String],
    folder: &Path,
) -> Result<Outcome> {
    let rig = Rig::start(folder, binaries, processes, connections, meters)?;
    let figures = rig.load(binaries, meters, arguments)?;
    let (spool_bytes, store_bytes) = rig.stop()?;
    Ok(Outcome {
        figures,
        spool_bytes,
        store_bytes,
    })
}

fn number_of(arguments: &[String], name: &str, otherwise: usize) -> Result<usize> {
    let at = arguments.iter().position(|word| word == name);
    let Some(word) = at.and_then(|at| arguments.get(at + 1)) else {
        return Ok(otherwise);
    };
    word.parse()
        .with_context(|| format!("{name} {word}: expected a number"))
}
