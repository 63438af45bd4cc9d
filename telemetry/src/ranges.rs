//! A set of sequence numbers, kept as runs: what was received of one boot, for ever, in a few bytes.

use alloc::collections::BTreeMap;

use crate::Sequence;

/// A set of sequence numbers as disjoint, non-adjacent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// First → last, both included.
    runs: BTreeMap<Sequence, Sequence>,
}

impl RangeSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { runs: BTreeMap::new() }
    }

    /// The number is in the set.
    #[must_use]
    pub fn contains(&self, sequence: Sequence) -> bool {
        self.runs.range(..=sequence).next_back().is_some_and(|(_, &last)| sequence <= last)
    }

    /// Adds one number. True if it was not there.
    pub fn insert(&mut self, sequence: Sequence) -> bool {
        if self.contains(sequence) {
            return false;
        }
        self.insert_run(sequence, sequence);
        true
    }

    /// Adds every number from `first` to `last` and merges the runs it touches. Nothing happens if `last < first`.
    pub fn insert_run(&mut self, first: Sequence, last: Sequence) {
        if last < first {
            return;
        }
        let (mut from, mut to) = (first, last);
        let touched_to = last.saturating_add(1);
        while let Some((&run_first, &run_last)) = self.runs.range(..=touched_to).next_back() {
            if run_last.saturating_add(1) < first {
                break;
            }
            from = from.min(run_first);
            to = to.max(run_last);
            self.runs.remove(&run_first);
        }
        self.runs.insert(from, to);
    }

    /// The runs in ascending order: first, last.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (Sequence, Sequence)> + '_ {
        self.runs.iter().map(|(&first, &last)| (first, last))
    }

    /// The runs that are missing from 0 up to `last`, both included.
    pub fn gaps_to(&self, last: Sequence) -> impl Iterator<Item = (Sequence, Sequence)> + '_ {
        let end = u64::from(last) + 1;
        let mut next = 0_u64;
        let ends = self.runs().map(|(a, b)| (u64::from(a), u64::from(b) + 1)).chain([(u64::from(u32::MAX) + 1, 0)]);
        ends.filter_map(move |(start, after)| {
            let gap = (next, start.min(end));
            next = next.max(after);
            // Both ends are below 2³²: `end` is at most that, and the upper one is exclusive.
            #[allow(clippy::cast_possible_truncation)]
            (gap.0 < gap.1).then(|| (gap.0 as u32, (gap.1 - 1) as u32))
        })
    }

    /// How many numbers are in the set.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.runs().map(|(first, last)| u64::from(last) - u64::from(first) + 1).sum()
    }

    /// No number is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<Sequence> {
        self.runs.values().next_back().copied()
    }
}
