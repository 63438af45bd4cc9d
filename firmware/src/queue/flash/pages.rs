//! Beginning pages and giving them up; passing over places that fail.

use core::fmt::Debug;

use embedded_storage::nor_flash::{ErrorType, NorFlash};
use heapless::Vec;
use taraz_telemetry::{Clock, Stamp};

use super::FlashQueueError;
use super::geometry::SPARE_PLACES;
use super::layout::{BOOT_BODY_LEN, Kind, PageHead};
use super::places::FLASH_RETIRED_MAX;
use super::ring::{FlashQueue, Outcome};
use crate::queue::store::{name_until, names_until};
use crate::queue::{DroppedRanges, Position, StoreError};

/// A page is begun so often before its place is retired.
const PAGE_TRIES_MAX: u32 = 2;
/// So many places are tried for one page: free ones, as many as are remembered as retired, and then that of the oldest page.
const PLACES_TRIED_MAX: usize = FLASH_RETIRED_MAX + 1;
/// A page that nothing can be written into comes to be begun so often before its place is retired.
const BEGUN_MAX: u32 = 3;
/// How many boots may have ended in a page for the next one to tell how far each of them went.
const ENDS_MAX: usize = 16;
/// When the ring itself names what it gives up, nobody has told it the time: the boot's beginning.
const UNKNOWN_STAMP: Stamp = Stamp {
    ms: 0,
    clock: Clock::Unsynced,
};

/// Why a page could not be begun.
enum Failed<E: Debug> {
    /// What the page's head has to say can't be read: that is no fault of the page's place.
    Read(FlashQueueError<E>),
    /// Its place can't be erased.
    Erase(FlashQueueError<E>),
    /// It can be erased, and nothing stays in it.
    Write(FlashQueueError<E>),
}

/// Where the ring stood before a page was begun.
#[derive(Clone, Copy)]
struct Before {
    head: u32,
    offset: u32,
    next: u32,
    last: Option<Position>,
    counts: bool,
}

impl<F: NorFlash> FlashQueue<F> {
    /// How many pages can be begun without giving one up.
    pub(super) fn pages_left(&self) -> u32 {
        self.places_behind(self.head, self.tail)
            .saturating_sub(SPARE_PLACES)
    }

    /// How many places are free behind a page when the oldest page is `tail`.
    fn places_behind(&self, page: u32, tail: u32) -> u32 {
        let geometry = &self.medium.geometry;
        self.retired.between(page, tail + geometry.pages, geometry)
    }

    /// The oldest page that may stay when this one is begun.
    fn tail_for(&self, page: u32, tail_min: u32) -> u32 {
        let mut tail = self.tail.max(tail_min);
        while tail < page && self.places_behind(page, tail) < SPARE_PLACES {
            tail += 1;
        }
        tail
    }

    /// Erases the next page and makes it the head, with `tail_min` or a later page as the oldest; it counts with the first entry
    /// by which pages do. A head that does not count yet is begun anew. Places that fail are retired. If a place has to be
    /// erased although its page still counts, the ring owes the names of what stands there.
    pub(super) fn begin_page(&mut self, tail_min: u32) -> Outcome<(), F> {
        let remembered = self.retired;
        self.begin_somewhere(tail_min)
            .inspect_err(|_| self.retired = remembered)
    }

    fn begin_somewhere(&mut self, tail_min: u32) -> Outcome<(), F> {
        let next = if self.counts { self.head + 1 } else { self.head };
        self.closed |= !self.counts;
        self.cursors.clear();
        let (mut may_erase_oldest, mut tried) = (true, 0);
        let mut page = self.retired.from(next, &self.medium.geometry);
        loop {
            let is_dead = page < self.word + self.medium.geometry.pages;
            if !is_dead {
                self.owe_names(page - self.medium.geometry.pages + 1)?;
            }
            let (is_erasable, error) = match self.begin_at(page, tail_min) {
                Ok(()) => return Ok(()),
                Err(Failed::Read(error)) => return Err(error),
                Err(Failed::Erase(error)) => (false, error),
                Err(Failed::Write(error)) => (true, error),
            };
            // Flash that erases and can't be written does not become better by erasing what is still needed.
            may_erase_oldest &= !is_erasable;
            tried += 1;
            self.retired.add(self.medium.geometry.slot(page));
            page = self.retired.from(page + 1, &self.medium.geometry);
            let is_next_dead = page < self.word + self.medium.geometry.pages;
            let places = self.medium.geometry.pages - self.retired.count();
            if tried == PLACES_TRIED_MAX
                || places < self.medium.geometry.places_min()
                || !is_dead
                || !is_next_dead && !may_erase_oldest
            {
                // All of them at once: more likely than worn places is a flash that does not work now.
                self.begun.1 = 0;
                return Err(error);
            }
        }
    }

    /// Keeps the names of what is pending in front of a page, whose place has to be erased before they can be written.
    fn owe_names(&mut self, page: u32) -> Outcome<(), F> {
        let end = self.page_start(page)?;
        let names = match names_until(self, 0, end) {
            Ok(names) => names.into_ranges(),
            Err(StoreError::Memory(error)) => return Err(error),
            Err(StoreError::Record(_)) => DroppedRanges::new(),
        };
        if !self.unnamed && !self.owes {
            self.recovery.lost = DroppedRanges::new();
        }
        self.owes = true;
        for &(boot, first, last) in names.as_slice() {
            // The earliest boots have precedence: the next heads tell of the others, too.
            let _ = self.recovery.lost.add(boot, first, last);
        }
        Ok(())
    }

    /// Begins this page.
    fn begin_at(&mut self, page: u32, tail_min: u32) -> Result<(), Failed<<F as ErrorType>::Error>> {
        let tail = self.tail_for(page, tail_min);
        let tail_start = self.page_start(tail).map_err(Failed::Read)?;
        let times = if self.begun.0 == page { self.begun.1 + 1 } else { 1 };
        self.begun = (page, times);
        if times > BEGUN_MAX {
            let address = self.medium.geometry.page_address(page);
            return Err(Failed::Write(FlashQueueError::NotKept { address }));
        }
        let mut failed = None;
        for _ in 0..PAGE_TRIES_MAX {
            match self.try_page(page, tail, tail_start) {
                Ok(()) => {
                    self.head = page;
                    self.head_word = tail;
                    self.offset = self.medium.geometry.entries_at();
                    self.closed = false;
                    self.counts = false;
                    return Ok(());
                }
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or(Failed::Erase(FlashQueueError::NoRoom)))
    }

    /// Reads of what was just erased or written belong to it: what can't be read there is not there.
    fn try_page(
        &mut self,
        page: u32,
        tail: u32,
        tail_start: Position,
    ) -> Result<(), Failed<<F as ErrorType>::Error>> {
        self.medium.erase(page).map_err(Failed::Erase)?;
        let lost = self.forget_page(page);
        self.unreported += lost;
        let head = PageHead {
            seed: self.seed(page),
            owner: self.owner,
            tail,
            tail_start,
            boot: self.boot,
            last: self.last,
            retired: self.retired,
        };
        self.medium.write_page_head(&head).map_err(Failed::Write)
    }

    fn forget_page(&mut self, page: u32) -> u32 {
        let slot = self.medium.geometry.slot(page);
        let lost = u32::from(core::mem::take(&mut self.pending[slot]));
        self.pending_total -= lost;
        lost
    }

    /// The pages in front of this one are gone.
    pub(super) fn give_up_until(&mut self, tail: u32) {
        while self.tail < tail {
            // If the oldest page's place had to be taken, what is pending there is the new page's.
            if self.medium.geometry.slot(self.tail) != self.medium.geometry.slot(self.head) {
                self.unreported += self.forget_page(self.tail);
            }
            self.tail += 1;
        }
        self.reclaim();
    }

    /// Begins a page, giving up the oldest ones if there is no other way: then it names their records first, and
    /// `seal` makes it count.
    pub(super) fn turn_page(&mut self, seal: impl FnOnce(&mut Self) -> Outcome<(), F>) -> Outcome<(), F> {
        self.reclaim();
        let before = Before {
            head: self.head,
            offset: self.offset,
            next: self.next,
            last: self.last,
            counts: self.counts,
        };
        self.begin_page(self.tail)?;
        let tail = self.head_word;
        if tail == self.tail && !self.owes {
            // If that fails, nothing more is written to this page, and it is begun anew.
            let _ = self.write_ends();
            return Ok(());
        }
        let outcome = self.name_and_seal(tail, seal);
        if outcome.is_ok() {
            self.owes = false;
            self.give_up_until(tail);
        } else {
            // What was begun does not count.
            self.forget_page(self.head);
            (self.head, self.offset, self.next, self.last) =
                (before.head, before.offset, before.next, before.last);
            (self.closed, self.counts) = (true, before.counts);
        }
        self.cursors.clear();
        outcome
    }

    fn name_and_seal(&mut self, tail: u32, seal: impl FnOnce(&mut Self) -> Outcome<(), F>) -> Outcome<(), F> {
        let end = self.page_start(tail)?;
        let mut others = DroppedRanges::new();
        if self.unnamed || self.owes {
            others.clone_from(&self.recovery.lost);
        }
        self.naming = true;
        let named = name_until(self, end, &others, UNKNOWN_STAMP);
        self.naming = false;
        match named {
            // More boots than a page has names for: what does not fit is lost without one.
            Ok(()) | Err(StoreError::Record(_) | StoreError::Memory(FlashQueueError::NoRoom)) => {
                self.write_ends()?;
                seal(self)
            }
            Err(StoreError::Memory(error)) => Err(error),
        }
    }

    /// Writes how far the boots went that ended in the page before, if there is room: should that page come to be unreadable, this
    /// one tells what stood in it.
    fn write_ends(&mut self) -> Outcome<(), F> {
        let geometry = self.medium.geometry;
        let before = self.retired.back_from(self.head - 1, &geometry);
        let (mut ends, mut offset) = (
            Vec::<u8, { ENDS_MAX * BOOT_BODY_LEN as usize }>::new(),
            geometry.entries_at(),
        );
        while let Some((at, entry)) = self.medium.entry(self.seed(before), offset, geometry.page_len)? {
            offset = at + geometry.entry_len(entry.kind, entry.len);
            if entry.kind == Kind::Boot && self.medium.is_sound(before, at, &entry)? {
                let mut body = [0; BOOT_BODY_LEN as usize];
                self.medium
                    .read(before, self.medium.body_at(at, &entry), &mut body)?;
                // Of more boots than that the latest are not told.
                let _ = ends.extend_from_slice(&body);
            }
        }
        if self.closed {
            return Ok(());
        }
        // Only into what records of the longest kind would leave over: as many of them fit as before.
        let room = geometry.left_over_behind(self.offset);
        let behind = geometry.page_len - self.offset;
        let fits = |len| {
            let entry_len = geometry.entry_len(Kind::Ends, len);
            entry_len <= room && entry_len + geometry.boot_len() <= behind
        };
        while !fits(u32::try_from(ends.len()).unwrap_or(u32::MAX)) && !ends.is_empty() {
            ends.truncate(ends.len() - BOOT_BODY_LEN as usize);
        }
        if ends.is_empty() {
            return Ok(());
        }
        self.write_entry(Kind::Ends, 0, &ends)
    }

    /// Gives back the oldest pages in which nothing is pending.
    pub(super) fn reclaim(&mut self) {
        while !self.unnamed
            && self.tail < self.head
            && self.pending[self.medium.geometry.slot(self.tail)] == 0
        {
            self.tail += 1;
        }
    }
}
