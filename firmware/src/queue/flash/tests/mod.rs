//! The ring on a simulated flash: its behaviour, its bounds, and every way the power can fail.

mod bounds;
mod campaign;
mod damage;
mod faults;
mod fuzz;
mod model;
pub(crate) mod nor;
mod props;
mod search;
mod worn;

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use embedded_storage::nor_flash::NorFlash;
use nor::{Nor, NorError, Tearing};
use taraz_telemetry::{Anchor, Clock, DeviceId, RECORD_LEN_MAX, Record, RecordRange, Recovered, Stamp};

use super::{FlashQueue, FlashQueueError};
use crate::queue::{Position, Queue, QueueOwner, store};

type Small = Nor<4, 1024>;

fn open<const W: usize, const E: usize, const R: usize>(flash: Nor<W, E, R>) -> FlashQueue<Nor<W, E, R>> {
    let area = 0..flash.len();
    open_area(flash, area, 77)
}

fn open_area<F: NorFlash>(flash: F, area: core::ops::Range<u32>, random: u32) -> FlashQueue<F>
where
    F::Error: core::fmt::Debug,
{
    FlashQueue::open(flash, area, owner("dev-1"), random, &mut || ()).unwrap()
}

const fn fuzz_stamp() -> Stamp {
    Stamp {
        ms: 1,
        clock: Clock::Synced,
    }
}

fn owner(device: &str) -> QueueOwner {
    QueueOwner::of(&DeviceId::new(device).unwrap())
}

fn reopen<const W: usize, const E: usize, const R: usize>(
    queue: FlashQueue<Nor<W, E, R>>,
) -> FlashQueue<Nor<W, E, R>> {
    open(queue.into_flash())
}

fn at(boot: u32, sequence: u32) -> Position {
    Position { boot, sequence }
}

fn range<F: NorFlash>(queue: &FlashQueue<F>, boot: u32, first: u32, last: u32) -> RecordRange {
    let incarnation = queue.incarnation();
    RecordRange {
        incarnation,
        boot,
        first,
        last,
    }
}

fn pending<F: NorFlash>(queue: &mut FlashQueue<F>) -> BTreeMap<Position, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut next = Position::START;
    let mut buffer = [0; RECORD_LEN_MAX];
    while let Some(position) = queue.next_pending(next).unwrap() {
        let bytes = queue.read(position, &mut buffer).unwrap();
        found.insert(position, bytes.expect("a damaged record").to_vec());
        next = position.after();
    }
    assert_eq!(found.len(), queue.pending_records() as usize);
    found
}

fn outlives_restarts<const W: usize, const E: usize, const R: usize>(pages: usize) {
    let mut queue = open(Nor::<W, E, R>::new(pages, 1, Tearing::Random));
    assert_eq!(
        (queue.incarnation(), queue.boot(), queue.next_sequence()),
        (77, 1, 0)
    );
    assert_eq!(queue.recovery().recovered, None);
    for n in 0..10u8 {
        assert_eq!(
            queue.append(&[n; 20][..usize::from(2 * n)]).unwrap(),
            u32::from(n)
        );
    }
    assert_eq!(queue.release(range(&queue, 1, 2, 4)).unwrap(), 3);
    let mut other = range(&queue, 1, 0, 9);
    other.incarnation += 1;
    assert_eq!(queue.release(other).unwrap(), 0);
    let before = pending(&mut queue);
    assert_eq!(
        before.keys().map(|at| at.sequence).collect::<Vec<_>>(),
        [0, 1, 5, 6, 7, 8, 9]
    );

    let mut queue = reopen(queue);
    assert_eq!(
        (queue.incarnation(), queue.boot(), queue.next_sequence()),
        (77, 2, 0)
    );
    let recovered = Some(Recovered { boot: 1, sequence: 9 });
    assert_eq!(queue.recovery().recovered, recovered);
    assert!(queue.recovery().lost.is_empty());
    assert_eq!(pending(&mut queue), before);
    assert_eq!(queue.append(b"next").unwrap(), 0);
    assert_eq!(queue.next_pending(at(1, 9).after()).unwrap(), Some(at(2, 0)));
}

#[test]
fn records_outlive_a_restart_and_released_ones_do_not_come_back() {
    outlives_restarts::<1, 4096, 1>(5);
    outlives_restarts::<2, 1024, 2>(6);
    outlives_restarts::<4, 4096, 4>(5);
    outlives_restarts::<8, 2048, 8>(8);
    outlives_restarts::<32, 4096, 16>(8);
    outlives_restarts::<256, 8192, 256>(8);
}

#[test]
fn a_flash_that_does_not_suit_is_refused() {
    fn refused<const W: usize, const E: usize, const R: usize>(pages: usize, area: core::ops::Range<u32>) {
        let flash = Nor::<W, E, R>::new(pages, 1, Tearing::Random);
        let outcome = FlashQueue::open(flash, area, owner("dev-1"), 1, &mut || ());
        assert!(matches!(outcome, Err(FlashQueueError::Area(_))), "{outcome:?}");
    }
    refused::<4, 4096, 1>(4, 0..4 * 4096);
    refused::<4, 4096, 1>(8, 0..9 * 4096);
    refused::<4, 4096, 1>(8, 100..5 * 4096 + 100);
    refused::<4, 4096, 1>(8, 0..5 * 4096 + 100);
    refused::<4, 512, 1>(8, 0..8 * 512);
    refused::<3, 4096, 1>(8, 0..8 * 4096);
    refused::<512, 4096, 1>(8, 0..8 * 4096);
    refused::<4, 4096, 512>(8, 0..8 * 4096);
    refused::<4, 4096, 1>(600, 0..600 * 4096);
}

#[test]
fn the_area_alone_is_touched() {
    let mut flash = Nor::<4, 1024>::new(12, 1, Tearing::Random);
    flash.bytes[..2048].fill(0x11);
    flash.bytes[10 * 1024..].fill(0x22);
    let mut queue = open_area(flash, 2048..10 * 1024, 5);
    for n in 0..2_000 {
        queue.append(b"a record").unwrap();
        queue.release(range(&queue, 1, n, n)).unwrap();
    }
    let flash = queue.into_flash();
    assert!(flash.bytes[..2048].iter().all(|byte| *byte == 0x11));
    assert!(flash.bytes[10 * 1024..].iter().all(|byte| *byte == 0x22));
    assert!(flash.turns[2..10].iter().all(|turns| *turns > 1));
}

#[test]
fn the_boot_counts_on_whatever_was_released_and_erased() {
    let mut queue = open(Small::new(6, 1, Tearing::Random));
    for boot in 1..300 {
        assert_eq!(queue.boot(), boot);
        // Some boots write nothing at all, some fill the ring several times.
        for n in 0..(boot % 5) * 100 {
            queue.append(&[0; 30]).unwrap();
            assert_eq!(queue.release(range(&queue, boot, n, n)).unwrap(), 1);
        }
        assert_eq!(queue.pending_records(), 0);
        let last = queue.last;
        queue = reopen(queue);
        assert_eq!(queue.incarnation(), 77);
        assert_eq!(queue.recovery().recovered.map(|r| at(r.boot, r.sequence)), last);
    }
}

#[test]
fn a_flash_with_anything_in_it_is_formatted_anew() {
    for seed in 0..200 {
        let flash = Small::garbage(6, seed);
        let queue = open_area(flash, 0..6 * 1024, 1000 + u32::try_from(seed).unwrap());
        assert_eq!(
            (queue.incarnation(), queue.boot(), queue.pending_records()),
            (1000 + u32::try_from(seed).unwrap(), 1, 0)
        );
        assert_eq!(queue.recovery().recovered, None);
    }
}

#[test]
fn another_shape_of_the_area_is_another_ring() {
    let mut queue = open(Small::new(12, 1, Tearing::Random));
    queue.append(b"lost with its ring").unwrap();
    let queue = open_area(queue.into_flash(), 0..8 * 1024, 78);
    assert_eq!(
        (queue.incarnation(), queue.boot(), queue.pending_records()),
        (78, 1, 0)
    );
}

#[test]
fn only_the_block_that_was_offered_is_evicted() {
    let mut queue = open(Small::new(6, 1, Tearing::Random));
    while !queue.is_full() {
        queue.append(&[7; 50]).unwrap();
    }
    let end = queue.oldest_block_end().unwrap();
    let before = queue.pending_records();
    let lost = queue.evict().unwrap();
    assert_eq!(lost, end.sequence);
    assert_eq!(queue.pending_records(), before - lost);
    assert_eq!(queue.next_pending(Position::START).unwrap(), Some(end));
    // The last one too: then nothing is pending, and the ring goes on.
    while queue.pending_records() > 0 {
        queue.oldest_block_end().unwrap();
        queue.evict().unwrap();
    }
    let sequence = queue.append(b"on").unwrap();
    let mut queue = reopen(queue);
    assert!(pending(&mut queue).contains_key(&at(1, sequence)));
}

#[test]
fn a_record_that_is_too_long_is_refused() {
    let mut queue = open(Small::new(8, 1, Tearing::Random));
    let long = [1; RECORD_LEN_MAX + 1];
    assert_eq!(
        queue.append(&long),
        Err(FlashQueueError::TooLong(RECORD_LEN_MAX + 1))
    );
    queue.append(&long[1..]).unwrap();
    queue.append(&[]).unwrap();
    assert_eq!(
        pending(&mut queue)
            .into_values()
            .map(|bytes| bytes.len())
            .collect::<Vec<_>>(),
        [384, 0]
    );
}

#[test]
fn after_a_failed_write_the_same_record_may_be_appended_again() {
    for programmed in [0, 1, 2, 3, 5, 8] {
        for write in 0..6 {
            let mut queue = open(Small::new(8, 1, Tearing::Random));
            let mut stored = Vec::new();
            for n in 0..40u8 {
                if n % 3 == 0 {
                    queue.flash_mut().failing_writes = Some((write, programmed));
                }
                let record = [n; 40];
                let mut tries = 0;
                let sequence = loop {
                    match queue.append(&record) {
                        Ok(sequence) => break sequence,
                        Err(error) => {
                            assert_eq!(error, FlashQueueError::Flash(NorError::Injected));
                            tries += 1;
                            if tries > 2 {
                                queue.flash_mut().failing_writes = None;
                            }
                        }
                    }
                };
                stored.push((at(1, sequence), record.to_vec()));
                queue.flash_mut().failing_writes = None;
            }
            let mut queue = reopen(queue);
            assert!(queue.recovery().lost.is_empty(), "{:?}", queue.recovery());
            // Failed writes use up pages, and what is given up for it is named.
            let mut found = pending(&mut queue);
            let mut named = BTreeSet::new();
            found.retain(|at, bytes| {
                let is_known = stored.contains(&(*at, bytes.clone()));
                named.extend(names(bytes).filter(|_| !is_known));
                is_known
            });
            assert_eq!(
                stored
                    .iter()
                    .filter(|(at, _)| !found.contains_key(at) && !named.contains(at))
                    .count(),
                0
            );
            assert!(found.len() >= 10, "{}", found.len());
        }
    }
}

/// What a record names as lost, if it is a `Dropped`.
fn names(record: &[u8]) -> impl Iterator<Item = Position> + use<> {
    let ranges = match Record::decode(record) {
        Ok((Record::Dropped(dropped), [])) => dropped.ranges,
        _ => heapless::Vec::new(),
    };
    ranges
        .into_iter()
        .flat_map(|(boot, first, last)| (first..=last).map(move |sequence| at(boot, sequence)))
}

#[test]
fn a_full_ring_whose_page_fails_gives_up_its_oldest_page_by_name_and_reports_it() {
    let mut queue = open(Small::new(8, 1, Tearing::Random));
    while !queue.is_full() {
        queue.append(&[7; 50]).unwrap();
    }
    // The pages that were kept for the names are lost to writes that fail half way.
    let oldest = queue.oldest_block_end().unwrap().sequence;
    loop {
        queue.flash_mut().failing_writes = Some((1, 2));
        queue.append(&[8; 50]).unwrap_err();
        queue.flash_mut().failing_writes = None;
        if queue.pages_left() == 0 {
            break;
        }
        queue.append(&[8; 50]).unwrap();
    }
    let before = queue.pending_records();
    let anchor = Record::Anchor(Anchor {
        boot: 1,
        monotonic_ms: 1,
        utc_ms: 1,
        error_ms: 1,
    });
    let stamp = Stamp {
        ms: 1,
        clock: Clock::Synced,
    };
    let stored = store(&mut queue, &anchor, stamp).unwrap();
    assert!(
        stored.dropped_records >= oldest,
        "{} of {oldest}",
        stored.dropped_records
    );
    // All that is not there any more is named, by the ring and by `store`.
    let mut queue = reopen(queue);
    let found = pending(&mut queue);
    let named: BTreeSet<Position> = found.values().flat_map(|record| names(record)).collect();
    assert!((0..stored.sequence).all(|n| found.contains_key(&at(1, n)) || named.contains(&at(1, n))));
    assert!(!found.contains_key(&at(1, 0)) && before as usize > found.len());
}
