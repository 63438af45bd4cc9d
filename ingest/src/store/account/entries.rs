//! The rows of accounts: written once each, replaced by stretches, read back.

use rusqlite::types::Type;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _};
use taraz_analytics::energy::{
    Cause, Entries, Entry, Flags, Ignored, Meter, PeriodEnergy, Point, Position, RunningIntervals, Segment,
    Why,
};

use super::Account;

/// As they stand in the tables; a released number never changes its meaning.
const CAUSES: [Cause; 10] = [
    Cause::Counted,
    Cause::Still,
    Cause::Gap,
    Cause::CatchUp,
    Cause::RollOver,
    Cause::Replaced,
    Cause::Reset,
    Cause::Jump,
    Cause::Fall,
    Cause::Misfit,
];
const WHYS: [Why; 2] = [Why::Dip, Why::Spike];

/// Forgets all accounts' rows, and what they came to; the highest totals that were shown stay.
pub(in crate::store) fn reset_rows(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM interval; DELETE FROM segment; DELETE FROM ignored; DELETE FROM checkpoint; DELETE FROM late;
         UPDATE series SET state = NULL, handed_wh = 0, total_wh = 0, first_ms = NULL, first_wh = NULL;",
    )
}

/// The energy of all rows of each series, in Wh.
pub(in crate::store) fn sums_wh(connection: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut statement = connection.prepare(
        "SELECT id, coalesce((SELECT sum(energy_wh) FROM interval WHERE series = series.id), 0)
             + coalesce((SELECT sum(energy_wh) FROM segment WHERE series = series.id), 0) FROM series",
    )?;
    let sums = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    sums.collect()
}

/// Writes rows inside one transaction.
pub(super) struct Writer<'c> {
    connection: &'c Connection,
    quarter: CachedStatement<'c>,
    account: CachedStatement<'c>,
    bytes: Vec<u8>,
}

impl<'c> Writer<'c> {
    pub(super) fn new(connection: &'c Connection) -> rusqlite::Result<Self> {
        let quarter = connection.prepare_cached(
            "INSERT OR REPLACE INTO interval (series, quarter, energy_wh, known_ms, covered_ms, flags)
             VALUES (?, ?, ?, ?, ?, ?)",
        )?;
        let account = connection.prepare_cached(
            "UPDATE series SET state = ?2, handed_wh = ?3, total_wh = ?4, shown_wh = max(shown_wh, ?4),
                 first_ms = ?5, first_wh = ?6 WHERE id = ?1",
        )?;
        Ok(Self {
            connection,
            quarter,
            account,
            bytes: Vec::new(),
        })
    }

    /// Goes on with an account, and writes what that completes.
    pub(super) fn push(&mut self, series: i64, account: &mut Account, point: Point) -> rusqlite::Result<()> {
        let mut result = Ok(());
        account.first = account.first.or(Some(point));
        let handed_wh = &mut account.handed_wh;
        let pushed = account.running.push(&account.meter, point, &mut |entry| {
            *handed_wh += energy_wh(&entry);
            if result.is_ok() {
                result = self.entry(series, &entry);
            }
        });
        debug_assert!(pushed.is_ok(), "{pushed:?}");
        result
    }

    /// Writes one entry.
    pub(super) fn entry(&mut self, series: i64, entry: &Entry) -> rusqlite::Result<()> {
        match entry {
            Entry::Quarter { quarter, energy } => {
                self.quarter.execute((
                    series,
                    quarter,
                    energy.energy_wh,
                    energy.known_ms,
                    energy.covered_ms,
                    energy.flags.bits(),
                ))?;
            }
            Entry::Long(segment) => {
                self.connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO segment (series, from_ms, from_wh, to_ms, to_wh, energy_wh, cause)
                         VALUES (?, ?, ?, ?, ?, ?, ?)",
                    )?
                    .execute((
                        series,
                        segment.from.time_ms,
                        segment.from.value_wh,
                        segment.to.time_ms,
                        segment.to.value_wh,
                        segment.energy_wh,
                        number_of(&CAUSES, segment.cause),
                    ))?;
            }
            Entry::Ignored(ignored) => {
                self.connection
                    .prepare_cached(
                        "INSERT OR REPLACE INTO ignored (series, time_ms, value_wh, why) VALUES (?, ?, ?, ?)",
                    )?
                    .execute((
                        series,
                        ignored.point.time_ms,
                        ignored.point.value_wh,
                        number_of(&WHYS, ignored.why),
                    ))?;
            }
        }
        Ok(())
    }

    /// Takes the entries between two positions out; returns their energy in Wh.
    pub(super) fn take_out(
        &mut self,
        series: i64,
        from: Position,
        to: Option<Position>,
    ) -> rusqlite::Result<i64> {
        let end = to.unwrap_or(Position {
            quarter: i64::MAX,
            settled_ms: i64::MAX,
            open_ms: i64::MAX,
        });
        let gone = |sql: &str, from: i64, to: i64| -> rusqlite::Result<i64> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let energies = statement.query_map((series, from, to), |row| row.get::<_, i64>(0))?;
            energies.sum()
        };
        let quarters =
            "DELETE FROM interval WHERE series = ? AND quarter >= ? AND quarter < ? RETURNING energy_wh";
        let segments =
            "DELETE FROM segment WHERE series = ? AND from_ms >= ? AND from_ms < ? RETURNING energy_wh";
        let energy_wh =
            gone(quarters, from.quarter, end.quarter)? + gone(segments, from.settled_ms, end.settled_ms)?;
        self.connection
            .prepare_cached("DELETE FROM ignored WHERE series = ? AND time_ms >= ? AND time_ms < ?")?
            .execute((series, from.open_ms, end.open_ms))?;
        Ok(energy_wh)
    }

    /// Keeps how an account stood before the first reading of a day.
    pub(super) fn checkpoint(
        &mut self,
        series: i64,
        day: i64,
        running: &RunningIntervals,
    ) -> rusqlite::Result<()> {
        self.bytes.clear();
        running.write_checkpoint(&mut self.bytes);
        self.connection
            .prepare_cached("INSERT OR REPLACE INTO checkpoint (series, day, state) VALUES (?, ?, ?)")?
            .execute((series, day, &self.bytes))?;
        Ok(())
    }

    /// Keeps how an account stands, and what it comes to.
    pub(super) fn save(&mut self, series: i64, account: &Account) -> rusqlite::Result<()> {
        let total_wh = account.handed_wh + open_wh(&account.meter, &account.running);
        self.bytes.clear();
        account.running.write_checkpoint(&mut self.bytes);
        self.account.execute((
            series,
            &self.bytes,
            account.handed_wh,
            total_wh,
            account.first.map(|first| first.time_ms),
            account.first.map(|first| first.value_wh),
        ))?;
        Ok(())
    }

    /// Marks a device's day: its accounts are out of date from there on.
    pub(super) fn mark(&self, device: i64, day: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("INSERT OR IGNORE INTO late (device, day) VALUES (?, ?)")?
            .execute((device, day))?;
        Ok(())
    }

    /// A device's day is up to date.
    pub(super) fn unmark(&self, device: i64, day: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("DELETE FROM late WHERE device = ? AND day = ?")?
            .execute((device, day))?;
        Ok(())
    }

    /// A register has no reading on a day any more.
    pub(super) fn forget(&self, series: i64, day: i64) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("DELETE FROM checkpoint WHERE series = ? AND day = ?")?
            .execute((series, day))?;
        Ok(())
    }
}

/// What an entry adds to the total in Wh.
pub(super) const fn energy_wh(entry: &Entry) -> i64 {
    match entry {
        Entry::Quarter { energy, .. } => energy.energy_wh,
        Entry::Long(segment) => segment.energy_wh,
        Entry::Ignored(_) => 0,
    }
}

/// What is still open of an account in Wh.
pub(in crate::store) fn open_wh(meter: &Meter, running: &RunningIntervals) -> i64 {
    let mut sum_wh = 0;
    running.tail(meter, &mut |entry| sum_wh += energy_wh(&entry));
    sum_wh
}

/// A register's account as a reader finds it.
#[derive(Debug)]
pub(in crate::store) struct Reader {
    series: i64,
    meter: Meter,
    running: RunningIntervals,
    first: Option<Point>,
    shown_wh: i64,
    total_wh: i64,
}

impl Reader {
    /// The account of a series by device, meter address and register.
    pub(in crate::store) fn find(
        connection: &Connection,
        device: &str,
        meter: u8,
        register: u8,
    ) -> rusqlite::Result<Option<Self>> {
        connection
            .prepare_cached(
                "SELECT series.id, series.meter_known, state, first_ms, first_wh, shown_wh, rated_w, total_wh FROM series
                 JOIN device ON device.id = series.device WHERE device.name = ? AND series.meter = ? AND register = ?",
            )?
            .query_row((device, meter, register), |row| {
                let first: (Option<i64>, Option<i64>) = (row.get(3)?, row.get(4)?);
                Ok(Self {
                    series: row.get(0)?,
                    meter: meter_known(row, 1, 6)?,
                    running: running(row, 2)?,
                    first: first.0.zip(first.1).map(|(time_ms, value_wh)| Point { time_ms, value_wh }),
                    shown_wh: row.get(5)?,
                    total_wh: row.get(7)?,
                })
            })
            .optional()
    }

    pub(in crate::store) const fn series(&self) -> i64 {
        self.series
    }

    /// The first value of all.
    pub(in crate::store) const fn first(&self) -> Option<Point> {
        self.first
    }

    /// When it was stated last, UTC ms.
    pub(in crate::store) fn last_ms(&self) -> Option<i64> {
        self.running.account().last_ms()
    }

    /// All that is counted, in Wh.
    pub(in crate::store) const fn total_wh(&self) -> i64 {
        self.total_wh
    }

    /// The highest total that it ever came to, in Wh.
    pub(in crate::store) const fn shown_wh(&self) -> i64 {
        self.shown_wh
    }

    /// What is stated about the time from one edge of quarter-hours to another, UTC ms: what is settled and what is still open.
    pub(in crate::store) fn entries(
        &self,
        connection: &Connection,
        start_ms: i64,
        end_ms: i64,
    ) -> rusqlite::Result<Entries> {
        let mut entries = Entries::default();
        let quarter_of = taraz_analytics::energy::quarter_of;
        let mut quarters = connection.prepare_cached(
            "SELECT quarter, energy_wh, known_ms, covered_ms, flags FROM interval
             WHERE series = ? AND quarter >= ? AND quarter < ? ORDER BY quarter",
        )?;
        let mut rows = quarters.query((self.series, quarter_of(start_ms), quarter_of(end_ms)))?;
        while let Some(row) = rows.next()? {
            entries.add(quarter(row)?);
        }
        // Segments don't overlap: of those that begin before the first period only the last one can reach into it.
        let mut long = connection.prepare_cached(
            "SELECT from_ms, from_wh, to_ms, to_wh, energy_wh, cause FROM segment WHERE series = ?1 AND from_ms < ?3
                 AND from_ms >= coalesce((SELECT max(from_ms) FROM segment WHERE series = ?1 AND from_ms <= ?2), ?2)
             ORDER BY from_ms",
        )?;
        let mut rows = long.query((self.series, start_ms, end_ms))?;
        while let Some(row) = rows.next()? {
            entries.add(segment(row)?);
        }
        let mut left_out = connection.prepare_cached(
            "SELECT time_ms, value_wh, why FROM ignored WHERE series = ? AND time_ms >= ? AND time_ms < ? ORDER BY time_ms",
        )?;
        let mut rows = left_out.query((self.series, start_ms, end_ms))?;
        while let Some(row) = rows.next()? {
            entries.add(ignored(row)?);
        }
        self.running.tail(&self.meter, &mut |entry| entries.add(entry));
        Ok(entries)
    }
}

/// A state that stands in a column; the begin of all where there is none.
pub(in crate::store) fn running(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<RunningIntervals> {
    let Some(bytes) = row.get_ref(at)?.as_blob_or_null()? else {
        return Ok(RunningIntervals::default());
    };
    RunningIntervals::from_checkpoint(bytes).map_err(|error| damaged(at, error))
}

/// What is known of a register, from a column; earlier versions only knew its rated power, in another one.
pub(in crate::store) fn meter_known(
    row: &rusqlite::Row<'_>,
    at: usize,
    rated_at: usize,
) -> rusqlite::Result<Meter> {
    Ok(match row.get_ref(at)?.as_blob_or_null()? {
        Some(bytes) => Meter::from_bytes(bytes).ok_or_else(|| damaged(at, Unreadable))?,
        None => Meter::new(row.get(rated_at)?),
    })
}

/// A number in a table that this program has not written.
#[derive(Debug, thiserror::Error)]
#[error("expected what an account writes: rebuild the store's caches")]
struct Unreadable;

fn damaged(at: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(at, Type::Blob, Box::new(error))
}

fn number_of<T: PartialEq>(all: &[T], one: T) -> u8 {
    let number = all.iter().position(|known| *known == one);
    number
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(u8::MAX)
}

fn of_number<T: Copy>(all: &[T], row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<T> {
    let found = all.get(usize::from(row.get::<_, u8>(at)?)).copied();
    found.ok_or_else(|| damaged(at, Unreadable))
}

fn quarter(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry::Quarter {
        quarter: row.get(0)?,
        energy: PeriodEnergy {
            energy_wh: row.get(1)?,
            known_ms: row.get(2)?,
            covered_ms: row.get(3)?,
            flags: Flags::from_bits(row.get(4)?).ok_or_else(|| damaged(4, Unreadable))?,
        },
    })
}

fn segment(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    let point = |at: usize| -> rusqlite::Result<Point> {
        Ok(Point {
            time_ms: row.get(at)?,
            value_wh: row.get(at + 1)?,
        })
    };
    Ok(Entry::Long(Segment {
        from: point(0)?,
        to: point(2)?,
        energy_wh: row.get(4)?,
        cause: of_number(&CAUSES, row, 5)?,
    }))
}

fn ignored(row: &rusqlite::Row<'_>) -> rusqlite::Result<Entry> {
    Ok(Entry::Ignored(Ignored {
        point: Point {
            time_ms: row.get(0)?,
            value_wh: row.get(1)?,
        },
        why: of_number(&WHYS, row, 2)?,
    }))
}
