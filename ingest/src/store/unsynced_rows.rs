//! The rows behind [`super::placing`]: anchors, and records that wait until their place is settled.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension as _};
use taraz_telemetry::{Anchor, Sequence};

use super::anchors::Anchors;
use super::rows::boot_key;
use super::state::BootKey;
use crate::counters::RecordKind;

/// The anchors of a boot.
pub(super) fn anchors(connection: &Connection, key: BootKey) -> rusqlite::Result<Anchors> {
    let mut statement = connection.prepare_cached(
        "SELECT monotonic_ms, utc_ms, error_ms FROM anchor WHERE device = ? AND incarnation = ? AND boot = ?",
    )?;
    let rows = statement.query_map((key.device, key.incarnation, key.boot), |row| {
        let ms = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
        Ok(Anchor {
            boot: key.boot,
            monotonic_ms: ms(0)?,
            utc_ms: ms(1)?,
            error_ms: row.get(2)?,
        })
    })?;
    rows.collect()
}

/// Makes these the anchors of a boot.
pub(super) fn write_anchors(
    connection: &Connection,
    key: BootKey,
    anchors: &Anchors,
) -> rusqlite::Result<()> {
    let ms = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    let mut insert = connection.prepare_cached(
        "INSERT INTO anchor (device, incarnation, boot, monotonic_ms, utc_ms, error_ms) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET utc_ms = excluded.utc_ms, error_ms = excluded.error_ms
         WHERE utc_ms <> excluded.utc_ms OR error_ms <> excluded.error_ms",
    )?;
    let mut last_ms = None;
    for anchor in anchors.iter() {
        last_ms = Some(ms(anchor.monotonic_ms));
        insert.execute((
            key.device,
            key.incarnation,
            key.boot,
            last_ms,
            ms(anchor.utc_ms),
            anchor.error_ms,
        ))?;
    }
    // An earlier one pushed the last one out.
    connection
        .prepare_cached(
            "DELETE FROM anchor WHERE device = ? AND incarnation = ? AND boot = ? AND monotonic_ms > ?",
        )?
        .execute((key.device, key.incarnation, key.boot, last_ms.unwrap_or(-1)))?;
    Ok(())
}

/// Every boot with unsynced records, and its device's id.
pub(super) fn boots_with_unsynced(connection: &Connection) -> rusqlite::Result<Vec<(BootKey, String)>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT device, incarnation, boot, name FROM record JOIN device ON device.id = record.device
         WHERE clock = 2 ORDER BY device, incarnation, boot",
    )?;
    let rows = statement.query_map((), |row| Ok((boot_key(row, 0)?, row.get(3)?)))?;
    rows.collect()
}

/// Every boot with records that wait to be settled.
pub(super) fn boots_with_waiting(connection: &Connection) -> rusqlite::Result<HashSet<BootKey>> {
    let mut statement = connection.prepare(
        "SELECT DISTINCT device, incarnation, boot FROM record INDEXED BY record_waiting WHERE waiting_ms IS NOT NULL",
    )?;
    let rows = statement.query_map((), |row| boot_key(row, 0))?;
    rows.collect()
}

/// The first and the last anchor record of a run of a boot's records, if there is one.
pub(super) fn anchors_of(
    connection: &Connection,
    key: BootKey,
    (first, last): (Sequence, Sequence),
) -> rusqlite::Result<Option<(Sequence, Sequence)>> {
    const { assert!(RecordKind::Anchor as u8 == 4) }
    let end = |order: &str| -> rusqlite::Result<Option<Sequence>> {
        let sql = format!(
            "SELECT sequence FROM record INDEXED BY record_anchor
             WHERE device = ? AND incarnation = ? AND boot = ? AND kind = 4 AND sequence >= ? AND sequence <= ?
             ORDER BY sequence {order} LIMIT 1"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let found = statement.query_row((key.device, key.incarnation, key.boot, first, last), |row| {
            row.get(0)
        });
        found.optional()
    };
    Ok(end("ASC")?.zip(end("DESC")?))
}

/// The records of a boot from one sequence to another that wait to be settled, in the order of the sequences: their rowids.
pub(super) fn waiting(
    connection: &Connection,
    key: BootKey,
    first: Sequence,
    last: Sequence,
) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM record INDEXED BY record_waiting
         WHERE device = ? AND incarnation = ? AND boot = ? AND sequence >= ? AND sequence <= ? AND waiting_ms IS NOT NULL
         ORDER BY sequence",
    )?;
    let rows = statement.query_map((key.device, key.incarnation, key.boot, first, last), |row| {
        row.get(0)
    })?;
    rows.collect()
}

/// A record of the boot waits to be settled.
pub(super) fn waits(connection: &Connection, key: BootKey) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM record INDEXED BY record_waiting
             WHERE device = ? AND incarnation = ? AND boot = ? AND waiting_ms IS NOT NULL)",
        )?
        .query_row((key.device, key.incarnation, key.boot), |row| row.get(0))
}

/// The records that wait since before an instant, the longest first.
pub(super) fn overdue(connection: &Connection, since_ms: i64, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let mut statement = connection.prepare_cached(
        "SELECT id FROM record INDEXED BY record_waiting_ms WHERE waiting_ms <= ? ORDER BY waiting_ms, id LIMIT ?",
    )?;
    let rows = statement.query_map((since_ms, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
        row.get(0)
    })?;
    rows.collect()
}

/// Ends a record's wait: it moves to this place, at the end of the feed.
pub(super) fn give_away(connection: &Connection, id: i64, place: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE record SET waiting_ms = NULL, id = ? WHERE id = ?")?
        .execute((place, id))?;
    Ok(())
}
