//! A record field by field, as it states itself: for people who compare two of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use taraz_telemetry::{Diagnostics, Field, Outcome, Quantities, Record};

/// What a record states: name with unit → value. What it does not state is left out.
pub type RecordFields = BTreeMap<String, Value>;

/// The fields of a record's bytes; of bytes that are none, why.
pub(super) fn record_fields(bytes: &[u8]) -> RecordFields {
    let mut fields = RecordFields::new();
    let record = match Record::decode(bytes) {
        Ok((record, _)) => record,
        Err(error) => {
            state(&mut fields, "unreadable", error.to_string());
            return fields;
        }
    };
    let stamp = record.stamp();
    let time = stamp.utc_ms().map_or("since_boot_ms", |_| "time_ms");
    state(&mut fields, time, stamp.ms);
    state(&mut fields, "clock", stamp.clock.as_str());
    match record {
        Record::Reading(reading) => {
            state(&mut fields, "record", "reading");
            state(&mut fields, "meter", reading.meter.get());
            match reading.outcome {
                Outcome::Values(values) => quantities(&mut fields, &values),
                Outcome::Failed(failure) => {
                    state(&mut fields, "poll_status", failure.status.as_str());
                    state(&mut fields, "polls", failure.count);
                    state(&mut fields, "span_ms", failure.span_ms);
                }
            }
        }
        Record::Start(start) => {
            state(&mut fields, "record", "start");
            state(&mut fields, "reset_cause", format!("{:?}", start.reset_cause));
            state(&mut fields, "firmware", start.firmware.as_str());
            if let Some(recovered) = start.recovered {
                state(&mut fields, "recovered_boot", recovered.boot);
                state(&mut fields, "recovered_sequence", recovered.sequence);
            }
        }
        Record::Dropped(dropped) => {
            state(&mut fields, "record", "dropped");
            let ranges = dropped.ranges.iter();
            let ranges =
                ranges.map(|(boot, first, last)| json!({"boot": boot, "first": first, "last": last}));
            state(&mut fields, "ranges", ranges.collect::<Vec<_>>());
        }
        Record::Anchor(anchor) => {
            state(&mut fields, "record", "anchor");
            state(&mut fields, "anchored_boot", anchor.boot);
            state(&mut fields, "monotonic_ms", anchor.monotonic_ms);
            state(&mut fields, "utc_ms", anchor.utc_ms);
            state(&mut fields, "error_ms", anchor.error_ms);
        }
        Record::Diagnostics(diagnostics) => health(&mut fields, &diagnostics),
    }
    fields
}

fn quantities(fields: &mut RecordFields, values: &Quantities) {
    for &field in Field::ALL {
        if let Some(value) = values.get(field) {
            state(fields, field.name(), value);
        }
    }
    for (input, mppt) in (1..).zip(&values.mppt) {
        let stated = [
            ("voltage_dv", mppt.voltage_dv.map(i64::from)),
            ("current_ca", mppt.current_ca.map(i64::from)),
            ("power_w", mppt.power_w.map(i64::from)),
        ];
        for (name, value) in stated {
            if let Some(value) = value {
                state(fields, &format!("mppt{input}_{name}"), value);
            }
        }
    }
}

fn health(fields: &mut RecordFields, diagnostics: &Diagnostics) {
    state(fields, "record", "diagnostics");
    state(fields, "uptime_s", diagnostics.uptime_s);
    state(fields, "queue_records", diagnostics.queue_records);
    state(
        fields,
        "queue_capacity_records",
        diagnostics.queue_capacity_records,
    );
    state(fields, "dropped_records", diagnostics.dropped_records);
    state(fields, "link_connects", diagnostics.link_connects);
    if let Some(bytes) = diagnostics.stack_high_water_bytes {
        state(fields, "stack_high_water_bytes", bytes);
    }
    for meter in &diagnostics.meters {
        let counts = json!({
            "requests": meter.requests, "crc_errors": meter.crc_errors,
            "timeouts": meter.timeouts, "exceptions": meter.exceptions,
        });
        state(fields, &format!("meter{}", meter.meter), counts);
    }
}

fn state(fields: &mut RecordFields, name: &str, value: impl Into<Value>) {
    fields.insert(name.to_owned(), value.into());
}
