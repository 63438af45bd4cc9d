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

use taraz_analytics::energy::{Point, account};
use taraz_fleet::{Device, Meter};

use super::account::Reader;
use super::facts::registers;
use super::history;
use super::read::{Period, Snapshot, period_at};
use super::runs::{DAY_MS, day_of};
use super::state::Register;
use crate::analytics::{Contribution, QUARTER_MS, quarter_of};

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
        let Some(other) = self.account(device, meter, other)? else {
            return Ok(none);
        };
        let first = self
            .account(device, meter, register)?
            .and_then(|stated| stated.first());
        let Some(last_ms) = self.last_before(device, meter, &other, first)? else {
            return Ok(none);
        };
        let mut zero = self.contributions_of(&other, periods)?;
        if let Some(to) = first {
            let from = Point {
                time_ms: last_ms,
                value_wh: 0,
            };
            let since = account(other.meter(), &[from, to]);
            if !since.segments().iter().all(|segment| segment.is_known()) {
                return Ok(none);
            }
            for ((start_ms, end_ms), part) in periods.iter().zip(parts.iter_mut()) {
                *part += Contribution::from(since.period(*start_ms, *end_ms));
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

    /// When the other register was stated last before this one was stated first.
    fn last_before(
        &self,
        device: &Device,
        meter: &Meter,
        other: &Reader,
        first: Option<Point>,
    ) -> rusqlite::Result<Option<i64>> {
        let Some(first) = first else {
            return Ok(other.last_ms());
        };
        if other.first().is_none_or(|stated| stated.time_ms >= first.time_ms) {
            return Ok(None);
        }
        let mut days = self
            .connection
            .prepare_cached("SELECT day FROM checkpoint WHERE series = ? AND day <= ? ORDER BY day DESC")?;
        let mut days = days.query((other.series(), day_of(first.time_ms)))?;
        let mut last_ms = None;
        while let (None, Some(row)) = (last_ms, days.next()?) {
            let start_ms = row.get::<_, i64>(0)? * DAY_MS;
            let end_ms = first.time_ms.min(start_ms + DAY_MS);
            history::readings_between(self.connection, &device.id, start_ms, end_ms, |placed| {
                if placed.reading.meter == meter.address && registers(&placed.reading).next().is_some() {
                    last_ms = Some(placed.time_ms);
                }
                Ok::<_, rusqlite::Error>(())
            })?;
        }
        Ok(last_ms)
    }
}
