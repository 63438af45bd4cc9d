//! Looks at a spool beside a running gateway, or without one, and changes nothing.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use serde::Serialize;
use taraz_telemetry::{Boot, Incarnation, RangeSet, Sequence};

use super::mark::Mark;
use super::missing::Before;
use super::schema::{SCHEMA_VERSION, is_empty, version};
use super::table::{BUSY_TIMEOUT, NEXT_POSITION, StoredRow, in_circles, signed, stored, unsigned};
use super::{FILE_NAME, LOCK_NAME, SpoolError, refuse_half_repaired};

/// Lanes that a listing names for each device; all of them are counted.
pub const LANES_SHOWN_MAX: usize = 64;
/// Rows that one look takes, so that a long look does not keep the file from being tidied by a gateway beside it.
const ROWS_AT_ONCE: u32 = 1_000;

/// A spool's file, opened to be looked at.
#[derive(Debug)]
pub struct SpoolFile {
    pub(super) connection: Connection,
    pub(super) file: PathBuf,
    /// What was seen beside it before it was opened.
    pub(super) before: Before,
}

/// What is in a spool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpoolListing {
    /// The file.
    pub file: String,
    /// Its size in bytes.
    pub file_bytes: u64,
    /// The size of its write-ahead log in bytes.
    pub log_bytes: u64,
    /// The position that the next row gets.
    pub next_position: u64,
    /// What waits for ingest, by device.
    pub waiting: Vec<DeviceWaiting>,
    /// What ingest rejected or the disk damaged, by device and reason.
    pub quarantined: Vec<DeviceQuarantined>,
}

/// What of one device waits for ingest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceWaiting {
    /// The device's id; empty when the row does not tell.
    pub device: String,
    /// Rows: runs of consecutive records with one hold.
    pub runs: u64,
    /// Records in them.
    pub records: u64,
    /// Of these, records that are held back.
    pub held_records: u64,
    /// Rows that do not fit their check sum.
    pub damaged_runs: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// When the oldest was taken in, UTC ms.
    pub oldest_received_ms: u64,
    /// When the newest was taken in, UTC ms.
    pub newest_received_ms: u64,
    /// Unbroken stretches of identities.
    pub lanes: Vec<Lane>,
    /// How many of them there are; at most [`LANES_SHOWN_MAX`] are named.
    pub lanes_total: u64,
}

/// An unbroken stretch of identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Lane {
    /// Of which memory.
    pub incarnation: Incarnation,
    /// Of which start.
    pub boot: Boot,
    /// The first sequence.
    pub first: Sequence,
    /// The last sequence.
    pub last: Sequence,
}

/// What of one device is in the quarantine for one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceQuarantined {
    /// The device's id; empty when the row does not tell.
    pub device: String,
    /// Why it is there.
    pub reason: String,
    /// Rows.
    pub runs: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of the records.
    pub bytes: u64,
    /// When the oldest was put there, UTC ms.
    pub oldest_quarantined_ms: u64,
}

/// Of one device: what waits, and its identities.
#[derive(Default)]
struct Gathered {
    told: DeviceWaiting,
    identities: BTreeMap<(Incarnation, Boot), RangeSet>,
}

impl SpoolFile {
    /// Opens the spool in a gateway's data folder. `None` when there is none, or one that a gateway is making at this moment.
    ///
    /// # Errors
    /// [`SpoolError::HalfRepaired`], [`SpoolError::Gone`], [`SpoolError::Folder`], [`SpoolError::Open`], [`SpoolError::Schema`].
    pub fn open(data_dir: &Path) -> Result<Option<Self>, SpoolError> {
        let lock = File::open(data_dir.join(LOCK_NAME));
        let is_used = lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
        Self::open_used(data_dir, is_used)
    }

    /// As [`Self::open`], by somebody who knows whether a gateway writes to it.
    pub(super) fn open_used(data_dir: &Path, is_used: bool) -> Result<Option<Self>, SpoolError> {
        refuse_half_repaired(data_dir)?;
        let file = data_dir.join(FILE_NAME);
        // First: whoever opens the file may take the log into it.
        let before = Before::look(data_dir, &file, is_used)?;
        let marked_rows = before.marked.mark.as_ref().map_or(0, Mark::rows);
        match (file.exists(), marked_rows) {
            (true, _) => {}
            (false, 0) => return Ok(None),
            (false, rows) => {
                let file = file.display().to_string();
                return Err(SpoolError::Gone { file, rows });
            }
        }
        let connection = look(&file).map_err(failed(&file))?;
        let is_unused = before.log.is_none() && marked_rows == 0 && !before.marked.is_damaged;
        let opened = Self {
            connection,
            file,
            before,
        };
        let at = failed(&opened.file);
        match version(&opened.connection).map_err(&at)? {
            // Only just made; unless all of it stood in a log that can't be read or is gone, or its version is damaged.
            0 if is_unused && is_empty(&opened.connection).map_err(&at)? => Ok(None),
            0 | SCHEMA_VERSION => Ok(Some(opened)),
            found => Err(SpoolError::Schema {
                file: opened.file.display().to_string(),
                found,
                known: SCHEMA_VERSION,
            }),
        }
    }

    /// Adds up what waits and what is in the quarantine.
    ///
    /// # Errors
    /// [`SpoolError::Open`] when the file can't be read.
    pub fn list(&self) -> Result<SpoolListing, SpoolError> {
        let at = failed(&self.file);
        let next = self.connection.query_row(NEXT_POSITION, [], |row| row.get(0));
        let size = |file: &Path| std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        Ok(SpoolListing {
            file: self.file.display().to_string(),
            file_bytes: size(&self.file),
            log_bytes: size(&beside(&self.file, "-wal")),
            next_position: unsigned(next.map_err(&at)?),
            waiting: self.waiting()?,
            quarantined: self.quarantined().map_err(&at)?,
        })
    }

    fn waiting(&self) -> Result<Vec<DeviceWaiting>, SpoolError> {
        let mut devices: BTreeMap<String, Gathered> = BTreeMap::new();
        self.each("items", |row| {
            if !devices.contains_key(row.device) {
                devices.insert(row.device.to_owned(), Gathered::default());
            }
            if let Some(device) = devices.get_mut(row.device) {
                device.add(row);
            }
        })?;
        let named = |(device, gathered): (String, Gathered)| gathered.told(device);
        Ok(devices.into_iter().map(named).collect())
    }

    fn quarantined(&self) -> rusqlite::Result<Vec<DeviceQuarantined>> {
        let mut statement = self.connection.prepare(
            "SELECT CAST(device AS TEXT), reason, count(*), sum(count), sum(length(records)), min(quarantined_ms)
             FROM quarantine GROUP BY 1, 2 ORDER BY 1, 2",
        )?;
        let rows = statement.query_map([], |row| {
            Ok(DeviceQuarantined {
                device: row.get(0).unwrap_or_default(),
                reason: row.get(1)?,
                runs: unsigned(row.get(2)?),
                records: unsigned(row.get(3)?),
                bytes: unsigned(row.get(4)?),
                oldest_quarantined_ms: unsigned(row.get(5)?),
            })
        })?;
        rows.collect()
    }

    /// Every row of a table in the order of its position, in looks of a bounded length.
    pub(super) fn each(&self, table: &str, mut each: impl FnMut(&StoredRow<'_>)) -> Result<(), SpoolError> {
        let mut after = 0;
        loop {
            let (read, last) = self
                .some(table, after, ROWS_AT_ONCE, &mut each)
                .map_err(failed(&self.file))?;
            after = last;
            if read < ROWS_AT_ONCE {
                return Ok(());
            }
        }
    }

    /// At most so many rows after a position; how many there were, and the position of the last.
    pub(super) fn some(
        &self,
        table: &str,
        after: u64,
        rows_max: u32,
        mut each: impl FnMut(&StoredRow<'_>),
    ) -> rusqlite::Result<(u32, u64)> {
        let sql = format!("SELECT * FROM {table} WHERE position > ?1 ORDER BY position LIMIT ?2");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((signed(after), rows_max))?;
        let (mut read, mut last) = (0, after);
        while let Some(row) = rows.next()? {
            let row = stored(row)?;
            if row.position <= last {
                // A damaged tree leads in circles.
                return Err(in_circles());
            }
            each(&row);
            last = row.position;
            read += 1;
        }
        Ok((read, last))
    }

    /// One row, whole.
    pub(super) fn one<T>(
        &self,
        position: u64,
        read: impl FnOnce(&StoredRow<'_>) -> T,
    ) -> rusqlite::Result<Option<T>> {
        let sql = "SELECT * FROM items WHERE position = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement
            .query_row([signed(position)], |row| Ok(read(&stored(row)?)))
            .optional()
    }
}

impl Gathered {
    fn add(&mut self, row: &StoredRow<'_>) {
        let told = &mut self.told;
        if told.runs == 0 {
            told.oldest_received_ms = row.received_ms;
        }
        told.runs += 1;
        told.oldest_received_ms = told.oldest_received_ms.min(row.received_ms);
        told.newest_received_ms = told.newest_received_ms.max(row.received_ms);
        told.bytes += row.records.len() as u64;
        if row.damaged {
            // What it says of itself is not believed.
            told.damaged_runs += 1;
            return;
        }
        told.records += u64::from(row.count);
        if row.hold.is_some() {
            told.held_records += u64::from(row.count);
        }
        let last = row.first.saturating_add(row.count.saturating_sub(1));
        let identities = self.identities.entry((row.incarnation, row.boot)).or_default();
        identities.insert_run(row.first, last);
    }

    fn told(self, device: String) -> DeviceWaiting {
        let mut told = DeviceWaiting { device, ..self.told };
        for ((incarnation, boot), set) in self.identities {
            for (first, last) in set.runs() {
                told.lanes_total += 1;
                if told.lanes.len() < LANES_SHOWN_MAX {
                    told.lanes.push(Lane {
                        incarnation,
                        boot,
                        first,
                        last,
                    });
                }
            }
        }
        told
    }
}

/// A connection that makes no file and changes no content. On a disk that can't be written the file is read as it is, which is
/// whole only without a log beside it.
fn look(file: &Path) -> rusqlite::Result<Connection> {
    let open = |flags| {
        let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        // The log stays as it is: what of it can't be read is for a repair to keep.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        version(&connection)?;
        Ok(connection)
    };
    let error = match open(OpenFlags::SQLITE_OPEN_READ_WRITE) {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if let Ok(connection) = open(OpenFlags::SQLITE_OPEN_READ_ONLY) {
        return Ok(connection);
    }
    let log = std::fs::metadata(beside(file, "-wal")).map_or(0, |metadata| metadata.len());
    let path = file
        .to_str()
        .filter(|path| log == 0 && !path.contains(['?', '#', '%']));
    let Some(path) = path else { return Err(error) };
    let uri = format!("file:{path}?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    version(&connection).map_err(|_| error)?;
    Ok(connection)
}

/// The file of this ending beside another.
pub(super) fn beside(file: &Path, ending: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

pub(super) fn failed(file: &Path) -> impl Fn(rusqlite::Error) -> SpoolError + use<> {
    let file = file.display().to_string();
    move |error| SpoolError::Open {
        file: file.clone(),
        error,
    }
}
