//! Which records are in the spool or were acknowledged a moment ago: they are acknowledged again and not stored twice.
//!
//! Fingerprints of identity *and* bytes rather than ranges of identities: a device whose boot counter was lost sends
//! other bytes under an old identity; those must reach ingest as a conflict, not vanish as a duplicate.
//!
//! Layout: lines of eight places, each as long as a line of the processor's cache, so that a record costs one access to memory. A
//! fingerprint is a keyed hash: it spreads over the lines by itself, and no device can aim at one.

use crate::validate::Fingerprint;

/// How many records are remembered: of the newest so many all but a hundredth, for the lines have twice as many places. An older one sent
/// again is stored again, and ingest takes it once.
pub(super) const RECENT_RECORDS_MAX: usize = 1 << 18;
/// Places in a line.
const PLACES: usize = 8;
/// What stands in a place that is free; a fingerprint of this value is remembered as the next one.
const FREE: Fingerprint = 0;

/// A bounded memory of fingerprints; of each line the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Recent {
    /// Each newest first; a power of two of them.
    lines: Box<[[Fingerprint; PLACES]]>,
}

impl Recent {
    pub(super) fn new(max: usize) -> Self {
        let lines = (2 * max).div_ceil(PLACES).next_power_of_two();
        Self {
            lines: vec![[FREE; PLACES]; lines].into_boxed_slice(),
        }
    }

    /// Remembers it. False if it was known already.
    pub(super) fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        let fingerprint = fingerprint.max(FREE + 1);
        let line = &mut self.lines[self.line_of(fingerprint)];
        if line.contains(&fingerprint) {
            return false;
        }
        line.copy_within(..PLACES - 1, 1);
        line[0] = fingerprint;
        true
    }

    fn line_of(&self, fingerprint: Fingerprint) -> usize {
        // 32 bits always fit.
        let hash = usize::try_from(fingerprint >> 32).unwrap_or_default();
        hash & (self.lines.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};
    use std::ops::Range;

    use super::*;

    #[test]
    fn a_line_remembers_so_many_and_no_more() {
        let mut recent = Recent::new(1);
        assert!((1..=8).all(|n| recent.insert(n)));
        assert!(!recent.insert(1));
        assert!(recent.insert(9));
        assert!(recent.insert(1), "1 was the oldest");
        assert!(!recent.insert(9));
    }

    #[test]
    fn a_fingerprint_of_zero_is_one_too() {
        let mut recent = Recent::new(100);
        assert!(recent.insert(0));
        assert!(!recent.insert(0));
    }

    #[test]
    fn nearly_all_of_the_newest_are_known_and_of_the_oldest_few() {
        const MAX: usize = RECENT_RECORDS_MAX;
        let hash = RandomState::new();
        let mut recent = Recent::new(MAX);
        assert!((0..4 * MAX).all(|n| recent.insert(hash.hash_one(n))));
        let is_known = |n: &usize| {
            let fingerprint = hash.hash_one(n);
            recent.lines[recent.line_of(fingerprint)].contains(&fingerprint)
        };
        let known = |records: Range<usize>| records.filter(is_known).count();
        let newest = known(3 * MAX..4 * MAX);
        assert!(newest > MAX / 100 * 98, "{newest} of {MAX}");
        let oldest = known(0..MAX);
        assert!(oldest < MAX / 10, "{oldest} of {MAX}");
    }
}
