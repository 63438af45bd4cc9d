//! Batches: bounded, and an item comes back as it was put in.

use proptest::option;
use proptest::prelude::*;
use taraz_telemetry::{
    BATCH_LEN_MAX, BATCH_VERSION, Batch, BatchError, BatchItem, BatchVerdict, BatchWriter, Crc32,
    FRAME_LEN_MAX, Hold, RECORD_LEN_MAX, RejectedItem,
};

use crate::strategies;

#[derive(Clone, Debug)]
struct Owned {
    numbers: (u64, u64, u32, u32, u32),
    device: String,
    hold: Option<Hold>,
    records: Vec<u8>,
}

impl Owned {
    fn item(&self) -> BatchItem<'_> {
        let (position, received_ms, incarnation, boot, first) = self.numbers;
        BatchItem {
            position,
            received_ms,
            device: &self.device,
            incarnation,
            boot,
            first,
            hold: self.hold,
            records: &self.records,
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let records = proptest::collection::vec(strategies::record(), 0..4).prop_map(|records| {
        records
            .iter()
            .flat_map(|r| r.encode(&mut [0; RECORD_LEN_MAX]).expect("room").to_vec())
            .collect::<Vec<u8>>()
    });
    (
        any::<(u64, u64, u32, u32, u32)>(),
        strategies::device_id(),
        option::of((0..3_usize).prop_map(|n| Hold::ALL[n])),
        records,
    )
        .prop_map(|(numbers, device, hold, records)| Owned {
            numbers,
            device: device.as_str().to_owned(),
            hold,
            records,
        })
}

#[test]
fn a_full_batch_refuses_the_next_item_and_stays_whole() {
    let records = [0xEE; FRAME_LEN_MAX];
    let item = BatchItem {
        position: u64::MAX,
        received_ms: u64::MAX,
        device: "abcdefghijklmnopqrstuvwxyz012345",
        incarnation: u32::MAX,
        boot: u32::MAX,
        first: u32::MAX,
        hold: Some(Hold::UnknownMeter),
        records: &records,
    };
    let mut writer = BatchWriter::new();
    assert!(writer.is_empty());
    while writer.push(&item) {}
    let (items, len) = (writer.items(), writer.len());
    assert!(!writer.push(&item));
    assert_eq!((writer.items(), writer.len()), (items, len));
    assert!(len <= BATCH_LEN_MAX && len > BATCH_LEN_MAX - 2 * FRAME_LEN_MAX);
    let bytes = writer.finish();
    let batch = Batch::decode(&bytes).expect("a batch");
    assert_eq!(batch.items().len(), items);
    assert!(batch.items().iter().all(|back| *back == item));
}

#[test]
fn what_is_wrong_is_told_apart() {
    assert_eq!(Batch::decode(&[]).err(), Some(BatchError::Length(0)));
    assert_eq!(
        Batch::decode(&vec![1; BATCH_LEN_MAX + 1]).err(),
        Some(BatchError::Length(BATCH_LEN_MAX + 1))
    );
    assert_eq!(
        Batch::decode(&[BATCH_VERSION + 1]).err(),
        Some(BatchError::Version(BATCH_VERSION + 1))
    );
    assert_eq!(
        Batch::decode(&[BATCH_VERSION, 1, 1, 200]).err(),
        Some(BatchError::Length(4))
    );
    assert_eq!(
        Batch::decode(&summed(&[BATCH_VERSION, 1, 1, 200])).err(),
        Some(BatchError::Malformed(0))
    );
    assert!(Batch::decode(&BatchWriter::default().finish()).is_ok_and(|batch| batch.items().is_empty()));
}

/// With its check sum behind it.
fn summed(bytes: &[u8]) -> Vec<u8> {
    [bytes, &Crc32::new().bytes(bytes).sum().to_le_bytes()].concat()
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    let item = Owned {
        numbers: (1, 2, 3, 4, 5),
        device: "sari-01".into(),
        hold: None,
        records: vec![0, 1, 0, 5],
    };
    let mut writer = BatchWriter::new();
    assert!(writer.push(&item.item()));
    let good = writer.finish();
    assert!(Batch::decode(&good).is_ok());
    for bit in 0..8 * good.len() {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = Batch::decode(&bad).unwrap_err();
        let expected = if bit < 8 {
            matches!(error, BatchError::Version(_))
        } else {
            matches!(error, BatchError::CheckSum { .. })
        };
        assert!(expected, "bit {bit}: {error}");
    }
    assert!((0..good.len()).all(|len| Batch::decode(&good[..len]).is_err()));
}

#[test]
fn a_bad_record_spoils_only_its_own_item() {
    let bad = Owned {
        numbers: (1, 2, 3, 4, 5),
        device: "a".into(),
        hold: None,
        records: vec![0, 1, 0, 5, 99],
    };
    let good = Owned {
        records: vec![0, 1, 0, 5],
        ..bad.clone()
    };
    let mut writer = BatchWriter::new();
    assert!(writer.push(&bad.item()) && writer.push(&good.item()));
    let bytes = writer.finish();
    let batch = Batch::decode(&bytes).expect("a batch");
    assert_eq!(
        batch.items()[0].records().filter(Result::is_err).count(),
        1,
        "and then the run ends"
    );
    assert!(batch.items()[1].records().all(|record| record.is_ok()));
}

#[test]
fn the_verdict_is_plain_json() {
    let verdict = BatchVerdict {
        accepted: 2,
        rejected: vec![RejectedItem {
            position: 7,
            reason: "not a record".into(),
        }],
    };
    let text = serde_json::to_string(&verdict).expect("JSON");
    assert_eq!(
        text,
        r#"{"accepted":2,"rejected":[{"position":7,"reason":"not a record"}]}"#
    );
    assert_eq!(
        serde_json::from_str::<BatchVerdict>(&text).expect("a verdict"),
        verdict
    );
    let words: Vec<_> = Hold::ALL
        .iter()
        .map(|hold| serde_json::to_value(hold).expect("JSON"))
        .collect();
    assert!(
        words
            .iter()
            .zip(Hold::ALL)
            .all(|(word, hold)| word == hold.as_str())
    );
}

proptest! {
    #[test]
    fn every_batch_comes_back(items in proptest::collection::vec(owned(), 0..6)) {
        let mut writer = BatchWriter::new();
        for item in &items {
            prop_assert!(writer.push(&item.item()));
        }
        prop_assert_eq!(writer.items(), items.len());
        let bytes = writer.finish();
        let batch = Batch::decode(&bytes).expect("a batch");
        prop_assert!(batch.items().iter().eq(items.iter().map(Owned::item).collect::<Vec<_>>().iter()));
        if !items.is_empty() {
            prop_assert!(Batch::decode(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Batch::decode(&bytes);
        if let Ok(batch) = Batch::decode(&summed(&[&[BATCH_VERSION], &bytes[..]].concat())) {
            for item in batch.items() {
                for record in item.records() {
                    let _ = record;
                }
            }
        }
    }
}
