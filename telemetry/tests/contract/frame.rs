//! Frames: how short they are, what they refuse, and that a record has one spelling.

use proptest::prelude::*;
use taraz_telemetry::{
    Clock, DeviceId, DeviceKey, Direction, FRAME_LEN_MAX, FRAME_LEN_MIN, Frame, FrameError, FrameWriter,
    HEAD_LEN_MAX, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading, Record, RecordRange, Stamp,
    TAG_LEN, VERSION, peek,
};

use crate::strategies;

fn device() -> DeviceId {
    DeviceId::new("sari-01").expect("an id")
}

fn key() -> DeviceKey {
    DeviceKey::new([7; 32], 1)
}

fn reading(quantities: Quantities) -> Record {
    Record::Reading(Reading {
        meter: MeterAddress::new(1).expect("an address"),
        stamp: Stamp {
            ms: 1_795_000_000_123,
            clock: Clock::Synced,
        },
        outcome: Outcome::Values(quantities),
    })
}

fn frame_of(records: &[Record], boot: u32, first: u32) -> Vec<u8> {
    let mut buffer = [0; FRAME_LEN_MAX];
    let mut writer = FrameWriter::new(&mut buffer, 1, 0xDEAD_BEEF, boot, first).expect("room");
    for record in records {
        writer.push(record).expect("room");
    }
    writer.finish(&key(), &device()).to_vec()
}

/// A frame with a right tag around any content.
fn tagged(content: &[u8]) -> Vec<u8> {
    [content, &key().tag(Direction::Up, &device(), content)].concat()
}

/// A 27.6 kW inverter at its full power, in its twentieth year, after 200 starts and 100,000 records of this one.
fn twelve_fields() -> Quantities {
    Quantities {
        ac_power_w: Some(27_600),
        energy_wh: Some(250_000_000),
        voltage_an_dv: Some(2_412),
        voltage_bn_dv: Some(2_398),
        voltage_cn_dv: Some(2_405),
        current_a_ca: Some(4_012),
        current_b_ca: Some(4_003),
        current_c_ca: Some(3_998),
        frequency_mhz: Some(49_960),
        dc_power_w: Some(28_150),
        temperature_dc: Some(614),
        state: Some(4),
        ..Quantities::default()
    }
}

#[test]
fn a_reading_of_twelve_fields_takes_64_bytes_with_its_tag() {
    let quantities = twelve_fields();
    assert_eq!(quantities.iter().count(), 12);
    let bytes = frame_of(&[reading(quantities)], 200, 100_000);
    assert!(bytes.len() <= 64, "{} bytes", bytes.len());
}

#[test]
fn more_readings_share_the_head() {
    let bytes = frame_of(&vec![reading(twelve_fields()); 30], 200, 100_000);
    assert!(
        bytes.len() <= FRAME_LEN_MAX && bytes.len() < 30 * 40,
        "{} bytes for 30 readings",
        bytes.len()
    );
}

#[test]
fn the_longest_record_fits_a_frame() {
    const { assert!(HEAD_LEN_MAX + RECORD_LEN_MAX + TAG_LEN <= FRAME_LEN_MAX) }
}

#[test]
fn a_record_without_room_leaves_the_frame_as_it_was() {
    let small = reading(Quantities::default());
    let large = reading(twelve_fields());
    // Every length of buffer, so that the encoder stops at every byte of the large record.
    for len in HEAD_LEN_MAX + TAG_LEN + 16..120 {
        let mut buffer = vec![0xAA; len];
        let mut writer = FrameWriter::new(&mut buffer, 1, 9, 2, 3).expect("room");
        writer.push(&small).expect("room");
        let mut records = vec![small.clone()];
        while writer.push(&large).is_ok() {
            records.push(large.clone());
        }
        assert_eq!(writer.push(&large), Err(FrameError::NoRoom));
        if writer.push_encoded(&[0, 1, 0, 5]).is_ok() {
            records.push(Record::decode(&[0, 1, 0, 5]).expect("a record").0);
        }
        let bytes = writer.finish(&key(), &device());
        let frame = Frame::open(bytes, &key(), &device()).expect("a frame");
        assert!(
            frame.records().map(|r| r.expect("a record")).eq(records),
            "buffer of {len}"
        );
    }
}

#[test]
fn a_buffer_without_room_for_a_head_is_refused() {
    for len in 0..HEAD_LEN_MAX + TAG_LEN {
        assert_eq!(
            FrameWriter::new(&mut vec![0; len], 1, 1, 1, 1).err(),
            Some(FrameError::NoRoom)
        );
    }
}

#[test]
fn no_more_than_the_limit_is_used_of_a_larger_buffer() {
    let mut buffer = vec![0; 4 * FRAME_LEN_MAX];
    let mut writer = FrameWriter::new(&mut buffer, 1, 1, 1, 0).expect("room");
    while writer.push(&reading(twelve_fields())).is_ok() {}
    let bytes = writer.finish(&key(), &device());
    assert!(bytes.len() <= FRAME_LEN_MAX && bytes.len() > FRAME_LEN_MAX - 40);
    assert!(Frame::open(bytes, &key(), &device()).is_ok());
}

#[test]
fn a_boot_ends_at_its_last_sequence() {
    let mut buffer = [0; FRAME_LEN_MAX];
    let mut writer = FrameWriter::new(&mut buffer, 1, 1, 1, u32::MAX).expect("room");
    writer.push(&reading(Quantities::default())).expect("room");
    assert_eq!(
        writer.push(&reading(Quantities::default())),
        Err(FrameError::NoRoom)
    );
    assert_eq!(writer.push_encoded(&[0, 1, 0, 0]), Err(FrameError::NoRoom));
    let bytes = writer.finish(&key(), &device());
    let range = Frame::open(bytes, &key(), &device()).expect("a frame").range();
    assert_eq!(
        range,
        RecordRange {
            incarnation: 1,
            boot: 1,
            first: u32::MAX,
            last: u32::MAX
        }
    );

    let beyond = [
        &[VERSION, 1, 1, 0, 0, 0, 1][..],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
        &[0, 1, 0, 0, 0, 1, 0, 0],
    ]
    .concat();
    assert_eq!(
        Frame::open(&tagged(&beyond), &key(), &device()),
        Err(FrameError::Malformed(2))
    );
}

#[test]
fn a_second_spelling_is_refused() {
    let head = [VERSION, 1, 1, 0, 0, 0, 1, 0];
    let spelled: [(&str, &[u8], Result<u32, FrameError>); 5] = [
        ("the one spelling", &[0, 1, 0, 5], Ok(1)),
        (
            "time with an idle varint byte",
            &[0, 1, 0, 0x85, 0],
            Err(FrameError::Malformed(0)),
        ),
        (
            "the second record so",
            &[0, 1, 0, 5, 0, 1, 0x80, 0, 5],
            Err(FrameError::Malformed(1)),
        ),
        ("no record", &[], Err(FrameError::Malformed(0))),
        (
            "half a record",
            &[0, 1, 0, 5, 0, 1],
            Err(FrameError::Malformed(1)),
        ),
    ];
    for (what, records, expected) in spelled {
        let bytes = tagged(&[&head, records].concat());
        assert_eq!(
            Frame::open(&bytes, &key(), &device()).map(|f| f.count()),
            expected,
            "{what}"
        );
    }
    let idle_boot = tagged(&[VERSION, 1, 1, 0, 0, 0, 0x81, 0, 0, 0, 1, 0, 5]);
    assert_eq!(
        Frame::open(&idle_boot, &key(), &device()),
        Err(FrameError::Malformed(0))
    );
}

#[test]
fn what_is_wrong_is_told_apart() {
    let bytes = frame_of(&[reading(twelve_fields())], 1, 0);
    let open = |bytes: &[u8], key: &DeviceKey, id: &str| {
        Frame::open(bytes, key, &DeviceId::new(id).expect("an id")).map(|frame| frame.count())
    };
    assert_eq!(open(&bytes, &key(), "sari-01"), Ok(1));
    assert_eq!(
        open(&bytes, &key(), "sari-02"),
        Err(FrameError::Tag),
        "another device's frame"
    );
    assert_eq!(
        open(&bytes, &DeviceKey::new([8; 32], 1), "sari-01"),
        Err(FrameError::Tag)
    );
    assert_eq!(
        open(&bytes, &DeviceKey::new([7; 32], 2), "sari-01"),
        Err(FrameError::Generation(1))
    );
    let mut other = bytes.clone();
    other[0] = VERSION + 1;
    assert_eq!(
        open(&other, &key(), "sari-01"),
        Err(FrameError::Version(VERSION + 1))
    );
    for len in [0, FRAME_LEN_MIN - 1, FRAME_LEN_MAX + 1] {
        assert_eq!(
            open(&vec![VERSION; len], &key(), "sari-01"),
            Err(FrameError::Length(len))
        );
    }
    let down = [
        &bytes[..bytes.len() - TAG_LEN],
        &key().tag(Direction::Down, &device(), &bytes[..bytes.len() - TAG_LEN]),
    ];
    assert_eq!(
        open(&down.concat(), &key(), "sari-01"),
        Err(FrameError::Tag),
        "tagged in the other direction"
    );
}

proptest! {
    #[test]
    fn every_frame_comes_back(
        id in strategies::device_id(),
        key in strategies::device_key(),
        counters in any::<(u32, u32)>(),
        first in 0..=u32::MAX - 8,
        records in proptest::collection::vec(strategies::record(), 1..5),
    ) {
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, key.generation(), counters.0, counters.1, first).expect("room");
        let mut pushed = Vec::new();
        for record in records {
            if writer.push(&record).is_ok() {
                pushed.push(record);
            }
        }
        prop_assert_eq!(writer.records() as usize, pushed.len());
        let bytes = writer.finish(&key, &id);
        let peeked = peek(bytes).expect("a frame");
        prop_assert_eq!((peeked.version, peeked.generation), (VERSION, key.generation()));
        let frame = Frame::open(bytes, &key, &id).expect("a frame");
        prop_assert_eq!(frame.range().len(), pushed.len() as u64);
        prop_assert_eq!((frame.range().incarnation, frame.range().boot, frame.range().first), (counters.0, counters.1, first));
        let back: Vec<_> = frame.records().map(|record| record.expect("a record")).collect();
        prop_assert_eq!(&back, &pushed);

        let mut encoded = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut encoded, key.generation(), counters.0, counters.1, first).expect("room");
        let mut records = frame.records();
        while let Some(item) = records.next_with_bytes() {
            writer.push_encoded(item.expect("a record").1).expect("room");
        }
        prop_assert_eq!(writer.finish(&key, &id), bytes);
    }

    /// By postcard alone: a frame is one when its records are what encoding makes of them.
    #[test]
    fn altered_records_are_refused_at_the_first_that_is_not_canonical(
        records in proptest::collection::vec(strategies::record(), 1..3),
        at in any::<proptest::sample::Index>(),
        digit in any::<u8>(),
    ) {
        let whole = frame_of(&records, 1, 5);
        let (head, content) = whole[..whole.len() - TAG_LEN].split_at(8);
        let mut content = content.to_vec();
        let at = at.index(content.len());
        content[at] |= 0x80;
        content.insert(at + 1, digit & 0x80);
        let (mut rest, mut count) = (&content[..], 0);
        let expected = loop {
            if rest.is_empty() {
                break Ok(count);
            }
            let canonical = postcard::take_from_bytes::<Record>(rest).ok().filter(|(record, after)| {
                let mut again = [0; RECORD_LEN_MAX];
                record.encode(&mut again).is_ok_and(|again| *again == rest[..rest.len() - after.len()])
            });
            let Some((_, after)) = canonical else {
                break Err(FrameError::Malformed(count));
            };
            rest = after;
            count += 1;
        };
        let bytes = tagged(&[head, &content].concat());
        let mut shown = Vec::new();
        let opened = Frame::open_each(&bytes, &key(), &device(), |id, record, bytes| {
            shown.push((id.sequence, record.clone(), bytes.to_vec()));
        });
        prop_assert_eq!(opened.map(|frame| frame.count()), expected);
        let (shown_count, named) = (shown.len(), expected.unwrap_or_else(|error| match error {
            FrameError::Malformed(at) => at,
            _ => u32::MAX,
        }));
        prop_assert_eq!(shown_count, named as usize, "each record before the first bad one");
        for (n, (sequence, record, bytes)) in (5..).zip(shown) {
            prop_assert_eq!((sequence, Record::decode(&bytes)), (n, Ok((record, &[][..]))));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused(records in proptest::collection::vec(strategies::record(), 1..3)) {
        let bytes = frame_of(&records, 200, 100_000);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Frame::open(&flipped, &key(), &device()).is_err(), "bit {}", bit);
        }
        for len in 0..bytes.len() {
            prop_assert!(Frame::open(&bytes[..len], &key(), &device()).is_err(), "{} bytes", len);
        }
    }

    #[test]
    fn arbitrary_content_under_a_right_tag_never_panics(content in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = tagged(&[&[VERSION, 1], &content[..]].concat());
        if let Ok(frame) = Frame::open(&bytes, &key(), &device()) {
            prop_assert!(frame.count() > 0 && frame.records().all(|record| record.is_ok()));
        }
        let _ = Frame::open(&content, &key(), &device());
    }
}
