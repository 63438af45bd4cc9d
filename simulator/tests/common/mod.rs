//! What the tests of the running simulator share.
#![allow(dead_code, reason = "not every test uses everything")]
#![allow(
    clippy::unwrap_used,
    reason = "these are tests, outside of a #[test] function"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use taraz_simulator::{Options, RunningSimulator, Simulation, Simulator};
use tokio::time::timeout;
use tokio_modbus::client::Context;
use tokio_modbus::prelude::{Slave, SlaveContext as _, Writer as _};
use tokio_util::sync::CancellationToken;

/// 23 November 2026, 08:15 UTC: about noon at 53° E.
pub(crate) const NOON_MS: i64 = 1_795_421_700_000;

/// One bus with a unit of every kind.
pub(crate) const SIMULATION: &str = r#"
[[device]]
id = "bus-1"
plant = "plant-1"
longitude_deg = 53.0
commissioned = "2024-03-20"
source = "nrel_rsf_ii"
scale = 0.1
load = { source = "ausgrid_house", scale = 4.0 }

[[device.unit]]
address = 1
kind = "sunspec"
model = 103
rated_w = 25000
mppt = 2
unknown_models = [{ id = 64110, length = 5 }]
energy_start_wh = 1000

[[device.unit]]
address = 2
kind = "sdm630"
rated_w = 69000

[[device.unit]]
address = 3
kind = "growatt"
rated_w = 12500
share = 0.5

[[device.unit]]
address = 4
kind = "si_rs485"

[[device.unit]]
address = 5
kind = "sunspec"
model = 213
base = 0
short_common = true
rated_w = 69000
measures = "consumption"
"#;

/// A simulator that was started for a test.
pub(crate) struct Started {
    running: RunningSimulator,
    cancel: CancellationToken,
}

pub(crate) async fn start(simulation: &str, options: Options) -> Started {
    let cancel = CancellationToken::new();
    let simulation = Simulation::parse(simulation, None).unwrap();
    let running = Simulator::start(simulation, options, cancel.clone())
        .await
        .unwrap();
    Started { running, cancel }
}

impl Started {
    pub(crate) fn address(&self, bus: &str) -> SocketAddr {
        self.running.buses[bus]
    }

    pub(crate) fn pty(&self, bus: &str) -> String {
        self.running.ptys[bus].clone()
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        timeout(Duration::from_secs(10), self.running.stopped())
            .await
            .unwrap()
            .unwrap();
    }
}

/// Sets the bus clock of a connection.
pub(crate) async fn set_clock(client: &mut Context, at_ms: i64) {
    client.set_slave(Slave(247));
    let words: Vec<u16> = at_ms
        .to_be_bytes()
        .chunks(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    timeout(
        Duration::from_secs(10),
        client.write_multiple_registers(0, &words),
    )
    .await
    .unwrap()
    .unwrap()
    .unwrap();
}

/// The lines of a journal.
pub(crate) fn lines(journal: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(journal).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
