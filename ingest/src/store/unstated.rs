//! A register that a two-way meter has not stated yet.
//!
//! SunSpec's `acc32` says "not accumulated" at 0 (Device Information Model Specification, table of data types), so a grid meter that never exported states no export at all. What is known of such a register follows from the set of
//! readings only:
//!
//! - It was never stated *so far*: it stands at 0 in every reading that states the other register. A quarter-hour in which
//!   power flowed its way says otherwise (the meter does not count that way): the period is unknown.
//! - It was stated later, first as `v`: it stood at 0 in every earlier reading of the other register, and counted from 0 to `v`
//!   after the last of them, unless the meter's power can't explain that: then the periods before are unknown.
//!
//! Once stated it counts by itself: where it is missing again nothing is taken for 0.

use rusqlite::OptionalExtension as _;
use taraz_fleet::{Device, Meter};

use super::read::{Period, Snapshot, period_at};
use super::state::{Register, Series};
use crate::analytics::{Contribution, Point, QUARTER_MS, Span, quarter_of};

impl Snapshot<'_> {
    /// Adds what the unstated register states about each period to `parts`; true for each in which it was taken for 0.
    pub(super) fn add_unstated(
        &self,
        (device, meter): (&Device, &Meter),
        register: Register,
        periods: &[Period],
        parts: &mut [Contribution],
    ) -> rusqlite::Result<Vec<bool>> {
        let none = vec![false; periods.len()];
        let other = match register {
            Register::Export => Register::Import,
            Register::Import => Register::Export,
            Register::Energy => return Ok(none),
        };
        let Some((other, _)) = self.series(device, meter, other)? else {
            return Ok(none);
        };
        let stated = self.series(device, meter, register)?.map(|(series, _)| series);
        let first = stated
            .map(|series| self.first_point(series))
            .transpose()?
            .flatten();
        let Some(last_ms) = self.last_before(other, first.map_or(i64::MAX, |point| point.time_ms))? else {
            return Ok(none);
        };
        let mut zero = self.contributions_of(other, periods)?;
        if let Some(to) = first {
            let from = Point {
                time_ms: last_ms,
                value_wh: 0,
            };
            let span = Span {
                from,
                to,
                rated_w: other.rated_w,
            };
            if span.is_reset() {
                return Ok(none);
            }
            for ((start_ms, end_ms), part) in periods.iter().zip(parts.iter_mut()) {
                *part += span.contribution(*start_ms, *end_ms);
            }
            let is_before = |&(start_ms, _): &Period| start_ms < last_ms;
            zero.iter_mut()
                .zip(periods)
                .filter(|(_, period)| !is_before(period))
                .for_each(|(part, _)| *part = Contribution::default());
        } else {
            self.leave_out_flows(device, meter, register, periods, &mut zero)?;
        }
        let is_assumed = zero.iter().map(|part| part.energy().is_some()).collect();
        for (part, zero) in parts.iter_mut().zip(zero) {
            *part += Contribution {
                energy_wh: 0,
                resets: 0,
                ..zero
            };
        }
        Ok(is_assumed)
    }

    /// Periods in which power flowed the register's way say nothing about it.
    fn leave_out_flows(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
        periods: &[Period],
        parts: &mut [Contribution],
    ) -> rusqlite::Result<()> {
        let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (periods.first(), periods.last()) else {
            return Ok(());
        };
        let mut flows = self.connection.prepare_cached(
            "SELECT quarter FROM unstated JOIN device ON device.id = unstated.device
             WHERE device.name = ? AND meter = ? AND register = ? AND quarter >= ? AND quarter <= ?",
        )?;
        let mut rows = flows.query((
            device.id.as_str(),
            meter.address.get(),
            register as u8,
            quarter_of(start_ms),
            quarter_of(end_ms - 1),
        ))?;
        while let Some(row) = rows.next()? {
            if let Some(at) = period_at(periods, row.get::<_, i64>(0)? * QUARTER_MS) {
                parts[at] = Contribution::default();
            }
        }
        Ok(())
    }

    /// The first value of a series, the highest of its instant.
    fn first_point(&self, series: Series) -> rusqlite::Result<Option<Point>> {
        self.connection
            .prepare_cached(
                "SELECT time_ms, max(value_wh) FROM point WHERE series = ?1 AND time_ms =
                     (SELECT min(time_ms) FROM point WHERE series = ?1) GROUP BY time_ms",
            )?
            .query_row([series.id], |row| {
                Ok(Point {
                    time_ms: row.get(0)?,
                    value_wh: row.get(1)?,
                })
            })
            .optional()
    }

    /// When a series was stated last before an instant.
    fn last_before(&self, series: Series, time_ms: i64) -> rusqlite::Result<Option<i64>> {
        self.connection
            .prepare_cached("SELECT max(time_ms) FROM point WHERE series = ? AND time_ms < ?")?
            .query_row((series.id, time_ms), |row| row.get(0))
    }
}
