//! From committed ranges to the device's signed acknowledgement.

use std::collections::VecDeque;

use taraz_telemetry::{ACK_LEN_MAX, ACK_RANGES_MAX, Ack, RecordRange};

use crate::validate::KnownDevice;

/// Ranges that wait for an acknowledgement; beyond it the oldest are forgotten, and the device asks again by sending
/// them again.
const WAITING_RANGES_MAX: usize = 1_024;

/// Committed ranges on their way into acknowledgements.
#[derive(Debug, Default)]
pub(super) struct AckRanges {
    waiting: VecDeque<RecordRange>,
}

impl AckRanges {
    /// Adds a committed range, merged with the one before where it follows it.
    pub(super) fn add(&mut self, range: RecordRange) {
        if let Some(before) = self.waiting.back_mut()
            && (before.incarnation, before.boot) == (range.incarnation, range.boot)
            && before.last.checked_add(1) == Some(range.first)
        {
            before.last = range.last;
            return;
        }
        if self.waiting.len() == WAITING_RANGES_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(range);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &RecordRange> + Clone {
        self.waiting.iter()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// The next acknowledgement's bytes, signed for the device; `None` when nothing waits.
    pub(super) fn next_signed(&mut self, device: &KnownDevice) -> Option<Vec<u8>> {
        if self.waiting.is_empty() {
            return None;
        }
        let mut ack = Ack::default();
        for range in self.waiting.drain(..self.waiting.len().min(ACK_RANGES_MAX)) {
            // No more than ACK_RANGES_MAX are drained.
            let _ = ack.ranges.push(range);
        }
        let mut buffer = [0; ACK_LEN_MAX];
        // ACK_LEN_MAX always suffices.
        ack.encode(&mut buffer, &device.key, &device.id)
            .ok()
            .map(<[u8]>::to_vec)
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
            acks.iter().copied().collect::<Vec<_>>(),
            [range(1, 0, 4), range(1, 6, 6), range(2, 7, 9)]
        );
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut acks = AckRanges::default();
        (0..5_000).for_each(|n| acks.add(range(1, 2 * n, 2 * n)));
        assert_eq!(acks.iter().count(), WAITING_RANGES_MAX);
        assert_eq!(acks.iter().last(), Some(&range(1, 9_998, 9_998)));
    }
}
