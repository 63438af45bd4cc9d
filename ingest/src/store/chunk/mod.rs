//! Sealed readings: all that one device stated in one UTC day, columnar and compressed, in a few bytes each.
//!
//! In: runs. Out: a row of `chunk`, which gives the very bytes back, in the order of identities; and its records, for readers. It is
//! asserted on every chunk that it does, before any run goes: what can't be put into columns is kept raw, compressed as it came.

mod bytes;
mod codec;
mod column;
mod shape;
#[cfg(test)]
mod tests;

use rusqlite::Connection;
use taraz_telemetry::{Crc32, RECORD_LEN_MAX, Reading, Record, Records, Sequence};

use self::bytes::{Reader, put_varint};
use super::damage::{Columns, Damaged, OTHER_TYPE, PassedOver};
use super::runs::Run;
use super::state::BootKey;

/// The most readings of one chunk: what a reader unpacks at once.
pub(super) const CHUNK_READINGS_MAX: usize = 10_000;
/// The longest records of a chunk, one behind the other.
const RECORDS_LEN_MAX: usize = CHUNK_READINGS_MAX * RECORD_LEN_MAX;

/// A chunk as it stands in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The place of its last record in the feed, where all of it stands.
    pub(super) id: i64,
    pub(super) device: i64,
    /// UTC day since 1970.
    pub(super) day: i64,
    pub(super) readings: u32,
    /// The earliest time in it, UTC ms.
    pub(super) from_ms: i64,
    /// The latest time in it, UTC ms.
    pub(super) to_ms: i64,
    /// When the gateway had taken in all of it, UTC ms.
    pub(super) received_ms: i64,
    format: u8,
    identities: Vec<u8>,
    crc: u32,
    bytes: Vec<u8>,
    /// The length of its records as they came, in bytes; 0 of a chunk that was read and not unpacked.
    pub(super) records_len: u64,
    /// A column of its row could not be read, and something else stands here in its place.
    is_damaged: bool,
}

/// Consecutive identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) boot: BootKey,
    pub(super) first: Sequence,
    pub(super) count: u32,
}

impl Stretch {
    fn contains(&self, boot: BootKey, sequence: Sequence) -> bool {
        self.boot == boot && sequence >= self.first && sequence - self.first < self.count
    }

    /// Each of them.
    fn identities(self) -> impl Iterator<Item = (BootKey, Sequence)> {
        (self.first..=Sequence::MAX)
            .take(self.count as usize)
            .map(move |sequence| (self.boot, sequence))
    }
}

/// A record of a chunk.
#[derive(Debug)]
pub(super) struct ChunkRecord {
    pub(super) boot: BootKey,
    pub(super) sequence: Sequence,
    /// When, UTC ms.
    pub(super) time_ms: i64,
    pub(super) reading: Reading,
}

/// What a reader of chunks selects, in the order of [`Chunk::read`].
pub(super) const COLUMNS: &str =
    "chunk.id, chunk.device, day, readings, from_ms, to_ms, received_ms, format, identities, crc, bytes";
/// How many columns that are.
pub(super) const COLUMNS_LEN: usize = 11;

impl Chunk {
    /// Seals runs of one device and day, which together have at most [`CHUNK_READINGS_MAX`] readings. `None` when they are none,
    /// or damaged.
    pub(super) fn seal(mut runs: Vec<Run>) -> Option<Self> {
        runs.sort_unstable_by_key(|run| (run.boot, run.first));
        let (first, rest) = runs.split_first()?;
        let mut chunk = Self {
            id: first.id,
            device: first.boot.device,
            day: first.day,
            readings: 0,
            from_ms: first.from_ms,
            to_ms: first.to_ms,
            received_ms: first.received_ms,
            format: codec::FORMAT_COLUMNS,
            identities: Vec::new(),
            crc: 0,
            bytes: Vec::new(),
            records_len: 0,
            is_damaged: false,
        };
        let mut records = Vec::new();
        let mut stretches: Vec<Stretch> = Vec::new();
        for run in std::iter::once(first).chain(rest) {
            run.check().ok()?;
            records.extend_from_slice(&run.bytes);
            chunk.id = chunk.id.max(run.id);
            chunk.readings = chunk.readings.checked_add(run.count)?;
            chunk.from_ms = chunk.from_ms.min(run.from_ms);
            chunk.to_ms = chunk.to_ms.max(run.to_ms);
            chunk.received_ms = chunk.received_ms.max(run.received_ms);
            match stretches.last_mut() {
                Some(last)
                    if last.boot == run.boot && last.first.checked_add(last.count) == Some(run.first) =>
                {
                    last.count += run.count;
                }
                _ => stretches.push(Stretch {
                    boot: run.boot,
                    first: run.first,
                    count: run.count,
                }),
            }
        }
        for stretch in stretches {
            let Stretch { boot, first, count } = stretch;
            for number in [boot.incarnation, boot.boot, first, count] {
                put_varint(&mut chunk.identities, u64::from(number));
            }
        }
        chunk.pack(&records)?;
        Some(chunk)
    }

    /// Packs the records in the shortest format that gives these very bytes back.
    fn pack(&mut self, records: &[u8]) -> Option<()> {
        self.crc = crc(&self.identities, records);
        self.records_len = records.len() as u64;
        if let Some(columns) = codec::to_columns(records)
            && codec::from_columns(&columns).as_deref() == Some(records)
        {
            self.bytes = columns;
            return Some(());
        }
        self.format = codec::FORMAT_RAW;
        self.bytes = codec::to_raw(records)?;
        (codec::from_raw(&self.bytes).as_deref() == Some(records)).then_some(())
    }

    /// What it takes, in bytes, its identities included.
    pub(super) fn len(&self) -> u64 {
        (self.bytes.len() + self.identities.len()) as u64
    }

    /// It could not be put into columns.
    pub(super) const fn is_raw(&self) -> bool {
        self.format == codec::FORMAT_RAW
    }

    const fn damaged(&self, what: &'static str) -> Damaged {
        Damaged {
            table: "chunk",
            id: self.id,
            readings: self.readings,
            what,
        }
    }

    fn check_columns(&self) -> Result<(), Damaged> {
        if self.is_damaged {
            return Err(self.damaged(OTHER_TYPE));
        }
        Ok(())
    }

    /// Its records in the order of identities, one behind the other, as they came.
    pub(super) fn unpack(&self) -> Result<Vec<u8>, Damaged> {
        let damaged = |what| self.damaged(what);
        self.check_columns()?;
        let records = match self.format {
            codec::FORMAT_COLUMNS => codec::from_columns(&self.bytes),
            codec::FORMAT_RAW => codec::from_raw(&self.bytes),
            _ => return Err(damaged("its format is not known to this version")),
        };
        let records = records.ok_or_else(|| damaged("its columns can't be read"))?;
        if crc(&self.identities, &records) != self.crc {
            return Err(damaged("its records and identities have another check sum"));
        }
        Ok(records)
    }

    /// Its records, each with what names it, in the order of identities.
    pub(super) fn records(&self) -> Result<Vec<ChunkRecord>, Damaged> {
        let damaged = |what| self.damaged(what);
        let bytes = self.unpack()?;
        let mut rest = Records::new(&bytes);
        let mut records = Vec::new();
        for (boot, sequence) in self.identities()?.into_iter().flat_map(Stretch::identities) {
            let Some(Ok(Record::Reading(reading))) = rest.next() else {
                return Err(damaged("it has fewer readings than identities"));
            };
            let time_ms = reading.stamp.utc_ms().and_then(|ms| i64::try_from(ms).ok());
            records.push(ChunkRecord {
                boot,
                sequence,
                time_ms: time_ms.ok_or_else(|| damaged("a reading has no time of its own"))?,
                reading,
            });
        }
        if rest.next().is_some() || records.len() != usize::try_from(self.readings).unwrap_or(usize::MAX) {
            return Err(damaged("it has more readings than identities"));
        }
        Ok(records)
    }

    /// What identities it holds, ascending.
    pub(super) fn identities(&self) -> Result<Vec<Stretch>, Damaged> {
        self.check_columns()?;
        let mut reader = Reader::new(&self.identities);
        let mut stretches = Vec::new();
        while !reader.is_empty() {
            let numbers = [reader.number(), reader.number(), reader.number(), reader.number()];
            let [Some(incarnation), Some(boot), Some(first), Some(count)] = numbers else {
                return Err(self.damaged("its identities can't be read"));
            };
            let device = self.device;
            stretches.push(Stretch {
                boot: BootKey {
                    device,
                    incarnation,
                    boot,
                },
                first,
                count,
            });
        }
        Ok(stretches)
    }

    /// Its records as runs again, all of them at the chunk's own place.
    pub(super) fn to_runs(&self) -> Result<Vec<Run>, Damaged> {
        let bytes = self.unpack()?;
        let mut rest = Records::new(&bytes);
        let mut runs = Vec::new();
        for stretch in self.identities()? {
            let mut run = Run {
                id: self.id,
                boot: stretch.boot,
                first: stretch.first,
                count: stretch.count,
                day: self.day,
                from_ms: self.from_ms,
                to_ms: self.to_ms,
                received_ms: self.received_ms,
                bytes: Vec::new(),
                crc: None,
                is_damaged: false,
            };
            for _ in 0..stretch.count {
                let Some(Ok((Record::Reading(_), bytes))) = rest.next_with_bytes() else {
                    return Err(self.damaged("it has fewer readings than identities"));
                };
                run.bytes.extend_from_slice(bytes);
            }
            runs.push(run);
        }
        let found: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
        if rest.next().is_some() || found != u64::from(self.readings) {
            return Err(self.damaged("it has more readings than identities"));
        }
        Ok(runs)
    }

    pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let mut columns = Columns::new(row);
        let chunk = Self {
            id: row.get(0)?,
            device: columns.get(1)?,
            day: columns.get(2)?,
            readings: columns.get(3)?,
            from_ms: columns.get(4)?,
            to_ms: columns.get(5)?,
            received_ms: columns.get(6)?,
            format: columns.get(7)?,
            identities: columns.get(8)?,
            crc: columns.get(9)?,
            bytes: columns.get(10)?,
            records_len: 0,
            is_damaged: false,
        };
        Ok(Self {
            is_damaged: columns.is_damaged(),
            ..chunk
        })
    }

    pub(super) fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection
            .prepare_cached(
                "INSERT INTO chunk (id, device, day, readings, from_ms, to_ms, received_ms, format, identities, crc, bytes)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute((
                self.id,
                self.device,
                self.day,
                self.readings,
                self.from_ms,
                self.to_ms,
                self.received_ms,
                self.format,
                &self.identities,
                self.crc,
                &self.bytes,
            ))?;
        Ok(())
    }
}

/// The chunks of a day.
pub(super) fn of_day(connection: &Connection, device: i64, day: i64) -> rusqlite::Result<Vec<Chunk>> {
    let sql = format!("SELECT {COLUMNS} FROM chunk INDEXED BY chunk_day WHERE device = ? AND day = ?");
    let mut statement = connection.prepare_cached(&sql)?;
    let chunks = statement.query_map((device, day), Chunk::read)?;
    chunks.collect()
}

/// The run of a record of this identity, in the chunks of a day or, without one, in all of its device. A chunk that holds it and is
/// damaged is an error; one that does not even say what it holds is passed over.
pub(super) fn find(
    connection: &Connection,
    boot: BootKey,
    sequence: Sequence,
    day: Option<i64>,
    passed: &mut PassedOver,
) -> rusqlite::Result<Option<Run>> {
    let days = if day.is_some() { "day = ?2" } else { "?2 IS NULL" };
    let sql = format!("SELECT {COLUMNS} FROM chunk INDEXED BY chunk_day WHERE device = ?1 AND {days}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((boot.device, day))?;
    while let Some(row) = rows.next()? {
        let chunk = Chunk::read(row)?;
        let stretches = chunk.identities().unwrap_or_else(|damaged| {
            passed.one(&damaged);
            Vec::new()
        });
        if stretches.iter().any(|stretch| stretch.contains(boot, sequence)) {
            let mut runs = chunk.to_runs()?.into_iter();
            return Ok(runs.find(|run| run.contains(boot, sequence)));
        }
    }
    Ok(None)
}

fn crc(identities: &[u8], records: &[u8]) -> u32 {
    Crc32::new().bytes(identities).bytes(records).sum()
}
