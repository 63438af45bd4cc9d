//! The past, read in the order of time: every reading that counts, wherever it is kept.
//!
//! In: a device and a stretch of time. Out: its readings that are placed and not held, earliest first, day by day, so that memory
//! holds one day of one device. It never unpacks what does not overlap the stretch, and changes nothing.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, Row};
use taraz_telemetry::{Boot, DeviceId, Incarnation, Reading, Record, Sequence};

use super::chunk::{self, Chunk};
use super::damage::{Columns, Damaged};
use super::feed::Ahead;
use super::runs::{self, Run, day_of};
use super::state::BootKey;
use crate::counters::RecordKind;

/// A reading in its place in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedReading {
    /// When, UTC ms: by its own clock, or where an anchor has placed it.
    pub time_ms: i64,
    /// Its identity.
    pub incarnation: Incarnation,
    /// Its identity.
    pub boot: Boot,
    /// Its identity.
    pub sequence: Sequence,
    /// When the gateway had taken it in, UTC ms; of readings that are stored together the latest.
    pub received_ms: i64,
    /// What was read, or why nothing was.
    pub reading: Reading,
}

impl PlacedReading {
    fn new(boot: BootKey, sequence: Sequence, time_ms: i64, received_ms: i64, reading: Reading) -> Self {
        Self {
            time_ms,
            incarnation: boot.incarnation,
            boot: boot.boot,
            sequence,
            received_ms,
            reading,
        }
    }

    const fn order(&self) -> (i64, Incarnation, Boot, Sequence) {
        (self.time_ms, self.incarnation, self.boot, self.sequence)
    }
}

/// The readings of a device in `from_ms..to_ms` (UTC ms) to `each`, in the order of time and, at one instant, of identities.
/// Failed polls are among them.
pub(super) fn readings_between<E: From<rusqlite::Error>>(
    connection: &Connection,
    device: &DeviceId,
    from_ms: i64,
    to_ms: i64,
    each: impl FnMut(PlacedReading) -> Result<(), E>,
) -> Result<(), E> {
    match key_of(connection, device)? {
        Some(device) => readings_of(connection, device, from_ms, to_ms, each),
        None => Ok(()),
    }
}

/// [`readings_between`] of a device by its key.
pub(super) fn readings_of<E: From<rusqlite::Error>>(
    connection: &Connection,
    device: i64,
    from_ms: i64,
    to_ms: i64,
    mut each: impl FnMut(PlacedReading) -> Result<(), E>,
) -> Result<(), E> {
    if to_ms <= from_ms {
        return Ok(());
    }
    let mut singles = connection.prepare_cached(
        "SELECT device, incarnation, boot, sequence, time_ms, received_ms, bytes, id FROM record
         WHERE device = ? AND time_ms >= ? AND time_ms < ? AND kind <= ? AND hold IS NULL
         ORDER BY time_ms, incarnation, boot, sequence",
    )?;
    let singles = singles.query((device, from_ms, to_ms, RecordKind::Failure as u8))?;
    let mut singles = Ahead::new(singles, single)?;
    let mut day = day_of(from_ms);
    while let Some(found) = next_day(connection, device, day)?.filter(|&found| found <= day_of(to_ms - 1)) {
        for placed in readings_of_day(connection, device, found, from_ms..to_ms)? {
            while singles
                .next
                .as_ref()
                .is_some_and(|next| next.order() < placed.order())
            {
                singles.take()?.map_or(Ok(()), &mut each)?;
            }
            each(placed)?;
        }
        day = found + 1;
    }
    while let Some(single) = singles.take()? {
        each(single)?;
    }
    Ok(())
}

/// Every reading with values that is placed and not held, in no order: key of the device, UTC ms, what was read. Device and day of what
/// can't be read to `broken`.
pub(super) fn each_reading(
    connection: &Connection,
    mut each: impl FnMut(i64, i64, &Reading) -> rusqlite::Result<()>,
    mut broken: impl FnMut(i64, i64, &Damaged),
) -> rusqlite::Result<()> {
    let mut singles = connection.prepare(
        "SELECT device, incarnation, boot, sequence, time_ms, received_ms, bytes, id FROM record
         WHERE kind = ? AND hold IS NULL AND time_ms IS NOT NULL",
    )?;
    let mut rows = singles.query([RecordKind::Reading as u8])?;
    while let Some(row) = rows.next()? {
        let (device, time_ms) = {
            let mut columns = Columns::new(row);
            (columns.get(0)?, columns.get(4)?)
        };
        match single(row) {
            Ok(placed) => each(device, time_ms, &placed.reading)?,
            Err(error) => {
                let damaged = Damaged::behind(&error).cloned().ok_or(error)?;
                broken(device, day_of(time_ms), &damaged);
            }
        }
    }
    let mut runs = connection.prepare(&format!("SELECT {} FROM run", runs::COLUMNS))?;
    let mut rows = runs.query(())?;
    while let Some(row) = rows.next()? {
        let run = Run::read(row)?;
        if let Err(damaged) = run.check() {
            broken(run.boot.device, run.day, &damaged);
            continue;
        }
        for record in run.records() {
            each(run.boot.device, record.time_ms, &record.reading)?;
        }
    }
    let mut chunks = connection.prepare(&format!("SELECT {} FROM chunk", chunk::COLUMNS))?;
    let mut rows = chunks.query(())?;
    while let Some(row) = rows.next()? {
        let chunk = Chunk::read(row)?;
        let records = chunk.records().unwrap_or_else(|damaged| {
            broken(chunk.device, chunk.day, &damaged);
            Vec::new()
        });
        for record in records {
            each(chunk.device, record.time_ms, &record.reading)?;
        }
    }
    Ok(())
}

/// The key of a device, if anything of it was ever stored.
fn key_of(connection: &Connection, device: &DeviceId) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT id FROM device WHERE name = ?")?
        .query_row([device.as_str()], |row| row.get(0))
        .optional()
}

/// The first day from `day` on that has runs or chunks.
fn next_day(connection: &Connection, device: i64, day: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT min(day) FROM (SELECT min(day) AS day FROM run WHERE device = ?1 AND day >= ?2
             UNION ALL SELECT min(day) FROM chunk WHERE device = ?1 AND day >= ?2)",
        )?
        .query_row((device, day), |row| row.get(0))
}

/// Rows that overlap a stretch of time; those that can't say when they are may.
const OVERLAPS: &str = "WHERE device = ? AND day = ?
    AND (to_ms >= ? AND from_ms < ? OR typeof(to_ms) <> 'integer' OR typeof(from_ms) <> 'integer')";

/// What runs and chunks hold of a day, in the order of time.
fn readings_of_day(
    connection: &Connection,
    device: i64,
    day: i64,
    times_ms: Range<i64>,
) -> rusqlite::Result<Vec<PlacedReading>> {
    let sql = format!("SELECT {} FROM run {OVERLAPS}", runs::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((device, day, times_ms.start, times_ms.end))?;
    let mut readings = Vec::new();
    while let Some(row) = rows.next()? {
        let run = Run::read(row)?;
        run.each_record(|record| {
            if times_ms.contains(&record.time_ms) {
                readings.push(PlacedReading::new(
                    run.boot,
                    record.sequence,
                    record.time_ms,
                    run.received_ms,
                    record.reading,
                ));
            }
        })?;
    }
    let sql = format!("SELECT {} FROM chunk {OVERLAPS}", chunk::COLUMNS);
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((device, day, times_ms.start, times_ms.end))?;
    while let Some(row) = rows.next()? {
        let chunk = Chunk::read(row)?;
        let records = chunk.records()?.into_iter();
        let overlapping = records.filter(|record| times_ms.contains(&record.time_ms));
        readings.extend(overlapping.map(|record| {
            PlacedReading::new(
                record.boot,
                record.sequence,
                record.time_ms,
                chunk.received_ms,
                record.reading,
            )
        }));
    }
    readings.sort_unstable_by_key(PlacedReading::order);
    Ok(readings)
}

/// A reading that has a row of its own; one that can't be read is an error that says so.
fn single(row: &Row<'_>) -> rusqlite::Result<PlacedReading> {
    let mut columns = Columns::new(row);
    let boot = BootKey {
        device: columns.get(0)?,
        incarnation: columns.get(1)?,
        boot: columns.get(2)?,
    };
    let (sequence, time_ms, received_ms) = (columns.get(3)?, columns.get(4)?, columns.get(5)?);
    let bytes: Vec<u8> = columns.get(6)?;
    match Record::decode(&bytes) {
        Ok((Record::Reading(reading), [])) if !columns.is_damaged() => {
            Ok(PlacedReading::new(boot, sequence, time_ms, received_ms, reading))
        }
        _ => Err(Damaged {
            table: "record",
            id: row.get(7)?,
            readings: 1,
            what: "it is no reading that can be read",
        }
        .into()),
    }
}
