//! The queue in flash: a ring of pages over any [`NorFlash`](embedded_storage::nor_flash::NorFlash).
//!
//! **Constraints.** A record is durable when `append` returns. Power may be cut within any write and any erasure: what was
//! being programmed then holds any bits, what was being erased may even read differently every time. No programmed word is
//! programmed again (the bound is plain `NorFlash`, not `MultiwriteNorFlash`), pages wear evenly, nothing is allocated, and
//! what is kept in memory (under 2 KiB) does not grow with the records.
//!
//! **Layout.** All integers little-endian; everything begins on a unit: 4 bytes, or `WRITE_SIZE` if that is more. A page is
//! one erasable block. Pages are numbered from the first formatting on and take their places in turn:
//! page *n* stands at place *n* mod *places*.
//!
//! ```text
//! page     head, then entries up to its end
//! head     magic · incarnation · page number · tail: oldest page that counts · boot · newest record before: boot, sequence
//!          · shape of the ring · CRC-32                                                        9 words, one write
//! entry    kind (3 bits) length of the body (9) boot, low bits (20) · sequence or boot · CRC-32 3 words
//!   record and naming    head | release mark, one unit, erased until released | body · CRC-32  two writes, later the mark
//!   boot                 head · newest record before: boot, sequence · CRC-32                 one write
//!   mark                 head · CRC-32                                                        one write
//! ```
//! An entry's check sums are seeded with incarnation, page number and place, so that nothing old is taken for new. A record is
//! released when half of its mark's first word is zero.
//!
//! **Writing.** A record's head is written first and its body when the head's write has returned. So the tail of a page tells
//! what a power cut caught: *clean*, when all behind the last entry reads erased, or not. Behind a clean tail the next
//! start writes its boot, leaving free the place of a head, which may have been caught without a trace. Always the
//! same bytes to the same place, so that it does not matter if that is caught too. Behind any other tail nothing is written ever again:
//! the page is closed, and a new one begun.
//!
//! A page *counts* as soon as a boot, a mark or a record stands in it; until then an opening begins it anew. Its head names
//! the tail, at most as far back as leaves one place free: so the place of the next page is dead by a head that counts, and
//! may be erased, before it is.
//!
//! **Full.** When no page is left but the spare one, the oldest is given up: see [`store`](crate::store). Where there is not
//! even room to name it (many power cuts in a full ring), the spare page is begun with `Dropped` records that name the oldest
//! page's, as *naming* entries with the next sequences of the ending boot, and a boot or mark behind them: all or nothing.
//!
//! **Opening** reads each page head once and each page that counts at most once from end to end; the newest page twice.
//!
//! **Damage.** A record whose head or body does not fit its check sum is lost, and named: sequences have a hole, or the
//! body is wrong. A damaged page head costs nothing: its entries know where they belong. The one thing that cannot be told from a torn
//! write is damage to the very last entry.

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
