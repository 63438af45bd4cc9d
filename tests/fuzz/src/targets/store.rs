//! Ingest as a gateway meets it: a batch in, a verdict out.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_ingest::{ReceiveError, Receiver, Store};
use taraz_telemetry::{Batch, BatchVerdict};
use tokio::runtime::Runtime;

use super::{batch, rig};
use crate::harness::Target;
use crate::records;

const DEVICES: usize = 8;

/// Fuzzes what ingest makes of a batch that was decoded.
pub(crate) struct Stores {
    runtime: Runtime,
    receiver: Receiver,
    /// Keeps it open.
    _store: Store,
}

impl Stores {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let (fleet, _) = rig::fleet(folder, DEVICES)?;
        let runtime = rig::runtime()?;
        let entered = runtime.enter();
        let now = Arc::new(|| i64::try_from(records::NOW_MS).unwrap_or(i64::MAX));
        let store = Store::open(&folder.join("ingest"), fleet, now)?;
        drop(entered);
        Ok(Self {
            receiver: store.receiver(),
            runtime,
            _store: store,
        })
    }

    fn deliver(&self, bytes: &[u8]) -> Result<BatchVerdict, ReceiveError> {
        self.runtime.block_on(self.receiver.receive(bytes.to_vec()))
    }
}

impl Target for Stores {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        // One more than there are: an unknown device.
        batch::generate(random, |random| {
            format!("load-{:05}", random.random_range(1..=DEVICES + 1))
        })
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let bytes = batch::with_sum(input);
        let first = match self.deliver(&bytes) {
            Ok(verdict) => verdict,
            Err(ReceiveError::Malformed(error)) => return Ok(format!("no batch: {}", batch::named(&error))),
            Err(error @ ReceiveError::Unavailable(_)) => return Err(error.to_string()),
        };
        let batch = Batch::decode(&bytes).map_err(|error| format!("stored, and no batch: {error}"))?;
        let items = batch.items().len() as u64;
        let rejected = first.rejected.len() as u64;
        if first.accepted + rejected != items {
            let accepted = first.accepted;
            return Err(format!(
                "{items} items: {accepted} accepted and {rejected} rejected"
            ));
        }
        let positions: BTreeSet<u64> = batch.items().iter().map(|item| item.position).collect();
        if let Some(one) = first
            .rejected
            .iter()
            .find(|one| !positions.contains(&one.position))
        {
            return Err(format!("position {} is rejected and was not there", one.position));
        }
        let again = self
            .deliver(&bytes)
            .map_err(|error| format!("the second time: {error}"))?;
        if again != first {
            return Err(format!("the second time another verdict: {first:?}, {again:?}"));
        }
        let mut reasons: Vec<_> = first.rejected.iter().map(|one| word_of(&one.reason)).collect();
        reasons.sort_unstable();
        reasons.dedup();
        Ok(match (first.accepted, reasons.is_empty()) {
            (0, true) => "no items".to_owned(),
            (_, true) => "accepted".to_owned(),
            (_, false) => format!("rejected: {}", reasons.join(", ")),
        })
    }
}

/// A reason without its numbers.
fn word_of(reason: &str) -> String {
    let plain = reason
        .split(|c: char| c.is_ascii_digit() || c == ':' || c == '"')
        .next();
    plain.unwrap_or_default().trim().to_owned()
}
