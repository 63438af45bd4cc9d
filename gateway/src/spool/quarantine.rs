//! What ingest rejected for good: looked at beside a running gateway, decided while none runs.
//!
//! Nothing in the quarantine is ever evicted. A person looks at the reason and decides: once more to ingest, or away.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};
use taraz_telemetry::{Boot, Incarnation, Sequence};

use crate::time::now_ms;

use super::inspect::{SpoolFile, failed};
use super::missing::Before;
use super::schema::{SCHEMA_VERSION, check_described, version};
use super::table::{NEXT_POSITION, connect, signed, stored, unsigned};
use super::{FILE_NAME, SpoolError, lock, refuse_half_repaired};

/// A run of records of one device that ingest rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedItem {
    /// Its position in the spool, which names it.
    pub position: u64,
    /// When the gateway took it in, UTC ms.
    pub received_ms: u64,
    /// When it was rejected, UTC ms.
    pub quarantined_ms: u64,
    /// The device's id.
    pub device: String,
    /// Identity of the first record.
    pub incarnation: Incarnation,
    /// Identity of the first record.
    pub boot: Boot,
    /// Identity of the first record.
    pub first: Sequence,
    /// How many records it is.
    pub count: u32,
    /// What ingest said.
    pub reason: String,
    /// The records one behind the other, as they were received.
    pub records: Vec<u8>,
    /// The row does not fit its check sum: ingest would never take it.
    pub damaged: bool,
}

/// The quarantine of a gateway that does not run.
#[derive(Debug)]
pub struct Quarantine {
    connection: Connection,
    file: PathBuf,
    _lock: std::fs::File,
}

impl Quarantine {
    /// Every item in the order of its position, bounded by the spool's own bound; a gateway may run beside. None when there is no
    /// spool in the folder.
    ///
    /// # Errors
    /// [`SpoolError::HalfRepaired`], [`SpoolError::Open`], [`SpoolError::Schema`].
    pub fn list(data_dir: &Path) -> Result<Vec<QuarantinedItem>, SpoolError> {
        match SpoolFile::open(data_dir)? {
            Some(spool) => items(&spool.connection).map_err(failed(&spool.file)),
            None => Ok(Vec::new()),
        }
    }

    /// Takes the quarantine for decisions.
    ///
    /// # Errors
    /// [`SpoolError::InUse`] while a gateway runs, [`SpoolError::HalfRepaired`], [`SpoolError::Folder`], [`SpoolError::Open`],
    /// [`SpoolError::Schema`].
    pub fn open(data_dir: &Path) -> Result<Self, SpoolError> {
        let file = data_dir.join(FILE_NAME);
        let lock = lock(data_dir)?;
        refuse_half_repaired(data_dir)?;
        let before = Before::look(data_dir, &file, false)?;
        let mut connection = connect(&file).map_err(failed(&file))?;
        check_schema(&connection, &file)?;
        before.account(&mut connection, &file, now_ms())?;
        Ok(Self {
            connection,
            file,
            _lock: lock,
        })
    }

    /// Puts an item behind everything that waits for ingest; the gateway delivers it when it runs again. False when it is not
    /// there, or damaged: that ingest would never see.
    ///
    /// # Errors
    /// [`SpoolError::Open`]; nothing has changed then.
    pub fn retry(&mut self, position: u64) -> Result<bool, SpoolError> {
        let at = failed(&self.file);
        let transaction = self.connection.transaction().map_err(&at)?;
        let done = (|| {
            let sql = "SELECT * FROM quarantine WHERE position = ?1";
            let is_whole = transaction
                .query_row(sql, [signed(position)], |row| Ok(!stored(row)?.damaged))
                .optional()?;
            if is_whole != Some(true) {
                return Ok(false);
            }
            let next: i64 = transaction.query_row(NEXT_POSITION, [], |row| row.get(0))?;
            transaction.execute(
                "INSERT INTO items SELECT ?2, received_ms, device, incarnation, boot, first, count, hold, crc, records
                 FROM quarantine WHERE position = ?1",
                params![signed(position), next],
            )?;
            transaction.execute("DELETE FROM quarantine WHERE position = ?1", [signed(position)])?;
            retire(&transaction, position)?;
            Ok(true)
        })();
        let done = done.map_err(&at)?;
        transaction.commit().map_err(&at)?;
        Ok(done)
    }

    /// Removes an item for good. False when it is not there.
    ///
    /// # Errors
    /// [`SpoolError::Open`]; nothing has changed then.
    pub fn drop_item(&mut self, position: u64) -> Result<bool, SpoolError> {
        let at = failed(&self.file);
        let transaction = self.connection.transaction().map_err(&at)?;
        retire(&transaction, position).map_err(&at)?;
        let sql = "DELETE FROM quarantine WHERE position = ?1";
        let dropped = transaction.execute(sql, [signed(position)]).map_err(&at)?;
        if dropped == 0 {
            return Ok(false);
        }
        transaction.commit().map_err(&at)?;
        Ok(true)
    }
}

/// The row of this position goes, and was not lost: nothing is looked for up to it, and it is never given out again.
fn retire(connection: &Connection, position: u64) -> rusqlite::Result<()> {
    let sql = "UPDATE meta SET value = max(value, ?1 + 1) WHERE key = 'next_position'";
    connection.execute(sql, [signed(position)]).map(drop)
}

fn items(connection: &Connection) -> rusqlite::Result<Vec<QuarantinedItem>> {
    let mut statement = connection.prepare("SELECT * FROM quarantine ORDER BY position")?;
    let rows = statement.query_map([], |row| {
        let item = stored(row)?;
        Ok(QuarantinedItem {
            position: item.position,
            received_ms: item.received_ms,
            quarantined_ms: unsigned(row.get("quarantined_ms")?),
            device: item.device.to_owned(),
            incarnation: item.incarnation,
            boot: item.boot,
            first: item.first,
            count: item.count,
            reason: row.get("reason")?,
            records: item.records.to_vec(),
            damaged: item.damaged,
        })
    })?;
    rows.collect()
}

fn check_schema(connection: &Connection, file: &Path) -> Result<(), SpoolError> {
    let found = version(connection).map_err(failed(file))?;
    if found == SCHEMA_VERSION {
        return check_described(connection, file);
    }
    Err(SpoolError::Schema {
        file: file.display().to_string(),
        found,
        known: SCHEMA_VERSION,
    })
}
