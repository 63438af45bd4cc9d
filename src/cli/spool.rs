//! `taraz spool …`: what can be said about what waits in the gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use taraz_telemetry::DeviceId;

/// What can be done with a gateway's spool.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
`list`, `verify` and `export` may be used while the gateway runs; stop it for `repair` and `import`. Nothing is ever deleted:
damaged rows go into the quarantine, and a damaged file is kept beside the new one.

Examples:
  taraz spool list --config taraz.toml
  taraz spool verify --config taraz.toml && echo good       exit code 1 when something is wrong
  taraz spool repair --config taraz.toml
  taraz spool export --out sari.spool --device sari-01 --config taraz.toml
  taraz spool import sari.spool --config taraz.toml         at another gateway of the same fleet")]
pub(crate) enum SpoolCommand {
    /// What waits for ingest by device, and what is in the quarantine.
    List(SpoolArgs),
    /// Check every check sum, every record and every identity; exit code 1 with what is wrong and what to do about it.
    Verify(SpoolArgs),
    /// Move damaged rows into the quarantine; make a new file of what can still be read when the file itself is damaged.
    Repair(SpoolArgs),
    /// Write what waits for ingest into a file; it stays in the spool.
    Export(ExportArgs),
    /// Put an export behind what waits for ingest; what is there already is delivered twice and counted once.
    Import(ImportArgs),
}

/// Which spool, and how to answer.
#[derive(Debug, Args)]
pub(crate) struct SpoolArgs {
    #[command(flatten)]
    pub(crate) place: SpoolPlace,
    /// Answer in JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which spool.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("spool").required(true).multiple(true).args(["config", "data"])))]
pub(crate) struct SpoolPlace {
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder, where `taraz up --data` was told one; also a gateway's own folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// What to export.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to make; an existing one is never replaced.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Only this device's.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceId>,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}

/// What to import.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file that `taraz spool export` made.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) spool: SpoolArgs,
}
