//! An account of all readings at once.

use super::running::{RunningAccount, Settled};
use super::{Ledger, Meter, Point};

/// Accounts for a register's readings, which must be in time and each instant once (as [`super::Series`] keeps them): one that is not
/// later than the one before it is left out.
#[must_use]
pub fn account(meter: &Meter, points: &[Point]) -> Ledger {
    let mut ledger = Ledger::default();
    let mut running = RunningAccount::default();
    let mut settle = |settled| ledger.add(settled);
    for &point in points {
        let taken = running.push(meter, point, &mut settle);
        debug_assert!(taken.is_ok(), "{taken:?}");
    }
    running.tail(meter, &mut settle);
    ledger
}

impl Ledger {
    /// Adds what an account settles next.
    pub fn add(&mut self, settled: Settled) {
        match settled {
            Settled::Segment(segment) => self.segments.push(segment),
            Settled::Ignored(ignored) => self.ignored.push(ignored),
        }
    }
}
