//! Which rows tell of the present: forwarding takes them before a backlog.
//!
//! Known in memory alone, and bounded: what is not known (rows from before a start, or above the bound) goes in the order of its
//! positions, as a backlog does. Nothing is lost by not knowing.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Ranges that are known; rows of commits that brought nothing but live ones are one range together.
const LIVE_RANGES_MAX: usize = 4_096;

/// What forwarding hears of the committer.
#[derive(Debug)]
pub(super) struct News {
    pub(super) live: Arc<LiveRows>,
    /// The position of the newest row.
    pub(super) committed: watch::Sender<u64>,
}

/// Positions of live rows that ingest has not taken, oldest first.
#[derive(Debug, Default)]
pub(super) struct LiveRows {
    ranges: Mutex<VecDeque<RangeInclusive<u64>>>,
}

impl LiveRows {
    /// A commit has written them; its positions are above all before.
    pub(super) fn add(&self, rows: RangeInclusive<u64>) {
        if rows.is_empty() {
            return;
        }
        let mut ranges = self.lock();
        match ranges.back_mut() {
            Some(last) if last.end() + 1 == *rows.start() => *last = *last.start()..=*rows.end(),
            _ => ranges.push_back(rows),
        }
        if ranges.len() > LIVE_RANGES_MAX {
            ranges.pop_front();
        }
    }

    /// Those that something else stands in front of, when everything up to `position` has gone.
    pub(super) fn behind(&self, position: u64) -> Vec<RangeInclusive<u64>> {
        let ranges = self.lock();
        let is_behind = |range: &&RangeInclusive<u64>| *range.start() > position + 1;
        ranges.iter().filter(is_behind).cloned().collect()
    }

    /// Everything up to a position has gone, and these, each of which begins where a known range does.
    pub(super) fn removed(&self, up_to: u64, gone: &[RangeInclusive<u64>]) {
        let mut ranges = self.lock();
        for gone in gone {
            if let Ok(at) = ranges.binary_search_by_key(gone.start(), |range| *range.start()) {
                ranges[at] = gone.end() + 1..=*ranges[at].end();
            }
        }
        ranges.retain_mut(|range| {
            *range = (*range.start()).max(up_to + 1)..=*range.end();
            !range.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<RangeInclusive<u64>>> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_rows_stand_behind_a_backlog_until_they_are_gone() {
        let live = LiveRows::default();
        live.add(1..=3);
        live.add(4..=5);
        assert_eq!(live.behind(0), [], "nothing stands in front of them");
        live.add(10..=12);
        live.add(20..=20);
        assert_eq!(live.behind(0), [10..=12, 20..=20]);
        // A batch took a part of one, and the oldest rows.
        live.removed(2, &[10..=11]);
        assert_eq!(live.behind(2), [12..=12, 20..=20]);
        assert_eq!(live.behind(11), [20..=20], "12 is next in any case");
        live.removed(12, &[20..=20]);
        assert_eq!(live.behind(0), []);
    }

    #[test]
    fn above_the_bound_the_oldest_go_in_their_order() {
        let live = LiveRows::default();
        let bound = LIVE_RANGES_MAX as u64;
        for n in 0..=bound {
            live.add(10 + n * 2..=10 + n * 2);
        }
        let known = live.behind(0);
        assert_eq!((known.len(), known[0].clone()), (LIVE_RANGES_MAX, 12..=12));
    }
}
