//! How `taraz gaps` is started.

use clap::Args;
use taraz_telemetry::DeviceId;

use super::report::Source;

pub(crate) const GAPS_HELP: &str = "\
Every record that a device has written is in one state, and they add up:
  stored   here
  held     here, and kept out of the figures (`taraz quarantine list` says why)
  pending  not here; the device may still have it, or a gateway on the way
  dropped  not here; the device has named it as lost: its queue was full, or its memory failed
  unknown  not here, not named, and by the device's own count no longer on it

What is not here is listed run by run: how many records, what became of them, when the device wrote them (UTC, between the records
around them that are here and placed in time, by the device's clock), and their identities: boot, queue, sequences. Where nothing
in front or behind is placed, that side is open.

--from and --to choose the runs that may have been written then. Runs that nothing places in time are in no period: of them only
the number is told; without --from and --to they are listed under a heading of their own. The sums are always those of the whole device.

Examples:
  taraz gaps --config taraz.toml
  taraz gaps --device sari-01 --from 1405-08-01 --to 1405-09-01 --config taraz.toml
  taraz gaps --json --data taraz-data

A date is the begin of that day in Tehran: Jalali up to the year 1501, Gregorian after it.";

/// What is accounted for.
#[derive(Debug, Args)]
pub(crate) struct GapsArgs {
    /// Only what may have been written at or after this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Only what may have been written before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Only this device.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceId>,
    /// For programs.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) source: Source,
}
