//! Readings as rows of numbers: what readings of one meter have in common, and what differs.
//!
//! Readings have one shape when everything but their numbers is equal: meter, quality of the clock, which values are present, why a
//! poll failed. A shape is kept as one of its readings.

use taraz_telemetry::{
    Clock, Field, MPPT_MAX, MeterAddress, Mppt, Outcome, PollStatus, Quantities, Reading, Record,
};

/// Where the time stands in a row.
pub(super) const TIME: usize = 0;

/// The numbers of a reading: its time, then its values in the order of the fields, then those of its MPPT inputs.
pub(super) fn row(reading: &Reading) -> Option<Vec<i64>> {
    let mut row = vec![i64::try_from(reading.stamp.ms).ok()?];
    match &reading.outcome {
        Outcome::Values(quantities) => {
            row.extend(quantities.iter().map(|(_, value)| value));
            for input in &quantities.mppt {
                row.extend(input.voltage_dv.map(i64::from));
                row.extend(input.current_ca.map(i64::from));
                row.extend(input.power_w.map(i64::from));
            }
        }
        Outcome::Failed(failure) => row.extend([failure.count, failure.span_ms].map(i64::from)),
    }
    Some(row)
}

/// The reading of a shape (one of its readings) with the numbers of a row.
pub(super) fn fill(shape: &Reading, row: &[i64]) -> Option<Reading> {
    let mut numbers = row.iter().copied();
    let mut reading = shape.clone();
    reading.stamp.ms = u64::try_from(numbers.next()?).ok()?;
    match &mut reading.outcome {
        Outcome::Values(quantities) => {
            for field in fields(quantities) {
                quantities.set(field, numbers.next()?).then_some(())?;
            }
            for input in &mut quantities.mppt {
                fill_input(input, &mut numbers)?;
            }
        }
        Outcome::Failed(failure) => {
            failure.count = u32::try_from(numbers.next()?).ok()?;
            failure.span_ms = u32::try_from(numbers.next()?).ok()?;
        }
    }
    numbers.next().is_none().then_some(reading)
}

fn fill_input(input: &mut Mppt, numbers: &mut impl Iterator<Item = i64>) -> Option<()> {
    if let Some(voltage_dv) = &mut input.voltage_dv {
        *voltage_dv = u32::try_from(numbers.next()?).ok()?;
    }
    if let Some(current_ca) = &mut input.current_ca {
        *current_ca = i32::try_from(numbers.next()?).ok()?;
    }
    if let Some(power_w) = &mut input.power_w {
        *power_w = i32::try_from(numbers.next()?).ok()?;
    }
    Some(())
}

fn fields(quantities: &Quantities) -> Vec<Field> {
    quantities.iter().map(|(field, _)| field).collect()
}

/// Everything of a reading but its numbers; equal for readings of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    meter: MeterAddress,
    clock: Clock,
    status: Option<PollStatus>,
    /// A bit for each field that is present.
    fields: u64,
    /// Of each MPPT input a bit for each value that is present, and one for the input.
    inputs: [u8; MPPT_MAX],
}

impl Key {
    pub(super) fn of(reading: &Reading) -> Self {
        let mut key = Self {
            meter: reading.meter,
            clock: reading.stamp.clock,
            status: None,
            fields: 0,
            inputs: [0; MPPT_MAX],
        };
        match &reading.outcome {
            Outcome::Values(quantities) => {
                key.fields = quantities
                    .iter()
                    .fold(0, |bits, (field, _)| bits | 1 << field as u32);
                for (bits, input) in key.inputs.iter_mut().zip(&quantities.mppt) {
                    *bits = 8
                        | u8::from(input.voltage_dv.is_some())
                        | u8::from(input.current_ca.is_some()) << 1
                        | u8::from(input.power_w.is_some()) << 2;
                }
            }
            Outcome::Failed(failure) => key.status = Some(failure.status),
        }
        key
    }
}

/// Where active power stands in the rows of a shape.
pub(super) fn power_at(shape: &Reading) -> Option<usize> {
    let Outcome::Values(quantities) = &shape.outcome else {
        return None;
    };
    let mut fields = quantities.iter().map(|(field, _)| field);
    Some(1 + fields.position(|field| field == Field::AcPowerW)?)
}

/// A shape out of the bytes of one of its readings.
pub(super) fn from_bytes(bytes: &[u8]) -> Option<Reading> {
    match Record::decode(bytes) {
        Ok((Record::Reading(reading), [])) => Some(reading),
        _ => None,
    }
}
