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
        Self {
            runs: BTreeMap::new(),
        }
    }

    /// The number is in the set.
    #[must_use]
    pub fn contains(&self, sequence: Sequence) -> bool {
        self.runs
            .range(..=sequence)
            .next_back()
            .is_some_and(|(_, &last)| sequence <= last)
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

    /// The run that the number is in: first, last.
    #[must_use]
    pub fn run_of(&self, sequence: Sequence) -> Option<(Sequence, Sequence)> {
        let (&first, &last) = self.runs.range(..=sequence).next_back()?;
        (sequence <= last).then_some((first, last))
    }

    /// A number from `first` to `last` is in the set, or the one in front of them, or the one behind them: adding them makes no new run.
    #[must_use]
    pub fn touches(&self, first: Sequence, last: Sequence) -> bool {
        self.runs
            .range(..=last.saturating_add(1))
            .next_back()
            .is_some_and(|(_, &run_last)| run_last.saturating_add(1) >= first)
    }

    /// How many runs it is made of.
    #[must_use]
    pub fn runs_len(&self) -> usize {
        self.runs.len()
    }

    /// The runs in ascending order: first, last.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (Sequence, Sequence)> + '_ {
        self.runs.iter().map(|(&first, &last)| (first, last))
    }

    /// The runs that are missing from 0 up to `last`, both included.
    pub fn gaps_to(&self, last: Sequence) -> impl Iterator<Item = (Sequence, Sequence)> + '_ {
        let end = u64::from(last) + 1;
        let mut next = 0_u64;
        let ends = self
            .runs()
            .map(|(a, b)| (u64::from(a), u64::from(b) + 1))
            .chain([(u64::from(u32::MAX) + 1, 0)]);
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
        self.runs()
            .map(|(first, last)| u64::from(last) - u64::from(first) + 1)
            .sum()
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Numbers from a small room so that runs meet, and the upper end of the range moved into it.
    fn number() -> impl Strategy<Value = u32> {
        prop_oneof![0..40_u32, u32::MAX - 8..=u32::MAX]
    }

    fn runs_of(model: &HashSet<u32>) -> Vec<(u32, u32)> {
        let mut sorted: Vec<_> = model.iter().copied().collect();
        sorted.sort_unstable();
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for n in sorted {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == n => *last = n,
                _ => runs.push((n, n)),
            }
        }
        runs
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec((number(), 0..5_u32, any::<bool>()), 0..60)) {
            let (mut set, mut model) = (RangeSet::new(), HashSet::new());
            for (first, more, single) in steps {
                let last = first.saturating_add(more);
                if single {
                    prop_assert_eq!(set.insert(first), model.insert(first));
                } else {
                    set.insert_run(first, last);
                    model.extend(first..=last);
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(set.is_empty(), model.is_empty());
                let runs = runs_of(&model);
                prop_assert_eq!(set.runs_len(), runs.len());
                let around = |n: u32| runs.iter().copied().find(|run| (run.0..=run.1).contains(&n));
                prop_assert_eq!(set.run_of(last), around(last));
                let mut more = set.clone();
                more.insert_run(41, 43);
                prop_assert_eq!(set.touches(41, 43), more.runs_len() <= set.runs_len());
                prop_assert_eq!(set.last(), model.iter().max().copied());
                prop_assert_eq!(set.runs().collect::<Vec<_>>(), runs_of(&model));
            }
            for n in (0..50).chain(u32::MAX - 12..=u32::MAX) {
                prop_assert_eq!(set.contains(n), model.contains(&n));
            }
            for end in 0..50 {
                let missing: HashSet<u32> = (0..=end).filter(|n| !model.contains(n)).collect();
                prop_assert_eq!(set.gaps_to(end).collect::<Vec<_>>(), runs_of(&missing));
            }
        }

        #[test]
        fn gaps_and_runs_share_out_the_whole_range(steps in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..20)) {
            let mut set = RangeSet::new();
            for (a, b) in steps {
                set.insert_run(a.min(b), a.max(b));
            }
            let missing: u64 = set.gaps_to(u32::MAX).map(|(a, b)| u64::from(b - a) + 1).sum();
            prop_assert_eq!(missing + set.len(), 1 << 32);
        }
    }

    #[test]
    fn a_run_that_ends_before_it_begins_is_nothing() {
        let mut set = RangeSet::new();
        set.insert_run(5, 4);
        assert!(set.is_empty());
        assert_eq!(set.gaps_to(3).collect::<Vec<_>>(), [(0, 3)]);
    }
}
