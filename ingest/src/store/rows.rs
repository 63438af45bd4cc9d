//! The rows of the truth: records, runs, conflicts, anchors, and the small caches beside them.

use std::collections::BTreeSet;

use rusqlite::{CachedStatement, Connection, OptionalExtension as _};
use taraz_telemetry::{Clock, Hold, MeterAddress, RangeSet, Sequence};

use super::damage::{Columns, Damaged, OTHER_TYPE};
use super::facts::DROPPED;
use super::record_sum::{self, Summed};
use super::state::{BootKey, Register};
use crate::counters::RecordKind;

/// A record to be written.
#[derive(Debug)]
pub(super) struct Row<'b> {
    /// Its place in the feed.
    pub(super) place: i64,
    pub(super) boot: BootKey,
    pub(super) sequence: Sequence,
    pub(super) kind: RecordKind,
    pub(super) meter: Option<MeterAddress>,
    pub(super) clock: Clock,
    pub(super) time_ms: Option<i64>,
    pub(super) hold: Option<Hold>,
    pub(super) received_ms: i64,
    /// Since when it waits for what could place it otherwise.
    pub(super) waiting_ms: Option<i64>,
    pub(super) bytes: &'b [u8],
}

/// A record as it stands in the store.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) sequence: Sequence,
    pub(super) time_ms: Option<i64>,
    pub(super) hold: Option<String>,
    pub(super) received_ms: i64,
    pub(super) bytes: Vec<u8>,
    pub(super) waiting_ms: Option<i64>,
    /// Its row is not what was written: nothing of it may be taken over into another one, which would get a check sum of its own.
    pub(super) damaged: Option<Damaged>,
}

/// Columns of [`Stored::read`], behind the row's number.
const STORED_COLUMNS: &str = "sequence, time_ms, hold, received_ms, bytes, waiting_ms";
/// Of them, with the number.
const STORED_LEN: usize = 7;

impl Stored {
    /// It waits for a reason to count.
    pub(super) fn is_held(&self) -> bool {
        self.hold.as_deref().is_some_and(|hold| hold != DROPPED)
    }

    /// From a row of [`select`]. A column of another type reads as its default, and the row as damaged.
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        let id = row.get(0)?;
        let mut columns = Columns::new(row);
        let stored = Self {
            id,
            sequence: columns.get(1)?,
            time_ms: columns.get(2)?,
            hold: columns.get(3)?,
            received_ms: columns.get(4)?,
            bytes: columns.get(5)?,
            waiting_ms: columns.get(6)?,
            damaged: None,
        };
        let other_type = || Damaged {
            table: "record",
            id,
            readings: 1,
            what: OTHER_TYPE,
        };
        let damaged = match Summed::read(row, STORED_LEN) {
            _ if columns.is_damaged() => Some(other_type()),
            Ok((summed, crc)) => summed.check(id, crc).err(),
            Err(_) => Some(other_type()),
        };
        Ok(Self { damaged, ..stored })
    }
}

pub(super) fn insert(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<()> {
    let BootKey {
        device,
        incarnation,
        boot,
    } = row.boot;
    let (kind, clock) = (row.kind as u8, row.clock as u8);
    let meter = row.meter.map(MeterAddress::get);
    let sum = Summed {
        boot: row.boot,
        sequence: row.sequence,
        kind,
        meter,
        clock,
        received_ms: row.received_ms,
        bytes: row.bytes,
    }
    .sum();
    connection
        .prepare_cached(
            "INSERT INTO record
             (id, device, incarnation, boot, sequence, kind, meter, clock, time_ms, hold, received_ms, bytes, waiting_ms, crc)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute((
            row.place,
            device,
            incarnation,
            boot,
            row.sequence,
            kind,
            meter,
            clock,
            row.time_ms,
            row.hold.map(Hold::as_str),
            row.received_ms,
            row.bytes,
            row.waiting_ms,
            sum,
        ))?;
    Ok(())
}

pub(super) fn find(
    connection: &Connection,
    key: BootKey,
    sequence: Sequence,
) -> rusqlite::Result<Option<Stored>> {
    let sql = select(" WHERE device = ? AND incarnation = ? AND boot = ? AND sequence = ?");
    connection
        .prepare_cached(&sql)?
        .query_row((key.device, key.incarnation, key.boot, sequence), Stored::read)
        .optional()
}

/// The unsynced records of a boot, in their order.
pub(super) fn unsynced(connection: &Connection, key: BootKey) -> rusqlite::Result<Vec<Stored>> {
    let sql = select(
        " INDEXED BY record_unsynced WHERE device = ? AND incarnation = ? AND boot = ? AND clock = 2 ORDER BY sequence",
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map((key.device, key.incarnation, key.boot), Stored::read)?;
    rows.collect()
}

/// A record that is held, with what identifies it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) device: String,
    pub(super) boot: BootKey,
    pub(super) stored: Stored,
}

/// Which held records are judged again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// All: the registry may be another.
    All,
    /// Those held for their time that time may have released since they were judged last: it has passed since (UTC ms), or they came
    /// after this place of the feed.
    Passed { since_ms: i64, now_ms: i64, after: i64 },
}

/// The held records behind a rowid that are to be judged, in the order of the feed.
pub(super) fn held_after(
    connection: &Connection,
    again: Again,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Held>> {
    let mut statement = connection.prepare_cached(&match again {
        Again::All => all_held(),
        Again::Passed { .. } => passed_held(),
    })?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let held = |row: &rusqlite::Row<'_>| {
        // What can't be read is damaged, and so is what stands in `stored`.
        let mut columns = Columns::new(row);
        Ok(Held {
            device: columns.get(STORED_LEN + record_sum::COLUMNS_LEN)?,
            boot: BootKey {
                device: columns.get(STORED_LEN)?,
                incarnation: columns.get(STORED_LEN + 1)?,
                boot: columns.get(STORED_LEN + 2)?,
            },
            stored: Stored::read(row)?,
        })
    };
    let rows = match again {
        Again::All => statement.query_map((after, limit), held)?,
        Again::Passed {
            since_ms,
            now_ms,
            after: known,
        } => {
            let reason = Hold::ImplausibleTime.as_str();
            statement.query_map((after, limit, since_ms, reason, now_ms, known), held)?
        }
    };
    rows.collect()
}

fn all_held() -> String {
    format!(
        "SELECT record.id, {STORED_COLUMNS}, {}, name
         FROM record INDEXED BY record_held JOIN device ON device.id = record.device
         WHERE hold IS NOT NULL AND hold <> 'dropped' AND record.id > ?1 ORDER BY record.id LIMIT ?2",
        record_sum::COLUMNS
    )
}

/// By each device's times and by the feed's end: what is held for long costs nothing.
fn passed_held() -> String {
    format!(
        "SELECT record.id, {STORED_COLUMNS}, {}, name
         FROM (SELECT record.id AS due FROM device CROSS JOIN record INDEXED BY record_time
                   ON record.device = device.id AND time_ms > ?3 AND time_ms <= ?5
                   WHERE hold = ?4 AND record.id > ?1
               UNION
               SELECT id FROM record INDEXED BY record_held
                   WHERE hold IS NOT NULL AND hold = ?4 AND id > max(?1, ?6) AND time_ms <= ?5)
         CROSS JOIN record ON record.id = due JOIN device ON device.id = record.device
         ORDER BY record.id LIMIT ?2",
        record_sum::COLUMNS
    )
}

pub(super) fn delete(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM record WHERE id = ?")?
        .execute([id])?;
    Ok(())
}

/// Keeps a record that contradicts the stored one, once, while there are fewer than `conflicts_max`.
pub(super) fn keep_conflict(
    connection: &Connection,
    key: BootKey,
    sequence: Sequence,
    received_ms: i64,
    bytes: &[u8],
    conflicts_max: u64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO conflict (device, incarnation, boot, sequence, received_ms, bytes)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6
             WHERE NOT EXISTS (SELECT 1 FROM conflict WHERE device = ?1 AND incarnation = ?2 AND boot = ?3
                               AND sequence = ?4 AND bytes = ?6)
             AND (SELECT coalesce(max(id), 0) FROM conflict) < ?7",
        )?
        .execute((
            key.device,
            key.incarnation,
            key.boot,
            sequence,
            received_ms,
            bytes,
            i64::try_from(conflicts_max).unwrap_or(i64::MAX),
        ))?;
    Ok(())
}

/// Writes which identities are here, inside one transaction.
pub(super) struct ReceivedWriter<'c> {
    delete: CachedStatement<'c>,
    insert: CachedStatement<'c>,
}

impl<'c> ReceivedWriter<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            delete: connection.prepare_cached(
                "DELETE FROM received WHERE device = ? AND incarnation = ? AND boot = ? AND first > ? AND first <= ?",
            )?,
            insert: connection.prepare_cached(
                "INSERT OR REPLACE INTO received (device, incarnation, boot, first, last) VALUES (?, ?, ?, ?, ?)",
            )?,
        })
    }

    /// Writes the runs of a boot that have grown by what is fresh, in the place of those that they have taken in; no others.
    pub(super) fn write(
        &mut self,
        key: BootKey,
        fresh: &[(Sequence, Sequence)],
        now: &RangeSet,
    ) -> rusqlite::Result<()> {
        for (first, last) in runs_of(now, fresh) {
            let run = (key.device, key.incarnation, key.boot, first, last);
            self.delete.execute(run)?;
            self.insert.execute(run)?;
        }
        Ok(())
    }
}

/// The runs of a boot that these stretches lie in, each once.
pub(super) fn runs_of(
    received: &RangeSet,
    stretches: &[(Sequence, Sequence)],
) -> BTreeSet<(Sequence, Sequence)> {
    let firsts = stretches.iter().map(|&(first, _)| first);
    firsts.filter_map(|first| received.run_of(first)).collect()
}

/// Counts held readings of a quarter-hour up or down.
pub(super) fn count_held(
    connection: &Connection,
    device: i64,
    meter: MeterAddress,
    quarter: i64,
    change: i64,
) -> rusqlite::Result<()> {
    let key = (device, meter.get(), quarter, change);
    let left: i64 = connection
        .prepare_cached(
            "INSERT INTO held (device, meter, quarter, readings) VALUES (?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET readings = readings + excluded.readings RETURNING readings",
        )?
        .query_row(key, |row| row.get(0))?;
    if left <= 0 {
        connection
            .prepare_cached("DELETE FROM held WHERE device = ? AND meter = ? AND quarter = ?")?
            .execute((device, meter.get(), quarter))?;
    }
    Ok(())
}

/// Counts readings that say nothing of a register although power flows its way.
pub(super) fn count_unstated(
    connection: &Connection,
    device: i64,
    meter: MeterAddress,
    register: Register,
    quarter: i64,
    change: i64,
) -> rusqlite::Result<()> {
    let key = (device, meter.get(), register as u8, quarter);
    let left: i64 = connection
        .prepare_cached(
            "INSERT INTO unstated (device, meter, register, quarter, readings) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET readings = readings + excluded.readings RETURNING readings",
        )?
        .query_row((key.0, key.1, key.2, key.3, change), |row| row.get(0))?;
    if left <= 0 {
        connection
            .prepare_cached(
                "DELETE FROM unstated WHERE device = ? AND meter = ? AND register = ? AND quarter = ?",
            )?
            .execute(key)?;
    }
    Ok(())
}

/// The key of a boot from three columns.
pub(super) fn boot_key(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<BootKey> {
    Ok(BootKey {
        device: row.get(at)?,
        incarnation: row.get(at + 1)?,
        boot: row.get(at + 2)?,
    })
}

fn select(condition: &str) -> String {
    format!(
        "SELECT id, {STORED_COLUMNS}, {} FROM record{condition}",
        record_sum::COLUMNS
    )
}
