//! The ranges that one `Dropped` record names: few, sorted, merged where they touch.

use heapless::Vec;
use taraz_telemetry::{Boot, DROPPED_RANGES_MAX, Sequence};

/// Up to [`DROPPED_RANGES_MAX`] disjoint ranges (boot, first, last), in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DroppedRanges {
    ranges: Vec<(Boot, Sequence, Sequence), DROPPED_RANGES_MAX>,
}

impl DroppedRanges {
    /// No range.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Adds a range. When there is no room, the two ranges of one boot with the smallest gap become one, so that a record
    /// that was delivered may be named as dropped too (what is stored outweighs it). False, and nothing added, when every
    /// range is of another boot.
    #[must_use]
    pub fn add(&mut self, boot: Boot, first: Sequence, last: Sequence) -> bool {
        let (mut first, mut last) = (first, last);
        loop {
            // Absorb all that overlap or touch.
            self.ranges.retain(|&(other_boot, other_first, other_last)| {
                let touches = other_boot == boot
                    && other_first <= last.saturating_add(1)
                    && first <= other_last.saturating_add(1);
                if touches {
                    first = first.min(other_first);
                    last = last.max(other_last);
                }
                !touches
            });
            if !self.ranges.is_full() {
                break;
            }
            // What becomes one range may now touch this one.
            if !self.close_smallest_gap() {
                return self.widen(boot, first, last);
            }
        }
        let at = self
            .ranges
            .partition_point(|&(other_boot, other_first, _)| (other_boot, other_first) < (boot, first));
        self.ranges.insert(at, (boot, first, last)).is_ok()
    }

    /// Adds a range if there is room for its boot, or for it instead of the latest boot; returns the boot that has no room.
    pub(super) fn add_earliest(&mut self, boot: Boot, first: Sequence, last: Sequence) -> Option<Boot> {
        if self.add(boot, first, last) {
            return None;
        }
        // Every range is of another boot, and the last one of the latest.
        let latest = self.ranges.last().map(|(latest, _, _)| *latest);
        let Some(latest) = latest.filter(|latest| *latest > boot) else {
            return Some(boot);
        };
        self.ranges.pop();
        let _ = self.add(boot, first, last);
        Some(latest)
    }

    /// The ranges in order.
    #[must_use]
    pub fn as_slice(&self) -> &[(Boot, Sequence, Sequence)] {
        &self.ranges
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The ranges as a `Dropped` record holds them.
    #[must_use]
    pub fn into_inner(self) -> Vec<(Boot, Sequence, Sequence), DROPPED_RANGES_MAX> {
        self.ranges
    }

    /// Makes the only range of this boot reach over this one too.
    fn widen(&mut self, boot: Boot, first: Sequence, last: Sequence) -> bool {
        let range = self.ranges.iter_mut().find(|(other, _, _)| *other == boot);
        if let Some((_, other_first, other_last)) = range {
            *other_first = first.min(*other_first);
            *other_last = last.max(*other_last);
            return true;
        }
        false
    }

    fn close_smallest_gap(&mut self) -> bool {
        let pairs = self
            .ranges
            .windows(2)
            .enumerate()
            .filter(|(_, pair)| pair[0].0 == pair[1].0);
        let Some((at, _)) = pairs.min_by_key(|(_, pair)| pair[1].1 - pair[0].2) else {
            return false;
        };
        let (_, _, last) = self.ranges.remove(at + 1);
        self.ranges[at].2 = last;
        true
    }
}

/// As many ranges as one `Dropped` holds, those of the earliest boots from a given one on.
#[derive(Clone, Debug)]
pub(super) struct EarliestRanges {
    /// The first boot that is still to be named.
    from: Boot,
    /// The first boot that has to wait for the next `Dropped`.
    left_out: Option<Boot>,
    ranges: DroppedRanges,
}

impl EarliestRanges {
    pub(super) const fn new(from: Boot) -> Self {
        Self {
            from,
            left_out: None,
            ranges: DroppedRanges::new(),
        }
    }

    pub(super) fn add(&mut self, boot: Boot, first: Sequence, last: Sequence) {
        let is_later = self.left_out.is_some_and(|left_out| boot >= left_out);
        if boot >= self.from && !is_later {
            self.left_out = self.ranges.add_earliest(boot, first, last).or(self.left_out);
        }
    }

    /// Where the next `Dropped` goes on.
    pub(super) const fn left_out(&self) -> Option<Boot> {
        self.left_out
    }

    pub(super) fn into_ranges(self) -> DroppedRanges {
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn touching_ranges_merge_and_order_does_not_matter() {
        let mut ranges = DroppedRanges::new();
        assert!(ranges.add(2, 10, 20));
        assert!(ranges.add(1, 5, 5));
        assert!(ranges.add(2, 22, 30));
        assert!(ranges.add(2, 21, 21));
        assert_eq!(ranges.as_slice(), [(1, 5, 5), (2, 10, 30)]);
    }

    #[test]
    fn without_room_the_smallest_gap_is_closed() {
        let mut ranges = DroppedRanges::new();
        for i in 0..16 {
            assert!(ranges.add(1, i * 10, i * 10 + if i == 3 { 7 } else { 2 }));
        }
        assert!(ranges.add(1, 500, 500));
        assert_eq!(ranges.as_slice().len(), 16);
        assert!(ranges.as_slice().contains(&(1, 30, 42)), "{ranges:?}");
    }

    #[test]
    fn sixteen_boots_are_the_end() {
        let mut ranges = DroppedRanges::new();
        for boot in 1..=16 {
            assert!(ranges.add(boot, 0, 0));
        }
        assert!(!ranges.add(17, 0, 0));
        assert!(ranges.add(16, 5, 6), "a boot that has a range has room for more");
        assert_eq!(ranges.as_slice().last(), Some(&(16, 0, 6)));
    }

    #[test]
    fn the_earliest_boots_have_precedence() {
        let mut ranges = DroppedRanges::new();
        for boot in 2..=17 {
            assert_eq!(ranges.add_earliest(boot, 0, 0), None);
        }
        assert_eq!(ranges.add_earliest(18, 0, 0), Some(18));
        assert_eq!(ranges.add_earliest(1, 3, 4), Some(17));
        assert_eq!(ranges.add_earliest(16, 2, 2), None);
        assert_eq!(ranges.as_slice()[0], (1, 3, 4));
        assert_eq!(ranges.as_slice()[15], (16, 0, 2));
    }

    proptest! {
        /// What was added is named, whatever was merged; without pressure nothing else is.
        #[test]
        fn every_added_record_is_named(adds in proptest::collection::vec((1u32..4, 0u32..300, 0u32..6), 1..40)) {
            let mut ranges = DroppedRanges::new();
            let mut model = BTreeSet::new();
            let mut pressure = false;
            for (boot, first, more) in adds {
                pressure |= ranges.as_slice().len() == DROPPED_RANGES_MAX;
                prop_assert!(ranges.add(boot, first, first + more));
                model.extend((first..=first + more).map(|sequence| (boot, sequence)));
            }
            let named: BTreeSet<_> =
                ranges.as_slice().iter().flat_map(|&(boot, first, last)| (first..=last).map(move |s| (boot, s))).collect();
            prop_assert!(named.is_superset(&model));
            prop_assert!(pressure || named == model);
            prop_assert!(ranges.as_slice().windows(2).all(|pair| (pair[0].0, pair[0].2) < (pair[1].0, pair[1].1)));
        }
    }
}
