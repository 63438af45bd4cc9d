//! The ring as a [`Queue`]: what is appended where, and when a page is begun.

use embedded_storage::nor_flash::{ErrorType, NorFlash};
use taraz_telemetry::{Boot, Crc32, Incarnation, RECORD_LEN_MAX, RecordRange, Sequence};

use super::FlashQueueError;
use super::geometry::FLASH_PAGES_MAX;
use super::layout::{EntryHead, Kind, Seed, encode_last};
use super::medium::Medium;
use super::places::Retired;
use super::walk::Cursors;
use crate::queue::{DROPPED_RESERVE_RECORDS, DroppedRanges, Position, Queue, QueueOwner, Recovery};

/// The length of an ordinary record in bytes, for [`Queue::capacity_records`]: a grid meter's reading with three phases.
const TYPICAL_RECORD_LEN: u32 = 48;
pub(super) type Outcome<T, F> = Result<T, FlashQueueError<<F as ErrorType>::Error>>;

/// A queue in flash.
#[derive(Debug)]
pub struct FlashQueue<F> {
    pub(super) medium: Medium<F>,
    pub(super) incarnation: Incarnation,
    pub(super) owner: QueueOwner,
    pub(super) boot: Boot,
    pub(super) next: Sequence,
    /// The newest record.
    pub(super) last: Option<Position>,
    pub(super) recovery: Recovery,
    /// What the opening found lost is not named yet: no page is given back.
    pub(super) unnamed: bool,
    /// The list of losses has names that the ring itself has to write, of a page that it had to erase.
    pub(super) owes: bool,
    /// The record that the end of the newest page had lost when the ring was opened.
    pub(super) lost_end: Option<Position>,
    /// Boots that may have begun in pages that were destroyed: the next boot's number is behind theirs.
    pub(super) boots_destroyed: u32,
    /// The oldest page that counts.
    pub(super) tail: u32,
    /// … by the word of the newest page that counts, and by that of the head.
    pub(super) word: u32,
    pub(super) head_word: u32,
    /// The page that is written to.
    pub(super) head: u32,
    /// Where its next entry goes.
    pub(super) offset: u32,
    /// A write into it failed, or was caught by a power cut: nothing more is written to it.
    pub(super) closed: bool,
    /// It counts.
    pub(super) counts: bool,
    pub(super) retired: Retired,
    /// The page that was begun last, and how often since one came to count.
    pub(super) begun: (u32, u32),
    /// Pending records by the place of their page, and all of them.
    pub(super) pending: [u16; FLASH_PAGES_MAX],
    pub(super) pending_total: u32,
    pub(super) cursors: Cursors,
    /// The oldest page as of [`Queue::oldest_block_end`]: no other is evicted.
    offered: Option<u32>,
    /// What is appended names the pages that are being given up.
    pub(super) naming: bool,
    /// Records that were given up and named by the ring itself, for the next [`Queue::evict`] to report.
    pub(super) unreported: u32,
}

impl<F: NorFlash> FlashQueue<F> {
    /// A ring whose first page is to be this one.
    pub(super) fn new(medium: Medium<F>, seed: Seed, owner: QueueOwner) -> Self {
        let first = seed.page;
        Self {
            medium,
            incarnation: seed.incarnation,
            owner,
            boot: 0,
            next: 0,
            last: None,
            recovery: Recovery::default(),
            unnamed: false,
            owes: false,
            lost_end: None,
            boots_destroyed: 0,
            tail: first,
            word: first,
            head_word: first,
            head: first,
            offset: 0,
            closed: true,
            counts: false,
            retired: Retired::new(),
            begun: (first, 0),
            pending: [0; FLASH_PAGES_MAX],
            pending_total: 0,
            cursors: Cursors::new(),
            offered: None,
            naming: false,
            unreported: 0,
        }
    }

    /// The flash, when the device has ended.
    #[must_use]
    pub fn into_flash(self) -> F {
        self.medium.into_flash()
    }

    /// The flash, for what else is in it. The queue's area must not be touched.
    #[must_use]
    pub const fn flash_mut(&mut self) -> &mut F {
        self.medium.flash_mut()
    }

    pub(super) const fn seed(&self, page: u32) -> Seed {
        Seed {
            incarnation: self.incarnation,
            page,
        }
    }

    /// Behind the last record.
    pub(super) const fn end(&self) -> Position {
        Position {
            boot: self.boot,
            sequence: self.next,
        }
    }

    fn fits(&self, kind: Kind, len: u32) -> bool {
        let geometry = &self.medium.geometry;
        let mut needed = geometry.entry_len(kind, len);
        if self.naming {
            // Behind the names there must be room for what makes them count.
            needed += geometry.boot_len();
        }
        !self.closed && self.offset + needed <= geometry.page_len
    }

    /// Writes an entry at the head's end.
    pub(super) fn write_entry(&mut self, kind: Kind, number: u32, body: &[u8]) -> Outcome<(), F> {
        let (page, at) = (self.head, self.offset);
        let len = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let entry = EntryHead::new(self.seed(page), at, kind, len, self.boot, number);
        let end = at + self.medium.geometry.entry_len(kind, entry.len);
        let written = self.write_parts(page, at, &entry, body);
        if let Err(error) = written {
            // If nothing was touched, the next try goes to the same place.
            self.closed = !self.medium.is_erased(page, at, end).unwrap_or(false);
            return Err(error);
        }
        self.offset = end;
        if kind.counts() {
            self.counts = true;
            self.word = self.head_word;
            self.begun = (page, 0);
        }
        Ok(())
    }

    fn write_parts(&mut self, page: u32, at: u32, entry: &EntryHead, body: &[u8]) -> Outcome<(), F> {
        let crc = Crc32::new().word(entry.crc).bytes(body).sum().to_le_bytes();
        let head = entry.encode();
        if entry.is_record() {
            self.medium.write(page, at, [&head, &[], &[]])?;
            let body_at = self.medium.body_at(at, entry);
            self.medium.write(page, body_at, [body, &crc, &[]])?;
        } else {
            self.medium.write(page, at, [&head, body, &crc])?;
        }
        let kept = self
            .medium
            .entry(self.seed(page), at, at + self.medium.geometry.head_len())?;
        if kept == Some((at, *entry)) && self.medium.is_sound(page, at, entry)? {
            return Ok(());
        }
        Err(FlashQueueError::NotKept {
            address: self.medium.geometry.page_address(page) + at,
        })
    }

    /// Writes the beginning of the boot after this one, behind a tail that a power cut may have caught without a trace.
    pub(super) fn begin_boot(&mut self) -> Outcome<(), F> {
        let passed_over = self.boot.checked_add(self.boots_destroyed);
        let boot = passed_over.and_then(|boot| boot.checked_add(1));
        let boot = boot.ok_or(FlashQueueError::Exhausted)?;
        let geometry = self.medium.geometry;
        if !self.closed && self.offset + geometry.head_len() + geometry.boot_len() <= geometry.page_len {
            let before = self.offset;
            self.offset += geometry.head_len();
            return self.write_boot(boot).inspect_err(|_| self.offset = before);
        }
        if self.next == 0 && self.pages_left() == 0 {
            // The boot before wrote nothing, and its first record can only be a `Start`: what the ring may name goes behind.
            let _ = self.recovery.lost.add(self.boot, 0, 0);
            self.next = 1;
        }
        let mut sealed = false;
        self.turn_page(|queue| {
            sealed = true;
            queue.write_boot(boot)
        })?;
        if !sealed {
            self.write_boot(boot)?;
        }
        Ok(())
    }

    fn write_boot(&mut self, boot: Boot) -> Outcome<(), F> {
        let body = encode_last(self.last);
        let before = (self.boot, self.next);
        (self.boot, self.next) = (boot, 0);
        let written = self.write_entry(Kind::Boot, boot, &body);
        if written.is_err() {
            (self.boot, self.next) = before;
        }
        written
    }

    /// A record of this page was released. A mark that a power cut caught may have read as released when the page was counted,
    /// and be released again: so the page is counted anew before it is given back.
    fn uncount(&mut self, page: u32) -> Outcome<(), F> {
        let left = self.pending[self.medium.geometry.slot(page)].saturating_sub(1);
        if left == 0 {
            return self.recount(page);
        }
        self.set_pending(page, left);
        Ok(())
    }

    fn recount(&mut self, page: u32) -> Outcome<(), F> {
        let left = self.count_pending(page)?;
        self.set_pending(page, left);
        Ok(())
    }

    fn set_pending(&mut self, page: u32, left: u16) {
        let slot = self.medium.geometry.slot(page);
        self.pending_total = self.pending_total - u32::from(self.pending[slot]) + u32::from(left);
        self.pending[slot] = left;
    }
}

impl<F: NorFlash> Queue for FlashQueue<F> {
    type Error = FlashQueueError<F::Error>;

    fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn boot(&self) -> Boot {
        self.boot
    }

    fn next_sequence(&self) -> Sequence {
        self.next
    }

    fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    fn lost_from(&mut self, from: Boot) -> Outcome<(DroppedRanges, Option<Boot>), F> {
        self.survey_again(from)
    }

    fn lost_is_named(&mut self) {
        self.unnamed = false;
    }

    fn retired_blocks(&self) -> u32 {
        self.retired.count()
    }

    fn append(&mut self, record: &[u8]) -> Outcome<Sequence, F> {
        let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
        if record.len() > RECORD_LEN_MAX {
            return Err(FlashQueueError::TooLong(record.len()));
        }
        let kind = if self.naming { Kind::Naming } else { Kind::Record };
        let mut turns = 0;
        while !self.fits(kind, len) {
            if self.naming || turns > self.medium.geometry.pages {
                return Err(FlashQueueError::NoRoom);
            }
            turns += 1;
            self.turn_page(|queue| queue.write_entry(Kind::Mark, 0, &[]))?;
        }
        let position = self.end();
        let sequence = position.sequence;
        let next = sequence.checked_add(1).ok_or(FlashQueueError::Exhausted)?;
        self.write_entry(kind, sequence, record)?;
        self.next = next;
        self.last = Some(position);
        self.pending[self.medium.geometry.slot(self.head)] += 1;
        self.pending_total += 1;
        Ok(sequence)
    }

    fn skip(&mut self, count: u32) -> Outcome<Sequence, F> {
        let first = self.next;
        self.next = first.checked_add(count).ok_or(FlashQueueError::Exhausted)?;
        Ok(first)
    }

    fn next_pending(&mut self, from: Position) -> Outcome<Option<Position>, F> {
        Ok(self.find(from)?.map(|found| found.position))
    }

    fn read<'b>(&mut self, at: Position, buffer: &'b mut [u8]) -> Outcome<Option<&'b [u8]>, F> {
        let Some(found) = self.find(at)?.filter(|found| found.position == at) else {
            return Ok(None);
        };
        let Some(buffer) = buffer.get_mut(..found.head.len as usize) else {
            return Ok(None);
        };
        let is_sound = self.medium.read_body(found.page, found.at, &found.head, buffer)?;
        Ok(is_sound.then_some(&*buffer))
    }

    fn release(&mut self, range: RecordRange) -> Outcome<u32, F> {
        if range.incarnation != self.incarnation {
            return Ok(0);
        }
        let (mut released, boot) = (0, range.boot);
        let mut at = Position {
            boot,
            sequence: range.first,
        };
        let last = Position {
            boot,
            sequence: range.last,
        };
        while let Some(found) = self.find(at)?.filter(|found| found.position <= last) {
            if let Err(error) = self.medium.mark_released(found.page, found.at) {
                // The mark may stand there all the same.
                self.recount(found.page)?;
                return Err(error);
            }
            self.uncount(found.page)?;
            released += 1;
            at = found.position.after();
        }
        self.reclaim();
        Ok(released)
    }

    fn is_full(&self) -> bool {
        let geometry = &self.medium.geometry;
        let here = if self.closed {
            0
        } else {
            geometry.longest_behind(self.offset)
        };
        here + self.pages_left() * geometry.longest_per_page() <= DROPPED_RESERVE_RECORDS
    }

    fn oldest_block_end(&mut self) -> Outcome<Position, F> {
        self.offered = Some(self.tail);
        self.page_end(self.tail)
    }

    fn evict(&mut self) -> Outcome<u32, F> {
        let oldest = self.offered.unwrap_or(self.tail);
        let is_head = oldest == self.head;
        // Not the oldest any more: given up already, when there was no room to name it. A head that does not count holds nothing.
        if oldest != self.tail || is_head && !self.counts {
            self.offered = None;
            return Ok(core::mem::take(&mut self.unreported));
        }
        let mut tail = self.tail + 1;
        if is_head {
            self.begin_page(tail)?;
            tail = self.head_word;
        }
        self.offered = None;
        self.give_up_until(tail);
        Ok(core::mem::take(&mut self.unreported))
    }

    fn pending_records(&self) -> u32 {
        self.pending_total
    }

    fn capacity_records(&self) -> u32 {
        self.medium
            .geometry
            .records(TYPICAL_RECORD_LEN, self.retired.count())
            .max(self.pending_total)
    }
}
