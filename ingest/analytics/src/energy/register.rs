//! A meter's register and what bounds it.

use crate::varint::{Reader, put_signed, put_unsigned};

/// Power above the nameplate that is still believed, in percent: sensors and clocks are not exact.
pub const RATED_POWER_PERCENT_MAX: i64 = 150;
/// A rise of one count of the coarsest register (1 kWh) is believed in however short a span.
pub(super) const COUNT_WH: i64 = 1_000;
/// A percentage of W·ms in a Wh.
const PERCENT_MS_PER_H: i128 = 100 * 3_600_000;
/// Up to this span a register that fell may hold whatever the rated power made since it was reset.
const RESET_MS_MAX: i64 = 6 * 3_600_000;
/// Over longer spans, nights included, it may hold this share of the rated power in percent.
const RESET_MEAN_PERCENT_MAX: i64 = 30;

/// The counts of a SunSpec `acc32` before it rolls over (SunSpec Device Information Model §4.4.1.2): 2³². One of an `acc64` is
/// wider than any life and than `i64`: it has no modulus.
pub const ACC32_COUNTS: i64 = 1 << 32;

/// What a register read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    /// UTC ms.
    pub time_ms: i64,
    /// The raw register in Wh, not negative.
    pub value_wh: i64,
}

/// A meter or inverter was exchanged: the record that keeps the lifetime energy continuous.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replacement {
    /// When, UTC ms. Readings before it are the old register's, readings at it or after it the new one's.
    pub at_ms: i64,
    /// What the old register read last, in Wh.
    pub final_wh: i64,
    /// What the new one read first, in Wh.
    pub start_wh: i64,
}

/// What is known of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meter {
    rated_w: u32,
    modulus_wh: Option<i64>,
    replacements: Vec<Replacement>,
}

/// Why a meter can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A register that rolls over at once.
    #[error(
        "expected a register that rolls over above 1000 Wh, got {modulus_wh} Wh: check its width and unit"
    )]
    Modulus {
        /// As given.
        modulus_wh: i64,
    },
    /// Two replacements at one instant, or a negative register.
    #[error(
        "the replacement at {at_ms} ms after 1970 has a negative register or stands twice: correct the record"
    )]
    Replacement {
        /// Its time.
        at_ms: i64,
    },
}

impl Meter {
    /// A register of a meter that is rated `rated_w`; 0 bounds nothing, so that no reading is implausible.
    #[must_use]
    pub const fn new(rated_w: u32) -> Self {
        Self {
            rated_w,
            modulus_wh: None,
            replacements: Vec::new(),
        }
    }

    /// It rolls over to 0 after `modulus_wh` − 1 (counts of the register × Wh per count).
    ///
    /// # Errors
    /// When that is not above one count.
    pub fn with_modulus(mut self, modulus_wh: i64) -> Result<Self, RegisterError> {
        if modulus_wh <= COUNT_WH {
            return Err(RegisterError::Modulus { modulus_wh });
        }
        self.modulus_wh = Some(modulus_wh);
        Ok(self)
    }

    /// It was replaced, in any order of the records.
    ///
    /// # Errors
    /// When two records name one instant or a register is negative.
    pub fn with_replacements(mut self, mut records: Vec<Replacement>) -> Result<Self, RegisterError> {
        records.sort_unstable();
        let twice = records.windows(2).find(|pair| pair[0].at_ms == pair[1].at_ms);
        let negative = records.iter().find(|one| one.final_wh < 0 || one.start_wh < 0);
        if let Some(wrong) = twice.map(|pair| &pair[0]).or(negative) {
            return Err(RegisterError::Replacement { at_ms: wrong.at_ms });
        }
        self.replacements = records;
        Ok(self)
    }

    /// All that is known of it as bytes, to be kept beside what was accounted for with it: varints of the rated power, the modulus (0:
    /// none), the number of records and each record's numbers.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_unsigned(&mut bytes, self.rated_w.into());
        put_signed(&mut bytes, self.modulus_wh.unwrap_or(0));
        put_unsigned(&mut bytes, self.replacements.len() as u64);
        for record in &self.replacements {
            for number in [record.at_ms, record.final_wh, record.start_wh] {
                put_signed(&mut bytes, number);
            }
        }
        bytes
    }

    /// Reads what was written as bytes; `None` when they are damaged.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let rated_w = u32::try_from(reader.unsigned()?).ok()?;
        let modulus_wh = reader.signed()?;
        let mut records = Vec::new();
        for _ in 0..reader.unsigned()? {
            records.push(Replacement {
                at_ms: reader.signed()?,
                final_wh: reader.signed()?,
                start_wh: reader.signed()?,
            });
        }
        let meter = Self::new(rated_w).with_replacements(records).ok()?;
        let meter = if modulus_wh == 0 {
            meter
        } else {
            meter.with_modulus(modulus_wh).ok()?
        };
        reader.rest().is_empty().then_some(meter)
    }

    /// Its rated power in W; 0 bounds nothing.
    #[must_use]
    pub const fn rated_w(&self) -> u32 {
        self.rated_w
    }

    /// The records between two readings, oldest first.
    pub(super) fn replacements_between(&self, from_ms: i64, to_ms: i64) -> &[Replacement] {
        let first = self.replacements.partition_point(|one| one.at_ms <= from_ms);
        let end = self.replacements.partition_point(|one| one.at_ms <= to_ms);
        &self.replacements[first..end.max(first)]
    }

    /// Whether the meter can have counted `energy_wh` (0 or more) in `span_ms`.
    pub(super) fn can_count(&self, energy_wh: i64, span_ms: i64) -> bool {
        energy_wh >= 0 && self.is_below(energy_wh, span_ms, RATED_POWER_PERCENT_MAX)
    }

    /// Whether a register that fell to `value_wh` may have counted that much from 0 in `span_ms`. A meter without a rated power
    /// says nothing.
    pub(super) fn can_restart(&self, value_wh: i64, span_ms: i64) -> bool {
        self.rated_w > 0
            && (self.is_below(value_wh, span_ms.min(RESET_MS_MAX), RATED_POWER_PERCENT_MAX)
                || self.is_below(value_wh, span_ms, RESET_MEAN_PERCENT_MAX))
    }

    /// What a fall from one value to another is if the register rolled over in between, in Wh.
    pub(super) fn rolled_over_wh(&self, from_wh: i64, to_wh: i64) -> Option<i64> {
        let modulus_wh = self.modulus_wh?;
        (from_wh < modulus_wh && to_wh < modulus_wh && to_wh < from_wh).then(|| modulus_wh - from_wh + to_wh)
    }

    fn is_below(&self, energy_wh: i64, span_ms: i64, percent: i64) -> bool {
        let believed = i128::from(self.rated_w) * i128::from(percent) * i128::from(span_ms);
        self.rated_w == 0 || (i128::from(energy_wh) - i128::from(COUNT_WH)) * PERCENT_MS_PER_H <= believed
    }
}

/// The modulus in Wh of a register of `digits` decimal digits, each count worth `wh_per_count` (a vendor's 8 digits of 0.1 kWh:
/// `modulus_of_digits(8, 100)`); `None` when it is wider than `i64`.
#[must_use]
pub fn modulus_of_digits(digits: u32, wh_per_count: i64) -> Option<i64> {
    10_i64.checked_pow(digits)?.checked_mul(wh_per_count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_is_read_as_it_was_written() {
        let record = Replacement {
            at_ms: 1_772_345_400_000,
            final_wh: 48_211_300,
            start_wh: 3,
        };
        let later = Replacement {
            at_ms: record.at_ms + 1,
            ..record
        };
        let meter = || Meter::new(30_000);
        let meters = [
            Meter::new(0),
            meter(),
            meter().with_modulus(1 << 32).unwrap(),
            meter().with_replacements(vec![record, later]).unwrap(),
        ];
        for one in &meters {
            let bytes = one.to_bytes();
            assert_eq!(Meter::from_bytes(&bytes).as_ref(), Some(one));
            assert!(
                meters
                    .iter()
                    .all(|other| one == other || other.to_bytes() != bytes)
            );
            assert_eq!(Meter::from_bytes(&bytes[..bytes.len() - 1]), None);
            assert_eq!(Meter::from_bytes(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
