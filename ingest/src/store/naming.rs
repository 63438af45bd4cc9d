//! What the gap ledger is made from: the records in which devices name other records, and what of each boot is here.

use std::collections::BTreeMap;

use rusqlite::Connection;
use taraz_telemetry::{Boot, Incarnation, Record, Sequence};

use super::StoreError;
use super::archive::Archive;
use super::facts::DROPPED;
use super::read::Snapshot;
use crate::counters::RecordKind;
use crate::gaps::{Book, DeviceGaps, Here};

/// So many naming records are read at once.
const PAGE_MAX: usize = 20_000;

/// A `Start`, `Dropped` or `Diagnostics` record, held or not: why it is held says nothing about identities.
#[derive(Debug)]
pub(crate) struct NamingRecord {
    pub(crate) row: i64,
    pub(crate) device: i64,
    pub(crate) incarnation: Incarnation,
    pub(crate) boot: Boot,
    pub(crate) sequence: Sequence,
    pub(crate) time_ms: Option<i64>,
    pub(crate) record: Record,
}

/// Some of them, in the order in which they were stored.
#[derive(Debug)]
pub(crate) struct NamingPage {
    pub(crate) records: Vec<NamingRecord>,
    /// Where the next page begins.
    pub(crate) cursor: i64,
    /// There are no more for now.
    pub(crate) is_last: bool,
}

/// What is here of every device, by the devices' keys.
#[derive(Debug, Default)]
pub(crate) struct AllHere {
    pub(crate) devices: BTreeMap<i64, DeviceHere>,
}

/// What is here of one device.
#[derive(Debug, Default)]
pub(crate) struct DeviceHere {
    pub(crate) name: String,
    pub(crate) incarnations: BTreeMap<Incarnation, Here>,
    pub(crate) held_by_reason: BTreeMap<String, u64>,
    /// Kept records that contradict stored ones.
    pub(crate) conflicts: u64,
}

impl Snapshot<'_> {
    /// The naming records behind a cursor.
    pub(crate) fn naming_records(&self, cursor: i64) -> rusqlite::Result<NamingPage> {
        naming_records(self.connection, cursor)
    }

    /// What is here.
    pub(crate) fn here(&self) -> rusqlite::Result<AllHere> {
        here(self.connection)
    }
}

impl Archive {
    /// The gap ledger of every device, in the order of ids.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn gaps(&self) -> Result<Vec<DeviceGaps>, StoreError> {
        let mut book = Book::default();
        loop {
            let page = naming_records(self.connection(), book.cursor())?;
            let is_last = page.is_last;
            book.learn(page);
            if is_last {
                return Ok(book.devices(here(self.connection())?));
            }
        }
    }
}

fn naming_records(connection: &Connection, cursor: i64) -> rusqlite::Result<NamingPage> {
    const { assert!(RecordKind::Start as u8 == 2 && RecordKind::Dropped as u8 == 3) }
    const { assert!(RecordKind::Diagnostics as u8 == 5) }
    let mut statement = connection.prepare_cached(
        "SELECT id, device, incarnation, boot, sequence, time_ms, bytes FROM record
         WHERE id > ? AND kind IN (2, 3, 5) ORDER BY id LIMIT ?",
    )?;
    let mut rows = statement.query((cursor, PAGE_MAX as i64))?;
    let mut page = NamingPage {
        records: Vec::new(),
        cursor,
        is_last: false,
    };
    let mut read = 0;
    while let Some(row) = rows.next()? {
        read += 1;
        page.cursor = row.get(0)?;
        // Only whole records were ever stored.
        let Ok((record, _)) = Record::decode(row.get_ref(6)?.as_blob()?) else {
            continue;
        };
        page.records.push(NamingRecord {
            row: page.cursor,
            device: row.get(1)?,
            incarnation: row.get(2)?,
            boot: row.get(3)?,
            sequence: row.get(4)?,
            time_ms: row.get(5)?,
            record,
        });
    }
    page.is_last = read < PAGE_MAX;
    if page.is_last {
        // What stands behind the last one is none: not looked at again.
        let newest: Option<i64> = connection
            .prepare_cached("SELECT max(id) FROM record")?
            .query_row((), |row| row.get(0))?;
        page.cursor = page.cursor.max(newest.unwrap_or(0));
    }
    Ok(page)
}

fn here(connection: &Connection) -> rusqlite::Result<AllHere> {
    let mut all = AllHere::default();
    let mut statement = connection.prepare_cached("SELECT id, name FROM device")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        all.devices.entry(row.get(0)?).or_default().name = row.get(1)?;
    }
    let mut statement =
        connection.prepare_cached("SELECT device, incarnation, boot, first, last FROM received")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let device = all.devices.entry(row.get(0)?).or_default();
        let incarnation = device.incarnations.entry(row.get(1)?).or_default();
        incarnation
            .received
            .entry(row.get(2)?)
            .or_default()
            .insert_run(row.get(3)?, row.get(4)?);
    }
    let mut statement = connection.prepare_cached(
        "SELECT device, incarnation, boot, hold, count(*) FROM record INDEXED BY record_held
         WHERE hold IS NOT NULL AND hold <> ? GROUP BY 1, 2, 3, 4",
    )?;
    let mut rows = statement.query([DROPPED])?;
    while let Some(row) = rows.next()? {
        let device = all.devices.entry(row.get(0)?).or_default();
        let records = row.get::<_, i64>(4)?.unsigned_abs();
        *device.held_by_reason.entry(row.get(3)?).or_default() += records;
        let incarnation = device.incarnations.entry(row.get(1)?).or_default();
        *incarnation.held.entry(row.get(2)?).or_default() += records;
    }
    let mut statement = connection.prepare_cached("SELECT device, count(*) FROM conflict GROUP BY device")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let device = all.devices.entry(row.get(0)?).or_default();
        device.conflicts = row.get::<_, i64>(1)?.unsigned_abs();
    }
    Ok(all)
}
