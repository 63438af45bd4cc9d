//! The batch decoder, with the check sum as it came and with the right one.

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_telemetry::{Batch, BatchError, BatchItem, BatchVerdict, BatchWriter, Crc32, Hold, RECORD_LEN_MAX};

use crate::harness::Target;
use crate::records;

const CHECK_SUM_LEN: usize = 4;

/// Fuzzes `Batch::decode` and the JSON of verdicts.
pub(crate) struct Batches;

impl Target for Batches {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        generate(random, |random| format!("sari-{:02}", random.random_range(0..9)))
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        // It must only return.
        let _ = serde_json::from_slice::<BatchVerdict>(input);
        let summed = with_sum(input);
        let as_it_came = Batch::decode(input);
        if as_it_came.is_ok() && summed != input {
            return Err("a batch with a wrong check sum was decoded".to_owned());
        }
        let batch = match Batch::decode(&summed) {
            Ok(batch) => batch,
            Err(error @ BatchError::CheckSum { .. }) => return Err(format!("with a right one: {error}")),
            Err(error) => return Ok(named(&error).to_owned()),
        };
        let mut again = BatchWriter::new();
        let mut unreadable = 0_u32;
        for item in batch.items() {
            unreadable += u32::from(item.records().any(|record| record.is_err()));
            if !again.push(item) {
                return Err("what was decoded does not fit a batch".to_owned());
            }
        }
        let again = again.finish();
        let same = Batch::decode(&again).is_ok_and(|same| same.items() == batch.items());
        if !same {
            return Err("decoded, written and decoded again it has other items".to_owned());
        }
        Ok(match (batch.items().len(), unreadable) {
            (0, _) => "no items",
            (_, 0) => "every record can be read",
            _ => "items with records that can't be read",
        }
        .to_owned())
    }
}

/// A batch of a few items; some of records that are none.
pub(crate) fn generate(random: &mut StdRng, mut device: impl FnMut(&mut StdRng) -> String) -> Vec<u8> {
    let mut writer = BatchWriter::new();
    for position in 0..random.random_range(0..6) {
        let mut bytes = Vec::new();
        let mut buffer = [0; RECORD_LEN_MAX];
        for _ in 0..random.random_range(1..5) {
            if let Ok(record) = records::record(random).encode(&mut buffer) {
                bytes.extend_from_slice(record);
            }
        }
        if random.random_ratio(1, 10) {
            bytes.truncate(bytes.len() / 2);
        }
        let hold = random
            .random_ratio(1, 6)
            .then(|| Hold::ALL[random.random_range(0..3)]);
        let item = BatchItem {
            position: position + random.random_range(0..2) * records::number(random) / 2,
            received_ms: records::NOW_MS,
            device: &device(random),
            incarnation: random.random_range(0..3),
            boot: random.random_range(0..4),
            first: u32::try_from(records::number(random) & 0xFFFF_FFFF).unwrap_or(0),
            hold,
            records: &bytes,
        };
        writer.push(&item);
    }
    writer.finish()
}

/// The batch with the check sum that its bytes have.
pub(crate) fn with_sum(input: &[u8]) -> Vec<u8> {
    let content = &input[..input.len().saturating_sub(CHECK_SUM_LEN)];
    let sum = Crc32::new().bytes(content).sum();
    [content, &sum.to_le_bytes()].concat()
}

pub(crate) const fn named(error: &BatchError) -> &'static str {
    match error {
        BatchError::Version(_) => "version",
        BatchError::Length(_) => "length",
        BatchError::CheckSum { .. } => "check sum",
        BatchError::Malformed(0) => "malformed at once",
        BatchError::Malformed(_) => "malformed behind a good item",
    }
}
