//! The registers of the store, accounted for as an auditor would.
//!
//! In: register values as they come to count, in any order. Out: the rows of `interval`, `segment` and `ignored`, and each register's
//! total, by [`taraz_analytics::energy`] alone. A value behind the newest one of its register goes on with the account
//! ([`feed`]); any other marks its device and day, and [`catch_up`] makes the account again from there to where it meets the
//! stored one. What comes out depends on the records only: the rows of a rebuild are the same.
//!
//! An account's state stands beside its rows and in one transaction with them; a `checkpoint` keeps how it stood before the first
//! reading of each day.

mod catch_up;
mod entries;

use std::collections::BTreeSet;

use rusqlite::Connection;
use taraz_analytics::energy::{Meter, Point, RunningIntervals};

use super::runs::day_of;
use super::state::{SeriesKey, State};
pub(super) use catch_up::{Credit, catch_up, forgotten_until};
use entries::Writer;
pub(super) use entries::{Reader, meter_known, open_wh, reset_rows, running, sums_wh};

/// A register's account as it stands in the store.
#[derive(Clone, Debug)]
pub(super) struct Account {
    /// What is known of the register, as the account was made with.
    pub(super) meter: Meter,
    pub(super) running: RunningIntervals,
    /// The energy of all entries that were handed out, in Wh.
    pub(super) handed_wh: i64,
    /// The first value of all.
    pub(super) first: Option<Point>,
}

impl Account {
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            meter,
            running: RunningIntervals::default(),
            handed_wh: 0,
            first: None,
        }
    }
}

/// Register values of a group of batches.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Key of the device, of the series, value, address of the meter: in the order in which they came.
    values: Vec<(i64, i64, Point, u8)>,
    /// Device and day in which a value was taken out.
    gone: BTreeSet<(i64, i64)>,
}

impl Gathered {
    /// A value counts.
    pub(super) fn push(&mut self, key: SeriesKey, series: i64, point: Point) {
        self.values.push((key.device, series, point, key.meter));
    }

    /// A value that counted does so no longer: its reading is no more where it was.
    pub(super) fn take_out(&mut self, device: i64, time_ms: i64) {
        self.gone.insert((device, day_of(time_ms)));
    }

    /// How many values were gathered.
    pub(super) const fn len(&self) -> usize {
        self.values.len()
    }
}

/// Writes down how every account stands, with its total.
pub(super) fn save(connection: &Connection, state: &State) -> rusqlite::Result<()> {
    let mut writer = Writer::new(connection)?;
    for (&series, account) in &state.accounts {
        writer.save(series, account)?;
    }
    Ok(())
}

/// Goes on with the accounts, and marks what has to be made again. The readings themselves must be written already. Returns how many
/// readings are in no interval, because their day was given up.
pub(super) fn feed(connection: &Connection, state: &mut State, gathered: Gathered) -> rusqlite::Result<u64> {
    let Gathered {
        mut values,
        gone: mut late,
    } = gathered;
    // Of several values at one instant the lowest counts.
    values.sort_unstable();
    values.dedup_by_key(|(_, series, point, _)| (*series, point.time_ms));
    let (mut forgotten_until_day, mut too_late) = (None, BTreeSet::new());
    let mut writer = Writer::new(connection)?;
    for of_series in values.chunk_by(|a, b| a.1 == b.1) {
        let &[(device, series, _, meter), ..] = of_series else {
            continue;
        };
        let Some(account) = state.accounts.get_mut(&series) else {
            continue;
        };
        if let (None, Some(&(_, _, last, _))) = (account.first, of_series.last()) {
            // What a register says first may tell what it stood at before.
            state.changes.touch(device, 0, last.time_ms);
        }
        for &(_, _, point, _) in of_series {
            let last = account.running.account().last();
            if last == Some(point) {
                continue;
            }
            let day = day_of(point.time_ms);
            if last.is_some_and(|last| point.time_ms <= last.time_ms) {
                late.insert((device, day));
                let given_up = match forgotten_until_day {
                    Some(day) => day,
                    None => *forgotten_until_day.insert(forgotten_until(connection)?),
                };
                if day <= given_up {
                    // A reading may state several registers.
                    too_late.insert((device, meter, point.time_ms));
                }
                continue;
            }
            if last.is_none_or(|last| day_of(last.time_ms) < day) {
                writer.checkpoint(series, day, &account.running)?;
            }
            let from_ms = account.running.account().changes_from_ms(&account.meter, point);
            state.changes.touch(device, from_ms, point.time_ms);
            writer.push(series, account, point)?;
        }
        writer.save(series, account)?;
    }
    for (device, day) in late {
        state.late.insert((device, day));
        writer.mark(device, day)?;
    }
    Ok(too_late.len() as u64)
}
