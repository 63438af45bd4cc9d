//! What a device knows of its records, to hold a ring against.

use std::collections::{BTreeMap, HashMap};
use std::format;
use std::string::String;
use std::vec::Vec;

use taraz_telemetry::{Boot, Record, Sequence};

use super::at;
use crate::queue::Position;

/// Identities of boots older than this are not looked at any more.
const BOOTS_KEPT: Boot = 200;

type Range = (Boot, Sequence, Sequence);

/// A record as the device or the gateway knows it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) bytes: Vec<u8>,
    /// What it names as lost, if it is a `Dropped`.
    pub(super) names: Vec<Range>,
}

impl Known {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let names = match Record::decode(bytes) {
            Ok((Record::Dropped(dropped), [])) => dropped.ranges.to_vec(),
            _ => Vec::new(),
        };
        Self {
            bytes: bytes.to_vec(),
            names,
        }
    }
}

/// What became of all records.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Appended and not known to be released: must be there, or named.
    pub(super) owed: BTreeMap<Position, Known>,
    /// Being released when the power went, or given up and named: may be there.
    pub(super) optional: BTreeMap<Position, Known>,
    /// Named by a `Dropped` that was delivered.
    named: Vec<Range>,
    /// Somebody has seen them, so these identities have these bytes for ever.
    seen: HashMap<Position, Vec<u8>>,
    openings: u32,
}

impl Model {
    pub(super) fn owe(&mut self, position: Position, bytes: &[u8]) {
        self.owed.insert(position, Known::new(bytes));
    }

    pub(super) fn bytes(&self, position: Position) -> Option<&[u8]> {
        self.owed
            .get(&position)
            .or_else(|| self.optional.get(&position))
            .map(|known| &known.bytes)
            .or_else(|| self.seen.get(&position))
            .map(Vec::as_slice)
    }

    /// A release begins: these may go, and what they name was delivered. Returns them.
    pub(super) fn release(&mut self, first: Position, last: Position) -> Vec<Position> {
        let mut freed: Vec<Position> = self.owed.range(first..=last).map(|(at, _)| *at).collect();
        for position in &freed {
            if let Some(known) = self.owed.remove(position) {
                self.optional.insert(*position, known);
            }
        }
        freed.clear();
        for (position, known) in self.optional.range(first..=last) {
            self.named.extend(&known.names);
            freed.push(*position);
        }
        freed
    }

    /// The release has returned.
    pub(super) fn released(&mut self, freed: &[Position]) {
        for position in freed {
            self.optional.remove(position);
        }
    }

    /// These are named.
    pub(super) fn name(&mut self, ranges: &[Range]) {
        self.named.extend(ranges);
    }

    /// What was found is owed from now on; what is missing must have been released, or given up and named. With unstable bits
    /// (`wavers`) a release that was caught may show today and not tomorrow.
    pub(super) fn settle(&mut self, found: Vec<(Position, Known)>, wavers: bool) -> Result<(), String> {
        let mut owed = core::mem::take(&mut self.owed);
        let mut names: Vec<Range> = Vec::new();
        for (position, known) in found {
            names.extend(&known.names);
            self.seen.entry(position).or_insert_with(|| known.bytes.clone());
            owed.remove(&position);
            if !(wavers && self.optional.contains_key(&position)) {
                self.optional.remove(&position);
                self.owed.insert(position, known);
            }
        }
        for (position, known) in owed {
            let names_it =
                |&(boot, first, last): &Range| (at(boot, first)..=at(boot, last)).contains(&position);
            if !names.iter().chain(&self.named).any(names_it) {
                return Err(format!("{position:?} is lost without a name"));
            }
            self.optional.insert(position, known);
        }
        Ok(())
    }

    /// Forgets what is too old to matter.
    pub(super) fn forget(&mut self, newest: Boot) {
        self.openings += 1;
        if !self.openings.is_multiple_of(64) {
            return;
        }
        let old = newest.saturating_sub(BOOTS_KEPT);
        self.optional.retain(|position, _| position.boot >= old);
        self.seen.retain(|position, _| position.boot >= old);
        let oldest = self
            .owed
            .keys()
            .next()
            .map_or(old, |position| position.boot.min(old));
        self.named.retain(|(boot, _, _)| *boot >= oldest);
    }
}
