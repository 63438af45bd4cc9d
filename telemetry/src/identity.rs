//! Who wrote a record: device, incarnation, boot, sequence. Everything downstream deduplicates by it.

use core::fmt;
use core::str::FromStr;

use heapless::String;
use serde::{Deserialize, Serialize};

/// The longest device id in bytes.
pub const DEVICE_ID_LEN_MAX: usize = 32;

/// A random number drawn when the device's queue is formatted: a wiped flash is not taken for the past.
pub type Incarnation = u32;
/// Counts the starts of a device; kept in its flash, the first is 1.
pub type Boot = u32;
/// Counts records within a boot, over all meters, from 0.
pub type Sequence = u32;

/// The name of a device: 1 to 32 of `a-z`, `0-9`, `-`, not beginning or ending with `-`, so that it can stand in a topic,
/// a label and a file name as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String<DEVICE_ID_LEN_MAX>", into = "String<DEVICE_ID_LEN_MAX>")]
pub struct DeviceId(String<DEVICE_ID_LEN_MAX>);

/// Why a text is not a device id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a device id is 1 to 32 of a-z, 0-9 and '-', and neither begins nor ends with '-'")]
pub struct DeviceIdError;

impl DeviceId {
    /// Checks the text.
    ///
    /// # Errors
    /// [`DeviceIdError`] when a character or the length is not allowed.
    pub fn new(text: &str) -> Result<Self, DeviceIdError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if text.is_empty() || text.starts_with('-') || text.ends_with('-') || !text.bytes().all(allowed) {
            return Err(DeviceIdError);
        }
        String::try_from(text).map(Self).map_err(|_| DeviceIdError)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = DeviceIdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl TryFrom<String<DEVICE_ID_LEN_MAX>> for DeviceId {
    type Error = DeviceIdError;
    fn try_from(text: String<DEVICE_ID_LEN_MAX>) -> Result<Self, Self::Error> {
        Self::new(&text)
    }
}

impl From<DeviceId> for String<DEVICE_ID_LEN_MAX> {
    fn from(id: DeviceId) -> Self {
        id.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.0)
    }
}

/// The identity of one record within its device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordId {
    /// Which formatting of the queue.
    pub incarnation: Incarnation,
    /// Which start of the device.
    pub boot: Boot,
    /// Which record of that boot.
    pub sequence: Sequence,
}

/// A run of consecutive records of one boot, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecordRange {
    /// Which formatting of the queue.
    pub incarnation: Incarnation,
    /// Which start of the device.
    pub boot: Boot,
    /// The first record.
    pub first: Sequence,
    /// The last record, not below `first`.
    pub last: Sequence,
}

impl RecordRange {
    /// How many records it names.
    #[must_use]
    pub const fn len(&self) -> u64 {
        (self.last as u64 + 1).saturating_sub(self.first as u64)
    }

    /// It names none: `last` is below `first`.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.last < self.first
    }

    /// The record is among them.
    #[must_use]
    pub const fn contains(&self, id: RecordId) -> bool {
        self.incarnation == id.incarnation
            && self.boot == id.boot
            && self.first <= id.sequence
            && id.sequence <= self.last
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_are_refused() {
        let long = "a".repeat(DEVICE_ID_LEN_MAX + 1);
        for text in [
            "", "-", "-a", "a-", "A", "a_b", "a b", "a/b", "a+", "ساری", "a\0", &long,
        ] {
            assert_eq!(DeviceId::new(text), Err(DeviceIdError), "{text:?}");
        }
    }

    #[test]
    fn serde_checks_as_new_does() {
        let id: DeviceId = serde_json::from_str("\"sari-01\"").unwrap();
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"sari-01\"");
        for text in ["\"Sari\"", "\"\"", "7", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\""] {
            assert!(serde_json::from_str::<DeviceId>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_its_own_text(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<DeviceId>() {
                prop_assert_eq!(id.as_str(), text);
            }
        }

        #[test]
        fn every_text_of_the_allowed_form_is_an_id(text in "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?") {
            prop_assert!(DeviceId::new(&text).is_ok());
        }
    }

    #[test]
    fn a_range_counts_both_ends() {
        let range = RecordRange {
            incarnation: 1,
            boot: 1,
            first: 0,
            last: u32::MAX,
        };
        assert_eq!(range.len(), 1 << 32);
        let none = RecordRange {
            first: 5,
            last: 4,
            ..range
        };
        let in_between = RecordId {
            incarnation: 1,
            boot: 1,
            sequence: 5,
        };
        assert_eq!(
            (none.len(), none.is_empty(), none.contains(in_between)),
            (0, true, false)
        );
    }
}
