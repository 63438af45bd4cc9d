//! From a meter's number to an integer in our unit: exact, rounded half away from zero, no floating point.

/// The largest exponent that [`float`] takes; 24 bits of mantissa and ten to its power fit 64 bits.
const FLOAT_EXPONENT_MAX: u32 = 9;

/// `value` · 10^`exponent`. `None` when the result does not fit.
pub(crate) fn decimal(value: i64, exponent: i32) -> Option<i64> {
    let power = 10_i64.checked_pow(exponent.unsigned_abs());
    match (exponent >= 0, power) {
        (true, Some(power)) => value.checked_mul(power),
        (true, None) => (value == 0).then_some(0),
        (false, Some(power)) => Some(divided(value, power)),
        // A value of at most 64 bits is less than half of 10^19.
        (false, None) => Some(0),
    }
}

/// The IEEE 754 single with these bits, times 10^`exponent` (at most 9). `None` for NaN, infinities and what does not
/// fit.
pub(crate) fn float(bits: u32, exponent: u32) -> Option<i64> {
    let biased = (bits >> 23 & 0xFF).cast_signed();
    if biased == 0xFF {
        return None;
    }
    let fraction = u64::from(bits & 0x7F_FFFF);
    let (mantissa, shift) = if biased == 0 {
        (fraction, -149)
    } else {
        (fraction | 1 << 23, biased - 150)
    };
    let scaled = mantissa * 10_u64.pow(exponent.min(FLOAT_EXPONENT_MAX));
    let magnitude = shifted(scaled, shift)?;
    Some(if bits >> 31 == 1 { -magnitude } else { magnitude })
}

fn divided(value: i64, power: i64) -> i64 {
    let (whole, rest) = (value / power, value % power);
    if rest.unsigned_abs() * 2 >= power.unsigned_abs() {
        whole + value.signum()
    } else {
        whole
    }
}

/// `value` · 2^`shift`, rounded half up; `value` is below 2^54.
fn shifted(value: u64, shift: i32) -> Option<i64> {
    let bits = shift.unsigned_abs();
    if value == 0 {
        return Some(0);
    }
    if shift >= 0 {
        return if bits < value.leading_zeros() {
            i64::try_from(value << bits).ok()
        } else {
            None
        };
    }
    match bits {
        0..=62 => i64::try_from((value + (1 << (bits - 1))) >> bits).ok(),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_go_away_from_zero() {
        assert_eq!(decimal(25, -1), Some(3));
        assert_eq!(decimal(-25, -1), Some(-3));
        assert_eq!(decimal(24, -1), Some(2));
        assert_eq!(decimal(-24, -1), Some(-2));
        assert_eq!(float(2.5_f32.to_bits(), 0), Some(3));
        assert_eq!(float((-2.5_f32).to_bits(), 0), Some(-3));
        assert_eq!(float(0.25_f32.to_bits(), 1), Some(3));
        assert_eq!(float(0.249_999_99_f32.to_bits(), 1), Some(2));
    }

    #[test]
    fn the_ends_of_the_range() {
        assert_eq!(decimal(i64::MAX, 1), None);
        assert_eq!(decimal(0, 40), Some(0));
        assert_eq!(decimal(1, 40), None);
        assert_eq!(decimal(i64::MIN, -40), Some(0));
        assert_eq!(decimal(i64::MIN, -18), Some(-9));
        assert_eq!(float(f32::NAN.to_bits(), 0), None);
        assert_eq!(float(f32::INFINITY.to_bits(), 0), None);
        assert_eq!(float(f32::NEG_INFINITY.to_bits(), 3), None);
        assert_eq!(float(f32::MAX.to_bits(), 0), None);
        assert_eq!(float(f32::MIN_POSITIVE.to_bits(), 9), Some(0));
        assert_eq!(float(1, 9), Some(0));
        assert_eq!(float(0x8000_0000, 3), Some(0));
        assert_eq!(
            float((-9.223_371_5e18_f32).to_bits(), 0),
            Some(-9_223_371_487_098_961_920)
        );
        assert_eq!(float(0x5F00_0000, 0), None);
    }

    proptest! {
        #[test]
        fn decimal_agrees_with_wider_arithmetic(value in any::<i32>(), exponent in -20_i32..=9) {
            let exact = match u32::try_from(exponent) {
                Ok(up) => i128::from(value) * 10_i128.pow(up),
                Err(_) => {
                    let power = 10_i128.pow(exponent.unsigned_abs());
                    let half = power / 2 * i128::from(value.signum());
                    (i128::from(value) + half) / power
                }
            };
            prop_assert_eq!(decimal(i64::from(value), exponent).map(i128::from), i64::try_from(exact).ok().map(i128::from));
        }

        /// A single times 10^3 is exact in a double, whose `round` goes half away from zero.
        #[test]
        fn float_agrees_with_doubles(value in any::<f32>(), exponent in 0_u32..=3) {
            let exact = f64::from(value) * 10_f64.powi(exponent.cast_signed());
            let expected = (exact.is_finite() && exact.abs() < 9.2e18).then(|| exact.round());
            if exact.abs() < 9.2e18 || !exact.is_finite() {
                #[allow(clippy::cast_precision_loss)]
                let got = float(value.to_bits(), exponent).map(|v| v as f64);
                prop_assert_eq!(got, expected);
            }
        }

        #[test]
        fn nothing_panics(value in any::<i64>(), exponent in any::<i32>(), bits in any::<u32>(), power in any::<u32>()) {
            let _ = decimal(value, exponent);
            let _ = float(bits, power);
        }
    }
}
