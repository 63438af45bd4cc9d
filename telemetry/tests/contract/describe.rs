//! Values as the JSON of the golden descriptions; the Python side reads the same form.

use serde_json::{Map, Value, json};
use taraz_telemetry::{
    Ack, BatchItem, Frame, MeterDiagnostics, Mppt, Outcome, PollFailure, PollStatus, Quantities, Record,
    Records, ResetCause, Stamp,
};

pub(crate) fn record(record: &Record) -> Value {
    match record {
        Record::Reading(reading) => {
            let (kind, rest) = match &reading.outcome {
                Outcome::Values(quantities) => ("reading", values(quantities)),
                Outcome::Failed(failure) => ("failed", failed(failure)),
            };
            stamped(
                kind,
                reading.stamp,
                rest,
                &json!({ "meter": reading.meter.get() }),
            )
        }
        Record::Start(start) => stamped(
            "start",
            start.stamp,
            json!({
                "reset_cause": reset_cause(start.reset_cause),
                "recovered": start.recovered.map(|r| json!({ "boot": r.boot, "sequence": r.sequence })),
                "firmware": start.firmware.as_str(),
            }),
            &json!({}),
        ),
        Record::Dropped(dropped) => stamped(
            "dropped",
            dropped.stamp,
            json!({ "ranges": *dropped.ranges }),
            &json!({}),
        ),
        Record::Anchor(anchor) => json!({
            "kind": "anchor", "boot": anchor.boot, "monotonic_ms": anchor.monotonic_ms, "utc_ms": anchor.utc_ms,
            "error_ms": anchor.error_ms,
        }),
        Record::Diagnostics(d) => stamped(
            "diagnostics",
            d.stamp,
            json!({
                "uptime_s": d.uptime_s, "queue_records": d.queue_records,
                "queue_capacity_records": d.queue_capacity_records, "dropped_records": d.dropped_records,
                "link_connects": d.link_connects, "stack_high_water_bytes": d.stack_high_water_bytes,
                "meters": d.meters.iter().map(meter_diagnostics).collect::<Value>(),
            }),
            &json!({}),
        ),
    }
}

fn meter_diagnostics(m: &MeterDiagnostics) -> Value {
    json!({
        "meter": m.meter.get(), "requests": m.requests, "crc_errors": m.crc_errors, "timeouts": m.timeouts,
        "exceptions": m.exceptions,
    })
}

pub(crate) fn records(records: Records<'_>) -> Value {
    records.map(|item| record(&item.expect("a record"))).collect()
}

pub(crate) fn frame(frame: &Frame<'_>) -> Value {
    let range = frame.range();
    json!({ "incarnation": range.incarnation, "boot": range.boot, "first": range.first, "records": records(frame.records()) })
}

pub(crate) fn ack(ack: &Ack) -> Value {
    let ranges: Value = ack
        .ranges
        .iter()
        .map(|r| json!({ "incarnation": r.incarnation, "boot": r.boot, "first": r.first, "last": r.last }))
        .collect();
    json!({ "ranges": ranges })
}

pub(crate) fn batch_item(item: &BatchItem<'_>) -> Value {
    json!({
        "position": item.position, "received_ms": item.received_ms, "device": item.device,
        "incarnation": item.incarnation, "boot": item.boot, "first": item.first, "hold": item.hold,
        "records": records(item.records()),
    })
}

fn stamped(kind: &str, stamp: Stamp, rest: Value, more: &Value) -> Value {
    let mut all = json!({ "kind": kind, "clock": stamp.clock.as_str(), "ms": stamp.ms });
    for part in [&rest, more] {
        for (name, value) in part.as_object().expect("an object") {
            all[name] = value.clone();
        }
    }
    all
}

fn values(quantities: &Quantities) -> Value {
    let scalars: Map<_, _> = quantities
        .iter()
        .map(|(field, value)| (field.name().to_owned(), json!(value)))
        .collect();
    let mut described = json!({ "values": scalars });
    if !quantities.mppt.is_empty() {
        described["mppt"] = quantities.mppt.iter().map(mppt).collect();
    }
    described
}

fn mppt(input: &Mppt) -> Value {
    let mut described = json!({});
    if let Some(v) = input.voltage_dv {
        described["voltage_dv"] = json!(v);
    }
    if let Some(v) = input.current_ca {
        described["current_ca"] = json!(v);
    }
    if let Some(v) = input.power_w {
        described["power_w"] = json!(v);
    }
    described
}

fn failed(failure: &PollFailure) -> Value {
    let mut described =
        json!({ "status": failure.status.as_str(), "count": failure.count, "span_ms": failure.span_ms });
    if let PollStatus::Exception(code) = failure.status {
        described["exception_code"] = json!(code);
    }
    described
}

fn reset_cause(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::Unknown => "unknown",
        ResetCause::PowerOn => "power_on",
        ResetCause::Watchdog => "watchdog",
        ResetCause::Panic => "panic",
        ResetCause::Requested => "requested",
        ResetCause::BrownOut => "brown_out",
    }
}
