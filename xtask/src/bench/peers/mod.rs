//! Others' chains beside ours in one run: the same readings, connections and window, and every process of each chain counted.
//!
//! A chain of a peer is Mosquitto with raised limits, a bridge that is commonly used behind it, and VictoriaMetrics. None of
//! them acknowledges after anything is durable; that is not held against them here, only said.

mod chain;
mod install;

use std::path::Path;

use anyhow::{Result, bail};

use super::build::Binaries;
use super::matrix::{Matrix, ratios};
use super::options::{PeerOptions, Processes};
use super::report::Report;
use super::{load, machine};
use chain::{Bridge, Peer};
use install::Installed;

/// A chain that writes each message by itself takes minutes for what others do in seconds: it gets a share of them.
const SINGLE_SHARE: u64 = 10;

const PEERS: &[Peer] = &[
    Peer {
        name: "Mosquitto + Node-RED, batches of 1,000 + VictoriaMetrics",
        bridge: Bridge::NodeRed {
            flow: include_str!("../../../peers/flows-batch.json"),
        },
        share: 1,
    },
    Peer {
        name: "Mosquitto + paho and influxdb-client + VictoriaMetrics",
        bridge: Bridge::Python,
        share: 1,
    },
    Peer {
        name: "Mosquitto + Node-RED, a write per message + VictoriaMetrics",
        bridge: Bridge::NodeRed {
            flow: include_str!("../../../peers/flows-single.json"),
        },
        share: SINGLE_SHARE,
    },
];

/// Runs Taraz, then each peer.
///
/// # Errors
/// When a peer is not installed (the message says how), or a chain loses readings or ends.
pub(super) fn measure(binaries: &Binaries, options: &PeerOptions, folder: &Path) -> Result<Report> {
    let installed = Installed::prepare()?;
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let (mut matrix, mut failures) = (Matrix::default(), Vec::new());
    for (name, processes) in [
        ("Taraz, gateway + ingest", Processes::Two),
        ("Taraz, one process", Processes::One),
    ] {
        println!("━━ {name} ━━");
        let mut arguments = options.arguments(options.readings);
        arguments.extend(["--times", "backlog"].map(str::to_owned));
        let run = folder.join(format!("taraz-{}", matrix.len()));
        let outcome = load::run(binaries, processes, options.connections, 1, &arguments, &run)?;
        outcome.check()?;
        matrix.add(name, &outcome);
        report.add(outcome.figures(name));
    }
    for (index, peer) in PEERS.iter().enumerate() {
        println!("━━ {} ━━", peer.name);
        let run = folder.join(format!("peer-{index}"));
        let arguments = options.arguments(options.readings / peer.share);
        match chain::run(binaries, &installed, peer, &arguments, &run) {
            Ok(outcome) => {
                matrix.add(peer.name, &outcome);
                report.add(outcome.figures(peer.name));
                // Their loss is a figure of theirs, ours would be an error.
                if let Err(error) = outcome.check() {
                    println!("{}: {error:#}", peer.name);
                }
            }
            Err(error) => {
                println!("{}: FAILED: {error:#}", peer.name);
                failures.push(format!("{}: {error:#}", peer.name));
            }
        }
    }
    report.add([machine::after()?]);
    print!("\n{}\n{}", matrix.table(), ratios(&matrix));
    if !failures.is_empty() {
        bail!("{} peers failed:\n{}", failures.len(), failures.join("\n"));
    }
    Ok(report)
}

impl PeerOptions {
    fn arguments(&self, readings: u64) -> Vec<String> {
        let words = [
            ("--connections", self.connections.to_string()),
            ("--window", self.window.to_string()),
            ("--readings", readings.to_string()),
            ("--idle-seconds", "2".to_owned()),
        ];
        let words = words
            .into_iter()
            .flat_map(|(name, value)| [name.to_owned(), value]);
        words.collect()
    }
}
