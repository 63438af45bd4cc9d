//! Appending with room made first: what is dropped is named before it is gone.

use taraz_telemetry::{Boot, Dropped, RECORD_LEN_MAX, Record, RecordError, Sequence, Stamp};

use super::ranges::EarliestRanges;
use super::{DroppedRanges, Position, Queue};

/// How many records must still fit into a full queue: the `Dropped` records of one eviction.
pub const DROPPED_RESERVE_RECORDS: u32 = 4;

/// A record was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence.
    pub sequence: Sequence,
    /// How many pending records were dropped to make room.
    pub dropped_records: u32,
}

/// A record was not stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError<E> {
    /// It can't be encoded: it breaks the contract.
    #[error("the record can't be encoded: {0}")]
    Record(RecordError),
    /// The memory failed.
    #[error("the queue's memory failed: {0}")]
    Memory(E),
}

/// Encodes a record and appends it; when the queue is full, drops its oldest block and says so in a `Dropped` record.
///
/// `stamp` is the time of the `Dropped` record, should one be needed.
///
/// # Errors
/// [`StoreError`]: the record is not in the queue.
pub fn store<Q: Queue>(queue: &mut Q, record: &Record, stamp: Stamp) -> Result<Stored, StoreError<Q::Error>> {
    let mut buffer = [0; RECORD_LEN_MAX];
    let bytes = record.encode(&mut buffer).map_err(StoreError::Record)?;
    let mut dropped_records = 0;
    let sequence = store_encoded(queue, bytes, stamp, &mut dropped_records)?;
    Ok(Stored {
        sequence,
        dropped_records,
    })
}

/// As [`store`], with a record that is encoded already. What is dropped is counted even if the memory then fails.
pub(crate) fn store_encoded<Q: Queue>(
    queue: &mut Q,
    record: &[u8],
    stamp: Stamp,
    dropped_records: &mut u32,
) -> Result<Sequence, StoreError<Q::Error>> {
    while queue.is_full() {
        *dropped_records += drop_oldest(queue, stamp)?;
    }
    queue.append(record).map_err(StoreError::Memory)
}

/// Names the records of the oldest block, then evicts it. A power cut in between leaves records that are named and still
/// there: delivered all the same, and stored outweighs dropped.
fn drop_oldest<Q: Queue>(queue: &mut Q, stamp: Stamp) -> Result<u32, StoreError<Q::Error>> {
    name_oldest(queue, stamp)?;
    queue.evict().map_err(StoreError::Memory)
}

fn name_oldest<Q: Queue>(queue: &mut Q, stamp: Stamp) -> Result<(), StoreError<Q::Error>> {
    let end = queue.oldest_block_end().map_err(StoreError::Memory)?;
    name_until(queue, end, &DroppedRanges::new(), stamp)
}

/// Appends the `Dropped` records that name what is pending in front of `end`, and `others`: each boot once, so that names
/// that are handed on again and again do not become more.
pub(super) fn name_until<Q: Queue>(
    queue: &mut Q,
    end: Position,
    others: &DroppedRanges,
    stamp: Stamp,
) -> Result<(), StoreError<Q::Error>> {
    let mut boots_from = Some(0);
    while let Some(from) = boots_from {
        let mut names = names_until(queue, from, end)?;
        for &(boot, first, last) in others.as_slice() {
            names.add(boot, first, last);
        }
        boots_from = names.left_out();
        write_names(queue, names.into_ranges(), stamp)?;
    }
    Ok(())
}

/// The names of what is pending in front of `end`, of boots from `from` on: as many as one `Dropped` holds.
pub(super) fn names_until<Q: Queue>(
    queue: &mut Q,
    from: Boot,
    end: Position,
) -> Result<EarliestRanges, StoreError<Q::Error>> {
    let mut names = EarliestRanges::new(from);
    collect(&mut names, queue, end)?;
    Ok(names)
}

fn collect<Q: Queue>(
    names: &mut EarliestRanges,
    queue: &mut Q,
    end: Position,
) -> Result<(), StoreError<Q::Error>> {
    let mut at = Position::START;
    while let Some(position) = queue
        .next_pending(at)
        .map_err(StoreError::Memory)?
        .filter(|position| *position < end)
    {
        names.add(position.boot, position.sequence, position.sequence);
        // A `Dropped` record that is dropped itself hands on what it names.
        let mut buffer = [0; RECORD_LEN_MAX];
        let bytes = queue.read(position, &mut buffer).map_err(StoreError::Memory)?;
        if let Some(older) = bytes.and_then(Record::decode_dropped) {
            for (boot, first, last) in older.ranges {
                names.add(boot, first, last);
            }
        }
        at = position.after();
    }
    Ok(())
}

/// Appends a `Dropped` record, if there is anything to name.
fn write_names<Q: Queue>(
    queue: &mut Q,
    ranges: DroppedRanges,
    stamp: Stamp,
) -> Result<(), StoreError<Q::Error>> {
    if ranges.is_empty() {
        return Ok(());
    }
    let mut buffer = [0; RECORD_LEN_MAX];
    let record = Record::Dropped(Dropped {
        stamp,
        ranges: ranges.into_inner(),
    });
    let bytes = record.encode(&mut buffer).map_err(StoreError::Record)?;
    queue.append(bytes).map(|_| ()).map_err(StoreError::Memory)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::queue::MemoryQueue;
    use proptest::prelude::*;
    use taraz_telemetry::{Anchor, Clock, RecordRange};

    const STAMP: Stamp = Stamp {
        ms: 1_000,
        clock: Clock::Synced,
    };

    fn anchor(n: u64) -> Record {
        Record::Anchor(Anchor {
            boot: 1,
            monotonic_ms: n,
            utc_ms: n,
            error_ms: 1,
        })
    }

    /// Every record ever appended is pending, released, or named by a pending or released `Dropped` record.
    fn unaccounted(
        queue: &mut MemoryQueue,
        released: &BTreeSet<Position>,
        named: &BTreeSet<Position>,
    ) -> usize {
        let mut known: BTreeSet<Position> = released.union(named).copied().collect();
        let mut at = Position::START;
        while let Some(position) = queue.next_pending(at).unwrap() {
            known.insert(position);
            known.extend(names(queue, position));
            at = position.after();
        }
        let all = queue.ever();
        all.iter().filter(|position| !known.contains(position)).count()
    }

    fn names(queue: &mut MemoryQueue, position: Position) -> Vec<Position> {
        let mut buffer = [0; RECORD_LEN_MAX];
        match Record::decode(queue.read(position, &mut buffer).unwrap().unwrap())
            .unwrap()
            .0
        {
            Record::Dropped(dropped) => dropped
                .ranges
                .iter()
                .flat_map(|&(boot, first, last)| {
                    (first..=last).map(move |sequence| Position { boot, sequence })
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_full_queue_drops_its_oldest_block_and_names_it() {
        let mut queue = MemoryQueue::new(10, 4);
        let mut dropped_records = 0;
        for n in 0..200 {
            dropped_records += store(&mut queue, &anchor(n), STAMP).unwrap().dropped_records;
        }
        assert!(dropped_records > 150);
        assert!(queue.pending_records() <= queue.capacity_records());
        assert_eq!(unaccounted(&mut queue, &BTreeSet::new(), &BTreeSet::new()), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Store,
        Release { back: u32, count: u32 },
        Restart,
    }

    proptest! {
        /// Whatever is stored and released, and however often the device restarts: no record vanishes without a name.
        #[test]
        fn nothing_is_lost_without_a_name(
            steps in proptest::collection::vec(
                prop_oneof![
                    12 => Just(Step::Store),
                    2 => (0u32..40, 1u32..6).prop_map(|(back, count)| Step::Release { back, count }),
                    1 => Just(Step::Restart),
                ],
                1..400,
            )
        ) {
            let mut queue = MemoryQueue::new(8, 6);
            let (mut released, mut named) = (BTreeSet::new(), BTreeSet::new());
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Store => { store(&mut queue, &anchor(n as u64), STAMP).unwrap(); }
                    Step::Restart => queue.restart(),
                    Step::Release { back, count } => {
                        let first = queue.next_sequence().saturating_sub(back);
                        let last = first + count - 1;
                        let range =
                            RecordRange { incarnation: queue.incarnation(), boot: queue.boot(), first, last };
                        for sequence in first..=last {
                            let position = Position { boot: queue.boot(), sequence };
                            if queue.next_pending(position).unwrap() == Some(position) {
                                named.extend(names(&mut queue, position));
                                released.insert(position);
                            }
                        }
                        queue.release(range).unwrap();
                    }
                }
                prop_assert!(queue.pending_records() <= queue.capacity_records());
            }
            prop_assert_eq!(unaccounted(&mut queue, &released, &named), 0);
        }
    }
}
