//! Whether the store is what was written: every record readable, every identity once, every sum right.
//!
//! In: the store's file, as it is at one instant; an ingest may run beside. Out: what was looked at, and what is wrong, in words. It
//! repairs nothing.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use taraz_telemetry::{RangeSet, Record, Sequence};

use super::chunk::{self, Chunk};
use super::damage::OTHER_TYPE;
use super::record_sum::{self, Summed};
use super::rows::boot_key;
use super::runs::{self, DAY_MS, Run};
use super::state::BootKey;
use super::{FILE_NAME, StoreError, account, schema};

/// The most findings that are told; more are only counted.
const WRONG_MAX: usize = 100;

/// What a store was found to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records with a row of their own.
    pub rows: u64,
    /// Readings in runs.
    pub run_readings: u64,
    /// Runs.
    pub runs: u64,
    /// Readings in chunks.
    pub chunk_readings: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the chunks.
    pub chunk_bytes: u64,
    /// Readings that were given up by a policy.
    pub forgotten: u64,
    /// What is wrong, at most a hundred of it.
    pub wrong: Vec<String>,
    /// How much more is wrong.
    pub more_wrong: u64,
}

/// Verifies the store in the folder `data`.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Newer`], [`StoreError::Sqlite`] when it can't be read at all.
pub fn verify(data: &Path) -> Result<Verified, StoreError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(StoreError::Missing(path));
    }
    verify_file(&path)
}

/// Verifies a store's file.
pub(super) fn verify_file(path: &Path) -> Result<Verified, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    connection.execute_batch("BEGIN")?;
    schema::check_is_present(&connection)?;
    let mut look = Look {
        connection: &connection,
        found: Verified::default(),
        identities: BTreeMap::new(),
        names: BTreeMap::new(),
    };
    for (table, part) in PARTS {
        // What can be read of the other tables says where the damage ends.
        if let Err(error) = part(&mut look) {
            look.wrong(format!(
                "{table}: {error}; what stands behind it there was not looked at: stop ingest, keep a copy of the folder, and go on with the newest backup"
            ));
        }
    }
    Ok(look.found)
}

type Part = fn(&mut Look<'_>) -> rusqlite::Result<()>;

/// What is looked at, in this order.
const PARTS: [(&str, Part); 8] = [
    ("table device", |look| look.names()),
    ("the file", |look| look.pages()),
    ("table record", |look| look.rows()),
    ("table run", |look| look.runs()),
    ("table chunk", |look| look.chunks()),
    ("table received", |look| look.once()),
    ("table series", |look| look.totals()),
    ("table forgotten", |look| look.forgotten()),
];

struct Look<'c> {
    connection: &'c Connection,
    found: Verified,
    /// First and last of what stands together, per boot.
    identities: BTreeMap<BootKey, Vec<(Sequence, Sequence)>>,
    /// The devices' ids by their keys.
    names: BTreeMap<i64, String>,
}

impl Look<'_> {
    fn wrong(&mut self, what: String) {
        if self.found.wrong.len() < WRONG_MAX {
            self.found.wrong.push(what);
        } else {
            self.found.more_wrong += 1;
        }
    }

    fn names(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare("SELECT id, name FROM device")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            // One that can't be read keeps its number.
            if let Ok(name) = row.get(1) {
                self.names.insert(row.get(0)?, name);
            }
        }
        Ok(())
    }

    /// A device by its id.
    fn device(&self, key: i64) -> String {
        self.names
            .get(&key)
            .map_or_else(|| format!("device no. {key}"), |name| format!("device {name}"))
    }

    /// A device's day of UTC, in words.
    fn device_day(&self, key: i64, day: i64) -> String {
        let begins = jiff::Timestamp::from_millisecond(day.saturating_mul(DAY_MS));
        let day = begins.map_or_else(
            |_| format!("day {day}"),
            |begins| begins.to_zoned(jiff::tz::TimeZone::UTC).date().to_string(),
        );
        format!("{}, {day} UTC", self.device(key))
    }

    fn has(&mut self, boot: BootKey, first: Sequence, count: u32) {
        let last = first.saturating_add(count.saturating_sub(1));
        let known = self.identities.entry(boot).or_default();
        match known.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => known.push((first, last)),
        }
    }

    /// A column has another type than it was given: its row is named, and the others are looked at.
    fn unreadable(&mut self, table: &str, id: i64, error: &rusqlite::Error) {
        self.wrong(format!(
            "{table} {id}: its columns can't be read: {OTHER_TYPE} ({error})"
        ));
    }

    /// Readings that were given up, per day.
    fn forgotten(&mut self) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare("SELECT day, readings FROM forgotten ORDER BY day")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            match row.get::<_, i64>(1) {
                Ok(readings) => self.found.forgotten += readings.unsigned_abs(),
                Err(error) => self.unreadable("forgotten", row.get(0)?, &error),
            }
        }
        Ok(())
    }

    /// SQLite's own structures: pages, indexes.
    fn pages(&mut self) -> rusqlite::Result<()> {
        let mut statement = self
            .connection
            .prepare(&format!("PRAGMA integrity_check({WRONG_MAX})"))?;
        let said: Vec<String> = statement
            .query_map((), |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for line in said.into_iter().filter(|line| line != "ok") {
            self.wrong(format!("the file: {line}"));
        }
        Ok(())
    }

    fn rows(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT record.id, {} FROM record ORDER BY device, incarnation, boot, sequence",
            record_sum::COLUMNS
        ))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let id: i64 = row.get(0)?;
            self.found.rows += 1;
            let (summed, crc) = match Summed::read(row, 1) {
                Ok(read) => read,
                Err(error) => {
                    self.unreadable("record", id, &error);
                    continue;
                }
            };
            self.has(summed.boot, summed.sequence, 1);
            if !matches!(Record::decode(summed.bytes), Ok((_, []))) {
                let of = self.device(summed.boot.device);
                self.wrong(format!("record {id} ({of}): its bytes are no record"));
            } else if summed.check(id, crc).is_err() {
                self.wrong(format!("record {id}: it has another check sum"));
            }
        }
        Ok(())
    }

    fn runs(&mut self) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT {} FROM run ORDER BY device, incarnation, boot, first",
            runs::COLUMNS
        );
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            self.found.runs += 1;
            let run = match Run::read(row) {
                Ok(run) => run,
                Err(error) => {
                    self.unreadable("run", row.get(0)?, &error);
                    continue;
                }
            };
            self.found.run_readings += u64::from(run.count);
            if !run.is_damaged {
                self.has(run.boot, run.first, run.count);
            }
            for what in wrong_with(&run) {
                let of = self.device_day(run.boot.device, run.day);
                self.wrong(format!("run {} ({of}): {what}", run.id));
            }
        }
        Ok(())
    }

    fn chunks(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(&format!(
            "SELECT {} FROM chunk ORDER BY device, day",
            chunk::COLUMNS
        ))?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            self.found.chunks += 1;
            let chunk = match Chunk::read(row) {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.unreadable("chunk", row.get(0)?, &error);
                    continue;
                }
            };
            self.found.chunk_readings += u64::from(chunk.readings);
            self.found.chunk_bytes += chunk.len();
            // Whatever its bytes are, its identities are its own.
            for stretch in chunk.identities().unwrap_or_default() {
                self.has(stretch.boot, stretch.first, stretch.count);
            }
            let of = self.device_day(chunk.device, chunk.day);
            match chunk.records() {
                Ok(records) => {
                    let bounds = bounds(records.iter().map(|record| record.time_ms));
                    if bounds != Some((chunk.from_ms, chunk.to_ms)) {
                        self.wrong(format!(
                            "chunk {} ({of}): its readings are at other times",
                            chunk.id
                        ));
                    }
                    if records
                        .iter()
                        .any(|record| runs::day_of(record.time_ms) != chunk.day)
                    {
                        self.wrong(format!(
                            "chunk {} ({of}): its readings are of another day",
                            chunk.id
                        ));
                    }
                }
                Err(damaged) => self.wrong(format!("chunk {} ({of}): {}", chunk.id, damaged.what)),
            }
        }
        Ok(())
    }

    /// Every identity is kept once, and is among those that were received.
    fn once(&mut self) -> rusqlite::Result<()> {
        let mut received: BTreeMap<BootKey, RangeSet> = BTreeMap::new();
        let mut statement = self
            .connection
            .prepare("SELECT device, incarnation, boot, first, last FROM received")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let read = || Ok::<_, rusqlite::Error>((boot_key(row, 0)?, row.get(3)?, row.get(4)?));
            match read() {
                Ok((boot, first, last)) if first <= last => {
                    received.entry(boot).or_default().insert_run(first, last);
                }
                Ok(_) => self.wrong(format!("received {}: it ends before it begins", told(row, 5)?)),
                Err(error) => self.wrong(format!(
                    "received {}: its columns can't be read: {error}",
                    told(row, 5)?
                )),
            }
        }
        for (boot, mut kept) in std::mem::take(&mut self.identities) {
            let name = format!(
                "{}, incarnation {}, boot {}",
                self.device(boot.device),
                boot.incarnation,
                boot.boot
            );
            kept.sort_unstable();
            for pair in kept.windows(2).filter(|pair| pair[1].0 <= pair[0].1) {
                self.wrong(format!("{name}: sequence {} is kept twice", pair[1].0));
            }
            let known = received.remove(&boot).unwrap_or_default();
            let known: Vec<_> = known.runs().collect();
            for (first, last) in kept {
                let at = known.partition_point(|run| run.1 < first);
                if known.get(at).is_none_or(|run| run.0 > first || run.1 < last) {
                    self.wrong(format!(
                        "{name}: sequences {first} to {last} are kept, and not known as received"
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is settled of each register, quarter-hours and longer segments, and what is still open add up to its total.
    fn totals(&mut self) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare(
            "SELECT id, meter_known, rated_w, state, handed_wh, total_wh,
                 coalesce((SELECT sum(energy_wh) FROM interval WHERE series = series.id), 0)
                 + coalesce((SELECT sum(energy_wh) FROM segment WHERE series = series.id), 0) FROM series",
        )?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let series: i64 = row.get(0)?;
            let read = || {
                let (meter, running) = (account::meter_known(row, 1, 2)?, account::running(row, 3)?);
                let open_wh = account::open_wh(&meter, &running);
                Ok::<(_, i64, i64, i64), rusqlite::Error>((open_wh, row.get(4)?, row.get(5)?, row.get(6)?))
            };
            let (open_wh, handed_wh, total_wh, sum_wh) = match read() {
                Ok(read) => read,
                Err(error) => {
                    self.wrong(format!("register {series}: its account can't be read: {error}"));
                    continue;
                }
            };
            if sum_wh != handed_wh {
                self.wrong(format!(
                    "register {series}: its intervals add up to {sum_wh} Wh, its account says {handed_wh} Wh"
                ));
            }
            if handed_wh + open_wh != total_wh {
                self.wrong(format!(
                    "register {series}: {handed_wh} Wh are settled and {open_wh} Wh are open, its total is {total_wh} Wh"
                ));
            }
        }
        Ok(())
    }
}

/// The first columns of a row as they stand there, for a row that has no number.
fn told(row: &rusqlite::Row<'_>, columns: usize) -> rusqlite::Result<String> {
    let words = (0..columns).map(|at| {
        Ok(match row.get_ref(at)? {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => format!("{:?}", String::from_utf8_lossy(text)),
            ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
        })
    });
    Ok(words.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
}

/// What a run says of itself that its bytes do not say.
fn wrong_with(run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    if run.is_damaged {
        return vec![OTHER_TYPE.to_owned()];
    }
    if !run.has_its_sum() {
        wrong.push("it has another check sum".to_owned());
    }
    let records: Vec<_> = run.records().collect();
    let len: usize = records.iter().map(|record| record.bytes.len()).sum();
    if records.len() != run.count as usize || len != run.bytes.len() {
        wrong.push(format!(
            "{} of its {} readings can be read",
            records.len(),
            run.count
        ));
        return wrong;
    }
    if bounds(records.iter().map(|record| record.time_ms)) != Some((run.from_ms, run.to_ms)) {
        wrong.push("its readings are at other times".to_owned());
    }
    if records
        .iter()
        .any(|record| runs::day_of(record.time_ms) != run.day)
    {
        wrong.push("its readings are of another day".to_owned());
    }
    wrong
}

fn bounds(times_ms: impl Iterator<Item = i64> + Clone) -> Option<(i64, i64)> {
    times_ms.clone().min().zip(times_ms.max())
}
