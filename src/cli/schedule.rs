//! `taraz schedule …`: what plants are scheduled to generate.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A schedule is a CSV file with the head plant,start,minutes,scheduled_kwh. start is an instant (2026-11-23T10:00:00+03:30) or a date and
time in Tehran (2026-11-23 10:00), on a quarter-hour; minutes is 15, 30 or 60.

Examples:
  taraz schedule import tomorrow.csv --config taraz.toml
  curl -H 'Authorization: Bearer TOKEN' --data-binary @tomorrow.csv http://127.0.0.1:8080/api/v1/schedules")]
pub(crate) enum ScheduleCommand {
    /// Take a schedule: all of it, or nothing. Ingest may be running. A later import replaces the periods that begin at the same time.
    Import(ImportArgs),
}

/// What is imported, and where.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The schedule.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}
