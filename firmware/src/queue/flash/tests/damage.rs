//! What is damaged has a name, however much it is; and whose queue it is decides whether it goes on.

use std::collections::BTreeSet;
use std::vec::Vec;

use taraz_telemetry::DROPPED_RANGES_MAX;

use super::nor::{Nor, Tearing};
use super::{at, open, open_area, owner, pending, range, reopen};
use crate::queue::flash::FlashQueue;
use crate::queue::flash::layout::Kind;
use crate::queue::{Found, Position, Queue};

type Small = Nor<4, 1024>;
const PAGES: usize = 12;

/// All that an opening tells as lost, as often as it has to be asked.
fn lost(queue: &mut FlashQueue<Small>) -> (BTreeSet<Position>, usize) {
    let mut ranges = queue.recovery().lost.as_slice().to_vec();
    let (mut more_from, mut times) = (queue.recovery().lost_more_from, 1);
    while let Some(from) = more_from {
        let (more, next) = queue.lost_from(from).unwrap();
        assert!(more.as_slice().len() <= DROPPED_RANGES_MAX);
        assert!(next.is_none_or(|next| next > from), "it gets nowhere");
        ranges.extend_from_slice(more.as_slice());
        (more_from, times) = (next, times + 1);
    }
    let positions = ranges
        .iter()
        .flat_map(|&(boot, first, last)| (first..=last).map(move |sequence| at(boot, sequence)));
    (positions.collect(), times)
}

/// Where a page of the ring stands.
fn page_bytes(queue: &FlashQueue<Small>, page: u32) -> core::ops::Range<usize> {
    let from = queue.medium.geometry.page_address(page) as usize;
    from..from + 1024
}

fn destroy(queue: FlashQueue<Small>, bytes: core::ops::Range<usize>) -> FlashQueue<Small> {
    let mut flash = queue.into_flash();
    for address in bytes {
        flash.damage(address, 0x5a);
    }
    open(flash)
}

#[test]
fn damage_over_more_boots_than_a_dropped_holds_is_named_whole() {
    let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
    let (mut damaged, mut kept) = (BTreeSet::new(), BTreeSet::new());
    let mut broken = Vec::new();
    for boot in 1..=50 {
        for sequence in 0..3 {
            queue.append(&[7; 20]).unwrap();
            let geometry = &queue.medium.geometry;
            let address =
                geometry.page_address(queue.head) + queue.offset - geometry.entry_len(Kind::Record, 20);
            if sequence == 1 {
                broken.push(address as usize);
                damaged.insert(at(boot, sequence));
            } else {
                kept.insert(at(boot, sequence));
            }
        }
        queue = reopen(queue);
    }
    let mut flash = queue.into_flash();
    for address in broken {
        // In the record's head: nothing can tell where it stood.
        flash.damage(address, 0);
    }
    let mut queue = open(flash);
    let (found, times) = lost(&mut queue);
    assert_eq!(found, damaged);
    assert_eq!(times, 50_usize.div_ceil(DROPPED_RANGES_MAX));
    assert_eq!(pending(&mut queue).into_keys().collect::<BTreeSet<_>>(), kept);
    // Until it is said that they are named, every opening tells it, and no page is given back.
    let tail = queue.tail;
    for boot in 1..=50 {
        queue.release(range(&queue, boot, 0, 2)).unwrap();
    }
    assert_eq!((queue.pending_records(), queue.tail), (0, tail));
    let mut queue = reopen(queue);
    assert_eq!(lost(&mut queue).0, damaged);
    queue.lost_is_named();
    for _ in 0..60 {
        let sequence = queue.append(&[1; 50]).unwrap();
        queue
            .release(range(&queue, queue.boot(), sequence, sequence))
            .unwrap();
    }
    assert!(queue.tail > tail);
    let mut queue = reopen(queue);
    assert!(lost(&mut queue).0.is_empty());
}

#[test]
fn pages_that_can_not_be_read_are_named_by_their_neighbours() {
    for (first, count) in [(0, 1), (0, 3), (2, 1), (2, 2)] {
        let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
        // Page, and what was written to it.
        let mut written: Vec<(u32, Position)> = Vec::new();
        while queue.head < queue.tail + 6 {
            let sequence = queue.append(&[9; 30]).unwrap();
            written.push((queue.head, at(1, sequence)));
        }
        let from = queue.tail + first;
        let bytes = page_bytes(&queue, from).start..page_bytes(&queue, from + count - 1).end;
        let mut queue = destroy(queue, bytes);
        let expected: BTreeSet<Position> = written
            .iter()
            .filter(|(page, _)| (from..from + count).contains(page))
            .map(|(_, position)| *position)
            .collect();
        assert!(expected.len() >= 10);
        assert_eq!(lost(&mut queue).0, expected, "{count} pages from the {first}. on");
        // A power cut before the names were stored costs none of them.
        let mut queue = reopen(queue);
        assert_eq!(lost(&mut queue).0, expected);
    }
}

#[test]
fn a_lost_page_in_which_boots_ended_is_named_by_the_next_one() {
    for page in [0, 2] {
        let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
        let mut written: Vec<(u32, Position)> = Vec::new();
        // Boots of four records, some of them whole in one page.
        while queue.head < queue.tail + 5 {
            for _ in 0..4 {
                let sequence = queue.append(&[9; 30]).unwrap();
                written.push((queue.head, at(queue.boot(), sequence)));
            }
            queue = reopen(queue);
        }
        let page = queue.tail + page;
        let expected: BTreeSet<Position> = written
            .iter()
            .filter(|(of, _)| *of == page)
            .map(|(_, position)| *position)
            .collect();
        let boots: BTreeSet<u32> = expected.iter().map(|position| position.boot).collect();
        assert!(boots.len() > 2, "{expected:?}");
        let bytes = page_bytes(&queue, page);
        let mut queue = destroy(queue, bytes);
        assert_eq!(lost(&mut queue).0, expected);
    }
}

/// What the gateway has acknowledged of a boot would otherwise stand under the same identities as other readings, which it would take
/// for conflicts and acknowledge, too.
#[test]
fn a_boot_whose_only_page_is_destroyed_is_not_begun_again() {
    for pages in 1..=3 {
        let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
        while queue.head < queue.tail + 4 {
            queue.append(&[9; 30]).unwrap();
        }
        // Every boot that follows begins in a page of its own or behind another; the first of them in a new page.
        queue.closed = true;
        let intact = queue.head;
        queue.begin_boot().unwrap();
        while queue.head < intact + pages {
            queue.append(&[9; 30]).unwrap();
            queue.begin_boot().unwrap();
        }
        let (newest, kept) = (queue.boot(), lost(&mut queue).0);
        assert!(newest > pages && kept.is_empty());
        let bytes = page_bytes(&queue, intact + 1).start..page_bytes(&queue, queue.head).end;
        let mut queue = destroy(queue, bytes);
        assert!(
            queue.boot() > newest,
            "boot {} of {newest} again, {pages} destroyed",
            queue.boot()
        );
        assert_eq!(queue.incarnation(), 77, "what is pending goes on");
        // Once what was destroyed is overwritten, boots follow each other again.
        let boot = queue.boot();
        queue.append(&[9; 30]).unwrap();
        if pages == 1 {
            assert_eq!(reopen(queue).boot(), boot + 1);
        }
    }
}

#[test]
fn another_device_s_queue_is_formatted_and_its_records_are_counted() {
    let mut queue = open(Small::new(PAGES, 1, Tearing::Random));
    assert_eq!(queue.recovery().found, Found::Nothing);
    for _ in 0..100 {
        queue.append(b"of the first device").unwrap();
    }
    queue.release(range(&queue, 1, 0, 9)).unwrap();
    let mut queue = reopen(queue);
    assert_eq!((queue.recovery().found, queue.incarnation()), (Found::Own, 77));
    let (newest, pending_records) = (queue.head, queue.pending_records());
    queue.append(b"one more").unwrap();

    let area = 0..queue.flash_mut().len();
    let other = owner("dev-2");
    let mut queue = FlashQueue::open(queue.into_flash(), area.clone(), other, 77, &mut || ()).unwrap();
    let found = Found::OtherOwner {
        pending_records: pending_records + 1,
    };
    assert_eq!(queue.recovery().found, found);
    assert_eq!(
        (queue.boot(), queue.next_sequence(), queue.pending_records()),
        (1, 0, 0)
    );
    assert_ne!(queue.incarnation(), 77, "whatever the random number was");
    assert_eq!(queue.next_pending(Position::START).unwrap(), None);
    assert!(queue.recovery().lost.is_empty() && queue.recovery().recovered.is_none());
    assert!(queue.tail > newest, "page numbers go on");
    queue.append(b"of the second device").unwrap();

    // It stays the second one's, and the first one finds nothing of anybody's.
    let mut queue = FlashQueue::open(queue.into_flash(), area, other, 5, &mut || ()).unwrap();
    assert_eq!((queue.boot(), queue.recovery().found), (2, Found::Own));
    assert_eq!(
        pending(&mut queue).into_values().collect::<Vec<_>>(),
        [b"of the second device"]
    );
    let mut queue = open_area(queue.into_flash(), 0..12 * 1024, 99);
    assert_eq!(queue.recovery().found, Found::OtherOwner { pending_records: 1 });
    assert_eq!((queue.incarnation(), pending(&mut queue).len()), (99, 0));
}

#[test]
fn a_queue_of_the_layout_before_is_formatted_and_that_is_said() {
    let mut flash = Small::new(PAGES, 1, Tearing::Random);
    flash.bytes[3 * 1024..3 * 1024 + 4].copy_from_slice(b"tzq\x01");
    let queue = open_area(flash, 0..12 * 1024, 5);
    assert_eq!(
        (queue.recovery().found, queue.incarnation()),
        (Found::Unreadable, 5)
    );
}

#[test]
fn a_first_formatting_that_was_cut_left_no_queue() {
    for tearing in [Tearing::Random, Tearing::Unstable] {
        let mut cuts = 0;
        for word in 0.. {
            let mut flash = Small::new(PAGES, u64::from(word), tearing);
            flash.power(Some(word));
            let area = 0..flash.len();
            if FlashQueue::open(&mut flash, area, owner("dev-1"), 5, &mut || ()).is_ok() {
                break;
            }
            flash.power(None);
            cuts += 1;
            let found = open(flash).recovery().found;
            // It counts as soon as its boot is whole.
            assert!(
                matches!(found, Found::Nothing | Found::Own),
                "word {word}: {found:?}"
            );
        }
        assert!(cuts > 30, "{cuts}");
    }
}
