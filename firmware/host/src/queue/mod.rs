//! The queue in a folder: an append-only log in segments, for a device on a computer.
//!
//! **Constraints.** A record is durable (fdatasync) before anybody sees it; a torn tail is recovered; space is given back in
//! order, whole segments at a time; one process at a time owns the folder (`lock`).
//!
//! **Layout.** `NNNNNNNNNN.seg` files with consecutive numbers, each a sequence of entries ([`entry`]): the head with
//! incarnation, boot and next sequence as of the segment's beginning, then boots, runs of records and releases; another
//! head where sequences are left out. The last segment is appended to. Which records are pending is kept in memory and rebuilt
//! by reading the segments.
//!
//! **Operation.** The oldest segments are deleted as soon as no record in them is pending, always from the front, so that a
//! release never disappears before what it releases. When the records in all segments reach the capacity, the oldest
//! segment is the block that is evicted. A release is written at once but not synced: after a power cut it may be
//! forgotten, and the record is sent, and acknowledged, again.

mod as_queue;
mod entry;
mod file;
mod recovery;
mod segment;
#[cfg(test)]
mod tests;

pub use file::{FileQueue, FileQueueError, QUEUE_RECORDS_MAX, QUEUE_RECORDS_MIN};
