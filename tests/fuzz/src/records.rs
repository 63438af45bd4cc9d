//! Records of every kind, plausible ones and those at the ends of their ranges.

use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_telemetry::{
    Anchor, Clock, DeviceId, DeviceKey, Diagnostics, Dropped, FRAME_LEN_MAX, Field, FrameError, FrameWriter,
    MPPT_MAX, MeterAddress, MeterDiagnostics, Mppt, Outcome, PollFailure, PollStatus, Quantities, Reading,
    Record, Recovered, ResetCause, Stamp, Start,
};

/// 2026-11-01, UTC ms: what is plausible lies around it.
pub(crate) const NOW_MS: u64 = 1_793_491_200_000;

/// A number that is small, large or at an edge.
pub(crate) fn number(random: &mut StdRng) -> u64 {
    match random.random_range(0..6) {
        0 => 0,
        1 => random.random_range(0..200),
        2 => random.random_range(0..100_000),
        3 => u64::from(random.random::<u32>()),
        4 => u64::MAX - random.random_range(0..3),
        _ => random.random(),
    }
}

fn small(random: &mut StdRng) -> u32 {
    // The low half of any number is a number as good.
    u32::try_from(number(random) & u64::from(u32::MAX)).unwrap_or(0)
}

fn stamp(random: &mut StdRng) -> Stamp {
    let clock = [Clock::Synced, Clock::Synced, Clock::Holdover, Clock::Unsynced][random.random_range(0..4)];
    let ms = if random.random_ratio(1, 8) {
        number(random)
    } else {
        NOW_MS + random.random_range(0..86_400_000)
    };
    Stamp { ms, clock }
}

/// A reading with any of the values there are.
pub(crate) fn quantities(random: &mut StdRng) -> Quantities {
    let mut quantities = Quantities::default();
    let few = random.random_range(1..=Field::ALL.len());
    for &field in Field::ALL {
        if random.random_range(0..Field::ALL.len()) < few {
            // What does not fit the field's type is left out.
            let value = number(random).cast_signed();
            let value = if random.random() { value } else { -(value & 0xFFFF) };
            quantities.set(field, value);
        }
    }
    for _ in 0..random.random_range(0..=MPPT_MAX) {
        let some = |random: &mut StdRng| random.random::<bool>().then(|| small(random));
        let signed = |random: &mut StdRng| random.random::<bool>().then(|| small(random).cast_signed());
        let input = Mppt {
            voltage_dv: some(random),
            current_ca: signed(random),
            power_w: signed(random),
        };
        if random.random_ratio(1, 4) {
            // As many as there is room for.
            let _ = quantities.mppt.push(input);
        }
    }
    quantities
}

pub(crate) fn reading(random: &mut StdRng) -> Reading {
    let outcome = if random.random_ratio(1, 8) {
        let status = [
            PollStatus::Timeout,
            PollStatus::BadFrame,
            PollStatus::Exception(random.random()),
            PollStatus::NotUnderstood,
            PollStatus::Unstable,
        ];
        Outcome::Failed(PollFailure {
            status: status[random.random_range(0..status.len())],
            count: small(random).max(1),
            span_ms: small(random),
        })
    } else {
        Outcome::Values(quantities(random))
    };
    Reading {
        meter: MeterAddress::new(random.random_range(1..=4)).unwrap_or(METER),
        stamp: stamp(random),
        outcome,
    }
}

const METER: MeterAddress = match MeterAddress::new(1) {
    Some(meter) => meter,
    None => panic!("1 is an address"),
};

/// Any record.
pub(crate) fn record(random: &mut StdRng) -> Record {
    match random.random_range(0..12) {
        0 => Record::Start(Start {
            stamp: stamp(random),
            reset_cause: ResetCause::Watchdog,
            recovered: random.random::<bool>().then(|| Recovered {
                boot: small(random),
                sequence: small(random),
            }),
            firmware: "0.1.0".try_into().unwrap_or_default(),
        }),
        1 => {
            let mut dropped = Dropped {
                stamp: stamp(random),
                ranges: <_>::default(),
            };
            for _ in 0..random.random_range(1..6) {
                let first = small(random);
                // Fewer than there is room for.
                let _ = dropped
                    .ranges
                    .push((random.random_range(0..4), first, first.saturating_add(9)));
            }
            Record::Dropped(dropped)
        }
        2 => Record::Anchor(Anchor {
            boot: small(random),
            monotonic_ms: number(random),
            utc_ms: NOW_MS,
            error_ms: small(random),
        }),
        3 => {
            let mut diagnostics = Diagnostics {
                stamp: stamp(random),
                uptime_s: small(random),
                queue_records: small(random),
                queue_capacity_records: small(random),
                dropped_records: small(random),
                link_connects: small(random),
                stack_high_water_bytes: random.random::<bool>().then(|| small(random)),
                meters: <_>::default(),
            };
            for _ in 0..random.random_range(0..4) {
                // Fewer than there is room for.
                let _ = diagnostics.meters.push(MeterDiagnostics {
                    meter: METER,
                    requests: small(random),
                    crc_errors: small(random),
                    timeouts: small(random),
                    exceptions: small(random),
                });
            }
            Record::Diagnostics(diagnostics)
        }
        _ => Record::Reading(reading(random)),
    }
}

/// A frame of up to `count_max` records; fewer when it is full.
pub(crate) fn frame(
    random: &mut StdRng,
    key: &DeviceKey,
    device: &DeviceId,
    first: u32,
    count_max: u32,
) -> Vec<u8> {
    let mut buffer = [0; FRAME_LEN_MAX];
    let boot = random.random_range(0..4);
    let Ok(mut writer) = FrameWriter::new(&mut buffer, key.generation(), random.random(), boot, first) else {
        return Vec::new();
    };
    for _ in 0..random.random_range(1..=count_max) {
        if matches!(writer.push(&record(random)), Err(FrameError::NoRoom)) {
            break;
        }
    }
    writer.finish(key, device).to_vec()
}
