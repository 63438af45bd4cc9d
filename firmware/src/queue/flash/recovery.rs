//! Opening a ring that was left at any instant.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;
use taraz_telemetry::{Boot, Incarnation, Recovered};

use super::FlashQueueError;
use super::geometry::Geometry;
use super::layout::{BOOT_BODY_LEN, EntryHead, Kind, PageHead, Seed, decode_last};
use super::medium::Medium;
use super::ring::{FlashQueue, Outcome};
use crate::queue::{DroppedRanges, Position, Recovery};

/// How many pages back the newest one that counts is looked for: an opening that was cut leaves one that does not.
const HEADS_MAX: u32 = 8;

/// What the entries say, one after the other.
#[derive(Debug, Default)]
struct Survey {
    /// The position that the next record has.
    expected: Option<Position>,
    /// The newest record.
    last: Option<Position>,
    lost: DroppedRanges,
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

    /// More boots than a `Dropped` has ranges: the oldest of them are named.
    fn lose(&mut self, first: Position, last: u32) {
        let _ = self.lost.add(first.boot, first.sequence, last);
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
    /// one is formatted, with `random` as its incarnation: it must not repeat.
    ///
    /// # Errors
    /// [`FlashQueueError::Area`] when flash or area don't suit; otherwise the flash failed. Damage is no error: what is lost
    /// is named in [`Queue::recovery`](crate::Queue::recovery).
    pub fn open(flash: F, area: Range<u32>, random: Incarnation) -> Outcome<Self, F> {
        let geometry = Geometry::new::<F>(&area, flash.capacity()).map_err(FlashQueueError::Area)?;
        let mut medium = Medium::new(flash, geometry);
        let Some((seed, head)) = Self::newest(&mut medium)? else {
            return Self::format(medium, random);
        };
        let mut queue = Self::new(medium, seed.incarnation);
        queue.head = seed.page;
        queue.counts = true;
        queue.recover(head)?;
        queue.begin_boot()?;
        queue.unreported = 0;
        Ok(queue)
    }

    /// Begins two pages at once: what the second one holds can be read even if its head is damaged, as the first one tells the
    /// incarnation.
    fn format(medium: Medium<F>, incarnation: Incarnation) -> Outcome<Self, F> {
        let mut queue = Self::new(medium, incarnation);
        queue.begin_boot()?;
        queue.begin_page(queue.tail)?;
        queue.reclaim();
        Ok(queue)
    }

    /// The newest page that counts, and its head if that is whole.
    fn newest(medium: &mut Medium<F>) -> Outcome<Option<(Seed, Option<PageHead>)>, F> {
        let mut best: Option<PageHead> = None;
        for slot in 0..medium.geometry.pages {
            let head = medium.page_head(slot)?;
            if let Some(head) = head
                && best.is_none_or(|best| best.seed.page < head.seed.page)
            {
                best = Some(head);
            }
        }
        let Some(best) = best else { return Ok(None) };
        let first = medium.geometry.pages;
        // One page more than there are heads: its own may be damaged.
        let newest = best.seed.page.saturating_add(1);
        let oldest = best.seed.page.saturating_sub(HEADS_MAX).max(first);
        for page in (oldest..=newest).rev() {
            let seed = Seed { page, ..best.seed };
            if Self::page_counts(medium, seed)? {
                let head = medium.page_head(page)?.filter(|head| head.seed == seed);
                return Ok(Some((seed, head)));
            }
        }
        Ok(None)
    }

    /// Something stands in the page that is no naming entry. A record's head suffices: the page's head was written before it.
    fn page_counts(medium: &mut Medium<F>, seed: Seed) -> Outcome<bool, F> {
        let (mut offset, page_len) = (medium.geometry.entries_at(), medium.geometry.page_len);
        while let Some((at, entry)) = medium.entry(seed, offset, page_len)? {
            offset = at + medium.geometry.entry_len(entry.kind, entry.len);
            let counts = match entry.kind {
                Kind::Naming => false,
                Kind::Record => true,
                Kind::Boot | Kind::Mark => medium.is_sound(seed.page, at, &entry)?,
            };
            if counts {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Takes in every page that counts.
    fn recover(&mut self, head: Option<PageHead>) -> Outcome<(), F> {
        let pages = self.medium.geometry.pages;
        let before = self.whole_head(self.head - 1)?;
        let known = head.or(before);
        // One place is spare, whatever a damaged head would say.
        let oldest = (self.head + 2).saturating_sub(pages).max(pages);
        self.tail = known.map_or(oldest, |head| head.tail.clamp(oldest, self.head));
        self.boot = self.newest_boot(known.map_or(0, |head| head.boot))?;
        let mut survey = Survey::default();
        let mut tail = Tail::default();
        let mut head = self.whole_head(self.tail)?;
        for page in self.tail..=self.head {
            let next = if page == self.head {
                None
            } else {
                self.whole_head(page + 1)?
            };
            self.survey_page(page, head, next, &mut survey, &mut tail)?;
            head = next;
        }
        self.offset = tail.offset;
        self.last = survey.last;
        self.next = match survey.expected {
            Some(expected) if expected.boot == self.boot => expected.sequence,
            _ => 0,
        };
        self.closed = self.is_closed(&tail, &mut survey)?;
        self.reclaim();
        self.recovery = Recovery {
            recovered: survey.last.map(|last| Recovered {
                boot: last.boot,
                sequence: last.sequence,
            }),
            lost: survey.lost,
        };
        Ok(())
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
                Kind::Mark => {}
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

    fn survey_boot(&mut self, page: u32, at: u32, entry: &EntryHead, survey: &mut Survey) -> Outcome<(), F> {
        if !self.medium.is_sound(page, at, entry)? {
            return Ok(());
        }
        let mut body = [0; BOOT_BODY_LEN as usize];
        let body_at = self.medium.body_at(at, entry);
        self.medium.read(page, body_at, &mut body)?;
        if let Some(last) = decode_last(body) {
            if survey.expected.is_some_and(|expected| expected.boot == last.boot) {
                survey.reach(last.after());
            }
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
        if !self.medium.settle_released(page, at)? {
            if !self.medium.is_sound(page, at, entry)? {
                return Ok(Some(position));
            }
            self.count(page);
        }
        survey.expected = Some(position.after());
        survey.last = survey.last.max(Some(position));
        Ok(None)
    }

    fn count(&mut self, page: u32) {
        let slot = self.medium.geometry.slot(page);
        self.pending[slot] += 1;
        self.pending_total += 1;
    }

    /// A record that was whole once: lost, but in its place until the page is given up.
    fn count_damaged(&mut self, page: u32, position: Position, survey: &mut Survey) {
        self.count(page);
        survey.lose(position, position.sequence);
        survey.expected = survey.expected.max(Some(position.after()));
    }

    /// Whether anything but whole entries is in the newest page's end: then nothing more is written to it.
    fn is_closed(&mut self, tail: &Tail, survey: &mut Survey) -> Outcome<bool, F> {
        if let Some(torn) = tail.torn {
            // Being written when the power was cut, or damaged: nobody can tell. Its number is not used again.
            survey.lose(torn, torn.sequence);
            self.next = torn.sequence.saturating_add(1);
            return Ok(true);
        }
        let (page, page_len) = (self.head, self.medium.geometry.page_len);
        let head_end = (tail.offset + self.medium.geometry.head_len()).min(page_len);
        let head_erased = self.medium.is_erased(page, tail.offset, head_end)?;
        let rest_erased = self.medium.is_erased(page, head_end, page_len)?;
        if !head_erased && !rest_erased {
            // A body is written only behind a whole head, so the head of a record was damaged.
            survey.lose(self.end(), self.next);
            self.next = self.next.saturating_add(1);
        }
        Ok(!head_erased || !rest_erased)
    }
}
