//! Several worn places at once, reads that fail while a page is begun, and what is counted then.

use std::collections::BTreeSet;
use std::vec::Vec;

use taraz_telemetry::{Anchor, Record};

use super::nor::{Death, Nor, Tearing};
use super::{at, fuzz_stamp, names, open, pending, range, reopen};
use crate::queue::flash::FlashQueue;
use crate::queue::flash::layout::Kind;
use crate::queue::{Position, Queue, store};

type Small = Nor<4, 1024>;
const PAGES: usize = 12;

fn anchor(n: u64) -> Record {
    Record::Anchor(Anchor {
        boot: 1,
        monotonic_ms: n,
        utc_ms: n,
        error_ms: 1,
    })
}

/// A ring that gives up its oldest page for the next record.
fn full() -> FlashQueue<Small> {
    let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
    for n in 0..1_000 {
        store(&mut queue, &anchor(n), fuzz_stamp()).unwrap();
    }
    queue
}

/// The next free places fail, in this way.
fn wear_next(queue: &mut FlashQueue<Small>, count: u32, death: Death) {
    let next = queue.head + 1;
    for page in next..next + count {
        let place = queue.medium.geometry.slot(page);
        queue.flash_mut().faults.dead.insert(place, death);
    }
}

#[test]
fn as_many_neighbouring_places_as_are_remembered_may_fail_at_once() {
    for death in [Death::Erase, Death::Zeros, Death::Write] {
        for count in [3, 5, 7] {
            let mut queue = open(Small::new(30, 1, Tearing::Random));
            wear_next(&mut queue, count, death);
            for n in 0..600 {
                let mut tries = 0;
                while let Err(error) = store(&mut queue, &anchor(n), fuzz_stamp()) {
                    tries += 1;
                    assert!(tries < 10, "{count} places, {death:?}: {error}");
                }
                let (boot, sequence) = (queue.boot(), queue.next_sequence() - 1);
                queue.release(range(&queue, boot, sequence, sequence)).unwrap();
            }
            assert_eq!(queue.retired_blocks(), count, "{death:?}");
            let queue = reopen(queue);
            assert_eq!(queue.retired_blocks(), count, "{death:?}");
        }
    }
}

#[test]
fn a_boot_that_needs_a_page_behind_worn_places_begins() {
    let mut queue = open(Small::new(30, 1, Tearing::Random));
    queue.append(b"a record").unwrap();
    wear_next(&mut queue, 4, Death::Erase);
    // The page's end is not clean: nothing more goes into it.
    queue.flash_mut().failing_writes = Some((0, 1));
    queue.append(b"caught").unwrap_err();
    queue.flash_mut().failing_writes = None;
    let mut queue = reopen(queue);
    assert_eq!((queue.boot(), queue.retired_blocks()), (2, 4));
    assert_eq!(pending(&mut queue).len(), 1);
}

#[test]
fn a_read_that_fails_retires_no_place() {
    // Of a ring whose free places are sound, and of one in which they can't be erased.
    for worn in [0, 2] {
        let mut queue = full();
        let mut failures = 0;
        let mut turns = BTreeSet::new();
        for n in 0..200 {
            for page in queue.tail..queue.tail + 3 {
                let place = queue.medium.geometry.slot(page);
                let head = queue.head;
                let dead: Vec<usize> = (head + 1..=head + worn)
                    .map(|page| queue.medium.geometry.slot(page))
                    .collect();
                let faults = &mut queue.flash_mut().faults;
                faults
                    .dead
                    .extend(dead.iter().map(|place| (*place, Death::Erase)));
                faults.unreadable.insert(place);
                let before = queue.retired;
                queue.cursors.clear();
                if queue.begin_page(queue.tail).is_err() {
                    failures += 1;
                    assert_eq!(queue.retired, before, "a read of {page} failed");
                }
                turns.insert(queue.head);
                let faults = &mut queue.flash_mut().faults;
                faults.unreadable.clear();
                faults.dead.clear();
                queue.retired = before;
            }
            store(&mut queue, &anchor(n), fuzz_stamp()).unwrap();
        }
        assert!(failures > 20 && turns.len() > 5, "{failures} {}", turns.len());
    }
}

#[test]
fn names_in_the_place_of_the_oldest_page_are_pending_at_once() {
    let mut queue = full();
    // Pages without a record use up those that are kept for names.
    while queue.pages_left() > 0 {
        queue.turn_page(|_| Ok(())).unwrap();
        queue.write_entry(Kind::Mark, 0, &[]).unwrap();
    }
    let (tail, head) = (queue.tail, queue.head);
    wear_next(&mut queue, 2, Death::Erase);
    while queue.head == head {
        queue.append(&[8; 50]).unwrap();
    }
    let geometry = queue.medium.geometry;
    assert_eq!(geometry.slot(queue.head), geometry.slot(tail));
    assert_eq!(queue.retired_blocks(), 2);
    let found = pending(&mut queue);
    let named: BTreeSet<Position> = found.values().flat_map(|record| names(record)).collect();
    let last = queue.next_sequence() - 1;
    assert!((last - 3..last).any(|n| {
        found
            .get(&at(1, n))
            .is_some_and(|record| names(record).count() > 10)
    }));
    let oldest = found.keys().next().unwrap().sequence;
    assert!((0..oldest).all(|n| named.contains(&at(1, n)) || n < 900));
}

#[test]
fn a_release_that_happened_although_its_write_failed_is_counted() {
    let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
    for n in 0..10 {
        queue.append(&[n; 30]).unwrap();
    }
    queue.flash_mut().failing_writes = Some((0, 1));
    queue.release(range(&queue, 1, 0, 9)).unwrap_err();
    queue.flash_mut().failing_writes = None;
    assert_eq!(pending(&mut queue).len(), 9);
    assert_eq!(queue.release(range(&queue, 1, 0, 9)).unwrap(), 9);
    assert_eq!(queue.pending_records(), 0);
    let page = queue.head;
    while queue.head == page {
        queue.append(&[1; 30]).unwrap();
    }
    assert!(queue.tail >= page, "what is released is given back");
}
