//! The newest page is found whatever stands behind it, and whichever head is damaged.

use super::nor::{Death, Nor, Tearing};
use super::{at, open, open_area, owner, pending};
use crate::queue::flash::FlashQueue;
use crate::queue::{Found, Queue};

type Small = Nor<4, 1024>;
/// Of a page; its entries follow.
const HEAD_LEN: usize = 64;
/// What a formatting would draw: not the incarnation of [`open`].
const OTHER_INCARNATION: u32 = 123;

/// The head of this page is damaged.
fn damage_head(flash: &mut Small, page: u32) {
    let pages = flash.turns.len();
    let from = (page as usize % pages) * 1024;
    for address in from..from + HEAD_LEN {
        flash.damage(address, 0x5a);
    }
}

fn reopen_other(flash: Small) -> FlashQueue<Small> {
    let area = 0..flash.len();
    open_area(flash, area, OTHER_INCARNATION)
}

#[test]
fn any_number_of_heads_behind_which_nothing_stays_hides_no_record() {
    let mut queue = open(Small::new(60, 1, Tearing::Random));
    for n in 0..30 {
        queue.append(&[n; 30]).unwrap();
    }
    let (before, newest) = (pending(&mut queue), queue.head);
    queue.flash_mut().faults.writable_len = Some(HEAD_LEN);
    for _ in 0..100 {
        queue.append(&[0; 30]).unwrap_err();
    }
    let heads = (newest + 1..newest + 50)
        .filter(|page| {
            let head = queue.medium.page_head(*page).unwrap();
            head.is_some_and(|head| head.seed.page == *page)
        })
        .count();
    assert!(heads > 8, "{heads} heads");
    let mut flash = queue.into_flash();
    flash.faults.writable_len = None;
    let mut queue = reopen_other(flash);
    assert_eq!((queue.incarnation(), queue.boot()), (77, 2));
    assert_eq!(pending(&mut queue), before);
    queue.append(b"on").unwrap();
    let mut queue = reopen_other(queue.into_flash());
    assert!(pending(&mut queue).contains_key(&at(2, 0)));
}

#[test]
fn a_damaged_head_costs_the_youngest_ring_nothing() {
    // Its first page has the boot, the second one nothing yet.
    let queue = open(Small::new(12, 1, Tearing::Random));
    let newest = queue.head - 1;
    let mut flash = queue.into_flash();
    damage_head(&mut flash, newest);
    let queue = reopen_other(flash);
    assert_eq!((queue.incarnation(), queue.boot()), (77, 2));
    assert!(queue.recovery().lost.is_empty());
}

#[test]
fn a_damaged_head_does_not_bring_the_owner_of_before_back() {
    let mut queue = open(Small::new(12, 1, Tearing::Random));
    for _ in 0..100 {
        queue.append(b"of the first device").unwrap();
    }
    let other = owner("dev-2");
    let queue = FlashQueue::open(queue.into_flash(), 0..12 * 1024, other, 5, &mut || ()).unwrap();
    let newest = queue.head - 1;
    let mut flash = queue.into_flash();
    damage_head(&mut flash, newest);
    let queue = FlashQueue::open(flash, 0..12 * 1024, other, 6, &mut || ()).unwrap();
    assert_eq!((queue.incarnation(), queue.boot()), (5, 2));
    assert_eq!((queue.recovery().found, queue.pending_records()), (Found::Own, 0));
}

#[test]
fn the_newest_page_is_found_by_its_entries_behind_a_place_that_was_just_retired() {
    for death in [Death::Erase, Death::Write, Death::Ones] {
        let mut queue = open(Small::new(12, 1, Tearing::Random));
        for n in 0..30 {
            queue.append(&[n; 30]).unwrap();
        }
        let newest = queue.head;
        let worn = queue.medium.geometry.slot(newest + 1);
        queue.flash_mut().faults.dead.insert(worn, death);
        while queue.head != newest + 2 || !queue.counts {
            let _ = queue.append(&[9; 30]);
        }
        let mut queue = reopen_other(queue.into_flash());
        queue.append(b"of the second boot").unwrap();
        assert_eq!((queue.boot(), queue.head), (2, newest + 2));
        let before = pending(&mut queue);
        let mut flash = queue.into_flash();
        damage_head(&mut flash, newest + 2);
        let mut queue = reopen_other(flash);
        assert_eq!((queue.incarnation(), queue.boot()), (77, 3), "{death:?}");
        assert_eq!(pending(&mut queue), before, "{death:?}");
    }
}
