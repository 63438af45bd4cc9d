//! One reading: which meter, when, and what came of the poll.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::MeterAddress;
use crate::quantities::{Quantities, element};
#[cfg(feature = "alloc")]
use crate::varints::Varints;

/// The most that a synced clock may be off.
pub const SYNCED_ERROR_MS_MAX: u32 = 1_000;
/// The most that a clock in holdover may be off; beyond it the device falls back to unsynced.
pub const HOLDOVER_ERROR_MS_MAX: u32 = 30_000;

/// How far a time can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Clock {
    /// UTC, error at most [`SYNCED_ERROR_MS_MAX`].
    Synced = 0,
    /// UTC carried on after the last sync, error at most [`HOLDOVER_ERROR_MS_MAX`] (reckoned at 50 ppm).
    Holdover = 1,
    /// Not UTC at all: milliseconds since the device's start.
    Unsynced = 2,
}

impl Clock {
    /// The word that stands for it in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Holdover => "holdover",
            Self::Unsynced => "unsynced",
        }
    }
}

/// When something was: UTC, or monotonic time of its boot that an [`Anchor`](crate::Anchor) places later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Milliseconds: since 1970-01-01T00:00:00Z, or since the boot when `clock` is [`Clock::Unsynced`].
    pub ms: u64,
    /// The quality of `ms`.
    pub clock: Clock,
}

impl Stamp {
    /// UTC milliseconds, or `None` for a time that only counts since the boot.
    #[must_use]
    pub const fn utc_ms(self) -> Option<u64> {
        match self.clock {
            Clock::Synced | Clock::Holdover => Some(self.ms),
            Clock::Unsynced => None,
        }
    }
}

/// One reading of one meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The meter that was polled.
    pub meter: MeterAddress,
    /// When its answer was complete (for failures: when the first of the run failed).
    pub stamp: Stamp,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
// Values are by far the most frequent outcome; boxing them would need an allocator.
#[allow(clippy::large_enum_variant)]
pub enum Outcome {
    /// The meter answered.
    Values(Quantities),
    /// It did not, and how often in a row.
    Failed(PollFailure),
}

/// A run of polls that failed in the same way (an inverter asleep at night is one record).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollFailure {
    /// Why.
    pub status: PollStatus,
    /// How many polls, at least 1.
    pub count: u32,
    /// From the first to the last of them in ms.
    pub span_ms: u32,
}

/// Why a poll gave no values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PollStatus {
    /// Nothing answered in time.
    Timeout,
    /// What answered was damaged (CRC, length) on every try.
    BadFrame,
    /// The meter answered with a Modbus exception of this code.
    Exception(u8),
    /// The meter answered, but not as its driver expects (no SunSpec marker, impossible length).
    NotUnderstood,
    /// Scale factors changed while the values were read, on every try.
    Unstable,
}

impl PollStatus {
    /// The word that stands for it in the store and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::BadFrame => "bad_frame",
            Self::Exception(_) => "exception",
            Self::NotUnderstood => "not_understood",
            Self::Unstable => "unstable",
        }
    }
}

/// The wire's first element: which form follows.
pub(crate) const FORM_VALUES: u8 = 0;
const FORM_FAILED: u8 = 1;

impl Reading {
    /// The forms 0 and 1 of a record (`docs/protocol.md`, "Records").
    pub(crate) fn serialize_into<T: SerializeTuple>(&self, tuple: &mut T) -> Result<(), T::Error> {
        let clock = self.stamp.clock as u64;
        match &self.outcome {
            Outcome::Values(quantities) => {
                tuple.serialize_element(&FORM_VALUES)?;
                tuple.serialize_element(&self.meter)?;
                tuple.serialize_element(&(quantities.presence() << 2 | clock))?;
                tuple.serialize_element(&self.stamp.ms)?;
                quantities.serialize_into(tuple)
            }
            Outcome::Failed(failure) => {
                tuple.serialize_element(&FORM_FAILED)?;
                tuple.serialize_element(&self.meter)?;
                tuple.serialize_element(&clock)?;
                tuple.serialize_element(&self.stamp.ms)?;
                tuple.serialize_element(failure)
            }
        }
    }

    /// Reads what follows form 0 or 1.
    pub(crate) fn deserialize_from<'de, A: SeqAccess<'de>>(form: u8, seq: &mut A) -> Result<Self, A::Error> {
        let meter = element(seq)?;
        let map: u64 = element(seq)?;
        let clock = clock(map).ok_or_else(|| A::Error::custom("clock quality 3 is not defined"))?;
        let stamp = Stamp {
            ms: element(seq)?,
            clock,
        };
        let outcome = if form == FORM_VALUES {
            Outcome::Values(Quantities::deserialize_from(map >> 2, seq)?)
        } else if map >> 2 != 0 {
            return Err(A::Error::custom("a failed poll must not name values"));
        } else {
            Outcome::Failed(element(seq)?)
        };
        Ok(Self {
            meter,
            stamp,
            outcome,
        })
    }

    /// Reads what follows form 0 by shorter means than [`Self::deserialize_from`]; `None` when it can't be read so.
    #[cfg(feature = "alloc")]
    pub(crate) fn read_values(reader: &mut Varints<'_>) -> Option<Self> {
        let meter = MeterAddress::new(reader.byte()?)?;
        let map = reader.unsigned()?;
        let clock = clock(map)?;
        let stamp = Stamp {
            ms: reader.unsigned()?,
            clock,
        };
        let outcome = Outcome::Values(Quantities::read_from(map >> 2, reader)?);
        Some(Self {
            meter,
            stamp,
            outcome,
        })
    }

    pub(crate) const fn elements_max() -> usize {
        4 + Quantities::elements_max()
    }

    pub(crate) const fn is_form(form: u8) -> bool {
        form == FORM_VALUES || form == FORM_FAILED
    }
}

/// The two lowest bits of a reading's map.
const fn clock(map: u64) -> Option<Clock> {
    match map & 3 {
        0 => Some(Clock::Synced),
        1 => Some(Clock::Holdover),
        2 => Some(Clock::Unsynced),
        _ => None,
    }
}

impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&(self.clock as u8))?;
        tuple.serialize_element(&self.ms)?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StampVisitor;
        impl<'de> Visitor<'de> for StampVisitor {
            type Value = Stamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("clock quality (0 to 2) and milliseconds")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Stamp, A::Error> {
                let clock = match element::<A, u8>(&mut seq)? {
                    0 => Clock::Synced,
                    1 => Clock::Holdover,
                    2 => Clock::Unsynced,
                    _ => return Err(A::Error::custom("clock quality above 2 is not defined")),
                };
                Ok(Stamp {
                    ms: element(&mut seq)?,
                    clock,
                })
            }
        }
        deserializer.deserialize_tuple(2, StampVisitor)
    }
}
