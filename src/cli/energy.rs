//! How `taraz energy` is started.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::report::Source;

/// What is asked about energies.
#[derive(Debug, Subcommand)]
pub(crate) enum EnergyCommand {
    /// How a plant's generation over a period came about, from the raw registers: lines that add up.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArgs),
}

const EXPLAIN_HELP: &str = "\
Examples:
  taraz energy explain sari-roof-1 --from 1404-09-01 --to 1404-10-01 --config taraz.toml
  taraz energy explain sari-roof-1 --from 2025-11-22 --to 2025-12-22T08:30Z --config taraz.toml --format json
  taraz energy explain sari-town-hall --from 1405-09-01 --to 1405-09-02 --data taraz-data

A date is the begin of that day in Tehran: Jalali up to the year 1501, Gregorian after it.";

/// What is explained.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The plant's id in fleet.toml.
    pub(crate) plant: String,
    /// The period's begin: a date, or a time such as 2025-06-21T08:30Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: String,
    /// The period's end, not included.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: String,
    /// The form.
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    pub(crate) format: ExplainFormat,
    /// Write to this file instead of printing.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) source: Source,
}

/// Forms of an explanation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExplainFormat {
    /// A table with the sum so far.
    Text,
    /// The same for programs.
    Json,
}
