//! What records say by themselves: which they are, which registers they state.

use taraz_telemetry::{BatchItem, MeterAddress, Outcome, Quantities, Reading, Record};

use super::state::Register;
use crate::counters::RecordKind;

/// Stands where a held record's reason stood after a person has decided that it never counts.
pub(super) const DROPPED: &str = "dropped";

/// Nothing later than 2200-01-01 is believed, whatever a gateway says.
pub(super) const TIME_MS_MAX: i64 = 7_258_118_400_000;

/// All records of an item, or why it can never be read.
pub(super) fn decode<'i>(item: &BatchItem<'i>) -> Result<Vec<(Record, &'i [u8])>, String> {
    let mut records = Vec::new();
    let mut rest = item.records();
    while let Some(next) = rest.next_with_bytes() {
        records.push(next.map_err(|error| format!("record {}: {error}", records.len()))?);
    }
    let last = records.len().checked_sub(1).ok_or("the item holds no record")?;
    let last = u32::try_from(last)
        .ok()
        .and_then(|more| item.first.checked_add(more));
    last.map(|_| records)
        .ok_or_else(|| "the sequence numbers run past 32 bits".to_owned())
}

/// The energy registers that a reading states, in Wh.
pub(super) fn registers(reading: &Reading) -> impl Iterator<Item = (Register, i64)> + use<> {
    let value = |raw: Option<u64>| raw.map(|wh| i64::try_from(wh).unwrap_or(i64::MAX));
    let values = match &reading.outcome {
        Outcome::Values(Quantities {
            energy_wh,
            import_wh,
            export_wh,
            ..
        }) => [value(*energy_wh), value(*import_wh), value(*export_wh)],
        Outcome::Failed(_) => [None; 3],
    };
    Register::ALL
        .into_iter()
        .zip(values)
        .filter_map(|(register, value)| Some((register, value?)))
}

/// Power that a meter need not count, in millionths of its rating. IEC 62053-21, starting current of class 1: 0.4 % of the basic
/// current, and the highest current is at least four times the basic one.
const STARTING_POWER_PPM: u64 = 1_000;

/// The register of a two-way meter that a reading says nothing of, although power flows its way or nobody knows which way it
/// flows. A reading that states both, or neither, has none.
pub(super) fn unstated(reading: &Reading, rated_w: u32) -> Option<Register> {
    let Outcome::Values(values) = &reading.outcome else {
        return None;
    };
    let register = match (values.import_wh, values.export_wh) {
        (Some(_), None) => Register::Export,
        (None, Some(_)) => Register::Import,
        _ => return None,
    };
    let Some(power_w) = values.ac_power_w else {
        return Some(register);
    };
    let is_its_way = if register == Register::Import {
        power_w > 0
    } else {
        power_w < 0
    };
    let starting_w = u64::from(rated_w) * STARTING_POWER_PPM / 1_000_000;
    (is_its_way && u64::from(power_w.unsigned_abs()) > starting_w).then_some(register)
}

/// What it is counted as.
pub(super) fn kind_of(record: &Record) -> RecordKind {
    match record {
        Record::Reading(Reading {
            outcome: Outcome::Values(_),
            ..
        }) => RecordKind::Reading,
        Record::Reading(_) => RecordKind::Failure,
        Record::Start(_) => RecordKind::Start,
        Record::Dropped(_) => RecordKind::Dropped,
        Record::Anchor(_) => RecordKind::Anchor,
        Record::Diagnostics(_) => RecordKind::Diagnostics,
    }
}

/// The meter that it is about.
pub(super) fn meter_of(record: &Record) -> Option<MeterAddress> {
    match record {
        Record::Reading(reading) => Some(reading.meter),
        _ => None,
    }
}
