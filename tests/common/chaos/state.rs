//! Where every part of a round stands, for whoever asks why a wait was in vain.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use taraz_test_support::get;

use crate::common::installation::{Installation, TARAZ};
use crate::common::ledger::Ledger;

/// The end of each log that is shown.
const LOG_LINES_MAX: usize = 15;

/// The ledger of each device, the spool, what gateway and ingest count, and the last lines of every log. Whoever does not answer is
/// told as such: the round has failed already.
pub(super) fn of(installation: &Installation, devices: &[&str]) -> String {
    let mut text = String::from("---- the state of all parts ----\n");
    for device in devices {
        // Its asking panics when the store can't be read, which is as good an answer here.
        let ledger = std::panic::catch_unwind(|| Ledger::ask(installation, device));
        let _ = match ledger {
            Ok(ledger) => writeln!(
                text,
                "{device}: written {}, stored {}, held {}, pending {}, dropped {}, unknown {}; boots {:?}",
                ledger.written,
                ledger.stored,
                ledger.held,
                ledger.pending,
                ledger.dropped,
                ledger.unknown,
                ledger.boots
            ),
            Err(_) => writeln!(text, "{device}: its ledger can't be asked"),
        };
    }
    text += &spool(installation.folder());
    text += &counts("gateway", installation.gateway_http());
    text += &counts("ingest", installation.http);
    text += &logs(installation.folder());
    text
}

fn spool(folder: &Path) -> String {
    let said = Command::new(TARAZ)
        .args(["spool", "list", "--config", "taraz.toml"])
        .current_dir(folder)
        .output();
    said.map_or_else(
        |error| format!("spool: {error}\n"),
        |said| {
            let (told, wrong) = (
                String::from_utf8_lossy(&said.stdout),
                String::from_utf8_lossy(&said.stderr),
            );
            format!("spool: {told}{wrong}\n")
        },
    )
}

/// Every metric of its own that is not 0.
fn counts(name: &str, address: SocketAddr) -> String {
    let page = match get(address, "/metrics") {
        Ok(page) => page.body,
        Err(error) => return format!("{name} at {address} does not answer: {error}\n"),
    };
    let own = page
        .lines()
        .filter(|line| line.starts_with(name) && !line.contains("_bucket{") && !line.ends_with(" 0"));
    own.fold(format!("{name}:\n"), |text, line| text + "  " + line + "\n")
}

fn logs(folder: &Path) -> String {
    let mut text = String::new();
    let found = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = found.map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
    {
        let log = std::fs::read(path).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let shown = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n");
        let _ = writeln!(text, "the end of {}:\n{shown}", path.display());
    }
    text
}
