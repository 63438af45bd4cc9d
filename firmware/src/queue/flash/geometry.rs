//! Where things are: pages of the area, parts of a page, aligned to what the flash can write.

use core::ops::Range;

use embedded_storage::nor_flash::NorFlash;
use taraz_telemetry::RECORD_LEN_MAX;

use super::layout::{BODY_CRC_LEN, BOOT_BODY_LEN, ENTRY_HEAD_LEN, Kind, PAGE_HEAD_LEN};
use crate::queue::DROPPED_RESERVE_RECORDS;

/// The most erasable pages of an area.
pub const FLASH_PAGES_MAX: usize = 512;
/// The longest area in bytes: as far as the low bits of a boot in every entry stay unique.
pub const FLASH_AREA_LEN_MAX: u32 = 32 << 20;
/// The longest erasable page in bytes.
pub const FLASH_PAGE_LEN_MAX: u32 = 256 << 10;
/// Places that are kept free: dead by the word of a page that counts, so that one may fail and there is another.
pub(super) const SPARE_PLACES: u32 = 2;
/// The fewest pages of an area, those that were retired left out: some are spare, one is written to, one may be given up, and
/// one more.
const PAGES_MIN: u32 = SPARE_PLACES + 3;
/// The flash is read in chunks of this many bytes.
pub(super) const CHUNK_LEN: u32 = 256;
/// The coarsest granularity of reads and writes.
const UNIT_MAX: usize = CHUNK_LEN as usize;
/// The finest one in bytes: a word, so that a release never shares a word with anything else.
const UNIT_MIN: u32 = 4;

/// The longest record in bytes; far below 2^32.
#[allow(clippy::cast_possible_truncation)]
const LONGEST: u32 = RECORD_LEN_MAX as u32;

/// The area's shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    base: u32,
    pub(super) page_len: u32,
    pub(super) pages: u32,
    /// Everything that is written begins and ends on a multiple of this.
    unit: u32,
}

impl Geometry {
    /// Checks that the area suits the flash, and the flash the ring.
    pub(super) fn new<F: NorFlash>(area: &Range<u32>, capacity: usize) -> Result<Self, &'static str> {
        if F::ERASE_SIZE % CHUNK_LEN as usize != 0 {
            return Err("expected erasable pages of a multiple of 256 bytes");
        }
        let page_len = u32::try_from(F::ERASE_SIZE).unwrap_or(u32::MAX);
        if page_len > FLASH_PAGE_LEN_MAX {
            return Err("expected erasable pages of at most 256 KiB");
        }
        if F::READ_SIZE == 0 || F::READ_SIZE > UNIT_MAX || !UNIT_MAX.is_multiple_of(F::READ_SIZE) {
            return Err("expected a READ_SIZE that divides 256");
        }
        if F::WRITE_SIZE == 0 || F::WRITE_SIZE > UNIT_MAX || !UNIT_MAX.is_multiple_of(F::WRITE_SIZE) {
            return Err("expected a WRITE_SIZE that divides 256");
        }
        let unit = u32::try_from(F::WRITE_SIZE).unwrap_or(u32::MAX).max(UNIT_MIN);
        if area.start > area.end || area.end as usize > capacity {
            return Err("expected an area that lies within the flash");
        }
        let len = area.end - area.start;
        if !area.start.is_multiple_of(page_len) || !len.is_multiple_of(page_len) {
            return Err("expected an area of whole erasable pages");
        }
        let pages = len / page_len;
        if len > FLASH_AREA_LEN_MAX || pages as usize > FLASH_PAGES_MAX {
            return Err("expected an area of at most 512 pages and 32 MiB");
        }
        let geometry = Self {
            base: area.start,
            page_len,
            pages,
            unit,
        };
        if geometry.longest_per_page() == 0 || pages < geometry.places_min() {
            return Err(
                "expected at least five pages, with room for six records of the longest kind beyond three of them",
            );
        }
        Ok(geometry)
    }

    /// The fewest places that a ring works with: full means that what a `Dropped` may need still fits, and with two more there is
    /// something to be full of.
    pub(super) const fn places_min(&self) -> u32 {
        let pages = (DROPPED_RESERVE_RECORDS + 2).div_ceil(self.longest_per_page());
        let places = SPARE_PLACES + 1 + pages;
        if places < PAGES_MIN { PAGES_MIN } else { places }
    }

    /// Where the page of this number begins.
    pub(super) const fn page_address(&self, page: u32) -> u32 {
        self.base + (page % self.pages) * self.page_len
    }

    /// Which place in the area the page of this number takes.
    pub(super) const fn slot(&self, page: u32) -> usize {
        (page % self.pages) as usize
    }

    pub(super) const fn align(&self, len: u32) -> u32 {
        len.next_multiple_of(self.unit)
    }

    pub(super) const fn unit(&self) -> u32 {
        self.unit
    }

    /// Where the first entry of a page stands.
    pub(super) const fn entries_at(&self) -> u32 {
        self.align(PAGE_HEAD_LEN)
    }

    /// How long an entry's head is.
    pub(super) const fn head_len(&self) -> u32 {
        self.align(ENTRY_HEAD_LEN)
    }

    /// Where the body of a record stands, counted from its entry: behind the head and the release mark.
    pub(super) const fn body_at(&self) -> u32 {
        self.head_len() + self.unit
    }

    /// How long an entry is whose body has `len` bytes.
    pub(super) const fn entry_len(&self, kind: Kind, len: u32) -> u32 {
        match kind {
            Kind::Record | Kind::Naming => self.body_at() + self.align(len + BODY_CRC_LEN),
            Kind::Boot | Kind::Mark | Kind::Ends => self.align(ENTRY_HEAD_LEN + len + BODY_CRC_LEN),
        }
    }

    pub(super) const fn boot_len(&self) -> u32 {
        self.entry_len(Kind::Boot, BOOT_BODY_LEN)
    }

    /// How many boots may begin in one page: in front of each a head's length is left out.
    pub(super) const fn boots_per_page(&self) -> u32 {
        self.page_len / (self.head_len() + self.boot_len())
    }

    /// How many records of the longest kind fit behind an offset of a page.
    pub(super) const fn longest_behind(&self, offset: u32) -> u32 {
        self.page_len.saturating_sub(offset) / self.entry_len(Kind::Record, LONGEST)
    }

    /// … and how many bytes they leave over.
    pub(super) const fn left_over_behind(&self, offset: u32) -> u32 {
        self.page_len.saturating_sub(offset) % self.entry_len(Kind::Record, LONGEST)
    }

    /// How many of them fit into a whole page.
    pub(super) const fn longest_per_page(&self) -> u32 {
        self.longest_behind(self.entries_at())
    }

    /// How many records of this length fit into the whole ring without the places that were retired.
    pub(super) const fn records(&self, len: u32, retired: u32) -> u32 {
        let per_page = (self.page_len - self.entries_at()) / self.entry_len(Kind::Record, len);
        self.pages.saturating_sub(SPARE_PLACES + retired) * per_page
    }
}
