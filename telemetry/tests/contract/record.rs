//! One record: its one spelling, its longest one, and what is refused.

use proptest::prelude::*;
use taraz_telemetry::{
    Anchor, Clock, DIAGNOSTICS_METERS_MAX, DROPPED_RANGES_MAX, Diagnostics, Dropped, Field,
    HOLDOVER_ERROR_MS_MAX, MPPT_MAX, MeterAddress, MeterDiagnostics, Mppt, Outcome, PollFailure, PollStatus,
    Quantities, RECORD_LEN_MAX, Reading, Record, RecordError, Recovered, ResetCause, SYNCED_ERROR_MS_MAX,
    Stamp, Start,
};

use crate::strategies;

const WIDEST_STAMP: Stamp = Stamp {
    ms: u64::MAX,
    clock: Clock::Unsynced,
};

fn encode(record: &Record) -> Vec<u8> {
    record
        .encode(&mut [0; RECORD_LEN_MAX])
        .expect("RECORD_LEN_MAX suffices")
        .to_vec()
}

fn reading(outcome: Outcome) -> Record {
    Record::Reading(Reading {
        meter: MeterAddress::new(247).expect("an address"),
        stamp: WIDEST_STAMP,
        outcome,
    })
}

/// Every field at a value whose varint is longest: the extreme that is farthest from zero after bias and zigzag.
fn widest_reading() -> Record {
    let mut quantities = Quantities::default();
    for &field in Field::ALL {
        let extremes = [
            i64::MAX,
            i64::from(u32::MAX),
            i64::from(i32::MIN),
            i64::from(u8::MAX),
        ];
        assert!(
            extremes.into_iter().any(|value| quantities.set(field, value)),
            "{}",
            field.name()
        );
    }
    let input = Mppt {
        voltage_dv: Some(u32::MAX),
        current_ca: Some(i32::MIN),
        power_w: Some(i32::MIN),
    };
    quantities.mppt = core::iter::repeat_n(input, MPPT_MAX).collect();
    reading(Outcome::Values(quantities))
}

fn dropped(ranges: &[(u32, u32, u32)]) -> Record {
    Record::Dropped(Dropped {
        stamp: WIDEST_STAMP,
        ranges: ranges.iter().copied().collect(),
    })
}

#[test]
fn record_len_max_bounds_the_widest_of_every_form() {
    let widest_meter = MeterDiagnostics {
        meter: MeterAddress::new(247).expect("an address"),
        requests: u32::MAX,
        crc_errors: u32::MAX,
        timeouts: u32::MAX,
        exceptions: u32::MAX,
    };
    let widest = [
        widest_reading(),
        reading(Outcome::Failed(PollFailure {
            status: PollStatus::Exception(255),
            count: u32::MAX,
            span_ms: u32::MAX,
        })),
        Record::Start(Start {
            stamp: WIDEST_STAMP,
            reset_cause: ResetCause::BrownOut,
            recovered: Some(Recovered {
                boot: u32::MAX,
                sequence: u32::MAX,
            }),
            firmware: "9".repeat(24).as_str().try_into().expect("24 bytes"),
        }),
        dropped(&[(u32::MAX, u32::MAX, u32::MAX); DROPPED_RANGES_MAX]),
        Record::Anchor(Anchor {
            boot: u32::MAX,
            monotonic_ms: u64::MAX,
            utc_ms: u64::MAX,
            error_ms: u32::MAX,
        }),
        Record::Diagnostics(Diagnostics {
            stamp: WIDEST_STAMP,
            uptime_s: u32::MAX,
            queue_records: u32::MAX,
            queue_capacity_records: u32::MAX,
            dropped_records: u32::MAX,
            link_connects: u32::MAX,
            stack_high_water_bytes: Some(u32::MAX),
            meters: [widest_meter; DIAGNOSTICS_METERS_MAX].into(),
        }),
    ];
    for record in &widest {
        let bytes = encode(record);
        assert_eq!(Record::decode(&bytes), Ok((record.clone(), &[][..])));
    }
    // The layout in docs/protocol.md, added up: 1 + 1 + 5 + 10 before the values, 31 values, 1 + 8 · 16 for the MPPT inputs.
    assert_eq!(
        encode(&widest[0]).len(),
        17 + (17 * 5 + 9 * 5 + 5 + 3 * 9 + 2) + (1 + 8 * 16)
    );
}

#[test]
fn what_no_reader_would_accept_is_not_written() {
    let no_poll = PollFailure {
        status: PollStatus::Timeout,
        count: 0,
        span_ms: 0,
    };
    for record in [
        reading(Outcome::Failed(no_poll)),
        dropped(&[]),
        dropped(&[(1, 5, 4)]),
    ] {
        assert_eq!(
            record.encode(&mut [0; RECORD_LEN_MAX]),
            Err(RecordError::Malformed),
            "{record:?}"
        );
    }
}

#[test]
fn undefined_bytes_are_refused() {
    let refused: [(&str, &[u8]); 10] = [
        ("form 6", &[6, 1, 0, 0]),
        ("meter 0", &[0, 0, 0, 0]),
        ("meter 248", &[0, 248, 0, 0]),
        ("clock 3", &[0, 1, 3, 0]),
        ("clock 3 in a stamp", &[2, 3, 0, 0, 0, 0]),
        ("presence bit 32", &[0, 1, 0x80, 0x80, 0x80, 0x80, 0x40, 0]),
        ("a failed poll with presence bits", &[1, 1, 4, 0, 0, 1, 0]),
        (
            "an MPPT list that is empty",
            &[0, 1, 0x80, 0x80, 0x80, 0x80, 0x20, 0, 0],
        ),
        ("a failed poll that counts none", &[1, 1, 0, 0, 0, 0, 0]),
        ("poll status 5", &[1, 1, 0, 0, 5, 1, 0]),
    ];
    for (what, bytes) in refused {
        assert_eq!(Record::decode(bytes), Err(RecordError::Malformed), "{what}");
    }
    assert!(
        Record::decode(&[0, 1, 0, 0]).is_ok(),
        "a reading without any value is one: the meter answered"
    );
}

#[test]
fn an_energy_register_beyond_63_bits_saturates() {
    let quantities = Quantities {
        energy_wh: Some(u64::MAX),
        ..Quantities::default()
    };
    let bytes = encode(&reading(Outcome::Values(quantities)));
    let (
        Record::Reading(Reading {
            outcome: Outcome::Values(back),
            ..
        }),
        _,
    ) = Record::decode(&bytes).expect("a record")
    else {
        panic!("a reading was written");
    };
    assert_eq!(back.energy_wh, Some(i64::MAX.cast_unsigned()));
}

#[test]
fn an_anchor_is_as_good_as_its_error_says() {
    let clock = |error_ms| {
        Record::Anchor(Anchor {
            boot: 1,
            monotonic_ms: 0,
            utc_ms: 5,
            error_ms,
        })
        .stamp()
        .clock
    };
    assert_eq!(clock(SYNCED_ERROR_MS_MAX), Clock::Synced);
    assert_eq!(clock(SYNCED_ERROR_MS_MAX + 1), Clock::Holdover);
    assert_eq!(clock(HOLDOVER_ERROR_MS_MAX), Clock::Holdover);
}

/// A record's bytes with one of them changed, or with an empty digit put behind it: what a longer spelling of a varint looks like.
fn altered() -> impl Strategy<Value = Vec<u8>> {
    let how = (any::<prop::sample::Index>(), any::<u8>(), any::<bool>());
    (strategies::record(), how).prop_map(|(record, (at, byte, is_longer))| {
        let mut bytes = encode(&record);
        let at = at.index(bytes.len());
        if is_longer {
            bytes[at] |= 0x80;
            bytes.insert(at + 1, byte & 0x80);
        } else {
            bytes[at] ^= byte;
        }
        bytes
    })
}

proptest! {
    /// What is read by shorter means is what postcard reads.
    #[test]
    fn altered_bytes_are_read_as_postcard_reads_them(bytes in altered()) {
        let expected = postcard::take_from_bytes::<Record>(&bytes).ok();
        // What postcard does not know stands in "what no reader accepts".
        let is_sound = |(record, _): &(Record, &[u8])| record.encode(&mut [0; RECORD_LEN_MAX]).is_ok();
        prop_assert_eq!(Record::decode(&bytes).ok(), expected.filter(is_sound));
    }

    /// A `Dropped` reads the same alone; nothing else reads as one.
    #[test]
    fn a_dropped_alone_is_read_as_any_record(record in strategies::record()) {
        let mut buffer = [0; RECORD_LEN_MAX];
        let bytes = record.encode(&mut buffer).expect("a record that can be written");
        let dropped = match &record {
            Record::Dropped(dropped) => Some(dropped.clone()),
            _ => None,
        };
        prop_assert_eq!(Record::decode_dropped(bytes), dropped);
        prop_assert_eq!(Record::decode_dropped(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn every_record_comes_back(record in strategies::record(), tail in proptest::collection::vec(any::<u8>(), 0..8)) {
        let mut bytes = encode(&record);
        let len = bytes.len();
        bytes.extend(&tail);
        prop_assert_eq!(Record::decode(&bytes), Ok((record, &bytes[len..])));
    }

    #[test]
    fn a_buffer_that_is_too_short_is_an_error(record in strategies::record()) {
        let len = encode(&record).len();
        for short in 0..len {
            let written = record.encode(&mut vec![0; short]).map(<[u8]>::len);
            prop_assert_eq!(written, Err(RecordError::NoRoom));
        }
        prop_assert!(record.encode(&mut vec![0; len]).is_ok());
    }

    #[test]
    fn a_cut_record_is_refused(record in strategies::record()) {
        let bytes = encode(&record);
        for short in 0..bytes.len() {
            prop_assert_eq!(Record::decode(&bytes[..short]), Err(RecordError::Malformed));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_what_is_read_can_be_written(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((record, rest)) = Record::decode(&bytes) {
            prop_assert!(rest.len() < bytes.len());
            let again = encode(&record);
            prop_assert_eq!(Record::decode(&again), Ok((record, &[][..])));
        }
    }

    #[test]
    fn set_takes_exactly_what_get_gives_back(field in 0..Field::ALL.len(), value in any::<i64>()) {
        let mut quantities = Quantities::default();
        let taken = quantities.set(Field::ALL[field], value);
        prop_assert_eq!(quantities.get(Field::ALL[field]), taken.then_some(value));
        prop_assert_eq!(quantities.iter().count(), usize::from(taken));
        prop_assert_eq!(quantities.is_empty(), !taken);
    }
}
