//! Register values into spans and intervals, one value at a time, whatever their order.
//!
//! A new value splits the span between its neighbours: the old span's contributions are taken out, the two new ones' put
//! in. All are integers that add up, so the rows depend on the set of values only, and a group of batches costs what
//! its own values touch, however long the gap that it splits.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _};

use super::state::Series;
use crate::analytics::{Contribution, Point, Span};

impl Series {
    fn span(self, from: Point, to: Point) -> Span {
        Span {
            from,
            to,
            rated_w: self.rated_w,
        }
    }
}

/// What a group of batches changes, summed up before it is written.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// (series, quarter) → what is added.
    intervals: BTreeMap<(i64, i64), Contribution>,
    /// (series, wide span) → how often it is added (or, below 0, taken out).
    spans: BTreeMap<(i64, Span), i64>,
    /// series → Wh that its rises add up to.
    totals: BTreeMap<i64, i64>,
}

impl Changes {
    fn add(&mut self, series: i64, span: Span) {
        self.change(series, span, 1);
    }

    fn take(&mut self, series: i64, span: Span) {
        self.change(series, span, -1);
    }

    fn change(&mut self, series: i64, span: Span, sign: i64) {
        let total = self.totals.entry(series).or_default();
        *total = total.wrapping_add(sign * span.energy_wh());
        if span.is_wide() {
            *self.spans.entry((series, span)).or_default() += sign;
            return;
        }
        for (quarter, part) in span.quarters() {
            let part = if sign < 0 { part.negated() } else { part };
            *self.intervals.entry((series, quarter)).or_default() += part;
        }
    }

    /// A value appears between (or at the end of) its neighbours.
    fn split(&mut self, series: Series, around: Around, at: Point) {
        if let (Some(from), Some(to)) = (around.before, around.after) {
            self.take(series.id, series.span(from, to));
        }
        self.join(series, around, at, Self::add);
    }

    /// A value disappears from between its neighbours.
    fn merge(&mut self, series: Series, around: Around, at: Point) {
        self.join(series, around, at, Self::take);
        if let (Some(from), Some(to)) = (around.before, around.after) {
            self.add(series.id, series.span(from, to));
        }
    }

    fn join(&mut self, series: Series, around: Around, at: Point, change: fn(&mut Self, i64, Span)) {
        if let Some(from) = around.before {
            change(self, series.id, series.span(from, at));
        }
        if let Some(to) = around.after {
            change(self, series.id, series.span(at, to));
        }
    }

    /// Writes everything down.
    pub(super) fn write(self, connection: &Connection) -> rusqlite::Result<()> {
        write_intervals(connection, &self.intervals)?;
        write_spans(connection, &self.spans)?;
        let mut totals = connection.prepare_cached(
            "UPDATE series SET total_wh = total_wh + ?2, shown_wh = max(shown_wh, total_wh + ?2) WHERE id = ?1",
        )?;
        for (series, change) in self.totals.into_iter().filter(|&(_, change)| change != 0) {
            totals.execute((series, change))?;
        }
        Ok(())
    }
}

fn write_intervals(
    connection: &Connection,
    intervals: &BTreeMap<(i64, i64), Contribution>,
) -> rusqlite::Result<()> {
    let mut upsert = connection.prepare_cached(
        "INSERT INTO interval (series, quarter, energy_wh, known_ms, spread, resets) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET energy_wh = energy_wh + excluded.energy_wh, known_ms = known_ms + excluded.known_ms,
             spread = spread + excluded.spread, resets = resets + excluded.resets
         RETURNING known_ms = 0 AND spread = 0 AND resets = 0",
    )?;
    let mut delete = connection.prepare_cached("DELETE FROM interval WHERE series = ? AND quarter = ?")?;
    for (&(series, quarter), change) in intervals
        .iter()
        .filter(|(_, change)| **change != Contribution::default())
    {
        let row = (
            series,
            quarter,
            change.energy_wh,
            change.known_ms,
            change.spread,
            change.resets,
        );
        let empty: bool = upsert.query_row(row, |row| row.get(0))?;
        if empty {
            delete.execute((series, quarter))?;
        }
    }
    Ok(())
}

fn write_spans(connection: &Connection, spans: &BTreeMap<(i64, Span), i64>) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM span WHERE series = ? AND from_ms = ?")?;
    for ((series, span), _) in spans.iter().filter(|&(_, &count)| count < 0) {
        delete.execute((series, span.from.time_ms))?;
    }
    let mut insert = connection
        .prepare_cached("INSERT INTO span (series, from_ms, from_wh, to_ms, to_wh) VALUES (?, ?, ?, ?, ?)")?;
    for ((series, Span { from, to, .. }), _) in spans.iter().filter(|&(_, &count)| count > 0) {
        insert.execute((series, from.time_ms, from.value_wh, to.time_ms, to.value_wh))?;
    }
    Ok(())
}

/// The values beside an instant; the highest of each instant.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    before: Option<Point>,
    after: Option<Point>,
}

impl Around {
    fn find(connection: &Connection, series: i64, time_ms: i64) -> rusqlite::Result<Self> {
        let point = |row: &rusqlite::Row<'_>| {
            Ok(Point {
                time_ms: row.get(0)?,
                value_wh: row.get(1)?,
            })
        };
        let before = connection
            .prepare_cached(
                "SELECT time_ms, value_wh FROM point WHERE series = ? AND time_ms < ?
                 ORDER BY time_ms DESC, value_wh DESC LIMIT 1",
            )?
            .query_row((series, time_ms), point)
            .optional()?;
        // Of the next instant the highest value, which is its last row.
        let after = connection
            .prepare_cached(
                "SELECT time_ms, max(value_wh) FROM point WHERE series = ?1 AND time_ms =
                     (SELECT min(time_ms) FROM point WHERE series = ?1 AND time_ms > ?2)
                 GROUP BY time_ms",
            )?
            .query_row((series, time_ms), point)
            .optional()?;
        Ok(Self { before, after })
    }
}

/// The highest value stated for an instant.
fn highest_at(connection: &Connection, series: i64, time_ms: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT max(value_wh) FROM point WHERE series = ? AND time_ms = ?")?
        .query_row((series, time_ms), |row| row.get(0))
}

/// Adds values of one series, in ascending order. Duplicates within are readings that state the same.
pub(super) fn insert(
    connection: &Connection,
    changes: &mut Changes,
    series: Series,
    points: &[Point],
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO point (series, time_ms, value_wh, readings) VALUES (?, ?, ?, 1)
         ON CONFLICT DO UPDATE SET readings = readings + 1",
    )?;
    // Neighbours stay known while values follow each other in the same gap, as they do in a backlog.
    let mut around: Option<Around> = None;
    for &at in points {
        let known = around.filter(|a| {
            a.before.is_some_and(|b| b.time_ms < at.time_ms) && a.after.is_none_or(|b| at.time_ms < b.time_ms)
        });
        if let Some(known) = known {
            changes.split(series, known, at);
            around = Some(Around {
                before: Some(at),
                after: known.after,
            });
        } else {
            around = insert_one(connection, changes, series, at)?;
        }
        add.execute((series.id, at.time_ms, at.value_wh))?;
    }
    Ok(())
}

/// Looks the neighbours up, and returns those of what comes next.
fn insert_one(
    connection: &Connection,
    changes: &mut Changes,
    series: Series,
    at: Point,
) -> rusqlite::Result<Option<Around>> {
    let around = Around::find(connection, series.id, at.time_ms)?;
    match highest_at(connection, series.id, at.time_ms)? {
        Some(highest) if highest >= at.value_wh => return Ok(None),
        Some(highest) => {
            changes.merge(
                series,
                around,
                Point {
                    value_wh: highest,
                    ..at
                },
            );
            changes.split(series, around, at);
        }
        None => changes.split(series, around, at),
    }
    Ok(Some(Around {
        before: Some(at),
        after: around.after,
    }))
}

/// Takes one value out again, when its reading moves in time.
pub(super) fn remove(
    connection: &Connection,
    changes: &mut Changes,
    series: Series,
    at: Point,
) -> rusqlite::Result<()> {
    let key = (series.id, at.time_ms, at.value_wh);
    let others = connection
        .prepare_cached(
            "UPDATE point SET readings = readings - 1 WHERE series = ? AND time_ms = ? AND value_wh = ? RETURNING readings",
        )?
        .query_row(key, |row| row.get::<_, i64>(0))
        .optional()?;
    if others != Some(0) {
        return Ok(());
    }
    let was = highest_at(connection, series.id, at.time_ms)?;
    connection
        .prepare_cached("DELETE FROM point WHERE series = ? AND time_ms = ? AND value_wh = ?")?
        .execute(key)?;
    if was != Some(at.value_wh) {
        return Ok(());
    }
    let around = Around::find(connection, series.id, at.time_ms)?;
    changes.merge(series, around, at);
    if let Some(value_wh) = highest_at(connection, series.id, at.time_ms)? {
        changes.split(series, around, Point { value_wh, ..at });
    }
    Ok(())
}

/// Values of a group of batches, gathered per series.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    series: BTreeMap<Series, Vec<Point>>,
}

impl Gathered {
    pub(super) fn push(&mut self, series: Series, point: Point) {
        self.series.entry(series).or_default().push(point);
    }

    /// Adds everything that was gathered, and forgets it.
    pub(super) fn insert(&mut self, connection: &Connection, changes: &mut Changes) -> rusqlite::Result<()> {
        for (series, mut points) in std::mem::take(&mut self.series) {
            points.sort_unstable();
            insert(connection, changes, series, &points)?;
        }
        Ok(())
    }
}
