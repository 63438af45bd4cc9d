//! Equal intervals from the rows of a table: in the order of time, with holes where the table has no row.

use std::ops::Range;

use anyhow::{Context as _, bail, ensure};
use jiff::civil::Date;
use taraz_analytics::calendar::date_of_ms;

use super::Stamp;
use super::params::Params;
use super::table::{Row, Table};

const HOUR_MS: f64 = 3_600_000.0;
const DAY_MS: i64 = 86_400_000;
/// A century of quarter-hours; a table that spans more has a wrong time in it.
const INTERVALS_MAX: i64 = 3_506_400;

/// Intervals of one length without a gap between them; each has its row, where there is one.
pub(super) struct Intervals<'a> {
    first_ms: i64,
    step_ms: i64,
    /// The length in hours.
    pub(super) length_h: f64,
    rows: Vec<Option<Row<'a>>>,
}

impl<'a> Intervals<'a> {
    /// Puts the rows in order. The length is the parameter `tau_h`, else the smallest step between two times.
    pub(super) fn of(table: &'a Table, params: &Params, within: &[&str]) -> anyhow::Result<Self> {
        let rows: anyhow::Result<Vec<(i64, Row<'a>)>> = table
            .rows()
            .map(|row| Ok((row.time_ms("ts_utc")?, row)))
            .collect();
        let mut rows = rows?;
        rows.sort_by_key(|(time_ms, _)| *time_ms);
        if let Some(pair) = rows.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            bail!(
                "{}: the same ts_utc as in {}: leave one of them out",
                pair[1].1.place(),
                pair[0].1.place()
            );
        }
        let (first, last) = rows.first().zip(rows.last()).context("the table has no rows")?;
        let (first_ms, last_ms) = (first.0, last.0);
        let (length_h, step_ms) = length(params, within, &rows)?;
        let count = (last_ms - first_ms) / step_ms + 1;
        ensure!(
            count <= INTERVALS_MAX,
            "from {} to {} there are {count} intervals, expected at most {INTERVALS_MAX}: check both times",
            first.1.place(),
            last.1.place()
        );
        let mut intervals = Self {
            first_ms,
            step_ms,
            length_h,
            rows: vec![None; usize::try_from(count)?],
        };
        for (time_ms, row) in rows {
            let after_ms = time_ms - first_ms;
            ensure!(
                after_ms % step_ms == 0,
                "{}: expected ts_utc a multiple of {length_h} h after the first: intervals are equal (parameter tau_h)",
                row.place()
            );
            intervals.rows[usize::try_from(after_ms / step_ms)?] = Some(row);
        }
        Ok(intervals)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row of each.
    pub(super) fn rows(&self) -> &[Option<Row<'a>>] {
        &self.rows
    }

    /// A column of numbers; what has no row is not known.
    pub(super) fn column(&self, name: &str) -> anyhow::Result<Vec<Option<f64>>> {
        let cell = |row: &Option<Row<'a>>| row.map_or(Ok(None), |row| row.number(name));
        self.rows.iter().map(cell).collect()
    }

    /// The intervals of each local day.
    pub(super) fn days(&self, stamp: Stamp) -> Vec<Range<usize>> {
        let mut days: Vec<(Date, Range<usize>)> = Vec::new();
        for (index, time_ms) in (self.first_ms..)
            .step_by(usize::try_from(self.step_ms).unwrap_or(usize::MAX))
            .enumerate()
            .take(self.len())
        {
            // The last millisecond of an interval belongs to it, its end does not.
            let within_ms = match stamp {
                Stamp::End => time_ms - 1,
                Stamp::Begin => time_ms,
            };
            let date = date_of_ms(within_ms);
            match days.last_mut() {
                Some((last, range)) if *last == date => range.end = index + 1,
                _ => days.push((date, index..index + 1)),
            }
        }
        days.into_iter().map(|(_, range)| range).collect()
    }

    /// The interval 24 h before, when it lies in `range`.
    pub(super) fn day_before(&self, index: usize, range: &Range<usize>) -> Option<usize> {
        let count = usize::try_from(DAY_MS / self.step_ms).ok()?;
        let before = index.checked_sub(count).filter(|before| range.contains(before))?;
        (DAY_MS % self.step_ms == 0).then_some(before)
    }
}

/// Hours and milliseconds of an interval.
fn length(params: &Params, within: &[&str], rows: &[(i64, Row<'_>)]) -> anyhow::Result<(f64, i64)> {
    if params.number("tau_h", within)?.is_none() {
        let step_ms = rows.windows(2).map(|pair| pair[1].0 - pair[0].0).min();
        let step_ms =
            step_ms.context("one row has no step between times: add the parameter tau_h (hours)")?;
        return Ok((step_ms as f64 / HOUR_MS, step_ms));
    }
    let length_h = params.positive("tau_h", within)?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a float is clamped to the integer's range"
    )]
    let step_ms = (length_h * HOUR_MS).round() as i64;
    ensure!(
        step_ms > 0,
        "expected a parameter tau_h in hours, got {length_h}: it is below a millisecond"
    );
    Ok((length_h, step_ms))
}
