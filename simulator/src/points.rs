//! Points: how a quantity stands in registers, and what those registers then state.
//!
//! Simulated meters write registers with this module and journal what they state; nothing here decodes registers.

use taraz_telemetry::Field;

use crate::quantity::{MpptPart, Q, Snapshot, field_exponent, mppt_exponent};

/// How a value stands in registers. The exponent is the power of ten of one count, in the unit of [`Q`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// One register, unsigned.
    U16(i8),
    /// One register, unsigned, counted from `zero` counts on.
    U16Above {
        /// Power of ten of one count.
        exponent: i8,
        /// What the register's 0 stands for, in counts.
        zero: i64,
    },
    /// One register, two's complement.
    I16(i8),
    /// Two registers, unsigned, high word first.
    U32(i8),
    /// Two registers, SunSpec accumulator: it rolls over, and 0 means "not accumulated".
    Acc32(i8),
    /// Two registers, IEEE 754 single precision of the value in `10^unit`, in steps of `10^step`.
    F32 {
        /// Power of ten of the unit that the float counts.
        unit: i8,
        /// Power of ten of the meter's resolution.
        step: i8,
    },
    /// One register, a code as it is.
    Code16,
    /// Two registers, bits as they are.
    Bits32,
    /// One register: Growatt's operating status.
    GrowattStatus,
}

/// The largest unsigned 16-bit value of a SunSpec point: 0xFFFF means "not implemented".
const U16_MAX: i64 = 0xFFFE;
/// 0x8000 means "not implemented".
const I16_MIN: i64 = -0x7FFF;
/// 0xFFFF_FFFF means "not implemented".
const U32_MAX: i64 = 0xFFFF_FFFE;

/// What a value is called where it ends up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Field(Field),
    Mppt(u8, MpptPart),
}

impl What {
    const fn exponent(self) -> i8 {
        match self {
            Self::Field(field) => field_exponent(field),
            Self::Mppt(_, part) => mppt_exponent(part),
        }
    }
}

/// A quantity at a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    /// Register, counted from the beginning of its block.
    pub(crate) at: u16,
    pub(crate) q: Q,
    pub(crate) encoding: Encoding,
    /// What the gateway's readings call it; `None` for what no reading carries.
    pub(crate) what: Option<What>,
}

/// What the registers of a point state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    /// First register, counted from the beginning of its block.
    pub(crate) at: u16,
    pub(crate) registers: u16,
    pub(crate) what: What,
    pub(crate) value: i64,
}

impl Encoding {
    /// How many registers it takes.
    pub(crate) const fn registers(self) -> u16 {
        match self {
            Self::U16(_) | Self::U16Above { .. } | Self::I16(_) | Self::Code16 | Self::GrowattStatus => 1,
            Self::U32(_) | Self::Acc32(_) | Self::F32 { .. } | Self::Bits32 => 2,
        }
    }
}

impl Point {
    /// Writes the point's registers and notes what they state. A quantity that the meter does not know leaves the
    /// registers as the template has them.
    pub(crate) fn write(&self, snapshot: &Snapshot, registers: &mut [u16], stated: &mut Vec<Stated>) {
        let Some(value) = snapshot.get(self.q) else { return };
        let at = usize::from(self.at);
        let states = self.what.map_or(0, What::exponent);
        let (raw, value) = self.quantise(value, states);
        match self.encoding.registers() {
            1 => registers[at] = low_word(raw),
            _ => {
                registers[at] = low_word(raw >> 16);
                registers[at + 1] = low_word(raw);
            }
        }
        if let (Some(what), Some(value)) = (self.what, value) {
            stated.push(Stated {
                at: self.at,
                registers: self.encoding.registers(),
                what,
                value,
            });
        }
    }

    /// The bits in the registers and what they state in `10^states`; `None` when they state nothing.
    fn quantise(&self, value: i64, states: i8) -> (i64, Option<i64>) {
        let have = self.q.exponent();
        let counts = |exponent: i8| {
            if self.q.is_counter() {
                floor_to(value, have - exponent)
            } else {
                round_to(value, have - exponent)
            }
        };
        let integer = |raw: i64, exponent: i8| (raw, Some(round_to(raw, exponent - states)));
        match self.encoding {
            Encoding::U16(exponent) => integer(counts(exponent).clamp(0, U16_MAX), exponent),
            Encoding::U16Above { exponent, zero } => {
                let raw = (counts(exponent) - zero).clamp(0, U16_MAX);
                (raw, Some(round_to(raw + zero, exponent - states)))
            }
            Encoding::I16(exponent) => {
                integer(counts(exponent).clamp(I16_MIN, i64::from(i16::MAX)), exponent)
            }
            Encoding::U32(exponent) => integer(counts(exponent).clamp(0, U32_MAX), exponent),
            Encoding::Acc32(exponent) => match counts(exponent).rem_euclid(1 << 32) {
                0 => (0, None),
                raw => integer(raw, exponent),
            },
            Encoding::F32 { unit, step } => {
                let single = self.single(scale_f64(counts(step) as f64, step - unit));
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "register values are far below i64"
                )]
                let stated = scale_f64(f64::from(single), unit - states).round() as i64;
                (i64::from(single.to_bits()), Some(stated))
            }
            Encoding::Code16 | Encoding::Bits32 => (value, Some(value)),
            Encoding::GrowattStatus => growatt_status(value),
        }
    }
}

impl Point {
    /// The nearest single; for a counter the nearest that is not above, so that it states only what is full.
    fn single(&self, value: f64) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the meter has single precision: that is its resolution"
        )]
        let nearest = value as f32;
        if self.q.is_counter() && f64::from(nearest) > value {
            nearest.next_down()
        } else {
            nearest
        }
    }
}

/// Growatt's status (0 waiting, 1 normal, 3 fault) for a SunSpec state, and the state that it stands for.
fn growatt_status(state: i64) -> (i64, Option<i64>) {
    use crate::physics::state::{FAULT, MPPT, STANDBY};
    match state {
        MPPT => (1, Some(MPPT)),
        FAULT => (3, Some(FAULT)),
        _ => (0, Some(STANDBY)),
    }
}

fn low_word(value: i64) -> u16 {
    let [.., high, low] = value.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// `value · 10^exponent`, half away from zero.
fn round_to(value: i64, exponent: i8) -> i64 {
    if exponent >= 0 {
        return value.saturating_mul(power_of_ten(exponent));
    }
    let divisor = power_of_ten(-exponent);
    (value.abs() + divisor / 2) / divisor * value.signum()
}

/// `value · 10^exponent`, downwards.
fn floor_to(value: i64, exponent: i8) -> i64 {
    if exponent >= 0 {
        value.saturating_mul(power_of_ten(exponent))
    } else {
        value.div_euclid(power_of_ten(-exponent))
    }
}

fn power_of_ten(exponent: i8) -> i64 {
    10_i64.saturating_pow(u32::from(exponent.unsigned_abs()))
}

/// `value · 10^exponent`; a negative power divides, so that the nearest float results.
fn scale_f64(value: f64, exponent: i8) -> f64 {
    let power = power_of_ten(exponent) as f64;
    if exponent >= 0 {
        value * power
    } else {
        value / power
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(q: Q, encoding: Encoding, what: What, value: i64) -> (Vec<u16>, Option<i64>) {
        let mut snapshot = Snapshot::default();
        snapshot.set(q, value);
        let (mut registers, mut stated) = (vec![0; 2], Vec::new());
        Point {
            at: 0,
            q,
            encoding,
            what: Some(what),
        }
        .write(&snapshot, &mut registers, &mut stated);
        (registers, stated.first().map(|stated| stated.value))
    }

    #[test]
    fn a_finer_register_is_rounded_half_away_from_zero() {
        let volts = What::Field(Field::VoltageAnDv);
        assert_eq!(
            write(Q::PhvA, Encoding::U16(-2), volts, 230_450),
            (vec![23_045, 0], Some(2_305))
        );
        assert_eq!(
            write(Q::PhvA, Encoding::U16(-2), volts, 230_444),
            (vec![23_044, 0], Some(2_304))
        );
        let watts = What::Field(Field::AcPowerW);
        assert_eq!(
            write(Q::W, Encoding::I16(-1), watts, -12_500),
            (vec![0xFF83, 0], Some(-13))
        );
    }

    #[test]
    fn a_coarser_register_states_multiples() {
        let watts = What::Field(Field::AcPowerW);
        assert_eq!(
            write(Q::W, Encoding::I16(2), watts, 123_456_000),
            (vec![1_235, 0], Some(123_500))
        );
        assert_eq!(
            write(Q::W, Encoding::I16(0), watts, 99_000_000),
            (vec![32_767, 0], Some(32_767)),
            "it saturates"
        );
    }

    #[test]
    fn a_counter_states_what_is_full_and_zero_is_nothing() {
        let energy = What::Field(Field::EnergyWh);
        assert_eq!(
            write(Q::Wh, Encoding::Acc32(0), energy, 1_999),
            (vec![0, 1], Some(1))
        );
        assert_eq!(write(Q::Wh, Encoding::Acc32(0), energy, 999), (vec![0, 0], None));
        assert_eq!(
            write(Q::Wh, Encoding::Acc32(1), energy, 12_399_999),
            (vec![0, 1_239], Some(12_390))
        );
        assert_eq!(
            write(Q::Wh, Encoding::Acc32(-1), energy, 12_355),
            (vec![0, 123], Some(12))
        );
    }

    #[test]
    fn a_float_states_what_single_precision_holds() {
        let energy = What::Field(Field::ImportWh);
        let encoding = Encoding::F32 { unit: 3, step: 1 };
        let (registers, stated) = write(Q::Import, encoding, energy, 12_345_678_999);
        assert_eq!(stated, Some(12_345_670));
        let bits = u32::from(registers[0]) << 16 | u32::from(registers[1]);
        assert_eq!(f32::from_bits(bits), 12_345.67_f32);
        let volts = write(
            Q::PhvA,
            Encoding::F32 { unit: 0, step: -1 },
            What::Field(Field::VoltageAnDv),
            230_449,
        );
        assert_eq!(volts.1, Some(2_304));
    }
}
