//! The gap ledger as the command line tells it, held against the queue that a device left on its disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use taraz_device_host::FileQueue;
use taraz_firmware::{Position, Queue as _};

use super::installation::{Installation, TARAZ};

/// (incarnation, boot, sequence).
pub(crate) type Identity = (u32, u32, u32);

/// What `taraz gaps --json` says of one device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) written: u64,
    pub(crate) stored: u64,
    pub(crate) held: u64,
    pub(crate) pending: u64,
    pub(crate) dropped: u64,
    pub(crate) unknown: u64,
    /// How far each boot is known to have come: incarnation and boot → how many records.
    pub(crate) boots: BTreeMap<(u32, u32), u64>,
    /// Every identity that is not here, by what became of it.
    pub(crate) missing: BTreeMap<String, BTreeSet<Identity>>,
}

impl Ledger {
    /// Asks the command line; ingest may be running. An empty one when nothing was ever received of the device.
    pub(crate) fn ask(installation: &Installation, device: &str) -> Self {
        let arguments = ["gaps", "--json", "--config", "taraz.toml"];
        let said = Command::new(TARAZ)
            .args(arguments)
            .current_dir(installation.folder())
            .output()
            .unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let answer: Value = serde_json::from_slice(&said.stdout).unwrap();
        let devices = answer["devices"].as_array().unwrap();
        let found = devices.iter().find(|found| found["device"] == device);
        found.map(Self::of).unwrap_or_default()
    }

    /// From a device of the answer of `taraz gaps --json` or `/api/v1/gaps`.
    pub(crate) fn of(device: &Value) -> Self {
        let number = |of: &Value, key: &str| of[key].as_u64().unwrap_or_else(|| panic!("{key} in {of}"));
        let small = |of: &Value, key: &str| u32::try_from(number(of, key)).unwrap();
        let mut ledger = Self {
            written: number(device, "written"),
            stored: number(device, "stored"),
            held: number(device, "held"),
            pending: number(device, "pending"),
            dropped: number(device, "dropped"),
            unknown: number(device, "unknown"),
            ..Self::default()
        };
        for boot in device["boots"].as_array().unwrap() {
            let key = (small(boot, "incarnation"), small(boot, "boot"));
            ledger.boots.insert(key, number(boot, "written"));
            for gap in boot["gaps"].as_array().unwrap() {
                let run = small(gap, "first")..=small(gap, "last");
                ledger
                    .missing
                    .entry(gap["fate"].as_str().unwrap().to_owned())
                    .or_default()
                    .extend(run.map(|sequence| (key.0, key.1, sequence)));
            }
        }
        ledger
    }

    /// The identities of one fate.
    pub(crate) fn identities(&self, fate: &str) -> BTreeSet<Identity> {
        self.missing.get(fate).cloned().unwrap_or_default()
    }

    /// Every written record is in one state, and the runs hold what the counts say.
    pub(crate) fn assert_balances(&self) {
        let sum = self.stored + self.held + self.pending + self.dropped + self.unknown;
        assert_eq!(
            self.written, sum,
            "written (left) and the sum of the states (right)"
        );
        let boots: u64 = self.boots.values().sum();
        assert_eq!(self.written, boots, "written (left) and its boots (right)");
        for (fate, count) in [
            ("pending", self.pending),
            ("dropped", self.dropped),
            ("unknown", self.unknown),
        ] {
            assert_eq!(self.identities(fate).len() as u64, count, "{fate}");
        }
    }
}

/// What a device that has ended left in its queue.
#[derive(Debug)]
pub(crate) struct QueueLeft {
    /// Which formatting.
    pub(crate) incarnation: u32,
    /// The newest boot, and how many records the device wrote in it.
    pub(crate) newest: (u32, u64),
    /// What was not acknowledged.
    pub(crate) pending: BTreeSet<Identity>,
}

impl QueueLeft {
    /// Reads the queue in a device's state folder.
    pub(crate) fn read(state: &Path) -> Self {
        let mut queue = FileQueue::open(&state.join("queue"), u32::MAX).unwrap();
        let incarnation = queue.incarnation();
        let mut pending = BTreeSet::new();
        let mut at = Position::START;
        while let Some(position) = queue.next_pending(at).unwrap() {
            pending.insert((incarnation, position.boot, position.sequence));
            at = position.after();
        }
        Self {
            incarnation,
            newest: (queue.boot(), queue.next_sequence().into()),
            pending,
        }
    }

    /// What the ledger says of this formatting is what the device itself has: every record up to the last one written is
    /// accounted for or pending here, what is pending there is pending here, and what is unknown is not here.
    pub(crate) fn assert_is(&self, ledger: &Ledger) {
        ledger.assert_balances();
        let key = (self.incarnation, self.newest.0);
        let known = ledger.boots.get(&key).copied().unwrap_or(0);
        let behind = self
            .pending
            .range((key.0, key.1, u32::try_from(known).unwrap())..)
            .count() as u64;
        assert_eq!(
            known + behind,
            self.newest.1,
            "boot {key:?}: the ledger's records and those behind them on the device (left), those it wrote (right)"
        );
        let of_us = |identity: &&Identity| identity.0 == self.incarnation;
        let pending = ledger.identities("pending");
        let nowhere: Vec<_> = pending
            .iter()
            .filter(of_us)
            .filter(|identity| !self.pending.contains(identity))
            .collect();
        assert!(nowhere.is_empty(), "pending and not on the device: {nowhere:?}");
        let unknown = ledger.identities("unknown");
        let known: Vec<_> = unknown.intersection(&self.pending).collect();
        assert!(known.is_empty(), "unknown and on the device: {known:?}");
    }
}
