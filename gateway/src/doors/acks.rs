//! From committed ranges to the device's signed acknowledgement.

use std::collections::VecDeque;

use taraz_telemetry::{ACK_LEN_MAX, ACK_RANGES_MAX, Ack, RecordRange};

use crate::validate::KnownDevice;

/// Ranges that wait for an acknowledgement; beyond it the oldest are forgotten, and the device asks again by sending
/// them again.
const WAITING_RANGES_MAX: usize = 1_024;
/// How many of the newest ranges a new one may follow.
const LANES_MAX: usize = 4;

/// Committed ranges on their way into acknowledgements.
#[derive(Debug, Default)]
pub(super) struct AckRanges {
    waiting: VecDeque<RecordRange>,
}

impl AckRanges {
    /// Adds a committed range, merged with the one that it follows: a device's live and backfill lanes alternate, so
    /// the last few are looked at.
    pub(super) fn add(&mut self, range: RecordRange) {
        let follows = |before: &&mut RecordRange| {
            (before.incarnation, before.boot) == (range.incarnation, range.boot)
                && before.last.checked_add(1) == Some(range.first)
        };
        if let Some(before) = self.waiting.iter_mut().rev().take(LANES_MAX).find(follows) {
            before.last = range.last;
            return;
        }
        if self.waiting.len() == WAITING_RANGES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(range);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// An acknowledgement of the oldest ranges, at most `max` of them, signed for the device; with it how many ranges it
    /// holds, for [`Self::sent`]. `None` when nothing waits.
    pub(super) fn signed(&self, device: &KnownDevice, max: usize) -> Option<(Vec<u8>, usize)> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut ack = Ack::default();
        for range in self.waiting.iter().take(max.clamp(1, ACK_RANGES_MAX)) {
            // No more than ACK_RANGES_MAX are taken.
            let _ = ack.ranges.push(*range);
        }
        let mut buffer = [0; ACK_LEN_MAX];
        // ACK_LEN_MAX always suffices.
        let bytes = ack.encode(&mut buffer, &device.key, &device.id).ok()?;
        Some((bytes.to_vec(), ack.ranges.len()))
    }

    /// The oldest `count` ranges are on their way.
    pub(super) fn sent(&mut self, count: usize) {
        self.waiting.drain(..count.min(self.waiting.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(boot: u32, first: u32, last: u32) -> RecordRange {
        RecordRange {
            incarnation: 7,
            boot,
            first,
            last,
        }
    }

    #[test]
    fn neighbours_merge_and_strangers_do_not() {
        let mut acks = AckRanges::default();
        for each in [range(1, 0, 3), range(1, 4, 4), range(1, 6, 6), range(2, 7, 9)] {
            acks.add(each);
        }
        assert_eq!(
            acks.waiting.iter().copied().collect::<Vec<_>>(),
            [range(1, 0, 4), range(1, 6, 6), range(2, 7, 9)]
        );
    }

    #[test]
    fn two_lanes_stay_two_ranges() {
        let mut acks = AckRanges::default();
        for n in 0..50 {
            acks.add(range(1, n, n));
            acks.add(range(2, 1_000 + n, 1_000 + n));
        }
        assert_eq!(
            acks.waiting.iter().copied().collect::<Vec<_>>(),
            [range(1, 0, 49), range(2, 1_000, 1_049)]
        );
        acks.sent(1);
        assert_eq!(acks.waiting.len(), 1);
        acks.sent(9);
        assert!(acks.waiting.is_empty());
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut acks = AckRanges::default();
        (0..5_000).for_each(|n| acks.add(range(1, 2 * n, 2 * n)));
        assert_eq!(acks.waiting.len(), WAITING_RANGES_MAX);
        assert_eq!(acks.waiting.back(), Some(&range(1, 9_998, 9_998)));
    }
}
