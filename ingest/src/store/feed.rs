//! The feed: every reading that counts, in the order in which it came to count. Sinks follow it with a cursor.
//!
//! Rows of `record`, `run` and `chunk` share one sequence of places. A run's records stand on consecutive places, the last one on the
//! run's own. A chunk stands as a whole where the last of its records stood: whoever is behind that gets all of it, some of it perhaps
//! for the second time. What is placed, settled or released later gets a new place at the end.

use rusqlite::{Row, Rows};
use taraz_telemetry::{DeviceId, Outcome, Reading, Record};

use super::chunk::{self, Chunk};
use super::damage::{Columns, Damaged, OTHER_TYPE, PassedOver};
use super::read::Snapshot;
use super::runs::{self, Run};
use crate::counters::RecordKind;
use crate::view::StoredReading;

/// The highest place that is or was in use: cursors name places of what may be gone.
pub(super) const END: &str = "SELECT max(
    coalesce((SELECT max(id) FROM record), 0), coalesce((SELECT max(id) FROM run), 0),
    coalesce((SELECT max(id) FROM chunk), 0), coalesce((SELECT max(record) FROM cursor), 0))";

const SINGLES: &str = "SELECT record.id, name, time_ms, bytes FROM record JOIN device ON device.id = record.device
    WHERE record.id > ? AND kind = ? AND time_ms IS NOT NULL AND hold IS NULL AND waiting_ms IS NULL ORDER BY record.id";

/// Rows of several readings behind a place, with their device's id behind the other columns.
fn select(table: &str, columns: &str) -> String {
    format!(
        "SELECT {columns}, name FROM {table} JOIN device ON device.id = {table}.device
         WHERE {table}.id > ? ORDER BY {table}.id"
    )
}

/// A reading that has a row of its own.
struct Single {
    place: i64,
    device: String,
    time_ms: i64,
    bytes: Vec<u8>,
    is_damaged: bool,
}

impl Single {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let mut columns = Columns::new(row);
        let single = Self {
            place: row.get(0)?,
            device: columns.get(1)?,
            time_ms: columns.get(2)?,
            bytes: columns.get(3)?,
            is_damaged: false,
        };
        Ok(Self {
            is_damaged: columns.is_damaged(),
            ..single
        })
    }

    fn check(&self) -> Result<(), Damaged> {
        if self.is_damaged {
            return Err(Damaged {
                table: "record",
                id: self.place,
                readings: 1,
                what: OTHER_TYPE,
            });
        }
        Ok(())
    }
}

/// A device's id; one that can't be read is no device of the registry.
fn device_of(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Columns::new(row).get(at)
}

/// Rows with the next one looked at already.
pub(super) struct Ahead<'r, T> {
    rows: Rows<'r>,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
    pub(super) next: Option<T>,
}

impl<'r, T> Ahead<'r, T> {
    pub(super) fn new(
        mut rows: Rows<'r>,
        read: fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Self> {
        let next = rows.next()?.map(read).transpose()?;
        Ok(Self { rows, read, next })
    }

    pub(super) fn take(&mut self) -> rusqlite::Result<Option<T>> {
        let after = self.rows.next()?.map(self.read).transpose()?;
        Ok(std::mem::replace(&mut self.next, after))
    }
}

impl Snapshot<'_> {
    /// Readings behind a place, at most `limit`; but a chunk is given whole. Fewer than `limit` are all there are.
    /// What is damaged is passed over, so that a sink goes on behind it.
    pub(super) fn readings_after(
        &self,
        cursor: i64,
        limit: usize,
        passed: &mut PassedOver,
    ) -> rusqlite::Result<Vec<StoredReading>> {
        let mut singles = self.connection.prepare_cached(SINGLES)?;
        let singles = singles.query((cursor, RecordKind::Reading as u8))?;
        let mut singles = Ahead::new(singles, Single::read)?;
        let mut runs = self.connection.prepare_cached(&select("run", runs::COLUMNS))?;
        let mut runs = Ahead::new(runs.query([cursor])?, |row| {
            Ok((Run::read(row)?, device_of(row, runs::COLUMNS_LEN)?))
        })?;
        let mut chunks = self.connection.prepare_cached(&select("chunk", chunk::COLUMNS))?;
        let mut chunks = Ahead::new(chunks.query([cursor])?, |row| {
            Ok((Chunk::read(row)?, device_of(row, chunk::COLUMNS_LEN)?))
        })?;
        let mut readings = Vec::new();
        while readings.len() < limit {
            let places = [
                singles.next.as_ref().map(|single| single.place),
                runs.next.as_ref().map(|(run, _)| run.id),
                chunks.next.as_ref().map(|(chunk, _)| chunk.id),
            ];
            let Some(first) = places.into_iter().flatten().min() else {
                break;
            };
            let is_first = places.map(|place| place == Some(first));
            if is_first[0] {
                if let Some(single) = singles.take()? {
                    if let Err(damaged) = single.check() {
                        passed.row(&damaged);
                        continue;
                    }
                    readings.extend(self.of_single(&single));
                }
            } else if is_first[1] {
                if let Some((run, device)) = runs.take()? {
                    if let Err(damaged) = run.check() {
                        passed.row(&damaged);
                        continue;
                    }
                    let room = limit - readings.len();
                    readings.extend(self.of_run(&run, &device, cursor).take(room));
                }
            } else if let Some((chunk, device)) = chunks.take()? {
                let records = chunk.records().unwrap_or_else(|damaged| {
                    passed.row(&damaged);
                    Vec::new()
                });
                readings.extend(
                    records
                        .into_iter()
                        .filter_map(|record| self.shown(&device, chunk.id, record.time_ms, record.reading)),
                );
            }
        }
        Ok(readings)
    }

    /// How many records stand behind a cursor, at most.
    pub(super) fn behind(&self, cursor: i64) -> rusqlite::Result<u64> {
        let end: i64 = self
            .connection
            .prepare_cached(END)?
            .query_row((), |row| row.get(0))?;
        Ok(end.saturating_sub(cursor).max(0).unsigned_abs())
    }

    fn of_run(&self, run: &Run, device: &str, cursor: i64) -> impl Iterator<Item = StoredReading> {
        run.records()
            .filter(move |record| record.place > cursor)
            .filter_map(move |record| self.shown(device, record.place, record.time_ms, record.reading))
    }

    fn of_single(&self, single: &Single) -> Option<StoredReading> {
        match Record::decode(&single.bytes) {
            Ok((Record::Reading(reading), _)) => {
                self.shown(&single.device, single.place, single.time_ms, reading)
            }
            _ => None,
        }
    }

    /// A reading with values, of a meter that the registry knows.
    fn shown(&self, device: &str, place: i64, time_ms: i64, reading: Reading) -> Option<StoredReading> {
        let id = DeviceId::new(device).ok()?;
        let found = self.fleet.device(&id)?;
        let meter = found.device.meter(reading.meter)?;
        let Outcome::Values(quantities) = reading.outcome else {
            return None;
        };
        Some(StoredReading {
            rowid: place,
            device: id,
            meter: meter.address,
            plant: found.plant.id.clone(),
            role: meter.role,
            time_ms,
            quantities,
        })
    }
}
