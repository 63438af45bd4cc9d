//! `taraz schedule …`: what plants are scheduled to generate.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::report::Source;

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
A schedule is a CSV file with the head plant,start,minutes,scheduled_kwh. start is an instant (2026-11-23T10:00:00+03:30) or a date and
time in Tehran (2026-11-23 10:00), on a quarter-hour, by the Gregorian
calendar (not Jalali); minutes is 15, 30 or 60; scheduled_kwh is at most 150 % of what the inverters can give in that time.

Examples:
  taraz schedule import tomorrow.csv --config taraz.toml
  taraz schedule import tomorrow.csv --data taraz-data     into the demo, whose API has no token to upload with
  curl -H 'Authorization: Bearer TOKEN' --data-binary @tomorrow.csv http://127.0.0.1:8080/api/v1/schedules")]
pub(crate) enum ScheduleCommand {
    /// Take a schedule: all of it, or nothing. Ingest may be running. A later import replaces periods of the same beginning and length; another overlap is refused.
    Import(ImportArgs),
}

/// What is imported, and where.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The schedule.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) source: Source,
}
