//! Arbitrary values of every type of the contract.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use taraz_telemetry::{
    Anchor, Clock, DIAGNOSTICS_METERS_MAX, DROPPED_RANGES_MAX, DeviceId, DeviceKey, Diagnostics, Dropped,
    Field, MPPT_MAX, MeterAddress, MeterDiagnostics, Mppt, Outcome, PollFailure, PollStatus, Quantities,
    Reading, Record, RecordRange, Recovered, ResetCause, Stamp, Start,
};

pub(crate) fn device_id() -> impl Strategy<Value = DeviceId> {
    "[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?".prop_map(|text| DeviceId::new(&text).expect("an id"))
}

pub(crate) fn device_key() -> impl Strategy<Value = DeviceKey> {
    (any::<[u8; 32]>(), any::<u8>()).prop_map(|(bytes, generation)| DeviceKey::new(bytes, generation))
}

pub(crate) fn stamp() -> impl Strategy<Value = Stamp> {
    let clock = prop_oneof![Just(Clock::Synced), Just(Clock::Holdover), Just(Clock::Unsynced)];
    (any::<u64>(), clock).prop_map(|(ms, clock)| Stamp { ms, clock })
}

/// Values over the whole range of every field, small ones as often as wide ones.
pub(crate) fn quantities() -> impl Strategy<Value = Quantities> {
    let wide = prop_oneof![
        any::<i64>(),
        any::<i32>().prop_map(i64::from),
        any::<u32>().prop_map(i64::from),
        -300..300_i64
    ];
    let mppt = (
        option::of(any::<u32>()),
        option::of(any::<i32>()),
        option::of(any::<i32>()),
    )
        .prop_map(|(voltage_dv, current_ca, power_w)| Mppt {
            voltage_dv,
            current_ca,
            power_w,
        });
    (vec((0..Field::ALL.len(), wide), 0..40), vec(mppt, 0..=MPPT_MAX)).prop_map(|(values, inputs)| {
        let mut quantities = Quantities {
            mppt: inputs.into_iter().collect(),
            ..Quantities::default()
        };
        for (field, value) in values {
            quantities.set(Field::ALL[field], value);
        }
        quantities
    })
}

fn poll_failure() -> impl Strategy<Value = PollFailure> {
    let status = prop_oneof![
        Just(PollStatus::Timeout),
        Just(PollStatus::BadFrame),
        any::<u8>().prop_map(PollStatus::Exception),
        Just(PollStatus::NotUnderstood),
        Just(PollStatus::Unstable),
    ];
    (status, 1..=u32::MAX, any::<u32>()).prop_map(|(status, count, span_ms)| PollFailure {
        status,
        count,
        span_ms,
    })
}

fn reading() -> impl Strategy<Value = Reading> {
    let outcome = prop_oneof![
        4 => quantities().prop_map(Outcome::Values),
        1 => poll_failure().prop_map(Outcome::Failed),
    ];
    let meter = (1..=247_u8).prop_map(|address| MeterAddress::new(address).expect("an address"));
    (meter, stamp(), outcome).prop_map(|(meter, stamp, outcome)| Reading {
        meter,
        stamp,
        outcome,
    })
}

fn start() -> impl Strategy<Value = Start> {
    let cause = prop_oneof![
        Just(ResetCause::Unknown),
        Just(ResetCause::PowerOn),
        Just(ResetCause::Watchdog),
        Just(ResetCause::Panic),
        Just(ResetCause::Requested),
        Just(ResetCause::BrownOut),
    ];
    let recovered =
        option::of((any::<u32>(), any::<u32>()).prop_map(|(boot, sequence)| Recovered { boot, sequence }));
    (stamp(), cause, recovered, "[ -~]{0,24}").prop_map(|(stamp, reset_cause, recovered, firmware)| Start {
        stamp,
        reset_cause,
        recovered,
        firmware: firmware.as_str().try_into().expect("24 bytes"),
    })
}

fn dropped() -> impl Strategy<Value = Dropped> {
    let range =
        (any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(boot, a, b)| (boot, a.min(b), a.max(b)));
    (stamp(), vec(range, 1..=DROPPED_RANGES_MAX)).prop_map(|(stamp, ranges)| Dropped {
        stamp,
        ranges: ranges.into_iter().collect(),
    })
}

fn diagnostics() -> impl Strategy<Value = Diagnostics> {
    let address = (1..=247_u8).prop_map(|address| MeterAddress::new(address).expect("an address"));
    let meter = (address, any::<[u32; 4]>()).prop_map(|(meter, n)| MeterDiagnostics {
        meter,
        requests: n[0],
        crc_errors: n[1],
        timeouts: n[2],
        exceptions: n[3],
    });
    let meters = vec(meter, 0..=DIAGNOSTICS_METERS_MAX);
    (stamp(), any::<[u32; 5]>(), option::of(any::<u32>()), meters).prop_map(
        |(stamp, n, stack_high_water_bytes, meters)| Diagnostics {
            stamp,
            uptime_s: n[0],
            queue_records: n[1],
            queue_capacity_records: n[2],
            dropped_records: n[3],
            link_connects: n[4],
            stack_high_water_bytes,
            meters: meters.into_iter().collect(),
        },
    )
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    let anchor = (any::<u32>(), any::<u64>(), any::<u64>(), any::<u32>()).prop_map(
        |(boot, monotonic_ms, utc_ms, error_ms)| Anchor {
            boot,
            monotonic_ms,
            utc_ms,
            error_ms,
        },
    );
    prop_oneof![
        6 => reading().prop_map(Record::Reading),
        1 => start().prop_map(Record::Start),
        1 => dropped().prop_map(Record::Dropped),
        1 => anchor.prop_map(Record::Anchor),
        1 => diagnostics().prop_map(Record::Diagnostics),
    ]
}

pub(crate) fn record_range() -> impl Strategy<Value = RecordRange> {
    (any::<u32>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(|(incarnation, boot, a, b)| {
        RecordRange {
            incarnation,
            boot,
            first: a.min(b),
            last: a.max(b),
        }
    })
}
