//! Held records in a person's hands: looked at beside a running ingest, decided while none runs.
//!
//! Held records are judged again at every start, so what a corrected registry explains needs no command. What stays is kept
//! for ever, unless a person drops it: then it stands in the store as dropped, with its bytes, and never counts.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, ToSql};
use taraz_telemetry::{Boot, DeviceId, Hold, Incarnation, MeterAddress, Sequence};

use super::changes::Changes;
use super::facts::DROPPED;
use super::{FILE_NAME, StoreError, lock, rows, schema};
use crate::analytics::quarter_of;

/// Which held records are meant: those that fit everything that is stated.
#[derive(Clone, Debug, Default)]
pub struct HeldFilter {
    /// Only this one.
    pub id: Option<i64>,
    /// Only this device's.
    pub device: Option<DeviceId>,
    /// Only those of this reason.
    pub reason: Option<Hold>,
}

/// Records of one meter (or of the device itself) that are held for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldGroup {
    /// The device's id.
    pub device: String,
    /// The meter; `None` for records that are no readings.
    pub meter: Option<u8>,
    /// Why: a word of [`Hold`].
    pub reason: String,
    /// How many.
    pub records: u64,
    /// The lowest and the highest id.
    pub ids: (i64, i64),
    /// First and last time, UTC ms; `None` when none is placed in time.
    pub times_ms: Option<(i64, i64)>,
}

/// One held record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRecord {
    /// Names it while it is held.
    pub id: i64,
    /// The device's id.
    pub device: String,
    /// Its identity.
    pub incarnation: Incarnation,
    /// Its identity.
    pub boot: Boot,
    /// Its identity.
    pub sequence: Sequence,
    /// Why it is held.
    pub reason: String,
    /// When it was, UTC ms; `None` when it is not placed in time.
    pub time_ms: Option<i64>,
    /// When the gateway took it in, UTC ms.
    pub received_ms: i64,
    /// The record as the device wrote it.
    pub bytes: Vec<u8>,
}

const CHOSEN: &str = "FROM record INDEXED BY record_held JOIN device ON device.id = record.device
    WHERE hold IS NOT NULL AND hold <> 'dropped' AND (:id IS NULL OR record.id = :id)
        AND (:device IS NULL OR name = :device) AND (:reason IS NULL OR hold = :reason)";

/// What is held, by device, meter and reason; an ingest may run beside. Nothing where there is no store.
///
/// # Errors
/// [`StoreError::Open`], [`StoreError::Older`], [`StoreError::Newer`].
pub fn held_groups(data: &Path, filter: &HeldFilter) -> Result<Vec<HeldGroup>, StoreError> {
    let sql = format!(
        "SELECT name, meter, hold, count(*), min(record.id), max(record.id), min(time_ms), max(time_ms) {CHOSEN}
         GROUP BY name, meter, hold ORDER BY name, meter, hold"
    );
    look(data, |connection| {
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map(parameters(&filter.parameters()).as_slice(), |row| {
            let times: (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
            Ok(HeldGroup {
                device: row.get(0)?,
                meter: row.get(1)?,
                reason: row.get(2)?,
                records: row.get::<_, i64>(3)?.unsigned_abs(),
                ids: (row.get(4)?, row.get(5)?),
                times_ms: times.0.zip(times.1),
            })
        })?;
        rows.collect()
    })
}

/// The first `limit` held records in the order of their ids; an ingest may run beside.
///
/// # Errors
/// As [`held_groups`].
pub fn held_records(data: &Path, filter: &HeldFilter, limit: u32) -> Result<Vec<HeldRecord>, StoreError> {
    let sql = format!(
        "SELECT record.id, name, incarnation, boot, sequence, hold, time_ms, received_ms, bytes {CHOSEN}
         ORDER BY record.id LIMIT {limit}"
    );
    look(data, |connection| {
        let mut statement = connection.prepare(&sql)?;
        let rows = statement.query_map(parameters(&filter.parameters()).as_slice(), |row| {
            Ok(HeldRecord {
                id: row.get(0)?,
                device: row.get(1)?,
                incarnation: row.get(2)?,
                boot: row.get(3)?,
                sequence: row.get(4)?,
                reason: row.get(5)?,
                time_ms: row.get(6)?,
                received_ms: row.get(7)?,
                bytes: row.get(8)?,
            })
        })?;
        rows.collect()
    })
}

/// Takes held records out of what waits: they stay in the store as dropped, and are in no interval, total or sink. Returns how
/// many.
///
/// # Errors
/// [`StoreError::InUse`] while an ingest runs, [`StoreError::Open`], [`StoreError::Newer`]; nothing has changed then.
pub fn drop_held(data: &Path, filter: &HeldFilter, now_ms: i64) -> Result<u64, StoreError> {
    let _lock = lock(data)?;
    let path = data.join(FILE_NAME);
    let at = |error| StoreError::Open {
        path: path.clone(),
        error,
    };
    let mut connection = Connection::open(&path).map_err(at)?;
    schema::prepare(&connection).map_err(at)?;
    schema::migrate(&mut connection, now_ms)?;
    let transaction = connection.transaction().map_err(at)?;
    let dropped = mark(&transaction, filter).map_err(at)?;
    transaction.commit().map_err(at)?;
    Ok(dropped)
}

fn mark(connection: &Connection, filter: &HeldFilter) -> rusqlite::Result<u64> {
    let sql = format!("SELECT record.id, record.device, meter, time_ms {CHOSEN}");
    let mut chosen = connection.prepare(&sql)?;
    let found = chosen.query_map(parameters(&filter.parameters()).as_slice(), |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Option<u8>>(2)?,
            row.get(3)?,
        ))
    })?;
    // Read before any of it changes.
    let found: Vec<(i64, i64, Option<u8>, Option<i64>)> = found.collect::<rusqlite::Result<_>>()?;
    let mut mark = connection.prepare("UPDATE record SET hold = ? WHERE id = ?")?;
    let mut changes = Changes::load(connection, i64::MAX)?;
    for &(id, device, meter, time_ms) in &found {
        if let (Some(meter), Some(time_ms)) = (meter.and_then(MeterAddress::new), time_ms) {
            rows::count_held(connection, device, meter, quarter_of(time_ms), -1)?;
            changes.touch(device, time_ms, time_ms);
        }
        mark.execute((DROPPED, id))?;
    }
    changes.write(connection)?;
    Ok(found.len() as u64)
}

impl HeldFilter {
    fn parameters(&self) -> [(&'static str, Box<dyn ToSql>); 3] {
        let device = self.device.as_ref().map(|device| device.as_str().to_owned());
        [
            (":id", Box::new(self.id)),
            (":device", Box::new(device)),
            (":reason", Box::new(self.reason.map(Hold::as_str))),
        ]
    }
}

fn parameters<'a>(all: &'a [(&'static str, Box<dyn ToSql>); 3]) -> [(&'static str, &'a dyn ToSql); 3] {
    all.each_ref().map(|(name, value)| (*name, value.as_ref()))
}

/// Reads beside whoever writes; makes and changes nothing.
fn look<T>(
    data: &Path,
    read: impl FnOnce(&Connection) -> rusqlite::Result<Vec<T>>,
) -> Result<Vec<T>, StoreError> {
    let path = data.join(FILE_NAME);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let at = |error| StoreError::Open {
        path: path.clone(),
        error,
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).map_err(at)?;
    connection.pragma_update(None, "query_only", true).map_err(at)?;
    schema::check_is_present(&connection)?;
    read(&connection).map_err(at)
}
