//! Sealed days whose bytes are not what they were.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rusqlite::Connection;
use taraz_ingest::{Archive, PlacedReading, Store, StoreError, compact, verify};
use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, DeviceId, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading,
    Record, Stamp,
};

use super::rig;
use crate::harness::Target;
use crate::records;

const DEVICES: usize = 3;
const READINGS: u32 = 240;
const DAY_MS: u64 = 86_400_000;
/// After so many executions the whole store is verified as well.
const VERIFY_EVERY: u64 = 32;

/// Fuzzes what reads chunks.
pub(crate) struct Chunks {
    data: PathBuf,
    connection: Connection,
    chunks: Vec<Sealed>,
    executions: u64,
}

struct Sealed {
    id: i64,
    device: DeviceId,
    identities: Vec<u8>,
    format: u8,
    bytes: Vec<u8>,
    /// Its bytes with every block unpacked, so that damage reaches what is in it.
    unpacked: Vec<u8>,
    readings: Vec<PlacedReading>,
}

impl Chunks {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let data = folder.join("ingest");
        let (fleet, _) = rig::fleet(folder, DEVICES)?;
        let runtime = rig::runtime()?;
        let now_ms = i64::try_from(records::NOW_MS)?;
        runtime.block_on(async {
            let store = Store::open(&data, fleet, Arc::new(move || now_ms))?;
            for device in 0..DEVICES {
                store.receiver().receive(batch(device)?).await?;
            }
            store.close().await;
            anyhow::Ok(())
        })?;
        compact(&data, 1, now_ms, |_| {})?;
        let connection = Connection::open(data.join("store.sqlite"))?;
        connection.execute_batch("PRAGMA synchronous = OFF")?;
        let chunks = sealed(&connection, &data)?;
        ensure!(
            chunks.len() >= DEVICES,
            "{} chunks of {DEVICES} devices",
            chunks.len()
        );
        Ok(Self {
            data,
            connection,
            chunks,
            executions: 0,
        })
    }

    fn write(&self, id: i64, identities: &[u8], format: u8, bytes: &[u8]) -> Result<(), String> {
        self.connection
            .prepare_cached("UPDATE chunk SET identities = ?2, format = ?3, bytes = ?4 WHERE id = ?1")
            .and_then(|mut update| update.execute((id, identities, format, bytes)))
            .map(drop)
            .map_err(|error| format!("writing the damage: {error}"))
    }
}

impl Target for Chunks {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let at = random.random_range(0..self.chunks.len());
        let chunk = &self.chunks[at];
        let bytes = if random.random() {
            &chunk.bytes
        } else {
            &chunk.unpacked
        };
        let len = u16::try_from(chunk.identities.len()).unwrap_or(u16::MAX);
        [
            &[at.to_le_bytes()[0], chunk.format],
            &len.to_le_bytes()[..],
            &chunk.identities,
            bytes,
        ]
        .concat()
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        self.executions += 1;
        let Some((&[at, format, low, high], rest)) = input.split_first_chunk() else {
            return Ok("too short".to_owned());
        };
        let chunk = &self.chunks[usize::from(at) % self.chunks.len()];
        let len = usize::from(u16::from_le_bytes([low, high])).min(rest.len());
        let (identities, bytes) = rest.split_at(len);
        self.write(chunk.id, identities, format, bytes)?;
        let read = readings(&self.data, &chunk.device);
        if self.executions.is_multiple_of(VERIFY_EVERY) {
            verify(&self.data).map_err(|error| format!("verifying: {error}"))?;
        }
        self.write(chunk.id, &chunk.identities, chunk.format, &chunk.bytes)?;
        match read {
            Ok(found) if found == chunk.readings => Ok("what was stored".to_owned()),
            Ok(found) => {
                let invented = found.iter().find(|reading| !chunk.readings.contains(reading));
                Err(match invented {
                    Some(reading) => format!("read, and never stored: {reading:?}"),
                    None => format!(
                        "{} of {} readings, without a word",
                        found.len(),
                        chunk.readings.len()
                    ),
                })
            }
            Err(StoreError::Sqlite(error)) => Ok(reason_of(&error.to_string())),
            Err(error) => Err(format!("neither readings nor damage: {error}")),
        }
    }
}

/// What is wrong with a chunk, without its numbers.
fn reason_of(message: &str) -> String {
    let reason = message.rsplit(": ").next().unwrap_or(message);
    reason.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

fn readings(data: &Path, device: &DeviceId) -> Result<Vec<PlacedReading>, StoreError> {
    let mut found = Vec::new();
    Archive::open(data)?.readings_between(device, 0, i64::MAX, |reading| {
        found.push(reading);
        Ok(())
    })?;
    Ok(found)
}

/// A day of readings: steady ones, noisy ones, and ones that no two have the same shape.
fn batch(device: usize) -> Result<Vec<u8>> {
    let mut random = <StdRng as rand::SeedableRng>::seed_from_u64(device as u64);
    let (id, _) = rig::device(device)?;
    let begin_ms = (records::NOW_MS / DAY_MS - 5) * DAY_MS;
    let mut bytes = Vec::new();
    let mut buffer = [0; RECORD_LEN_MAX];
    for number in 0..READINGS {
        let mut values = Quantities {
            ac_power_w: Some(random.random_range(0..20_000)),
            energy_wh: Some(1_000_000 + u64::from(number) * 100),
            frequency_mhz: Some(50_000 + random.random_range(0..9)),
            current_a_ca: Some(random.random_range(0..3_000)),
            ..Quantities::default()
        };
        if device == 2 {
            values = records::quantities(&mut random);
        }
        let reading = Record::Reading(Reading {
            meter: MeterAddress::new(1).context("an address")?,
            stamp: Stamp {
                ms: begin_ms + u64::from(number) * 60_000,
                clock: Clock::Synced,
            },
            outcome: Outcome::Values(values),
        });
        bytes.extend_from_slice(reading.encode(&mut buffer)?);
    }
    let mut writer = BatchWriter::new();
    let item = BatchItem {
        position: 1,
        received_ms: records::NOW_MS,
        device: id.as_str(),
        incarnation: 7,
        boot: 1,
        first: 0,
        hold: None,
        records: &bytes,
    };
    ensure!(writer.push(&item), "a day fits a batch");
    Ok(writer.finish())
}

fn sealed(connection: &Connection, data: &Path) -> Result<Vec<Sealed>> {
    let sql = "SELECT chunk.id, name, identities, format, bytes FROM chunk JOIN device ON device.id = device";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let mut chunks = Vec::new();
    while let Some(row) = rows.next()? {
        let device = DeviceId::new(&row.get::<_, String>(1)?)?;
        let (format, bytes): (u8, Vec<u8>) = (row.get(3)?, row.get(4)?);
        let unpacked = unpacked(format, &bytes).context("a chunk that was just made")?;
        chunks.push(Sealed {
            id: row.get(0)?,
            readings: readings(data, &device)?,
            device,
            identities: row.get(2)?,
            format,
            bytes,
            unpacked,
        });
    }
    Ok(chunks)
}

/// The chunk with its blocks as they are before they are packed; readers take either.
fn unpacked(format: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut rest, mut out) = (bytes, Vec::new());
    if format == 1 {
        let shapes = varint(&mut rest)?;
        put_varint(&mut out, shapes);
        for _ in 0..shapes {
            let len = varint(&mut rest)?;
            put_varint(&mut out, len);
            out.extend_from_slice(take(&mut rest, len)?);
            put_varint(&mut out, varint(&mut rest)?);
        }
    }
    block(&mut rest, &mut out)?;
    while let Some((&predictor, behind)) = rest.split_first() {
        out.push(predictor);
        rest = behind;
        block(&mut rest, &mut out)?;
    }
    Some(out)
}

fn block(rest: &mut &[u8], out: &mut Vec<u8>) -> Option<()> {
    let head = varint(rest)?;
    let stored_len = varint(rest)?;
    let stored = take(rest, stored_len)?;
    let block = if head & 1 == 1 {
        zstd::bulk::decompress(stored, usize::try_from(head >> 1).ok()?).ok()?
    } else {
        stored.to_vec()
    };
    put_varint(out, (block.len() as u64) << 1);
    put_varint(out, block.len() as u64);
    out.extend_from_slice(&block);
    Some(())
}

fn take<'b>(rest: &mut &'b [u8], len: u64) -> Option<&'b [u8]> {
    let (taken, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = behind;
    Some(taken)
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, behind) = rest.split_first()?;
        *rest = behind;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}
