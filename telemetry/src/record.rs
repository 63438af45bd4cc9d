//! The five records of version 1: `Reading`, `Start`, `Dropped`, `Anchor`, `Diagnostics`.
//!
//! A record's bytes do not depend on the frame around it, so the same identity with other bytes is a conflict.

use core::fmt;

use heapless::{String, Vec};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::quantities::element;
#[cfg(feature = "alloc")]
use crate::reading::FORM_VALUES;
use crate::reading::SYNCED_ERROR_MS_MAX;
#[cfg(feature = "alloc")]
use crate::varints::Varints;
use crate::{Boot, Clock, MeterAddress, Outcome, Reading, Sequence, Stamp};

/// The longest encoded record in bytes (a reading with every field at its widest and eight MPPT inputs; tested).
pub const RECORD_LEN_MAX: usize = 384;
/// The most ranges that one `Dropped` names.
pub const DROPPED_RANGES_MAX: usize = 16;
/// The most meters that one `Diagnostics` counts apart.
pub const DIAGNOSTICS_METERS_MAX: usize = 8;

/// The device's firmware version, as `MAJOR.MINOR.PATCH` with an optional suffix.
pub type FirmwareVersion = String<24>;

/// One record of a device's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
// A reading is by far the most frequent record; boxing it would need an allocator.
#[allow(clippy::large_enum_variant)]
pub enum Record {
    /// A poll of one meter (forms 0 and 1).
    Reading(Reading),
    /// The device started (form 2); always sequence 0 of its boot.
    Start(Start),
    /// The queue was full and overwrote these (form 3).
    Dropped(Dropped),
    /// Places the monotonic time of a boot in UTC (form 4).
    Anchor(Anchor),
    /// How the device is (form 5).
    Diagnostics(Diagnostics),
}

/// The first record of every boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// When, usually unsynced.
    pub stamp: Stamp,
    /// Why the device started.
    pub reset_cause: ResetCause,
    /// The newest record that the device still knows of, acknowledged or not; `None` only for a queue just formatted.
    pub recovered: Option<Recovered>,
    /// What runs on it.
    pub firmware: FirmwareVersion,
}

/// The newest record that outlived the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovered {
    /// The boot it was written in.
    pub boot: Boot,
    /// Its number in that boot.
    pub sequence: Sequence,
}

/// Why a device started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetCause {
    /// Can't be told.
    Unknown,
    /// Power came (back).
    PowerOn,
    /// The watchdog bit.
    Watchdog,
    /// The program panicked.
    Panic,
    /// It was told to.
    Requested,
    /// The supply voltage fell too low.
    BrownOut,
}

/// Records that were lost before they were acknowledged, and are named: a full queue overwrote them, its memory was damaged or
/// did not take them. At least one range, and none that ends before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// When it was noticed.
    pub stamp: Stamp,
    /// Which, within the frame's incarnation: boot, first, last.
    pub ranges: Vec<(Boot, Sequence, Sequence), DROPPED_RANGES_MAX>,
}

impl Dropped {
    fn is_sound(&self) -> bool {
        !self.ranges.is_empty() && self.ranges.iter().all(|(_, first, last)| first <= last)
    }
}

/// UTC at an instant of a boot's monotonic time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The boot whose monotonic time is placed.
    pub boot: Boot,
    /// Milliseconds since that boot.
    pub monotonic_ms: u64,
    /// The same instant in UTC milliseconds since 1970.
    pub utc_ms: u64,
    /// How far `utc_ms` may be off, in ms.
    pub error_ms: u32,
}

/// How the device is. Counters count since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// When.
    pub stamp: Stamp,
    /// Seconds since the start.
    pub uptime_s: u32,
    /// Records written and not yet acknowledged.
    pub queue_records: u32,
    /// Records that the queue can hold.
    pub queue_capacity_records: u32,
    /// Records overwritten because the queue was full, or lost because its memory failed.
    pub dropped_records: u32,
    /// Sessions with the broker, the first included.
    pub link_connects: u32,
    /// The most stack ever used in bytes; `None` where it can't be measured.
    pub stack_high_water_bytes: Option<u32>,
    /// What became of the requests of polls to each meter, each address once.
    pub meters: Vec<MeterDiagnostics, DIAGNOSTICS_METERS_MAX>,
}

/// The Modbus requests to one meter. Each try counts: `requests` less the three others were answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterDiagnostics {
    /// Its address.
    pub meter: MeterAddress,
    /// Requests sent.
    pub requests: u32,
    /// What came was damaged: a wrong CRC, cut short, or only noise (baud rate, parity, termination, a second master).
    pub crc_errors: u32,
    /// Nothing came in time (address, wiring, power).
    pub timeouts: u32,
    /// The meter refused with a Modbus exception.
    pub exceptions: u32,
}

/// A record can't be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The buffer is too short for it.
    #[error("no room for the record: a buffer of RECORD_LEN_MAX bytes always suffices")]
    NoRoom,
    /// Not a record of this version: unknown form or field, value out of range, cut short; a failed poll that counts no
    /// poll, a `Dropped` without a range or with one that ends before it begins.
    #[error("not a record of version 1 (docs/protocol.md, \"Records\")")]
    Malformed,
}

const FORM_START: u8 = 2;
const FORM_DROPPED: u8 = 3;
const FORM_ANCHOR: u8 = 4;
const FORM_DIAGNOSTICS: u8 = 5;

impl Record {
    /// Encodes into `buffer` and returns the bytes used.
    ///
    /// # Errors
    /// [`RecordError::NoRoom`] when the buffer is too short ([`RECORD_LEN_MAX`] bytes always suffice);
    /// [`RecordError::Malformed`] when no reader would accept it.
    pub fn encode<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b [u8], RecordError> {
        if !self.is_sound() {
            return Err(RecordError::Malformed);
        }
        postcard::to_slice(self, buffer)
            .map(|used| &*used)
            .map_err(|_| RecordError::NoRoom)
    }

    /// Decodes one record from the front of `bytes` and returns it with what follows.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] when the bytes are no record of this version.
    pub fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        #[cfg(feature = "alloc")]
        if let Some((record, varints)) = Self::read_values(bytes) {
            return Ok((record, varints.rest()));
        }
        Self::decode_any(bytes)
    }

    /// Decodes one record that must stand there in its one spelling, which is what [`Self::encode`] makes of it.
    ///
    /// # Errors
    /// [`RecordError::Malformed`] as for [`Self::decode`], and when it is written in another way.
    pub(crate) fn decode_canonical(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        // Of a reading's values only a varint can be written in more than one way.
        #[cfg(feature = "alloc")]
        if let Some((record, varints)) = Self::read_values(bytes) {
            let canonical = varints.are_shortest().then_some((record, varints.rest()));
            return canonical.ok_or(RecordError::Malformed);
        }
        let (record, rest) = Self::decode_any(bytes)?;
        let mut again = [0; RECORD_LEN_MAX];
        if bytes[..bytes.len() - rest.len()] == *record.encode(&mut again)? {
            Ok((record, rest))
        } else {
            Err(RecordError::Malformed)
        }
    }

    /// What nearly every record is, by shorter means: values without an MPPT list. `None` when it is something else, or malformed.
    #[cfg(feature = "alloc")]
    fn read_values(bytes: &[u8]) -> Option<(Self, Varints<'_>)> {
        let mut varints = Varints::new(bytes);
        if varints.byte()? != FORM_VALUES {
            return None;
        }
        let reading = Reading::read_values(&mut varints)?;
        Some((Self::Reading(reading), varints))
    }

    fn decode_any(bytes: &[u8]) -> Result<(Self, &[u8]), RecordError> {
        postcard::take_from_bytes(bytes)
            .ok()
            .filter(|(record, _): &(Self, _)| record.is_sound())
            .ok_or(RecordError::Malformed)
    }

    /// Decodes a record that is a `Dropped`, and nothing else: on a board there may be no room for the largest record where the names of
    /// lost ones are handed on.
    #[must_use]
    pub fn decode_dropped(bytes: &[u8]) -> Option<Dropped> {
        let (&FORM_DROPPED, content) = bytes.split_first()? else {
            return None;
        };
        let (dropped, _) = postcard::take_from_bytes::<Dropped>(content).ok()?;
        dropped.is_sound().then_some(dropped)
    }

    /// What the types do not say: a run of failures counts at least one, dropped ranges name something.
    fn is_sound(&self) -> bool {
        match self {
            Self::Reading(Reading {
                outcome: Outcome::Failed(failure),
                ..
            }) => failure.count > 0,
            Self::Dropped(dropped) => dropped.is_sound(),
            _ => true,
        }
    }

    /// The instant the record names; an anchor's is its UTC, in the quality that its error allows.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        match self {
            Self::Reading(r) => r.stamp,
            Self::Start(r) => r.stamp,
            Self::Dropped(r) => r.stamp,
            Self::Anchor(r) if r.error_ms <= SYNCED_ERROR_MS_MAX => Stamp {
                ms: r.utc_ms,
                clock: Clock::Synced,
            },
            Self::Anchor(r) => Stamp {
                ms: r.utc_ms,
                clock: Clock::Holdover,
            },
            Self::Diagnostics(r) => r.stamp,
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(Reading::elements_max())?;
        match self {
            Self::Reading(reading) => reading.serialize_into(&mut tuple)?,
            Self::Start(start) => form(&mut tuple, FORM_START, start)?,
            Self::Dropped(dropped) => form(&mut tuple, FORM_DROPPED, dropped)?,
            Self::Anchor(anchor) => form(&mut tuple, FORM_ANCHOR, anchor)?,
            Self::Diagnostics(diagnostics) => form(&mut tuple, FORM_DIAGNOSTICS, diagnostics)?,
        }
        tuple.end()
    }
}

fn form<T: SerializeTuple>(tuple: &mut T, form: u8, body: &impl Serialize) -> Result<(), T::Error> {
    tuple.serialize_element(&form)?;
    tuple.serialize_element(body)
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RecordVisitor;
        impl<'de> Visitor<'de> for RecordVisitor {
            type Value = Record;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a record: its form, then its body")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Record, A::Error> {
                match element::<A, u8>(&mut seq)? {
                    form if Reading::is_form(form) => {
                        Reading::deserialize_from(form, &mut seq).map(Record::Reading)
                    }
                    FORM_START => element(&mut seq).map(Record::Start),
                    FORM_DROPPED => element(&mut seq).map(Record::Dropped),
                    FORM_ANCHOR => element(&mut seq).map(Record::Anchor),
                    FORM_DIAGNOSTICS => element(&mut seq).map(Record::Diagnostics),
                    _ => Err(A::Error::custom("a form that this version does not have")),
                }
            }
        }
        deserializer.deserialize_tuple(Reading::elements_max(), RecordVisitor)
    }
}
