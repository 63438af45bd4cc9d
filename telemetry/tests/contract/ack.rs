//! Acknowledgements: only what the gateway named is freed.

use proptest::prelude::*;
use taraz_telemetry::{
    ACK_LEN_MAX, ACK_RANGES_MAX, Ack, AckError, DeviceId, DeviceKey, Direction, RecordId, RecordRange,
    TAG_LEN, VERSION,
};

use crate::strategies;

fn device() -> DeviceId {
    DeviceId::new("sari-01").expect("an id")
}

fn key() -> DeviceKey {
    DeviceKey::new([7; 32], 3)
}

fn ack(ranges: &[RecordRange]) -> Ack {
    Ack {
        ranges: ranges.iter().copied().collect(),
    }
}

fn encode(ack: &Ack) -> Vec<u8> {
    ack.encode(&mut [0; ACK_LEN_MAX], &key(), &device())
        .expect("ACK_LEN_MAX suffices")
        .to_vec()
}

fn tagged(content: &[u8]) -> Vec<u8> {
    [content, &key().tag(Direction::Down, &device(), content)].concat()
}

#[test]
fn ack_len_max_is_the_longest() {
    let widest = RecordRange {
        incarnation: u32::MAX,
        boot: u32::MAX,
        first: 0x1000_0000,
        last: 0x2000_0000,
    };
    assert_eq!(encode(&ack(&[widest; ACK_RANGES_MAX])).len(), ACK_LEN_MAX);
}

#[test]
fn a_range_that_names_nothing_is_not_written() {
    let empty = RecordRange {
        incarnation: 1,
        boot: 1,
        first: 5,
        last: 4,
    };
    assert_eq!(
        ack(&[empty]).encode(&mut [0; ACK_LEN_MAX], &key(), &device()),
        Err(AckError::Malformed)
    );
}

#[test]
fn what_is_wrong_is_told_apart() {
    let bytes = encode(&ack(&[RecordRange {
        incarnation: 1,
        boot: 2,
        first: 3,
        last: 4,
    }]));
    assert!(Ack::decode(&bytes, &key(), &device()).is_ok());
    let other_device = DeviceId::new("sari-02").expect("an id");
    assert_eq!(Ack::decode(&bytes, &key(), &other_device), Err(AckError::Tag));
    assert_eq!(
        Ack::decode(&bytes, &DeviceKey::new([7; 32], 4), &device()),
        Err(AckError::Tag)
    );
    let content = &bytes[..bytes.len() - TAG_LEN];
    let up = [content, &key().tag(Direction::Up, &device(), content)].concat();
    assert_eq!(
        Ack::decode(&up, &key(), &device()),
        Err(AckError::Tag),
        "a frame played back"
    );

    let many = [&[VERSION, 3, 33][..], &[0, 0, 0, 0, 1, 0, 0].repeat(33)].concat();
    let malformed: [(&str, &[u8]); 5] = [
        ("more ranges than allowed", &many),
        ("fewer than counted", &[VERSION, 3, 1]),
        ("more than counted", &[VERSION, 3, 0, 9]),
        (
            "a last sequence beyond 32 bits",
            &[VERSION, 3, 1, 0, 0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1],
        ),
        ("another version", &[VERSION + 1, 3, 0]),
    ];
    for (what, content) in malformed {
        assert_eq!(
            Ack::decode(&tagged(content), &key(), &device()),
            Err(AckError::Malformed),
            "{what}"
        );
    }
    assert_eq!(
        Ack::decode(&tagged(&[VERSION, 3, 0]), &key(), &device()),
        Ok(Ack::default()),
        "naming nothing is allowed"
    );
}

proptest! {
    #[test]
    fn every_acknowledgement_comes_back(
        ranges in proptest::collection::vec(strategies::record_range(), 0..=ACK_RANGES_MAX),
        id in strategies::device_id(),
        key in strategies::device_key(),
    ) {
        let ack = ack(&ranges);
        let mut buffer = [0; ACK_LEN_MAX];
        let bytes = ack.encode(&mut buffer, &key, &id).expect("room");
        prop_assert_eq!(Ack::decode(bytes, &key, &id), Ok(ack.clone()));
        let len = bytes.len();
        for short in 0..len {
            let written = ack.encode(&mut vec![0; short], &key, &id).map(<[u8]>::len);
            prop_assert_eq!(written, Err(AckError::NoRoom));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused(ranges in proptest::collection::vec(strategies::record_range(), 1..4)) {
        let bytes = encode(&ack(&ranges));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Ack::decode(&flipped, &key(), &device()).is_err(), "bit {}", bit);
        }
        for len in 0..bytes.len() {
            prop_assert!(Ack::decode(&bytes[..len], &key(), &device()).is_err(), "{} bytes", len);
        }
    }

    #[test]
    fn arbitrary_content_under_a_right_tag_never_panics(content in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = Ack::decode(&tagged(&[&[VERSION, 3], &content[..]].concat()), &key(), &device());
        let _ = Ack::decode(&content, &key(), &device());
    }

    #[test]
    fn a_range_contains_what_its_bounds_say(range in strategies::record_range(), sequence in any::<u32>()) {
        let id = RecordId { incarnation: range.incarnation, boot: range.boot, sequence };
        prop_assert_eq!(range.contains(id), (range.first..=range.last).contains(&sequence));
        let other_boot = RecordId { boot: range.boot.wrapping_add(1), ..id };
        let other_incarnation = RecordId { incarnation: range.incarnation.wrapping_add(1), ..id };
        prop_assert!(!range.contains(other_boot) && !range.contains(other_incarnation));
        prop_assert_eq!(range.len(), u64::from(range.last - range.first) + 1);
        prop_assert!(!range.is_empty());
    }
}
