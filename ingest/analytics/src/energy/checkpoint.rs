//! The state of a running account as bytes, to go on from later.
//!
//! Layout, version 1, integers as LEB128 varints, differences zigzag:
//!
//! ```text
//! version=1 · base: 0 | 1 time value time−since value−since · taken: count (role time−before value−before)…
//!           · waiting: count (time−before value−before)…
//! ```
//!
//! Times are UTC ms, values Wh; the first of all stands against 0.

use super::Point;
use super::ledger::{Cause, Why};
use super::running::{Base, OPEN_POINTS_MAX, Role, RunningAccount, Taken};
use crate::varint::{Reader, put_signed};

/// The version of the layout that is written.
const VERSION: u8 = 1;
const VARINT_LEN_MAX: usize = 10;
/// The longest checkpoint of an account in bytes.
pub const CHECKPOINT_LEN_MAX: usize = 4 + OPEN_POINTS_MAX * (1 + 2 * VARINT_LEN_MAX);

/// Bytes that are no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Another version of the program wrote it.
    #[error(
        "expected a checkpoint of version {VERSION}, got version {found}: account again from the readings"
    )]
    Version {
        /// What it says.
        found: u8,
    },
    /// It is cut off, goes on behind its end, or says what no account can.
    #[error("the checkpoint is damaged: account again from the readings")]
    Damaged,
}

const ROLES: [Role; 13] = [
    Role::Absorbed,
    Role::Ignored(Why::Dip),
    Role::Ignored(Why::Spike),
    Role::Believed(Cause::Counted),
    Role::Believed(Cause::Still),
    Role::Believed(Cause::Gap),
    Role::Believed(Cause::CatchUp),
    Role::Believed(Cause::RollOver),
    Role::Believed(Cause::Replaced),
    Role::Believed(Cause::Reset),
    Role::Believed(Cause::Jump),
    Role::Believed(Cause::Fall),
    Role::Believed(Cause::Misfit),
];

/// Points, each against the one before it.
struct Chain {
    before: Point,
}

impl Chain {
    const fn new() -> Self {
        Self {
            before: Point {
                time_ms: 0,
                value_wh: 0,
            },
        }
    }

    fn put(&mut self, bytes: &mut Vec<u8>, point: Point) {
        put_signed(bytes, point.time_ms.wrapping_sub(self.before.time_ms));
        put_signed(bytes, point.value_wh.wrapping_sub(self.before.value_wh));
        self.before = point;
    }

    fn get(&mut self, reader: &mut Reader<'_>) -> Option<Point> {
        let point = Point {
            time_ms: self.before.time_ms.wrapping_add(reader.signed()?),
            value_wh: self.before.value_wh.wrapping_add(reader.signed()?),
        };
        self.before = point;
        Some(point)
    }
}

impl RunningAccount {
    /// Appends the state: at most [`CHECKPOINT_LEN_MAX`] bytes, mostly below a hundred.
    pub fn write_checkpoint(&self, bytes: &mut Vec<u8>) {
        let mut chain = Chain::new();
        bytes.push(VERSION);
        bytes.push(u8::from(self.base.is_some()));
        if let Some(base) = self.base {
            chain.put(bytes, base.since);
            chain.put(bytes, base.end);
        }
        bytes.push(count(self.taken.len()));
        for (_, taken) in self.taken.iter() {
            let role = ROLES.iter().position(|&role| role == taken.role);
            bytes.push(count(role.unwrap_or(0)));
            chain.put(bytes, taken.point);
        }
        bytes.push(count(self.waiting.len()));
        for (_, point) in self.waiting.iter() {
            chain.put(bytes, point);
        }
    }

    /// Reads a state from the begin of `bytes`; returns it and what follows.
    ///
    /// # Errors
    /// When it is of another version or damaged.
    pub fn read_checkpoint(bytes: &[u8]) -> Result<(Self, &[u8]), CheckpointError> {
        match bytes.first() {
            Some(&VERSION) => read(&bytes[1..]).ok_or(CheckpointError::Damaged),
            Some(&found) => Err(CheckpointError::Version { found }),
            None => Err(CheckpointError::Damaged),
        }
    }
}

fn read(bytes: &[u8]) -> Option<(RunningAccount, &[u8])> {
    let mut reader = Reader::new(bytes);
    let mut chain = Chain::new();
    let mut account = RunningAccount::default();
    match reader.byte()? {
        0 => {}
        1 => {
            let since = chain.get(&mut reader)?;
            let end = chain.get(&mut reader)?;
            let stood = since.value_wh == end.value_wh && since.time_ms < end.time_ms;
            if since != end && !stood {
                return None;
            }
            account.base = Some(Base { since, end });
        }
        _ => return None,
    }
    for _ in 0..reader.byte()? {
        let role = *ROLES.get(usize::from(reader.byte()?))?;
        let point = later(&mut chain, &mut reader, &account)?;
        if account.taken.is_full() {
            return None;
        }
        account.taken.push(Taken { point, role });
    }
    for _ in 0..reader.byte()? {
        let point = later(&mut chain, &mut reader, &account)?;
        if account.waiting.is_full() {
            return None;
        }
        account.waiting.push(point);
    }
    Some((account, reader.rest()))
}

/// The next point, which must be later than all before it.
fn later(chain: &mut Chain, reader: &mut Reader<'_>, account: &RunningAccount) -> Option<Point> {
    let last_ms = account.last_ms().or(account.base.map(|base| base.end.time_ms));
    let point = chain.get(reader)?;
    last_ms
        .is_none_or(|last_ms| last_ms < point.time_ms)
        .then_some(point)
}

/// A count or a place in a table of a few.
fn count(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
