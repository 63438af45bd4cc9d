//! `taraz store …`: what can be asked of ingest's store.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use taraz_ingest::CONFLICTS_SHOWN_MAX;
use taraz_telemetry::DeviceId;

/// What can be done with the store.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
All of it may be used while ingest runs.

Examples:
  taraz store verify --config taraz.toml              says what is there, and what is wrong; exit code 1 if anything is
  taraz store compact --config taraz.toml             seals the days that are over now, and gives free space back
  taraz store backup --to taraz-1405-03-01.sqlite --config taraz.toml
  taraz store verify --data taraz-data                the demo's
  taraz store conflicts --device sari-01 --config taraz.toml    records that contradict stored ones, beside those

To go on with a backup: stop ingest, move its data folder away, make a new one with the backup in it as store.sqlite, start.")]
pub(crate) enum StoreCommand {
    /// Read everything: each record, each check sum, each identity once, each sum of energies.
    Verify(Installation),
    /// Seal the days that are over (ingest does so by itself, within ten minutes), and shorten the file by its free pages.
    Compact(Installation),
    /// Copy the store into a new file, from one consistent state, and verify the copy.
    Backup(BackupArgs),
    /// List records that came under the identity of a stored one and say something else, field by field beside that one.
    #[command(after_help = CONFLICTS_HELP)]
    Conflicts(ConflictsArgs),
}

const CONFLICTS_HELP: &str = "\
The record that came first is stored and counts; what came later is kept beside it and counts nowhere. The newest come first. Units are
the last part of every name: energy_wh, ac_power_w, voltage_l1_dv (0.1 V). Times are UTC.

Examples:
  taraz store conflicts --config taraz.toml
  taraz store conflicts --device sari-01 --limit 1000 --json --config taraz.toml
  taraz store conflicts --data taraz-data";

/// Which conflicts.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConflictsArgs {
    /// Only this device's.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceId>,
    /// At most so many, 1 to 1000.
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(CONFLICTS_SHOWN_MAX)))]
    pub(crate) limit: u32,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
    /// Whose store.
    #[command(flatten)]
    pub(crate) of: Installation,
}

/// Whose store.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("where").required(true).multiple(true).args(["config", "data"])))]
pub(crate) struct Installation {
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder of `taraz up`, where it was told one or is the demo's.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Where a copy goes.
#[derive(Clone, Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file to write; there must be none of this name.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Whose store.
    #[command(flatten)]
    pub(crate) of: Installation,
}
