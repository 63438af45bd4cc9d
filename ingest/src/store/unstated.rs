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
//! What that makes of the time before is [`before_first`], for the API as for auditors ([`crate::account_for`]).
//! Once stated it counts by itself: where it is missing again nothing is taken for 0.

use taraz_analytics::energy::{Point, before_first};
use taraz_fleet::{Device, Meter};

use super::facts::registers;
use super::history;
use super::read::{Period, Snapshot, edge_ms, period_at};
use super::runs::{DAY_MS, day_of};
use super::state::Register;
use crate::analytics::{Contribution, QUARTER_MS, quarter_of};
use crate::registers::register_of;

impl Snapshot<'_> {
    /// Adds what is known of a register before its first value to `parts`; true for each period in which it was taken for 0.
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
        let first = self
            .account(device, meter, register)?
            .and_then(|stated| stated.first());
        let Some(begins) = periods.first().map(|&(start_ms, _)| edge_ms(start_ms)) else {
            return Ok(none);
        };
        if first.is_some_and(|first| first.time_ms <= begins) {
            // By far the most often: all that is asked for came after it.
            return Ok(none);
        }
        let Some(zero_ms) = self.zero_ms(device, meter, other, first)? else {
            return Ok(none);
        };
        let Some(before) = before_first(&register_of(meter, register), zero_ms, first) else {
            return Ok(none);
        };
        let within = |start_ms: i64, end_ms: i64| Contribution::from(before.period(start_ms, end_ms));
        let mut zero: Vec<Contribution> = periods
            .iter()
            .map(|&(start_ms, end_ms)| within(edge_ms(start_ms), edge_ms(end_ms)))
            .collect();
        if first.is_none() {
            self.leave_out_flows(device, meter, register, periods, &mut zero)?;
        }
        let is_assumed = |(&(start_ms, _), part): (&Period, &Contribution)| {
            part.energy().is_some() && edge_ms(start_ms) < zero_ms.1
        };
        let assumed = periods.iter().zip(&zero).map(is_assumed).collect();
        for (part, zero) in parts.iter_mut().zip(zero) {
            *part += zero;
        }
        Ok(assumed)
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

    /// The first and the last reading that states the other register, before this one was stated first; UTC ms.
    fn zero_ms(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
        first: Option<Point>,
    ) -> rusqlite::Result<Option<(i64, i64)>> {
        let Some(other) = self.account(device, meter, register)? else {
            return Ok(None);
        };
        let begin_ms = other.first().map(|stated| stated.time_ms);
        let Some(first) = first else {
            return Ok(begin_ms.zip(other.last_ms()));
        };
        let Some(begin_ms) = begin_ms.filter(|&begin_ms| begin_ms < first.time_ms) else {
            return Ok(None);
        };
        let mut days = self
            .connection
            .prepare_cached("SELECT day FROM checkpoint WHERE series = ? AND day <= ? ORDER BY day DESC")?;
        let mut days = days.query((other.series(), day_of(first.time_ms)))?;
        let mut last_ms = None;
        while let (None, Some(row)) = (last_ms, days.next()?) {
            let start_ms = row.get::<_, i64>(0)? * DAY_MS;
            let end_ms = first.time_ms.min(start_ms + DAY_MS);
            history::readings_between(self.connection, &device.id, start_ms, end_ms, |placed| {
                let states = || registers(&placed.reading).any(|(stated, _)| stated == register);
                if placed.reading.meter == meter.address && states() {
                    last_ms = Some(placed.time_ms);
                }
                Ok::<_, rusqlite::Error>(())
            })?;
        }
        Ok(last_ms.map(|last_ms| (begin_ms, last_ms)))
    }
}
