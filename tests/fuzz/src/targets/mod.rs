//! What is fuzzed: every place where bytes of others come in.

mod answer;
mod batch;
mod chunk;
mod door;
mod frame;
mod line;
mod mqtt;
mod rig;
mod schedule;
mod settings;
mod spool;
mod store;

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::harness::Target;

/// A target that can be made.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Its name on the command line, and of its folder in the corpus.
    pub name: &'static str,
    /// What is given to what.
    pub what: &'static str,
    /// Makes it, with an empty folder of its own.
    pub make: fn(&Path) -> Result<Box<dyn Target>>,
}

/// All of them.
pub const TARGETS: &[Spec] = &[
    Spec {
        name: "frame",
        what: "frames with right and with wrong tags, and acknowledgements, to their decoders",
        make: |_| Ok(Box::new(frame::Frames::new()?)),
    },
    Spec {
        name: "batch",
        what: "batches with right and with wrong check sums to their decoder",
        make: |_| Ok(Box::new(batch::Batches)),
    },
    Spec {
        name: "store",
        what: "batches with right check sums to ingest, each twice: the verdicts name every item once and agree",
        make: |folder| Ok(Box::new(store::Stores::new(folder)?)),
    },
    Spec {
        name: "answer",
        what: "HTTP answers to the gateway's way to ingest: only a verdict counts as delivered",
        make: |_| Ok(Box::new(answer::Answers::new()?)),
    },
    Spec {
        name: "door",
        what: "MQTT 3.1.1 and 5 sessions to the gateway's door: nothing gets in that no device wrote, and it goes on serving",
        make: |folder| Ok(Box::new(door::Doors::new(folder)?)),
    },
    Spec {
        name: "spool",
        what: "a gateway's spool, cut, torn and overwritten, to its recovery: what was acknowledged is there or named as missing",
        make: |folder| Ok(Box::new(spool::Spools::new(folder)?)),
    },
    Spec {
        name: "chunk",
        what: "sealed days to the store's readers: what they read was stored",
        make: |folder| Ok(Box::new(chunk::Chunks::new(folder)?)),
    },
    Spec {
        name: "line",
        what: "readings to the line protocol's encoder, and its lines to a parser of their own",
        make: |_| Ok(Box::new(line::Lines)),
    },
    Spec {
        name: "schedule",
        what: "uploaded schedules to their parser",
        make: |folder| Ok(Box::new(schedule::Uploads::new(folder)?)),
    },
    Spec {
        name: "settings",
        what: "configuration files and registries to their parsers",
        make: |_| Ok(Box::new(settings::Files::new()?)),
    },
];

/// The target of this name.
///
/// # Errors
/// When there is none.
pub fn named(name: &str) -> Result<&'static Spec> {
    let found = TARGETS.iter().find(|spec| spec.name == name);
    found.with_context(|| {
        let names: Vec<_> = TARGETS.iter().map(|spec| spec.name).collect();
        format!("expected a target ({}), found: {name}", names.join(", "))
    })
}
