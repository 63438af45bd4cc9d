//! The queue in flash: a ring of pages over any [`NorFlash`](embedded_storage::nor_flash::NorFlash).
//!
//! **Constraints.** A record is durable when `append` returns. Power may be cut within any write and any erasure: what was
//! being programmed then holds any bits, what was being erased may even read differently every time. No programmed word is
//! programmed again, but for zeroes over a release that a power cut left half written (the bound is plain `NorFlash`, not
//! `MultiwriteNorFlash`). Pages wear evenly. Nothing is allocated, and what is kept in memory (under 2 KiB) does not grow with
//! the records.
//!
//! **Layout.** All integers little-endian; everything begins on a unit: 4 bytes, or `WRITE_SIZE` if that is more. A page is
//! one erasable block. Pages are numbered on from the formatting and take their places in turn: page *n* stands at place
//! *n* mod *places*.
//!
//! ```text
//! page     head, then entries
//! head     magic · incarnation · page number · tail: the oldest page that counts · boot · newest record in front: boot,
//!          sequence · shape of the ring · CRC-32                                            9 words, one write
//! entry    its head: kind (3 bits), length of the body (9), boot (20, low) · sequence or boot · CRC-32
//!   record, naming    head | release mark: one unit, erased until released | body · CRC-32  two writes, later the mark
//!   boot              head · newest record in front: boot, sequence · CRC-32                one write
//!   mark              head · CRC-32                                                         one write
//! ```
//! The check sums of an entry are seeded with incarnation, page number and place, so that nothing old is taken for new. A record
//! is released when half of the bits of its mark's first word are zero: one damaged bit releases nothing.
//!
//! **Writing.** The head of a record is written first, its body when that write has returned. So the end of a page tells
//! what a power cut caught. It is *clean* when all behind the last entry reads as erased: then the next opening writes its boot,
//! leaving the place of one head free, which may have been caught without a trace; always the same bytes in the same place, so
//! that it does not matter if that is caught too. Behind any other end nothing is written any more: the page is closed,
//! the next one begun.
//!
//! A page *counts* as soon as a boot, a mark or a record stands in it; until then an opening begins it anew. Its head names the
//! tail, so that at least one place stays free: the place of the next page is dead by the word of a page that counts before
//! it is erased.
//!
//! **Full.** When no place is left but the free one, the oldest page is given up: see [`store`](crate::store). When there is not
//! even room to name it (many power cuts in a full ring), the free page is begun with `Dropped` records that name what is
//! pending in the oldest one, as *naming* entries with the next sequences of the boot that ends, and a boot or mark behind
//! them: all or nothing.
//!
//! **Opening** reads each page head twice, each page that counts once from end to end, and the newest one a few times more.
//! Releases that a power cut caught are written out.
//!
//! **Damage.** A record whose head or body does not fit its check sum is lost, and named: its sequence is missing, or its body is
//! wrong. It is named by every opening for as long as its page counts. A damaged page head costs nothing, as entries
//! know where they belong. Damage to the very last entry can't be told from a write that was caught; it is named, too.

mod error;
mod geometry;
mod layout;
mod medium;
mod recovery;
mod ring;
mod walk;

#[cfg(test)]
mod tests;

pub use error::FlashQueueError;
pub use geometry::{FLASH_AREA_LEN_MAX, FLASH_PAGE_LEN_MAX, FLASH_PAGES_MAX};
pub use ring::FlashQueue;
