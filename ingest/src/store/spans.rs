//! When the records of a gap were written: between the records around it that are here and placed in time.
//!
//! In: the gaps of a device. Out: for each, an instant after which and one before which the device wrote all of it. It guesses nothing:
//! a side on which nothing is placed is open. A record is written at its time or later: a run of failed polls has the time of its first
//! one and is written after its last. So every record in front of a gap bounds it from below, and of those behind it any but such a run.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};
use taraz_telemetry::{Boot, Hold, Incarnation, Outcome, Sequence};

use super::StoreError;
use super::archive::Archive;
use super::chunk::{self, Chunk};
use super::damage::{Columns, Damaged};
use super::read::Snapshot;
use super::runs::{self, Run};
use crate::counters::RecordKind;
use crate::gaps::{DeviceGaps, GapSpan};

/// So many pieces in front of a gap are looked at: one that holds only failed polls of the night before bounds little.
const BEFORE_PIECES_MAX: usize = 8;
/// So many pieces behind a gap are looked at for one that bounds it.
const BEHIND_PIECES_MAX: usize = 64;

impl Archive {
    /// Tells of every gap of a device when its records were written.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn time_gaps(&self, device: &mut DeviceGaps) -> Result<(), StoreError> {
        Ok(time_gaps(self.connection(), device)?)
    }
}

impl Snapshot<'_> {
    /// As [`Archive::time_gaps`].
    pub(crate) fn time_gaps(&self, device: &mut DeviceGaps) -> rusqlite::Result<()> {
        time_gaps(self.connection, device)
    }
}

fn time_gaps(connection: &Connection, device: &mut DeviceGaps) -> rusqlite::Result<()> {
    if device.boots.iter().all(|boot| boot.gaps.is_empty()) {
        return Ok(());
    }
    let Some(mut timeline) = Timeline::read(connection, &device.device)? else {
        return Ok(());
    };
    for boot in &mut device.boots {
        for gap in &mut boot.gaps {
            gap.span = Some(timeline.span(boot.incarnation, (boot.boot, gap.first))?);
        }
    }
    Ok(())
}

/// Where a record stands within one formatting of a device's queue.
type Position = (Boot, Sequence);

/// Consecutive records that stand together in the store.
#[derive(Debug)]
struct Piece {
    incarnation: Incarnation,
    first: Position,
    last: Position,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// One record with a row of its own.
    Row { time_ms: i64, is_failure: bool },
    /// A run, and its latest time.
    Run { id: i64, to_ms: i64 },
    /// Part of a chunk.
    Chunk { id: i64 },
}

/// What is here of a device and placed in time.
struct Timeline<'c> {
    connection: &'c Connection,
    /// In the order in which the device wrote them.
    pieces: BTreeMap<Incarnation, Vec<Piece>>,
    /// The chunk that was unpacked last: gaps are told in their order.
    unpacked: Option<(i64, Vec<Run>)>,
}

impl<'c> Timeline<'c> {
    fn read(connection: &'c Connection, device: &str) -> rusqlite::Result<Option<Self>> {
        let key: Option<i64> = connection
            .prepare_cached("SELECT id FROM device WHERE name = ?")?
            .query_row([device], |row| row.get(0))
            .optional()?;
        let Some(key) = key else { return Ok(None) };
        let mut timeline = Self {
            connection,
            pieces: BTreeMap::new(),
            unpacked: None,
        };
        timeline.read_rows(key)?;
        timeline.read_runs(key)?;
        timeline.read_chunks(key)?;
        for pieces in timeline.pieces.values_mut() {
            pieces.sort_unstable_by_key(|piece| piece.first);
        }
        Ok(Some(timeline))
    }

    fn read_rows(&mut self, device: i64) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT incarnation, boot, sequence, kind, time_ms FROM record INDEXED BY record_identity
             WHERE device = ? AND time_ms IS NOT NULL AND hold IS NOT ?",
        )?;
        let mut rows = statement.query((device, Hold::ImplausibleTime.as_str()))?;
        while let Some(row) = rows.next()? {
            let mut columns = Columns::new(row);
            let place = Place::Row {
                time_ms: columns.get(4)?,
                is_failure: columns.get::<u8>(3)? == RecordKind::Failure as u8,
            };
            let (incarnation, boot, first) = (columns.get(0)?, columns.get(1)?, columns.get(2)?);
            // One that can't be read bounds nothing.
            if !columns.is_damaged() {
                self.push(incarnation, boot, (first, 1), place);
            }
        }
        Ok(())
    }

    fn read_runs(&mut self, device: i64) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(
            "SELECT incarnation, boot, first, count, id, to_ms FROM run INDEXED BY run_day WHERE device = ?",
        )?;
        let mut rows = statement.query([device])?;
        while let Some(row) = rows.next()? {
            let mut columns = Columns::new(row);
            let place = Place::Run {
                id: columns.get(4)?,
                to_ms: columns.get(5)?,
            };
            let (incarnation, boot) = (columns.get(0)?, columns.get(1)?);
            let records = (columns.get(2)?, columns.get(3)?);
            if !columns.is_damaged() {
                self.push(incarnation, boot, records, place);
            }
        }
        Ok(())
    }

    fn read_chunks(&mut self, device: i64) -> rusqlite::Result<()> {
        let sql = format!(
            "SELECT {} FROM chunk INDEXED BY chunk_day WHERE device = ?",
            chunk::COLUMNS
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([device])?;
        while let Some(row) = rows.next()? {
            let chunk = Chunk::read(row)?;
            // One that does not say what it holds bounds nothing.
            for stretch in chunk.identities().unwrap_or_default() {
                let place = Place::Chunk { id: chunk.id };
                let boot = stretch.boot;
                self.push(boot.incarnation, boot.boot, (stretch.first, stretch.count), place);
            }
        }
        Ok(())
    }

    fn push(&mut self, incarnation: Incarnation, boot: Boot, (first, count): (Sequence, u32), place: Place) {
        let last = first.saturating_add(count.saturating_sub(1));
        self.pieces.entry(incarnation).or_default().push(Piece {
            incarnation,
            first: (boot, first),
            last: (boot, last),
            place,
        });
    }

    /// What stands around a gap that begins here.
    fn span(&mut self, incarnation: Incarnation, first: Position) -> rusqlite::Result<GapSpan> {
        let pieces = self.pieces.remove(&incarnation).unwrap_or_default();
        let (before, behind) = pieces.split_at(pieces.partition_point(|piece| piece.last < first));
        let mut span = GapSpan::default();
        for piece in before.iter().rev().take(BEFORE_PIECES_MAX) {
            span.after_ms = span.after_ms.max(self.latest_ms(piece)?);
        }
        for piece in behind.iter().take(BEHIND_PIECES_MAX) {
            span.before_ms = self.first_written_ms(piece)?;
            if span.before_ms.is_some() {
                break;
            }
        }
        // A clock that was set back between them.
        if let (Some(after_ms), Some(before_ms)) = (span.after_ms, span.before_ms)
            && after_ms > before_ms
        {
            span = GapSpan {
                after_ms: Some(before_ms),
                before_ms: Some(after_ms),
            };
        }
        self.pieces.insert(incarnation, pieces);
        Ok(span)
    }

    /// The latest time in a piece.
    fn latest_ms(&mut self, piece: &Piece) -> rusqlite::Result<Option<i64>> {
        Ok(match piece.place {
            Place::Row { time_ms, .. } => Some(time_ms),
            Place::Run { to_ms, .. } => Some(to_ms),
            Place::Chunk { id } => {
                let run = self.part(id, piece)?;
                run.and_then(|run| run.records().map(|record| record.time_ms).max())
            }
        })
    }

    /// The time of the first record of a piece that was written when it says.
    fn first_written_ms(&mut self, piece: &Piece) -> rusqlite::Result<Option<i64>> {
        let run = match piece.place {
            Place::Row { time_ms, is_failure } => return Ok((!is_failure).then_some(time_ms)),
            Place::Run { id, .. } => self.run(id)?,
            Place::Chunk { id } => self.part(id, piece)?.cloned(),
        };
        Ok(run.and_then(|run| {
            let mut records = run.records();
            records
                .find(|record| matches!(record.reading.outcome, Outcome::Values(_)))
                .map(|record| record.time_ms)
        }))
    }

    /// A run, unless it is damaged.
    fn run(&self, id: i64) -> rusqlite::Result<Option<Run>> {
        let sql = format!("SELECT {} FROM run WHERE id = ?", runs::COLUMNS);
        let run = self.connection.prepare_cached(&sql)?.query_row([id], Run::read)?;
        Ok(run.check().is_ok().then_some(run))
    }

    /// The part of a chunk that a piece is, unless it is damaged.
    fn part(&mut self, id: i64, piece: &Piece) -> rusqlite::Result<Option<&Run>> {
        if self.unpacked.as_ref().is_none_or(|(unpacked, _)| *unpacked != id) {
            let sql = format!("SELECT {} FROM chunk WHERE id = ?", chunk::COLUMNS);
            let chunk = self
                .connection
                .prepare_cached(&sql)?
                .query_row([id], Chunk::read)?;
            let runs: Result<_, Damaged> = chunk.to_runs();
            self.unpacked = Some((id, runs.unwrap_or_default()));
        }
        let runs = self.unpacked.as_ref().map(|(_, runs)| runs.iter());
        let is_it = |run: &&Run| {
            run.boot.incarnation == piece.incarnation && (run.boot.boot, run.first) == piece.first
        };
        Ok(runs.and_then(|mut runs| runs.find(is_it)))
    }
}
