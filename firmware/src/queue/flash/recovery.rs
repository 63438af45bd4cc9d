//! Opening a ring that was left at any instant.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;
use taraz_telemetry::{Boot, Incarnation, Recovered};

use super::FlashQueueError;
use super::geometry::{Geometry, SPARE_PLACES};
use super::layout::{BOOT_BODY_LEN, EntryHead, Kind, PageHead, Seed, decode_last};
use super::medium::Medium;
use super::newest::Newest;
use super::ring::{FlashQueue, Outcome};
use crate::queue::ranges::EarliestRanges;
use crate::queue::{DroppedRanges, Found, Position, QueueOwner, Recovery};

/// The beginning of a boot is written so often, each time into another page, before the opening fails.
const BOOT_TRIES_MAX: u32 = 4;

/// What the entries say, one after the other.
#[derive(Debug)]
struct Survey {
    /// The position that the next record has.
    expected: Option<Position>,
    /// The newest record.
    last: Option<Position>,
    lost: EarliestRanges,
    /// What is pending is counted.
    counts: bool,
    /// Losses of this boot and later ones are not told.
    end: Boot,
}

impl Survey {
    /// The next record stands at `position`: what should stand in front of it is lost.
    fn reach(&mut self, position: Position) {
        if let Some(expected) = self.expected {
            if position <= expected {
                return;
            }
            if position.boot == expected.boot {
                self.lose(expected, position.sequence - 1);
            } else if let Some(last) = position.sequence.checked_sub(1) {
                let first = Position {
                    boot: position.boot,
                    sequence: 0,
                };
                self.lose(first, last);
            }
        }
        self.expected = Some(position);
    }

    fn lose(&mut self, first: Position, last: u32) {
        if first.boot < self.end {
            self.lost.add(first.boot, first.sequence, last);
        }
    }
}

/// Where the entries of the newest page end.
#[derive(Debug, Default)]
struct Tail {
    offset: u32,
    /// The last record is not whole: it was being written, or is damaged.
    torn: Option<Position>,
}

impl<F: NorFlash> FlashQueue<F> {
    /// Opens the queue in `area` (byte addresses in the flash, whole erasable pages) and counts the boot up. An area without
    /// one of this owner is formatted, with `random` as its incarnation: it must not repeat. `alive` is called between
    /// pages, for a watchdog: what is done in between is a read of one page at most, and at the end the erasures of a few.
    ///
    /// # Errors
    /// [`FlashQueueError::Area`] when flash or area don't suit; otherwise the flash failed, again and again. Damage is no error:
    /// what is lost is named in [`Queue::recovery`](crate::Queue::recovery), and places that wear out are retired.
    #[inline(never)]
    pub fn open(
        flash: F,
        area: Range<u32>,
        owner: QueueOwner,
        random: Incarnation,
        alive: &mut dyn FnMut(),
    ) -> Outcome<Self, F> {
        let geometry = Geometry::new::<F>(&area, flash.capacity()).map_err(FlashQueueError::Area)?;
        let mut medium = Medium::new(flash, geometry);
        let (newest, highest) = Self::newest(&mut medium, alive)?;
        let (seed, its_owner) = newest.map_or_else(
            || {
                // Numbers go on, so that nothing old is ever taken for the newest.
                let page = highest.map_or(geometry.pages, |highest| highest.saturating_add(1));
                let incarnation = random;
                (Seed { incarnation, page }, owner)
            },
            |newest| (newest.seed, newest.known.owner),
        );
        // There is one of it at any time: it would be a large part of a board's stack.
        let mut queue = Self::new(medium, seed, its_owner);
        if let Some(newest) = newest {
            queue.recover(&newest, alive)?;
            if its_owner != owner {
                queue.take_over(owner, random);
                queue.format(alive)?;
            } else {
                queue.start_boot(alive)?;
                // What is destroyed is erased only now, and soon: until then every opening would pass boots over.
                queue.closed |= core::mem::take(&mut queue.boots_destroyed) > 0;
            }
        } else {
            queue.recovery.found = queue.foreign()?;
            queue.format(alive)?;
        }
        queue.unreported = 0;
        Ok(queue)
    }

    /// What an area is that holds no ring of ours. What a formatting left that was cut is none of anybody's.
    fn foreign(&mut self) -> Outcome<Found, F> {
        for page in 0..self.medium.geometry.pages {
            if self.medium.is_page_of_other_ring(page)? {
                return Ok(Found::Unreadable);
            }
        }
        Ok(Found::Nothing)
    }

    /// Becomes a new ring of another owner behind the one that was recovered, in the same places.
    fn take_over(&mut self, owner: QueueOwner, random: Incarnation) {
        let page = self.retired.from(self.head + 1, &self.medium.geometry);
        let pending_records = self.pending_total;
        // It is another one in any case.
        self.incarnation = random.wrapping_add(u32::from(random == self.incarnation));
        self.owner = owner;
        (self.boot, self.next, self.last) = (0, 0, None);
        self.recovery = Recovery {
            found: Found::OtherOwner { pending_records },
            ..Recovery::default()
        };
        (self.unnamed, self.owes, self.lost_end) = (false, false, None);
        self.boots_destroyed = 0;
        (self.tail, self.word, self.head_word, self.head) = (page, page, page, page);
        (self.offset, self.closed, self.counts) = (0, true, false);
        self.begun = (page, 0);
        self.pending.fill(0);
        self.pending_total = 0;
        self.cursors.clear();
    }

    /// Begins two pages at once: what the second one holds can be read even if its head is damaged, as the first one tells the
    /// incarnation.
    fn format(&mut self, alive: &mut dyn FnMut()) -> Outcome<(), F> {
        self.start_boot(alive)?;
        self.begin_page(self.tail)?;
        self.reclaim();
        Ok(())
    }

    /// Begins the boot, in one page after the other if writing fails.
    fn start_boot(&mut self, alive: &mut dyn FnMut()) -> Outcome<(), F> {
        let mut tries = 1;
        loop {
            alive();
            match self.begin_boot() {
                Ok(()) => return Ok(()),
                Err(_) if tries < BOOT_TRIES_MAX => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes in every page that counts.
    fn recover(&mut self, newest: &Newest, alive: &mut dyn FnMut()) -> Outcome<(), F> {
        let pages = self.medium.geometry.pages;
        self.retired = newest.known.retired;
        self.counts = true;
        let before = self.retired.back_from(self.head - 1, &self.medium.geometry);
        let before = self.whole_head(before)?;
        let front = Some(newest.known).filter(|head| head.seed.page < self.head);
        let known = newest.head.or(before).or(front);
        // Two places are spare, whatever a damaged head would say.
        let oldest = (self.head + 1 + SPARE_PLACES).saturating_sub(pages).max(pages);
        self.tail = known.map_or(oldest, |head| head.tail.clamp(oldest, self.head));
        (self.word, self.head_word) = (self.tail, self.tail);
        self.boot = self.newest_boot(known.map_or(0, |head| head.boot))?;
        let begins = known.filter(|head| head.tail == self.tail);
        let mut survey = Survey {
            expected: begins.map(|head| head.tail_start),
            last: None,
            lost: EarliestRanges::new(0),
            counts: true,
            end: Boot::MAX,
        };
        let tail = self.survey(&mut survey, alive)?;
        self.offset = tail.offset;
        self.last = survey.last;
        self.next = match survey.expected {
            Some(expected) if expected.boot == self.boot => expected.sequence,
            _ => 0,
        };
        self.closed = self.is_closed(&tail)? || newest.is_followed;
        if let Some(lost) = self.lost_end {
            survey.lose(lost, lost.sequence);
        }
        self.recovery = Recovery {
            recovered: survey.last.map(|last| Recovered {
                boot: last.boot,
                sequence: last.sequence,
            }),
            lost_more_from: survey.lost.left_out(),
            lost: survey.lost.into_ranges(),
            found: Found::Own,
        };
        self.unnamed = !self.recovery.lost.is_empty();
        self.boots_destroyed = self.boots_destroyed()?;
        self.reclaim();
        Ok(())
    }

    /// Goes through the pages that count once more for the losses of boots from `from` on.
    pub(super) fn survey_again(&mut self, from: Boot) -> Outcome<(DroppedRanges, Option<Boot>), F> {
        let mut survey = Survey {
            expected: Some(self.page_start(self.tail)?),
            last: None,
            lost: EarliestRanges::new(from),
            counts: false,
            end: self.boot,
        };
        self.survey(&mut survey, &mut || ())?;
        if let Some(lost) = self.lost_end {
            survey.lose(lost, lost.sequence);
        }
        Ok((survey.lost.clone().into_ranges(), survey.lost.left_out()))
    }

    fn survey(&mut self, survey: &mut Survey, alive: &mut dyn FnMut()) -> Outcome<Tail, F> {
        let mut tail = Tail::default();
        let mut page = self.tail;
        let mut head = self.whole_head(page)?;
        loop {
            alive();
            let is_newest = page == self.head;
            let next = self.retired.from(page + 1, &self.medium.geometry);
            let next_head = if is_newest { None } else { self.whole_head(next)? };
            self.survey_page(page, head, next_head, survey, &mut tail)?;
            if is_newest || next > self.head {
                return Ok(tail);
            }
            (page, head) = (next, next_head);
        }
    }

    fn whole_head(&mut self, page: u32) -> Outcome<Option<PageHead>, F> {
        let seed = self.seed(page);
        Ok(self.medium.page_head(page)?.filter(|head| head.seed == seed))
    }

    /// The newest boot that the newest page speaks of.
    fn newest_boot(&mut self, earlier: Boot) -> Outcome<Boot, F> {
        let (seed, page_len) = (self.seed(self.head), self.medium.geometry.page_len);
        let (mut boot, mut offset) = (earlier, self.medium.geometry.entries_at());
        while let Some((at, entry)) = self.medium.entry(seed, offset, page_len)? {
            offset = at + self.medium.geometry.entry_len(entry.kind, entry.len);
            if entry.is_record() || self.medium.is_sound(seed.page, at, &entry)? {
                boot = boot.max(entry.boot_from(boot));
            }
        }
        Ok(boot)
    }

    fn survey_page(
        &mut self,
        page: u32,
        head: Option<PageHead>,
        next: Option<PageHead>,
        survey: &mut Survey,
        tail: &mut Tail,
    ) -> Outcome<(), F> {
        if let Some(head) = head {
            if let Some(last) = head.last {
                if survey.expected.is_some_and(|expected| expected < last.after()) {
                    // What stood in a page that can't be read.
                    self.survey_ends(page, survey)?;
                }
                survey.reach(last.after());
            }
            survey.reach(head.start());
            survey.last = survey.last.max(head.last);
        }
        // A record that a power cut caught does not count: the next page begins with its position.
        let bound = next.map(|head| head.start());
        *tail = Tail {
            offset: self.medium.geometry.entries_at(),
            torn: None,
        };
        let (seed, page_len) = (self.seed(page), self.medium.geometry.page_len);
        while let Some((at, entry)) = self.medium.entry(seed, tail.offset, page_len)? {
            if let Some(torn) = tail.torn.take() {
                // Something was written behind it, so it was whole once.
                self.count_damaged(page, torn, survey);
            }
            tail.offset = at + self.medium.geometry.entry_len(entry.kind, entry.len);
            match entry.kind {
                Kind::Mark | Kind::Ends => {}
                Kind::Boot => self.survey_boot(page, at, &entry, survey)?,
                Kind::Record | Kind::Naming => {
                    let position = entry.position(self.boot);
                    if bound.is_none_or(|bound| position < bound) {
                        tail.torn = self.survey_record(page, at, &entry, survey)?;
                    }
                }
            }
        }
        if page != self.head
            && let Some(torn) = tail.torn.take()
        {
            self.count_damaged(page, torn, survey);
        }
        Ok(())
    }

    /// Takes in how far the boots went that ended in the page before this one.
    fn survey_ends(&mut self, page: u32, survey: &mut Survey) -> Outcome<(), F> {
        let (seed, page_len) = (self.seed(page), self.medium.geometry.page_len);
        let mut offset = self.medium.geometry.entries_at();
        while let Some((at, entry)) = self.medium.entry(seed, offset, page_len)? {
            offset = at + self.medium.geometry.entry_len(entry.kind, entry.len);
            if entry.kind != Kind::Ends || !self.medium.is_sound(page, at, &entry)? {
                continue;
            }
            let mut body_at = self.medium.body_at(at, &entry);
            for _ in 0..entry.len / BOOT_BODY_LEN {
                let mut body = [0; BOOT_BODY_LEN as usize];
                self.medium.read(page, body_at, &mut body)?;
                if let Some(last) = decode_last(body) {
                    survey.reach(last.after());
                }
                body_at += BOOT_BODY_LEN;
            }
        }
        Ok(())
    }

    fn survey_boot(&mut self, page: u32, at: u32, entry: &EntryHead, survey: &mut Survey) -> Outcome<(), F> {
        if !self.medium.is_sound(page, at, entry)? {
            return Ok(());
        }
        let mut body = [0; BOOT_BODY_LEN as usize];
        let body_at = self.medium.body_at(at, entry);
        self.medium.read(page, body_at, &mut body)?;
        if let Some(last) = decode_last(body) {
            survey.reach(last.after());
            survey.last = survey.last.max(Some(last));
        }
        let first = Position {
            boot: entry.number,
            sequence: 0,
        };
        survey.expected = survey.expected.max(Some(first));
        Ok(())
    }

    /// Takes in a record; returns its position if it is neither whole nor released.
    fn survey_record(
        &mut self,
        page: u32,
        at: u32,
        entry: &EntryHead,
        survey: &mut Survey,
    ) -> Outcome<Option<Position>, F> {
        let position = entry.position(self.boot);
        survey.reach(position);
        let is_released = if survey.counts {
            self.medium.settle_released(page, at)?
        } else {
            self.medium.is_released(page, at)?
        };
        if !is_released {
            if !self.medium.is_sound(page, at, entry)? {
                return Ok(Some(position));
            }
            self.count(page, survey);
        }
        survey.expected = Some(position.after());
        survey.last = survey.last.max(Some(position));
        Ok(None)
    }

    fn count(&mut self, page: u32, survey: &Survey) {
        if !survey.counts {
            return;
        }
        let slot = self.medium.geometry.slot(page);
        self.pending[slot] += 1;
        self.pending_total += 1;
    }

    /// A record that was whole once: lost, but in its place until the page is given up.
    fn count_damaged(&mut self, page: u32, position: Position, survey: &mut Survey) {
        self.count(page, survey);
        survey.lose(position, position.sequence);
        survey.expected = survey.expected.max(Some(position.after()));
    }

    /// Whether anything but whole entries is in the newest page's end: then nothing more is written to it.
    fn is_closed(&mut self, tail: &Tail) -> Outcome<bool, F> {
        if let Some(torn) = tail.torn {
            // Being written when the power was cut, or damaged: nobody can tell. Its number is not used again.
            self.lost_end = Some(torn);
            self.next = torn.sequence.saturating_add(1);
            return Ok(true);
        }
        let (page, page_len) = (self.head, self.medium.geometry.page_len);
        let head_end = (tail.offset + self.medium.geometry.head_len()).min(page_len);
        let head_erased = self.medium.is_erased(page, tail.offset, head_end)?;
        let rest_erased = self.medium.is_erased(page, head_end, page_len)?;
        if !head_erased && !rest_erased {
            // A body is written only behind a whole head, so the head of a record was damaged.
            self.lost_end = Some(self.end());
            self.next = self.next.saturating_add(1);
        }
        Ok(!head_erased || !rest_erased)
    }
}
