//! The ring against a model: whatever is appended, released, evicted, reopened or damaged, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use proptest::prelude::*;
use taraz_telemetry::{Anchor, Clock, RECORD_LEN_MAX, Record, Stamp};

use super::nor::{Nor, Random, Tearing};
use super::{at, names, open, open_area, pending, range, reopen};
use crate::queue::flash::FlashQueue;
use crate::queue::{Position, Queue, store};

const STAMP: Stamp = Stamp {
    ms: 5,
    clock: Clock::Synced,
};

#[derive(Clone, Debug)]
enum Step {
    Append { len: usize },
    Release { boots_back: u32, first: u32, count: u32 },
    Evict,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0usize..80).prop_map(|len| Step::Append { len }),
        1 => Just(Step::Append { len: RECORD_LEN_MAX }),
        5 => (0u32..3, 0u32..40, 1u32..20)
            .prop_map(|(boots_back, first, count)| Step::Release { boots_back, first, count }),
        1 => Just(Step::Evict),
        2 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..300)
}

/// Runs the steps on a ring and on a map; they agree after each of them.
fn agrees<const W: usize, const E: usize, const R: usize>(steps: Vec<Step>, pages: usize) {
    let mut queue = open(Nor::<W, E, R>::new(pages, 1, Tearing::Random));
    let mut model: BTreeMap<Position, Vec<u8>> = BTreeMap::new();
    let (mut last, mut evicted_unsaved, mut ever) = (None, BTreeMap::new(), BTreeSet::new());
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Append { len } => {
                while queue.is_full() {
                    evict(&mut queue, &mut model, &mut evicted_unsaved);
                }
                let record = vec![n.to_le_bytes()[0]; len];
                let position = at(queue.boot(), queue.next_sequence());
                assert_eq!(queue.append(&record).unwrap(), position.sequence);
                model.insert(position, record);
                ever.insert(position);
                last = Some(position);
            }
            Step::Release {
                boots_back,
                first,
                count,
            } => {
                let boot = queue.boot().saturating_sub(boots_back);
                let (from, to) = (at(boot, first), at(boot, first + count - 1));
                let freed: Vec<Position> = model.range(from..=to).map(|(position, _)| *position).collect();
                let range = range(&queue, boot, first, first + count - 1);
                assert_eq!(queue.release(range).unwrap() as usize, freed.len());
                model.retain(|position, _| !freed.contains(position));
            }
            Step::Evict => evict(&mut queue, &mut model, &mut evicted_unsaved),
            Step::Reopen => {
                let boot = queue.boot();
                queue = reopen(queue);
                assert_eq!((queue.boot(), queue.next_sequence()), (boot + 1, 0));
                // A boot that wrote nothing leaves out its first number when the ring has to name something in it.
                let lost = queue.recovery().lost.as_slice();
                assert!(
                    lost.iter()
                        .all(|&(boot, first, last)| last == 0 && !ever.contains(&at(boot, first)))
                );
                assert_eq!(queue.recovery().recovered.map(|r| at(r.boot, r.sequence)), last);
                let found = pending(&mut queue);
                let named: BTreeSet<Position> = found.values().flat_map(|record| names(record)).collect();
                for (position, record) in &found {
                    // What was evicted may come back, as long as nothing was written over it; and a full ring without room
                    // for a boot gives up its oldest page by itself, and names it.
                    let is_back = evicted_unsaved
                        .remove(position)
                        .is_some_and(|evicted| evicted == *record);
                    let is_own = !model.contains_key(position) && names(record).next().is_some();
                    assert!(
                        is_back || is_own || model.get(position) == Some(record),
                        "{position:?}"
                    );
                    last = last.max(is_own.then_some(*position));
                }
                assert!(
                    model
                        .keys()
                        .all(|position| found.contains_key(position) || named.contains(position))
                );
                model = found;
            }
        }
        assert_eq!(queue.pending_records() as usize, model.len());
    }
    assert_eq!(pending(&mut queue), model);
    // Any place is found from anywhere, not only from the start on.
    let positions: Vec<Position> = model.keys().copied().collect();
    let mut random = Random(7);
    for _ in 0..50 {
        let from = at(random.below(queue.boot() + 2), random.below(60));
        let expected = positions.iter().find(|position| **position >= from).copied();
        assert_eq!(queue.next_pending(from).unwrap(), expected, "from {from:?}");
    }
}

fn evict<const W: usize, const E: usize, const R: usize>(
    queue: &mut FlashQueue<Nor<W, E, R>>,
    model: &mut BTreeMap<Position, Vec<u8>>,
    evicted: &mut BTreeMap<Position, Vec<u8>>,
) {
    let end = queue.oldest_block_end().unwrap();
    let lost = queue.evict().unwrap();
    let kept = model.split_off(&end);
    assert_eq!(lost as usize, model.len());
    evicted.append(model);
    *model = kept;
}

/// A ring with some boots in it, and its records; what of them was released.
fn written(random: &mut Random) -> (Nor<4, 1024>, BTreeMap<Position, Vec<u8>>, BTreeSet<Position>) {
    let mut queue = open(Nor::<4, 1024>::new(8, random.next(), Tearing::Random));
    let (mut records, mut released) = (BTreeMap::new(), BTreeSet::new());
    for _ in 0..1 + random.below(4) {
        for _ in 0..random.below(60) {
            let record = Record::Anchor(Anchor {
                boot: 1,
                monotonic_ms: random.next() >> 30,
                utc_ms: random.next() >> 30,
                error_ms: 1,
            });
            store(&mut queue, &record, STAMP).unwrap();
        }
        records.append(&mut pending(&mut queue));
        for position in records.keys() {
            if random.below(3) == 0 && queue.next_pending(*position).unwrap() == Some(*position) {
                let range = range(&queue, position.boot, position.sequence, position.sequence);
                queue.release(range).unwrap();
                released.insert(*position);
            }
        }
        queue = reopen(queue);
    }
    // So that the last thing written is no record: a damaged last record can't be told from a torn one.
    let there = pending(&mut queue);
    records.retain(|position, _| there.contains_key(position) || released.contains(position));
    (queue.into_flash(), records, released)
}

/// Opens a damaged ring, and holds what it says against what was written: lost records are named, no other is changed. Returns
/// how many were lost.
fn survives(
    flash: Nor<4, 1024>,
    records: &BTreeMap<Position, Vec<u8>>,
    released: &BTreeSet<Position>,
) -> usize {
    let area = 0..flash.len();
    let mut queue = open_area(flash, area, 123);
    assert_eq!(queue.incarnation(), 77, "formatted anew");
    let mut lost: BTreeSet<Position> = queue
        .recovery()
        .lost
        .as_slice()
        .iter()
        .flat_map(|&(boot, first, last)| (first..=last).map(move |sequence| at(boot, sequence)))
        .collect();
    let mut buffer = [0; RECORD_LEN_MAX];
    let mut from = Position::START;
    let mut found = BTreeSet::new();
    while let Some(position) = queue.next_pending(from).unwrap() {
        if let Some(bytes) = queue.read(position, &mut buffer).unwrap() {
            // A record that was given up and comes back, or one of the ring's own, is whole as well.
            assert!(
                records.get(&position).is_none_or(|record| record == bytes),
                "{position:?} was altered"
            );
            found.insert(position);
            lost.extend(names(bytes));
        } else {
            assert!(
                lost.contains(&position),
                "{position:?} is unreadable and not named"
            );
        }
        from = position.after();
    }
    for position in records.keys() {
        assert!(
            found.contains(position) || released.contains(position) || lost.contains(position),
            "{position:?} is neither there nor named"
        );
    }
    assert!(
        found.iter().all(|position| !released.contains(position)),
        "a released record came back"
    );
    records
        .keys()
        .filter(|at| !found.contains(at) && !released.contains(at))
        .count()
}

/// Damages single bits all over rings of many shapes.
#[test]
fn any_damaged_bit_costs_at_most_one_record_and_that_is_named() {
    let mut random = Random(11);
    let mut lost = 0;
    for _ in 0..40 {
        let (flash, records, released) = written(&mut random);
        for _ in 0..60 {
            let mut damaged = flash.clone();
            let address = random.below(flash.len()) as usize;
            let byte = damaged.bytes[address] ^ (1 << random.below(8));
            damaged.damage(address, byte);
            let lost_now = survives(damaged, &records, &released);
            assert!(lost_now <= 1, "{lost_now} lost by one bit at {address:#x}");
            lost += lost_now;
        }
    }
    assert!(lost > 100, "the damage did none: {lost}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_ring_and_a_map_agree(steps in steps()) {
        agrees::<4, 1024, 4>(steps, 8);
    }

    #[test]
    fn the_ring_and_a_map_agree_on_other_flashes(steps in steps()) {
        agrees::<1, 512, 1>(steps.clone(), 10);
        agrees::<16, 2048, 8>(steps.clone(), 5);
        agrees::<256, 4096, 256>(steps, 10);
    }

    /// Whatever is in the flash, it opens, and what it hands out is no worse than what it says.
    #[test]
    fn no_damage_makes_it_panic(seed: u64, bytes in 1u32..2_000) {
        let mut random = Random(seed);
        let (mut flash, _, _) = written(&mut random);
        for _ in 0..bytes {
            let address = random.below(flash.len()) as usize;
            flash.damage(address, random.byte());
        }
        let area = 0..flash.len();
        let mut queue = open_area(flash, area, 123);
        let mut buffer = [0; RECORD_LEN_MAX];
        let (mut from, mut walked) = (Position::START, 0);
        while let Some(position) = queue.next_pending(from).unwrap() {
            queue.read(position, &mut buffer).unwrap();
            from = position.after();
            walked += 1;
        }
        prop_assert!(walked <= queue.pending_records());
        for n in 0..300u64 {
            let anchor = Anchor { boot: 1, monotonic_ms: n, utc_ms: n, error_ms: 1 };
            store(&mut queue, &Record::Anchor(anchor), STAMP).unwrap();
        }
        let all = range(&queue, queue.boot(), 0, u32::MAX);
        queue.release(all).unwrap();
        reopen(queue);
    }
}
