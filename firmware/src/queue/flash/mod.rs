//! The queue in flash: a ring of pages over any [`NorFlash`](embedded_storage::nor_flash::NorFlash).
//!
//! **Constraints.** A record is durable when `append` returns. Power may be cut within any write and any erasure: what was
//! being programmed then holds any bits, what was being erased may even read differently every time. No programmed word is
//! programmed again, but for zeroes over a release that a power cut left half written (the bound is plain `NorFlash`, not
//! `MultiwriteNorFlash`). Pages wear evenly, and any may wear out. Nothing is allocated, and what is kept in memory (about 2 KiB) does
//! not grow with the records.
//!
//! **Layout.** All integers little-endian; everything begins on a unit: 4 bytes, or `WRITE_SIZE` if that is more. A page is
//! one erasable block. Pages are numbered on from the first formatting and take their places in turn: page *n* stands at place
//! *n* mod *places*; numbers whose place was retired are left out.
//!
//! ```text
//! page     head, then entries
//! head     magic with the layout's version · incarnation · owner: CRC-32 of the device's id · page number · tail: the
//!          oldest page that counts, and the position it begins with: boot, sequence · boot · newest record in front: boot,
//!          sequence · shape of the ring · retired places: 8 × u16, ffff for none · CRC-32   16 words, one write
//! entry    its head: kind (3 bits), length of the body (9), boot (20, low) · sequence or boot · CRC-32
//!   record, naming    head | release mark: one unit, erased until released | body · CRC-32  two writes, later the mark
//!   boot              head · newest record in front: boot, sequence · CRC-32                one write
//!   mark              head · CRC-32                                                         one write
//!   ends              head · newest records of the boots that ended in the page before, at most 16: boot, sequence,
//!                     each · CRC-32                                                         one write
//! ```
//! The check sums of an entry are seeded with incarnation, page number and place, so that nothing old is taken for new. A record
//! is released when half of the bits of its mark's first word are zero: one damaged bit releases nothing.
//!
//! **Owner.** A newest page of another owner makes the opening format the area: a new incarnation behind the old ring's newest page,
//! whose number goes on. Until the new ring's first boot is written, the old one is whole, and its owner finds it again.
//! Another layout or shape is no ring of ours and is formatted too. [`Recovery::found`](crate::Recovery::found) says which it was.
//!
//! **Writing.** The head of a record is written first, its body when that write has returned. So the end of a page tells
//! what a power cut caught. It is *clean* when all behind the last entry reads as erased: then the next opening writes its boot,
//! leaving the place of one head free, which may have been caught without a trace; always the same bytes in the same place, so
//! that it does not matter if that is caught too. Behind any other end nothing is written any more: the page is closed,
//! the next one begun.
//!
//! A page *counts* as soon as a boot, a mark or a record stands in it; until then an opening begins it anew. Its head names the
//! tail, so that at least two places stay free: the place of the next page is dead by the word of a page that counts before
//! it is erased, and so is the one behind it.
//!
//! **Full.** When no place is left but the free ones, the oldest page is given up: see [`store`](crate::store). When there is not
//! even room to name it (many power cuts in a full ring), a free page is begun with `Dropped` records that name what is
//! pending in the oldest one, as *naming* entries with the next sequences of the boot that ends, and a boot or mark behind
//! them: all or nothing.
//!
//! **Failing flash.** A read is tried three times; if it fails, so does the operation, and nothing is given up for it (but
//! reading back what was just erased or written is a part of doing so). A write that fails
//! closes its page, and the same record may be appended again: it goes into the next page. A page that can't be begun (erased,
//! seen to be erased, its head written and read back: twice; or begun three times without anything staying in it) has its place
//! retired, and the ring goes on with one place fewer. Every later head has the list of retired places, at most
//! [`FLASH_RETIRED_MAX`]; of more, the first is tried again. If all the free places fail at once, or as many as the list has, nothing is retired: that
//! is a flash that does not work now. Only when none of them can be erased, the oldest page's place is tried too, its names kept in memory
//! meanwhile. An opening writes its boot into up to four pages before it fails; it may then be tried again.
//!
//! **Opening** reads each page head twice, each page that counts once from end to end, and the newest one a few times more.
//! Releases that a power cut caught are written out.
//!
//! **Damage.** A record whose head or body does not fit its check sum is lost, and named: its sequence is missing, or its body is
//! wrong. Of a page that can't be read at all, the page before and the next one tell what must have stood in it: its head names the
//! newest record in front, an entry of *ends* how far the boots before went. Where the oldest page began, the newest head
//! tells. It is named by every opening until the queue is told that the names are stored; until then no page
//! is given back. What is more than one `Dropped` holds, [`Queue::lost_from`](crate::Queue::lost_from) tells. A damaged page head costs
//! nothing, as entries know where they belong. Damage to the very last entry can't be told from a write that was
//! caught; it is named, too.
//!
//! **What can't be named** is what no page tells any more:
//! - how far boots went that ended in a page that can't be read, if the next page can't be read either, or had no room for its
//!   *ends*, or if more than 16 ended there;
//! - anything in front of the tail that the newest head states, if that head and the one before it are damaged too;
//! - the losses of a page that a full ring has to give up between the opening and the names of the losses;
//! - names that do not fit a page (a ring that stays full over hundreds of boots without any acknowledgement).

mod error;
mod geometry;
mod layout;
mod medium;
mod newest;
mod pages;
mod places;
mod recovery;
mod ring;
mod walk;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::nor;

pub use error::FlashQueueError;
pub use geometry::{FLASH_AREA_LEN_MAX, FLASH_PAGE_LEN_MAX, FLASH_PAGES_MAX};
pub use places::FLASH_RETIRED_MAX;
pub use ring::FlashQueue;
