//! Which records are in the spool or were acknowledged a moment ago: they are acknowledged again and not stored twice.
//!
//! Fingerprints of identity *and* bytes rather than ranges of identities: a device whose boot counter was lost sends
//! other bytes under an old identity; those must reach ingest as a conflict, not vanish as a duplicate.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::validate::Fingerprint;

/// How many records are remembered. An older one sent again is stored again, and ingest takes it once.
pub(super) const RECENT_RECORDS_MAX: usize = 1 << 18;

/// A bounded memory of fingerprints; the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Recent {
    known: HashSet<Fingerprint, BuildHasherDefault<AlreadyHashed>>,
    order: VecDeque<Fingerprint>,
    max: usize,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        Self {
            known: HashSet::default(),
            order: VecDeque::new(),
            max,
        }
    }

    /// Remembers it. False if it was known already.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        if !self.known.insert(fingerprint) {
            return false;
        }
        if self.order.len() == self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(fingerprint);
        true
    }

    /// Forgets the newest ones again, when their commit was given up.
    pub(super) fn forget_newest(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(newest) = self.order.pop_back() {
                self.known.remove(&newest);
            }
        }
    }
}

/// A fingerprint is a keyed hash already.
#[derive(Debug, Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_so_many_and_no_more() {
        let mut recent = Recent::new(3);
        assert!((1..=3).all(|n| recent.insert(n)));
        assert!(!recent.insert(2));
        assert!(recent.insert(4));
        assert!(recent.insert(1), "1 was the oldest");
        assert!(!recent.insert(4));
        recent.forget_newest(1);
        assert!(recent.insert(1));
    }
}
