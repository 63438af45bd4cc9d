//! One column of numbers: each predicted from those before it, what is left over as varints, those compressed.
//!
//! In: the values of one field of readings of one shape, with their times and, where it is known, their power. Out: bytes, and the
//! values again. Every value of 64 bits comes back as it was: predictions only decide how short it becomes.

use super::bytes::{Reader, put_block, put_varint, unzigzag, zigzag};

/// How many values before it a prediction looks at, at most.
const WINDOW: usize = 8;
/// How many values are tried to find the predictor of a column.
const SAMPLES_MAX: usize = 256;

/// What is known beside a column when it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside<'c> {
    /// UTC ms.
    pub(super) times_ms: &'c [i64],
    /// Active power in W.
    pub(super) power_w: &'c [i64],
}

/// How a value is predicted. The numbers stand in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Predictor {
    /// As the last one.
    Last = 0,
    /// As the mean of those before it: noise is not counted twice.
    Mean = 1,
    /// On the line through those before it: times, registers.
    Trend = 2,
    /// As the mean of those before it, with the energy that flowed since at the power stated: registers in Wh.
    Energy = 3,
    /// In the proportion of those before it to power: currents, power at the other side.
    Share = 4,
}

impl Predictor {
    const ALL: [Self; 5] = [Self::Last, Self::Mean, Self::Trend, Self::Energy, Self::Share];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|predictor| *predictor as u8 == number)
    }

    /// The value that is expected behind `before`. Anything goes, as long as the reader expects the same.
    fn expect(self, before: &[i64], beside: Beside<'_>) -> i64 {
        let at = before.len();
        let window = at.min(WINDOW);
        let Some((&last, recent)) = before.last().zip(before.get(at - window..)) else {
            return 0;
        };
        match self {
            Self::Last => last,
            Self::Mean => mean(recent.iter().map(|&value| i128::from(value)), window),
            Self::Trend => trend(recent).unwrap_or(last),
            Self::Energy => energy(recent, at, beside).unwrap_or(last),
            Self::Share => share(recent, at, beside).unwrap_or(last),
        }
    }
}

/// The mean of `count` numbers, rounded.
fn mean(values: impl Iterator<Item = i128>, count: usize) -> i64 {
    let count = i128::try_from(count.max(1)).unwrap_or(1);
    // The low 64 bits: what is beyond them is no prediction worth having, but still the same one on both sides.
    #[allow(clippy::cast_possible_truncation)]
    let mean = (values.sum::<i128>() + count / 2).div_euclid(count) as i64;
    mean
}

fn trend(recent: &[i64]) -> Option<i64> {
    let steps = i128::try_from(recent.len().checked_sub(1).filter(|&steps| steps > 0)?).ok()?;
    let rise = i128::from(*recent.last()?) - i128::from(*recent.first()?);
    let ahead = (1..=steps + 1)
        .rev()
        .map(|distance| (rise * distance).div_euclid(steps));
    let lines = recent
        .iter()
        .zip(ahead)
        .map(|(&value, rise)| i128::from(value) + rise);
    Some(mean(lines, recent.len()))
}

fn energy(recent: &[i64], at: usize, beside: Beside<'_>) -> Option<i64> {
    /// Twice the ms of an hour, for sums of two powers.
    const MS_PER_H_TWICE: i128 = 7_200_000;
    let mut since = 0_i128;
    let mut expected = Vec::with_capacity(WINDOW);
    for (back, &value) in recent.iter().rev().enumerate() {
        let (to, from) = (at - back, at - back - 1);
        let power_w = i128::from(*beside.power_w.get(to)?) + i128::from(*beside.power_w.get(from)?);
        let dt_ms = i128::from(*beside.times_ms.get(to)?) - i128::from(*beside.times_ms.get(from)?);
        since = power_w.checked_mul(dt_ms)?.checked_add(since)?;
        expected.push(i128::from(value) + since.checked_abs()?.div_euclid(MS_PER_H_TWICE));
    }
    let count = expected.len();
    Some(mean(expected.into_iter(), count))
}

fn share(recent: &[i64], at: usize, beside: Beside<'_>) -> Option<i64> {
    let now_w = i128::from(*beside.power_w.get(at)?);
    let before_w: i128 = beside
        .power_w
        .get(at - recent.len()..at)?
        .iter()
        .map(|&power_w| i128::from(power_w))
        .sum();
    let sum: i128 = recent.iter().map(|&value| i128::from(value)).sum();
    if before_w == 0 {
        return None;
    }
    i64::try_from(sum.checked_mul(now_w)?.div_euclid(before_w)).ok()
}

/// Appends a column.
pub(super) fn encode(bytes: &mut Vec<u8>, column: &[i64], beside: Beside<'_>) -> Option<()> {
    let predictor = Predictor::ALL.into_iter().min_by_key(|predictor| {
        let step = column.len().div_ceil(SAMPLES_MAX).max(1);
        (0..column.len())
            .step_by(step)
            .map(|at| left(*predictor, column, at, beside))
            .map(|left| u64::from(u64::BITS - left.leading_zeros()))
            .sum::<u64>()
    })?;
    let mut varints = Vec::with_capacity(column.len() * 2);
    for at in 0..column.len() {
        put_varint(&mut varints, left(predictor, column, at, beside));
    }
    bytes.push(predictor as u8);
    put_block(bytes, &varints)
}

/// What the prediction leaves over of a value.
fn left(predictor: Predictor, column: &[i64], at: usize, beside: Beside<'_>) -> u64 {
    let expected = predictor.expect(&column[..at], beside);
    zigzag(column[at].wrapping_sub(expected))
}

/// Reads a column of `count` values.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize, beside: Beside<'_>) -> Option<Vec<i64>> {
    let predictor = Predictor::of(reader.byte()?)?;
    let varints = reader.block()?;
    let mut varints = Reader::new(&varints);
    let mut column = Vec::with_capacity(count);
    for _ in 0..count {
        let expected = predictor.expect(&column, beside);
        column.push(expected.wrapping_add(unzigzag(varints.varint()?)));
    }
    varints.is_empty().then_some(column)
}
