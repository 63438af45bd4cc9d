//! Operations that fail once, and pages that fail for ever: the ring goes on.

use std::collections::BTreeSet;

use taraz_telemetry::{Anchor, Record};

use super::fuzz_stamp;
use super::nor::{Death, Nor, Tearing};
use super::{names, open, owner, pending, reopen};
use crate::queue::flash::FlashQueue;
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

/// Whichever operation of an opening fails, once, the ring opens, with all its records.
#[test]
fn one_failed_operation_does_not_keep_a_ring_from_opening() {
    // Rings whose opening writes its boot in its page, in a new one, and formats.
    for (records, boots, other) in [
        (40, 1, "dev-1"),
        (40, 30, "dev-1"),
        (2_000, 3, "dev-1"),
        (40, 1, "dev-2"),
        (0, 0, "dev-1"),
    ] {
        let mut flash = Small::new(PAGES, 1, Tearing::Random);
        for boot in 0..boots {
            let mut queue = open(flash);
            for n in 0..records {
                store(&mut queue, &anchor(boot * 10_000 + n), fuzz_stamp()).unwrap();
            }
            flash = queue.into_flash();
        }
        let mut queue = open(flash.clone());
        let before = pending(&mut queue);
        let mut failed = 0;
        for nth in 0.. {
            let mut failing = flash.clone();
            failing.fail_once = Some(nth);
            let area = 0..failing.len();
            let mut queue = FlashQueue::open(failing, area, owner(other), 5, &mut || ())
                .unwrap_or_else(|error| panic!("operation {nth} failed: {error}"));
            if other == "dev-1" {
                let found = pending(&mut queue);
                let named: BTreeSet<Position> = found.values().flat_map(|record| names(record)).collect();
                assert!(
                    before
                        .keys()
                        .all(|position| found.contains_key(position) || named.contains(position)),
                    "operation {nth}"
                );
            }
            if queue.flash_mut().fail_once.is_some() {
                break;
            }
            failed += 1;
            // It was a failure that passed: no place is given up for it.
            assert_eq!(queue.retired_blocks(), 0, "operation {nth}");
        }
        assert!(failed > 10, "{failed}");
    }
}

/// Pages that wear out in every way, neighbours too: records go on being stored, every one is there or named, and restarts know
/// which places are retired.
#[test]
fn worn_pages_are_retired_and_the_ring_goes_on() {
    for worn in [&[5][..], &[5, 6], &[0, 11], &[1, 4, 7, 10]] {
        for death in [Death::Erase, Death::Zeros, Death::Write, Death::Ones] {
            // Two free places at once that can be erased and not written: that is a flash that does not work now.
            let is_outage = death == Death::Write && worn.windows(2).any(|pair| pair[1] == pair[0] + 1);
            if is_outage || death == Death::Ones && worn.len() > 1 {
                continue;
            }
            let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
            for page in worn {
                queue.flash_mut().faults.dead.insert(*page, death);
            }
            let (mut stored, mut named, mut failures) = (BTreeSet::new(), BTreeSet::new(), 0);
            for n in 0..1_500 {
                let mut tries = 0;
                while let Err(error) = store(&mut queue, &anchor(n), fuzz_stamp()) {
                    (tries, failures) = (tries + 1, failures + 1);
                    assert!(tries < 10, "pages {worn:?}, {death:?}: {error}");
                }
                if n % 100 == 99 {
                    queue = reopen(queue);
                }
                if n % 50 == 49 {
                    let found = pending(&mut queue);
                    named.extend(found.values().flat_map(|record| names(record)));
                    stored.extend(found.into_keys());
                }
            }
            let found = pending(&mut queue);
            assert!(
                stored.iter().all(|position| found.contains_key(position)
                    || named.contains(position)
                    || found
                        .values()
                        .any(|record| names(record).any(|name| name == *position))),
                "pages {worn:?}, {death:?}: a record is neither there nor named"
            );
            let expected = if death == Death::Ones { 0 } else { worn.len() };
            let retired = queue.retired_blocks() as usize;
            assert!(
                retired >= expected,
                "pages {worn:?}, {death:?}: {retired} retired"
            );
            let mut queue = reopen(queue);
            assert_eq!(queue.retired_blocks() as usize, retired, "a restart knows them");
            queue.append(b"on").unwrap();
        }
    }
}

/// A flash that does not work at all retires nothing and gives up nothing; when it works again, everything is there.
#[test]
fn an_outage_costs_nothing() {
    for death in [Death::Erase, Death::Write] {
        let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
        for n in 0..1_000 {
            store(&mut queue, &anchor(n), fuzz_stamp()).unwrap();
        }
        let before = pending(&mut queue);
        for page in 0..PAGES {
            queue.flash_mut().faults.dead.insert(page, death);
        }
        let mut failures = 0;
        for n in 0..200 {
            failures += u32::from(store(&mut queue, &anchor(n), fuzz_stamp()).is_err());
        }
        assert!(failures > 100, "{failures}");
        queue.flash_mut().faults.dead.clear();
        assert_eq!(queue.retired_blocks(), 0);
        for _ in 0..2 {
            let found = pending(&mut queue);
            let named: BTreeSet<Position> = found.values().flat_map(|record| names(record)).collect();
            assert!(
                before
                    .keys()
                    .all(|position| found.contains_key(position) || named.contains(position))
            );
            queue = reopen(queue);
        }
        store(&mut queue, &anchor(1), fuzz_stamp()).unwrap();
    }
}
