//! One point of a model: from its registers to an integer in our unit, or absent.

use taraz_telemetry::Field;

use crate::modbus::Registers;
use crate::scale;

/// *SunSpec Device Information Model Specification*, "Scale Factors": an exponent of −10 to 10.
const SCALE_FACTOR_MAX: i16 = 10;
/// The pattern of a scale factor, and of an int16, that is not implemented.
const INT16_ABSENT: u16 = 0x8000;
const UINT16_ABSENT: u16 = 0xFFFF;
/// "If the most significant bit in a bitfield is set, all other bits shall be ignored": 0xFFFFFFFF, in practice.
const BITFIELD32_IGNORED: u32 = 0x8000_0000;
/// 1.0 as an IEEE 754 single.
const ONE_BITS: u32 = 0x3F80_0000;

/// The type of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 0x8000 is absent.
    Int16,
    /// 0xFFFF is absent.
    Uint16,
    /// An accumulator: 0 is absent ("not accumulated"), and so is 0xFFFFFFFF.
    Acc32,
    /// 0xFFFF is absent.
    Enum16,
    /// Absent when its highest bit is set.
    Bitfield32,
    /// NaN is absent.
    Float32,
    /// A power factor of models 211 to 214. Their unit is "PF", which some state as a ratio and some in percent: up to 1
    /// it is a ratio, above it is percent (a load with a power factor of 1 % does not exist).
    Float32PowerFactor,
}

/// One point of a model that we carry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// Its name in the model's definition.
    #[cfg_attr(not(test), allow(dead_code))]
    pub(crate) name: &'static str,
    /// Registers from the model's ID to the point.
    pub(crate) offset: u16,
    /// Its type.
    pub(crate) kind: Kind,
    /// Registers from the model's ID to its scale factor.
    pub(crate) scale_at: Option<u16>,
    /// What it is to us.
    pub(crate) field: Field,
    /// Decimal places of our unit: 1 for 0.1 V, 3 for mHz.
    pub(crate) places: u8,
}

impl Point {
    /// The point's value in our unit; `None` when it, or its scale factor, is not implemented or not read.
    pub(crate) fn value(&self, model: Registers<'_>) -> Option<i64> {
        let exponent = i32::from(self.places) + i32::from(scale_factor(model, self.scale_at)?);
        raw_value(model, usize::from(self.offset), self.kind, exponent)
    }
}

impl Kind {
    /// How many registers it takes.
    pub(crate) const fn registers(self) -> u16 {
        match self {
            Self::Int16 | Self::Uint16 | Self::Enum16 => 1,
            Self::Acc32 | Self::Bitfield32 | Self::Float32 | Self::Float32PowerFactor => 2,
        }
    }
}

/// The scale factor at an offset: 0 where there is none, `None` where it is not implemented or out of range.
pub(crate) fn scale_factor(model: Registers<'_>, at: Option<u16>) -> Option<i16> {
    let Some(at) = at else { return Some(0) };
    let raw = model.u16(usize::from(at))?;
    let factor = raw.cast_signed();
    (raw != INT16_ABSENT && (-SCALE_FACTOR_MAX..=SCALE_FACTOR_MAX).contains(&factor)).then_some(factor)
}

/// The value at an offset times 10^`exponent`.
pub(crate) fn raw_value(model: Registers<'_>, at: usize, kind: Kind, exponent: i32) -> Option<i64> {
    let places = exponent.unsigned_abs();
    match kind {
        Kind::Int16 => {
            let raw = model.u16(at).filter(|&raw| raw != INT16_ABSENT)?;
            scale::decimal(i64::from(raw.cast_signed()), exponent)
        }
        Kind::Uint16 | Kind::Enum16 => {
            let raw = model.u16(at).filter(|&raw| raw != UINT16_ABSENT)?;
            scale::decimal(i64::from(raw), exponent)
        }
        Kind::Acc32 => {
            let raw = model.u32(at).filter(|&raw| raw != 0 && raw != u32::MAX)?;
            scale::decimal(i64::from(raw), exponent)
        }
        Kind::Bitfield32 => model
            .u32(at)
            .filter(|raw| raw & BITFIELD32_IGNORED == 0)
            .map(i64::from),
        Kind::Float32 => scale::float(model.u32(at)?, places),
        Kind::Float32PowerFactor => {
            let bits = model.u32(at)?;
            let ratio = bits & !(1 << 31) <= ONE_BITS;
            scale::float(bits, if ratio { places } else { places.saturating_sub(2) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind, bytes: &[u8], exponent: i32) -> Option<i64> {
        raw_value(Registers::new(bytes), 0, kind, exponent)
    }

    #[test]
    fn what_is_not_implemented_is_absent() {
        assert_eq!(value(Kind::Int16, &[0x80, 0x00], 0), None);
        assert_eq!(value(Kind::Uint16, &[0xFF, 0xFF], 0), None);
        assert_eq!(value(Kind::Enum16, &[0xFF, 0xFF], 0), None);
        assert_eq!(value(Kind::Acc32, &[0; 4], 0), None);
        assert_eq!(value(Kind::Acc32, &[0xFF; 4], 0), None);
        assert_eq!(value(Kind::Bitfield32, &[0xFF; 4], 0), None);
        assert_eq!(value(Kind::Bitfield32, &[0x80, 0, 0, 0], 0), None);
        assert_eq!(value(Kind::Float32, &[0x7F, 0xC0, 0, 0], 0), None);
        assert_eq!(value(Kind::Int16, &[0x01], 0), None);
    }

    #[test]
    fn neighbours_of_the_patterns_are_values() {
        assert_eq!(value(Kind::Int16, &[0xFF, 0xFF], 0), Some(-1));
        assert_eq!(value(Kind::Uint16, &[0x80, 0x00], 0), Some(0x8000));
        assert_eq!(value(Kind::Uint16, &[0, 0], 0), Some(0));
        assert_eq!(value(Kind::Acc32, &[0, 0, 0, 1], 0), Some(1));
        assert_eq!(value(Kind::Bitfield32, &[0; 4], 0), Some(0));
        assert_eq!(value(Kind::Float32, &[0; 4], 1), Some(0));
    }

    #[test]
    fn scale_factors_are_bounded() {
        let factor = |raw: i16| scale_factor(Registers::new(&raw.to_be_bytes()), Some(0));
        assert_eq!(factor(-10), Some(-10));
        assert_eq!(factor(10), Some(10));
        assert_eq!((factor(11), factor(-11), factor(i16::MIN)), (None, None, None));
        assert_eq!(scale_factor(Registers::new(&[]), Some(0)), None);
        assert_eq!(scale_factor(Registers::new(&[]), None), Some(0));
    }

    #[test]
    fn a_power_factor_may_be_a_ratio_or_percent() {
        let permille = |value: f32| value.to_be_bytes();
        for (stated, expected) in [
            (0.95, 950),
            (-0.5, -500),
            (1.0, 1000),
            (95.0, 950),
            (-100.0, -1000),
            (0.0, 0),
        ] {
            let bytes = permille(stated);
            assert_eq!(
                value(Kind::Float32PowerFactor, &bytes, 3),
                Some(expected),
                "{stated}"
            );
        }
    }
}
