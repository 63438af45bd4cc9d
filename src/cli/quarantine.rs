//! `taraz quarantine …`: what can be said about what was rejected or held back.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use taraz_telemetry::{DeviceId, Hold};

/// What can be done with what does not count.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Two kinds of things wait here, and nothing of them is ever lost by itself:
  g7   an item that ingest rejected for good, in the gateway's spool
  h42  a record that ingest holds back: its time or a value is implausible, or its meter is not in the registry

`list` and `show` may be used while gateway and ingest run; stop them for `retry` and `drop`.

Examples:
  taraz quarantine list --config taraz.toml
  taraz quarantine show h42 g7 --config taraz.toml
  taraz quarantine retry --all --config taraz.toml           after fleet.toml was corrected
  taraz quarantine list --data taraz-data                    of the demo
  taraz quarantine drop --device sari-01 --reason unknown_meter --config taraz.toml")]
pub(crate) enum QuarantineCommand {
    /// List the items of the gateway, and what ingest holds back by device, meter and reason.
    List(Chosen),
    /// Show the records themselves.
    Show(Chosen),
    /// Put items before ingest again, and judge held records by the registry as it is now.
    Retry(Chosen),
    /// Decide that they never count. An item of the gateway is removed; a held record stays in the store, marked as dropped.
    Drop(Chosen),
}

/// Which of them.
#[derive(Clone, Debug, Args)]
pub(crate) struct Chosen {
    /// These: gNUMBER or hNUMBER, as `list` and `show` name them.
    #[arg(value_name = "ID", conflicts_with_all = ["device", "reason", "all"])]
    pub(crate) ids: Vec<ItemId>,
    /// Only this device's.
    #[arg(long, value_name = "DEVICE")]
    pub(crate) device: Option<DeviceId>,
    /// Only held records of this reason: implausible_time, implausible_value, unknown_meter.
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub(crate) reason: Option<Hold>,
    /// Everything; `retry` and `drop` want to be told what.
    #[arg(long, conflicts_with_all = ["device", "reason"])]
    pub(crate) all: bool,
    /// The configuration of the installation.
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder, where `taraz up --data` was told one; alone it is the demo's.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// The name of something in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ItemId {
    /// An item in the gateway's spool, by its position.
    Gateway(u64),
    /// A record that ingest holds, by its row.
    Held(i64),
}

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway(position) => write!(f, "g{position}"),
            Self::Held(row) => write!(f, "h{row}"),
        }
    }
}

impl FromStr for ItemId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Digits only, and no more than a row of SQLite can have.
        let number = |rest: &str| {
            let is_plain = rest.bytes().all(|byte| byte.is_ascii_digit());
            rest.parse::<i64>().ok().filter(|_| is_plain)
        };
        let id = match text.split_at_checked(1) {
            Some(("g", rest)) => number(rest).map(|n| Self::Gateway(n.unsigned_abs())),
            Some(("h", rest)) => number(rest).map(Self::Held),
            _ => None,
        };
        id.ok_or_else(|| {
            "allowed: g or h and a number, as g7 or h42; `taraz quarantine list` names them".to_owned()
        })
    }
}

fn reason(text: &str) -> Result<Hold, String> {
    let found = Hold::ALL.into_iter().find(|hold| hold.as_str() == text);
    found.ok_or_else(|| format!("allowed: {}", Hold::ALL.map(Hold::as_str).join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_that_is_printed_can_be_typed() {
        let ids = [
            ItemId::Gateway(7),
            ItemId::Held(42),
            ItemId::Held(1_795_836_412_748),
            ItemId::Held(i64::MAX),
        ];
        for id in ids {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "g", "h-1", "h+1", "7", "g9223372036854775808"] {
            assert!(wrong.parse::<ItemId>().is_err(), "{wrong}");
        }
    }
}
