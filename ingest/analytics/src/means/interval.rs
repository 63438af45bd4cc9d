//! A quarter-hour of one meter.

use crate::varint::{Reader, put_signed, put_unsigned};

/// A quantity that is averaged; the unit is the last part of the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Quantity {
    /// Active power at the AC side in W.
    AcPowerW,
    /// Power at the DC side in W.
    DcPowerW,
    /// Irradiance in the plane of the array in 0.1 W/m².
    IrradianceDwm2,
    /// Module temperature in 0.1 °C.
    ModuleTemperatureDc,
    /// Ambient temperature in 0.1 °C.
    AmbientTemperatureDc,
    /// Wind speed in 0.1 m/s.
    WindSpeedDms,
    /// Voltage phase A to neutral in 0.1 V.
    VoltageAnDv,
    /// Voltage phase B to neutral in 0.1 V.
    VoltageBnDv,
    /// Voltage phase C to neutral in 0.1 V.
    VoltageCnDv,
    /// Voltage phase A to B in 0.1 V.
    VoltageAbDv,
    /// Voltage phase B to C in 0.1 V.
    VoltageBcDv,
    /// Voltage phase C to A in 0.1 V.
    VoltageCaDv,
    /// Current of phase A in 0.01 A.
    CurrentACa,
    /// Current of phase B in 0.01 A.
    CurrentBCa,
    /// Current of phase C in 0.01 A.
    CurrentCCa,
    /// Neutral current in 0.01 A.
    CurrentNCa,
    /// Power of the first MPPT input in W.
    Mppt1W,
    /// Of the second.
    Mppt2W,
    /// Of the third.
    Mppt3W,
    /// Of the fourth.
    Mppt4W,
    /// Of the fifth.
    Mppt5W,
    /// Of the sixth.
    Mppt6W,
    /// Of the seventh.
    Mppt7W,
    /// Of the eighth.
    Mppt8W,
}

/// How many quantities there are.
pub const QUANTITIES: usize = Quantity::Mppt8W as usize + 1;

/// What a meter said in a quarter-hour. Parts of it, and several, add up with [`MeterInterval::add`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeterInterval {
    /// Polls that were answered.
    pub answered: u32,
    /// Polls that failed.
    pub failed: u32,
    sums: [Sum; QUANTITIES],
}

/// A quantity over the time for which it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    /// The quantity's unit × ms.
    pub(super) unit_ms: i64,
    pub(super) known_ms: u32,
}

/// Bytes that are no packed interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packed interval of a meter is damaged: make it again from the readings")]
pub struct PackedError;

impl MeterInterval {
    /// The mean over the time for which it is known, in the quantity's unit; `None` when it isn't at all.
    #[must_use]
    pub fn mean(&self, quantity: Quantity) -> Option<f64> {
        let sum = self.sums[quantity as usize];
        (sum.known_ms > 0).then(|| sum.unit_ms as f64 / f64::from(sum.known_ms))
    }

    /// For how long the quantity is known, in ms.
    #[must_use]
    pub const fn known_ms(&self, quantity: Quantity) -> u32 {
        self.sums[quantity as usize].known_ms
    }

    /// The quantity's unit × ms over that time: exact, and so are its sums.
    #[must_use]
    pub const fn sum_unit_ms(&self, quantity: Quantity) -> i64 {
        self.sums[quantity as usize].unit_ms
    }

    /// Nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what was said in another part of the time.
    pub fn add(&mut self, other: &Self) {
        self.answered = self.answered.saturating_add(other.answered);
        self.failed = self.failed.saturating_add(other.failed);
        for (sum, more) in self.sums.iter_mut().zip(&other.sums) {
            sum.unit_ms = sum.unit_ms.saturating_add(more.unit_ms);
            sum.known_ms = sum.known_ms.saturating_add(more.known_ms);
        }
    }

    pub(super) const fn sum_mut(&mut self, index: usize) -> &mut Sum {
        &mut self.sums[index]
    }

    /// Appends it in a few bytes: varints of the polls, of the longest known time, a map of the quantities and a map of those that
    /// are known for less; then for each its sum, and its own time if it is less.
    pub fn pack(&self, bytes: &mut Vec<u8>) {
        let longest_ms = self.sums.iter().map(|sum| sum.known_ms).max().unwrap_or(0);
        let map = |has: fn(&Sum, u32) -> bool| {
            let bits = self.sums.iter().enumerate();
            bits.fold(0_u64, |map, (bit, sum)| {
                map | u64::from(has(sum, longest_ms)) << bit
            })
        };
        put_unsigned(bytes, self.answered.into());
        put_unsigned(bytes, self.failed.into());
        put_unsigned(bytes, longest_ms.into());
        put_unsigned(bytes, map(|sum, _| sum.known_ms > 0));
        put_unsigned(
            bytes,
            map(|sum, longest_ms| sum.known_ms > 0 && sum.known_ms < longest_ms),
        );
        for sum in self.sums.iter().filter(|sum| sum.known_ms > 0) {
            put_signed(bytes, sum.unit_ms);
            if sum.known_ms < longest_ms {
                put_unsigned(bytes, sum.known_ms.into());
            }
        }
    }

    /// Reads a packed one.
    ///
    /// # Errors
    /// When the bytes are not exactly one.
    pub fn unpack(bytes: &[u8]) -> Result<Self, PackedError> {
        let mut reader = Reader::new(bytes);
        let interval = Self::read(&mut reader).ok_or(PackedError)?;
        if reader.rest().is_empty() {
            Ok(interval)
        } else {
            Err(PackedError)
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut small = || u32::try_from(reader.unsigned()?).ok();
        let mut interval = Self {
            answered: small()?,
            failed: small()?,
            ..Self::default()
        };
        let longest_ms = small()?;
        let (present, shorter) = (reader.unsigned()?, reader.unsigned()?);
        if present >> QUANTITIES != 0 || shorter & !present != 0 {
            return None;
        }
        for (bit, sum) in interval.sums.iter_mut().enumerate() {
            if present >> bit & 1 == 1 {
                sum.unit_ms = reader.signed()?;
                sum.known_ms = longest_ms;
                if shorter >> bit & 1 == 1 {
                    sum.known_ms = u32::try_from(reader.unsigned()?).ok()?;
                }
            }
        }
        Some(interval)
    }
}
