//! The flash as pages of the ring, read in chunks: a read may cost a trap or a bus transfer.

use embedded_storage::nor_flash::NorFlash;
use taraz_telemetry::Crc32;

use super::FlashQueueError;
use super::geometry::{CHUNK_LEN, Geometry};
use super::layout::{
    ENTRY_HEAD_LEN, EntryHead, PAGE_HEAD_LEN, PageHead, Seed, is_any_page_head, is_torn_page_head,
};

const NO_CHUNK: u32 = u32::MAX;
/// A read that fails is tried so often. For none is anything given up.
const READ_TRIES_MAX: u32 = 3;
/// A released record's mark has at least this many zeroes in its first word: no single damaged bit releases anything.
const RELEASED_ZEROS_MIN: u32 = 16;

/// The flash, and the chunk of it that was read last.
#[derive(Debug)]
pub(super) struct Medium<F> {
    flash: F,
    pub(super) geometry: Geometry,
    chunk: [u8; CHUNK_LEN as usize],
    chunk_at: u32,
}

type Outcome<T, F> = Result<T, FlashQueueError<<F as embedded_storage::nor_flash::ErrorType>::Error>>;

impl<F: NorFlash> Medium<F> {
    pub(super) const fn new(flash: F, geometry: Geometry) -> Self {
        Self {
            flash,
            geometry,
            chunk: [0; CHUNK_LEN as usize],
            chunk_at: NO_CHUNK,
        }
    }

    pub(super) fn into_flash(self) -> F {
        self.flash
    }

    pub(super) const fn flash_mut(&mut self) -> &mut F {
        // Whoever takes it may change what the chunk holds.
        self.chunk_at = NO_CHUNK;
        &mut self.flash
    }

    /// Calls `each` with the bytes of a page from `offset` on, chunk by chunk, until `len` bytes were seen.
    pub(super) fn each(
        &mut self,
        page: u32,
        offset: u32,
        len: u32,
        mut each: impl FnMut(&[u8]),
    ) -> Outcome<(), F> {
        let (mut at, end) = (offset, (offset + len).min(self.geometry.page_len));
        let page_at = self.geometry.page_address(page);
        while at < end {
            let within = at % CHUNK_LEN;
            let chunk_at = page_at + at - within;
            if chunk_at != self.chunk_at {
                self.chunk_at = NO_CHUNK;
                read_flash(&mut self.flash, chunk_at, &mut self.chunk)?;
                self.chunk_at = chunk_at;
            }
            let count = (CHUNK_LEN - within).min(end - at);
            each(&self.chunk[within as usize..(within + count) as usize]);
            at += count;
        }
        Ok(())
    }

    /// Reads as much as there is up to the page's end.
    pub(super) fn read(&mut self, page: u32, offset: u32, out: &mut [u8]) -> Outcome<(), F> {
        let len = u32::try_from(out.len()).unwrap_or(u32::MAX);
        let mut rest = out;
        self.each(page, offset, len, |bytes| {
            let (front, back) = core::mem::take(&mut rest).split_at_mut(bytes.len());
            front.copy_from_slice(bytes);
            rest = back;
        })
    }

    /// Whether everything from `offset` to `end` reads as erased.
    pub(super) fn is_erased(&mut self, page: u32, offset: u32, end: u32) -> Outcome<bool, F> {
        let mut erased = true;
        self.each(page, offset, end.saturating_sub(offset), |bytes| {
            erased &= bytes.iter().all(|byte| *byte == 0xff);
        })?;
        Ok(erased)
    }

    /// The head of a page, if it is one of a ring with this geometry and stands where its number belongs. Read past the
    /// chunk, which a walk over the entries of another page will want again.
    pub(super) fn page_head(&mut self, page: u32) -> Outcome<Option<PageHead>, F> {
        let bytes = self.page_head_bytes(page)?;
        let head = PageHead::decode(&bytes, self.geometry_word());
        Ok(head.filter(|head| self.geometry.slot(head.seed.page) == self.geometry.slot(page)))
    }

    /// A page of a ring of another layout or geometry begins here, or one whose head is damaged: not one that was only begun.
    pub(super) fn is_page_of_other_ring(&mut self, page: u32) -> Outcome<bool, F> {
        let bytes = self.page_head_bytes(page)?;
        if !is_any_page_head(&bytes) || self.page_head(page)?.is_some() {
            return Ok(false);
        }
        let (entries_at, page_len) = (self.geometry.entries_at(), self.geometry.page_len);
        Ok(!is_torn_page_head(&bytes) || !self.is_erased(page, entries_at, page_len)?)
    }

    fn page_head_bytes(&mut self, page: u32) -> Outcome<[u8; PAGE_HEAD_LEN as usize], F> {
        let mut bytes = [0; CHUNK_LEN as usize];
        let len = (PAGE_HEAD_LEN as usize).next_multiple_of(F::READ_SIZE);
        read_flash(
            &mut self.flash,
            self.geometry.page_address(page),
            &mut bytes[..len],
        )?;
        let mut head = [0; PAGE_HEAD_LEN as usize];
        head.copy_from_slice(&bytes[..PAGE_HEAD_LEN as usize]);
        Ok(head)
    }

    /// The first entry of a page at or behind `offset` and in front of `end`, and where it stands. What is no entry is
    /// stepped over.
    pub(super) fn entry(
        &mut self,
        seed: Seed,
        offset: u32,
        end: u32,
    ) -> Outcome<Option<(u32, EntryHead)>, F> {
        let mut at = offset;
        while at + ENTRY_HEAD_LEN <= end {
            let mut bytes = [0; ENTRY_HEAD_LEN as usize];
            self.read(seed.page, at, &mut bytes)?;
            if let Some(head) = EntryHead::decode(&bytes, seed, at)
                && at + self.geometry.entry_len(head.kind, head.len) <= self.geometry.page_len
            {
                return Ok(Some((at, head)));
            }
            at += self.geometry.unit();
        }
        Ok(None)
    }

    /// The body of the entry at `at` is what its check sum says.
    pub(super) fn is_sound(&mut self, page: u32, at: u32, head: &EntryHead) -> Outcome<bool, F> {
        let body_at = self.body_at(at, head);
        let mut crc = Crc32::new().word(head.crc);
        self.each(page, body_at, head.len, |bytes| crc = crc.bytes(bytes))?;
        let mut expected = [0; 4];
        self.read(page, body_at + head.len, &mut expected)?;
        Ok(u32::from_le_bytes(expected) == crc.sum())
    }

    /// Reads the body of the entry at `at`, as long as its head says; true when it is what its check sum says. In one go, as it
    /// may reach from one chunk into the next.
    pub(super) fn read_body(
        &mut self,
        page: u32,
        at: u32,
        head: &EntryHead,
        body: &mut [u8],
    ) -> Outcome<bool, F> {
        let body_at = self.body_at(at, head);
        self.read(page, body_at, body)?;
        let mut expected = [0; 4];
        self.read(page, body_at + head.len, &mut expected)?;
        Ok(u32::from_le_bytes(expected) == Crc32::new().word(head.crc).bytes(body).sum())
    }

    pub(super) const fn body_at(&self, at: u32, head: &EntryHead) -> u32 {
        if head.is_record() {
            at + self.geometry.body_at()
        } else {
            at + ENTRY_HEAD_LEN
        }
    }

    pub(super) fn is_released(&mut self, page: u32, at: u32) -> Outcome<bool, F> {
        Ok(self.mark_zeros(page, at)? >= RELEASED_ZEROS_MIN)
    }

    /// The same; a mark that a power cut caught is written out, so that it reads so for ever.
    pub(super) fn settle_released(&mut self, page: u32, at: u32) -> Outcome<bool, F> {
        let zeros = self.mark_zeros(page, at)?;
        if (RELEASED_ZEROS_MIN..u32::BITS).contains(&zeros) {
            // If it can't be, it reads as it does, and a record may be sent once more.
            let _ = self.mark_released(page, at);
        }
        Ok(zeros >= RELEASED_ZEROS_MIN)
    }

    fn mark_zeros(&mut self, page: u32, at: u32) -> Outcome<u32, F> {
        let mut mark = [0; 4];
        self.read(page, at + self.geometry.head_len(), &mut mark)?;
        Ok(u32::from_le_bytes(mark).count_zeros())
    }

    /// Writes the mark of the record at `at`. Its word was never written before, or a power cut left it half written: then
    /// zeroes over it are what every NOR flash allows.
    pub(super) fn mark_released(&mut self, page: u32, at: u32) -> Outcome<(), F> {
        let offset = at + self.geometry.head_len();
        let zeros = [0; CHUNK_LEN as usize];
        let (chunk_at, unit) = (self.chunk_at, self.geometry.unit());
        self.put(page, offset, &zeros[..unit as usize])?;
        // A walk that releases goes on in the same chunk.
        let address = self.geometry.page_address(page) + offset;
        if let Some(within) = address
            .checked_sub(chunk_at)
            .filter(|within| within + unit <= CHUNK_LEN)
        {
            self.chunk[within as usize..(within + unit) as usize].fill(0);
            self.chunk_at = chunk_at;
        }
        Ok(())
    }

    /// Writes the parts one behind the other from `offset` on, filled up to whole units with 0xFF.
    pub(super) fn write(&mut self, page: u32, offset: u32, parts: [&[u8]; 3]) -> Outcome<(), F> {
        let mut buffer = [0xff; CHUNK_LEN as usize];
        let (mut at, mut filled) = (offset, 0);
        for byte in parts.into_iter().flatten() {
            buffer[filled as usize] = *byte;
            filled += 1;
            if filled == CHUNK_LEN {
                self.put(page, at, &buffer)?;
                buffer.fill(0xff);
                at += CHUNK_LEN;
                filled = 0;
            }
        }
        let len = self.geometry.align(filled) as usize;
        if len > 0 {
            self.put(page, at, &buffer[..len])?;
        }
        Ok(())
    }

    /// Erases a page and sees that it is.
    pub(super) fn erase(&mut self, page: u32) -> Outcome<(), F> {
        self.chunk_at = NO_CHUNK;
        let (from, len) = (self.geometry.page_address(page), self.geometry.page_len);
        self.flash
            .erase(from, from + len)
            .map_err(FlashQueueError::Flash)?;
        if self.is_erased(page, 0, len)? {
            Ok(())
        } else {
            Err(FlashQueueError::NotErased { address: from })
        }
    }

    pub(super) fn write_page_head(&mut self, head: &PageHead) -> Outcome<(), F> {
        let bytes = head.encode(self.geometry_word());
        self.write(head.seed.page, 0, [&bytes, &[], &[]])?;
        if self.page_head(head.seed.page)? == Some(*head) {
            Ok(())
        } else {
            Err(FlashQueueError::NotKept {
                address: self.geometry.page_address(head.seed.page),
            })
        }
    }

    fn put(&mut self, page: u32, offset: u32, bytes: &[u8]) -> Outcome<(), F> {
        self.chunk_at = NO_CHUNK;
        self.flash
            .write(self.geometry.page_address(page) + offset, bytes)
            .map_err(FlashQueueError::Flash)
    }

    /// A ring of another shape is another ring.
    const fn geometry_word(&self) -> u32 {
        // 10, 7 and 11 bits: FLASH_PAGES_MAX, UNIT_MAX and FLASH_PAGE_LEN_MAX see to it.
        (self.geometry.pages << 18) | ((self.geometry.unit() / 4) << 11) | (self.geometry.page_len / 256)
    }
}

fn read_flash<F: NorFlash>(flash: &mut F, at: u32, bytes: &mut [u8]) -> Outcome<(), F> {
    let mut tries = 1;
    loop {
        match flash.read(at, bytes) {
            Ok(()) => return Ok(()),
            Err(_) if tries < READ_TRIES_MAX => tries += 1,
            Err(error) => return Err(FlashQueueError::Flash(error)),
        }
    }
}
