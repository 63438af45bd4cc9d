//! A frame: one MQTT message of a device, a run of consecutive records under one head and one tag.
//!
//! ```text
//! version u8 · key generation u8 · incarnation u32 LE · boot varint · first sequence varint · records … · tag [16]
//! ```

use crate::key::TAG_LEN;
use crate::record::{Record, RecordError};
use crate::{
    Boot, DeviceId, DeviceKey, Direction, Incarnation, KeyGeneration, RecordId, RecordRange, Sequence,
};

/// The oldest version that is still read.
pub const VERSION_MIN: u8 = 1;
/// The version that is written.
pub const VERSION: u8 = 1;
/// The longest frame in bytes; with MQTT and TCP heads it fits one Ethernet packet of 1,500 bytes.
pub const FRAME_LEN_MAX: usize = 1_200;
/// The shortest message that is looked at: a head with counters of one byte each, and a tag.
pub const FRAME_LEN_MIN: usize = COUNTERS_AT + 2 + TAG_LEN;
/// The longest head: version, generation, incarnation, two varints of at most five bytes.
pub const HEAD_LEN_MAX: usize = 1 + 1 + 4 + 5 + 5;

const VERSION_AT: usize = 0;
const GENERATION_AT: usize = 1;
const INCARNATION_AT: core::ops::Range<usize> = 2..6;
const COUNTERS_AT: usize = 6;

/// A message is not a frame that can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The buffer given to the writer is full.
    #[error("no room for another record in this frame")]
    NoRoom,
    /// Shorter than [`FRAME_LEN_MIN`], or longer than [`FRAME_LEN_MAX`].
    #[error("a frame is {FRAME_LEN_MIN} to {FRAME_LEN_MAX} bytes, this one has {0}")]
    Length(usize),
    /// A version outside `VERSION_MIN..=VERSION`.
    #[error("version {0} is not one of {VERSION_MIN} to {VERSION}")]
    Version(u8),
    /// Tagged with another generation of the key.
    #[error("key generation {0} is not the device's")]
    Generation(KeyGeneration),
    /// The tag does not fit.
    #[error("the tag does not fit the device's key")]
    Tag,
    /// An authentic frame whose head or records can't be read, or are not written in the one way that the protocol
    /// allows (a record's bytes are its identity's content: two spellings of one record would be a false conflict).
    /// From a writer: a record that no reader would accept.
    #[error("head or record {0} of the frame is not as docs/protocol.md says")]
    Malformed(u32),
}

/// Writes one frame into a buffer of the caller's.
#[derive(Debug)]
pub struct FrameWriter<'b> {
    buffer: &'b mut [u8],
    used: usize,
    first: Sequence,
    records: u32,
}

impl<'b> FrameWriter<'b> {
    /// Begins a frame. The buffer's length limits the frame; no more than [`FRAME_LEN_MAX`] bytes of it are used.
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] when not even a head and a tag fit.
    pub fn new(
        buffer: &'b mut [u8],
        generation: KeyGeneration,
        incarnation: Incarnation,
        boot: Boot,
        first: Sequence,
    ) -> Result<Self, FrameError> {
        let limit = buffer.len().min(FRAME_LEN_MAX);
        let buffer = &mut buffer[..limit];
        if buffer.len() < HEAD_LEN_MAX + TAG_LEN {
            return Err(FrameError::NoRoom);
        }
        buffer[VERSION_AT] = VERSION;
        buffer[GENERATION_AT] = generation;
        buffer[INCARNATION_AT].copy_from_slice(&incarnation.to_le_bytes());
        let counters = postcard::to_slice(&(boot, first), &mut buffer[COUNTERS_AT..])
            .map_err(|_| FrameError::NoRoom)?
            .len();
        Ok(Self {
            buffer,
            used: COUNTERS_AT + counters,
            first,
            records: 0,
        })
    }

    /// Appends a record that follows the one before it in sequence.
    ///
    /// # Errors
    /// The frame stays as it was. [`FrameError::NoRoom`]: finish it and put the record into the next.
    /// [`FrameError::Malformed`]: the record can't stand in any frame ([`RecordError::Malformed`]).
    pub fn push(&mut self, record: &Record) -> Result<(), FrameError> {
        self.check_sequence()?;
        let limit = self.buffer.len() - TAG_LEN;
        let encoded = record
            .encode(&mut self.buffer[self.used..limit])
            .map_err(|error| match error {
                RecordError::NoRoom => FrameError::NoRoom,
                RecordError::Malformed => FrameError::Malformed(self.records),
            })?;
        self.used += encoded.len();
        self.records += 1;
        Ok(())
    }

    /// Appends a record that was encoded before ([`Record::encode`]).
    ///
    /// # Errors
    /// [`FrameError::NoRoom`] as for [`Self::push`].
    pub fn push_encoded(&mut self, record: &[u8]) -> Result<(), FrameError> {
        self.check_sequence()?;
        let end = self.used + record.len();
        if end > self.buffer.len() - TAG_LEN {
            return Err(FrameError::NoRoom);
        }
        self.buffer[self.used..end].copy_from_slice(record);
        self.used = end;
        self.records += 1;
        Ok(())
    }

    /// The next record's sequence must exist: a boot ends at 2³² − 1.
    fn check_sequence(&self) -> Result<(), FrameError> {
        self.first
            .checked_add(self.records)
            .map(|_| ())
            .ok_or(FrameError::NoRoom)
    }

    /// How many records it holds.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Closes the frame with its tag and returns its bytes. A frame without a record is refused by every reader.
    #[must_use]
    pub fn finish(self, key: &DeviceKey, device: &DeviceId) -> &'b [u8] {
        let tag = key.tag(Direction::Up, device, &self.buffer[..self.used]);
        let end = self.used + TAG_LEN;
        self.buffer[self.used..end].copy_from_slice(&tag);
        &self.buffer[..end]
    }
}

/// What stands in front of a frame, not yet authenticated: enough to choose the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peeked {
    /// The frame's version, one of `VERSION_MIN..=VERSION`.
    pub version: u8,
    /// The generation of the key that tagged it.
    pub generation: KeyGeneration,
}

/// Reads version and key generation of a message that claims to be a frame.
///
/// # Errors
/// [`FrameError::Length`] or [`FrameError::Version`].
pub fn peek(bytes: &[u8]) -> Result<Peeked, FrameError> {
    if !(FRAME_LEN_MIN..=FRAME_LEN_MAX).contains(&bytes.len()) {
        return Err(FrameError::Length(bytes.len()));
    }
    let version = bytes[VERSION_AT];
    if !(VERSION_MIN..=VERSION).contains(&version) {
        return Err(FrameError::Version(version));
    }
    Ok(Peeked {
        version,
        generation: bytes[GENERATION_AT],
    })
}

/// An authentic frame: every record in it was read once, is valid, and stands there in its one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    incarnation: Incarnation,
    boot: Boot,
    first: Sequence,
    count: u32,
    records: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks the tag, then head and records.
    ///
    /// # Errors
    /// Any [`FrameError`] but `NoRoom`. [`FrameError::Malformed`] means that the device itself wrote it so.
    pub fn open(bytes: &'a [u8], key: &DeviceKey, device: &DeviceId) -> Result<Self, FrameError> {
        Self::open_each(bytes, key, device, |_, _, _| ())
    }

    /// Does the same and shows each record, with its identity and its own bytes, as it is read. A record behind those that were shown can
    /// still spoil the frame.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_each(
        bytes: &'a [u8],
        key: &DeviceKey,
        device: &DeviceId,
        mut each: impl FnMut(RecordId, &Record, &'a [u8]),
    ) -> Result<Self, FrameError> {
        let peeked = peek(bytes)?;
        if peeked.generation != key.generation() {
            return Err(FrameError::Generation(peeked.generation));
        }
        let (content, tag) = bytes.split_at(bytes.len() - TAG_LEN);
        if !key.verify(Direction::Up, device, content, tag) {
            return Err(FrameError::Tag);
        }
        let mut incarnation = [0; 4];
        incarnation.copy_from_slice(&content[INCARNATION_AT]);
        let (boot, first, records) = counters(&content[COUNTERS_AT..]).ok_or(FrameError::Malformed(0))?;
        let incarnation = u32::from_le_bytes(incarnation);
        let (mut count, mut rest) = (0_u32, records);
        while !rest.is_empty() {
            let (record, after) = Record::decode_canonical(rest).map_err(|_| FrameError::Malformed(count))?;
            let id = RecordId {
                incarnation,
                boot,
                sequence: first.wrapping_add(count),
            };
            each(id, &record, &rest[..rest.len() - after.len()]);
            rest = after;
            count += 1;
        }
        let last = count.checked_sub(1).and_then(|more| first.checked_add(more));
        if last.is_none() {
            return Err(FrameError::Malformed(count));
        }
        Ok(Self {
            incarnation,
            boot,
            first,
            count,
            records,
        })
    }

    /// The identities it carries.
    #[must_use]
    pub const fn range(&self) -> RecordRange {
        RecordRange {
            incarnation: self.incarnation,
            boot: self.boot,
            first: self.first,
            last: self.first + (self.count - 1),
        }
    }

    /// How many records it carries, at least 1.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The records' bytes, as they go into a batch.
    #[must_use]
    pub const fn record_bytes(&self) -> &'a [u8] {
        self.records
    }

    /// The records in their order.
    #[must_use]
    pub const fn records(&self) -> Records<'a> {
        Records::new(self.records)
    }
}

/// Boot and first sequence in their one spelling, and what follows.
fn counters(bytes: &[u8]) -> Option<(Boot, Sequence, &[u8])> {
    let (counters, rest) = postcard::take_from_bytes::<(Boot, Sequence)>(bytes).ok()?;
    let mut again = [0; HEAD_LEN_MAX - COUNTERS_AT];
    let again = postcard::to_slice(&counters, &mut again).ok()?;
    bytes.starts_with(again).then_some((counters.0, counters.1, rest))
}

/// Goes through encoded records; ends after the first that can't be read.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Over the bytes of consecutive records.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next record with its own bytes.
    pub fn next_with_bytes(&mut self) -> Option<Result<(Record, &'a [u8]), RecordError>> {
        if self.rest.is_empty() {
            return None;
        }
        let all = core::mem::take(&mut self.rest);
        Some(Record::decode(all).map(|(record, rest)| {
            self.rest = rest;
            (record, &all[..all.len() - rest.len()])
        }))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, RecordError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_with_bytes().map(|item| item.map(|(record, _)| record))
    }
}
