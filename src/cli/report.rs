//! How `taraz report` is started.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What is reported.
#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// The share of renewables that public owners owe: covered, missing, where the year will end, what is to be built.
    #[command(after_help = DUTY_HELP)]
    Duty(DutyArgs),
}

const DUTY_HELP: &str = "\
Examples:
  taraz report duty --year 1404 --config taraz.toml --lang fa --out duty.html       open it in a browser and print it on A4
  taraz report duty --year 1404 --owner sari-municipality --config taraz.toml --format json
  taraz report duty --year 1405 --data taraz-data --lang en --out duty.html         the demo's, while it runs

Energies come from the stored registers; what they do not state is shown as unknown. Shares are the law's (5, 10, 15, 20 % for 1403 to
1406) unless fleet.toml has rows of its own ([[duty]], see `taraz config example fleet`).";

/// Where a store is.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Source {
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder of `taraz up --demo`.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// How the duty is reported.
#[derive(Debug, Args)]
pub(crate) struct DutyArgs {
    /// The Jalali year.
    #[arg(long, value_name = "YEAR")]
    pub(crate) year: i16,
    /// Only this owner, by its id in fleet.toml.
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
    /// The form.
    #[arg(long, value_enum, default_value_t = Format::Html)]
    pub(crate) format: Format,
    /// The language of the HTML form.
    #[arg(long, value_enum, default_value_t = Language::Fa)]
    pub(crate) lang: Language,
    /// Write to this file instead of printing.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Use only what was read up to this time (such as 2025-12-21T20:30Z); now unless given.
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    #[command(flatten)]
    pub(crate) source: Source,
}

/// Forms of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One page for a browser, which prints on A4.
    Html,
    /// A row for each owner, plant and site; energies in Wh.
    Csv,
    /// Everything; energies in Wh, times in UTC ms.
    Json,
}

/// Languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Persian.
    Fa,
    /// English.
    En,
}
