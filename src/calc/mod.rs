//! `taraz calc`: the figures of the analytics, from files to files, for auditors.
//!
//! A file's columns are read, the very functions that ingest uses are called, and the same columns are written. What a row lacks
//! leaves empty what depends on it; a column that nothing can be done without is asked for by its name.

mod iec61724;
mod imbalance;
mod intervals;
mod jalali;
mod json;
mod params;
mod phases;
mod solar;
mod table;

use crate::cli::{CalcCommand, Files, FilesWithParams, Stamp};

pub(crate) use table::{Table, Writer, instant_ms};

/// Runs one calculation.
pub(crate) fn run(command: &CalcCommand) -> anyhow::Result<()> {
    match command {
        CalcCommand::Solar(files) => solar::run(files),
        CalcCommand::Phases(files) => phases::run(files),
        CalcCommand::Jalali(files) => jalali::run(files),
        CalcCommand::Iec61724(files) => iec61724::run(files),
        CalcCommand::Imbalance(files) => imbalance::run(files),
    }
}
