//! Accounts made again after late readings, a day of a device at a time.
//!
//! A pass begins at the first marked day of a device, with each register's account as it stood before that day, and ends where every
//! account is what the stored one was: from there on nothing has changed. It reads a device's day once for all its registers. When
//! the credit runs out it stops between two days, writes what it has and marks the next day.
//!
//! A day that can't be read because it is damaged keeps the account that it has: a pass that comes to it ends there if the accounts
//! before that day still join on, and is undone if they don't, since it would count energy twice.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension as _};
use taraz_analytics::energy::{Meter, Point, Position, RunningIntervals};

use super::entries::{Writer, energy_wh, running};
use crate::store::damage::Damaged;
use crate::store::facts::registers;
use crate::store::history;
use crate::store::runs::DAY_MS;
use crate::store::state::State;

/// How many readings may be read again.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Credit(pub(in crate::store) usize);

impl Credit {
    const fn spend(&mut self, readings: usize) {
        self.0 = self.0.saturating_sub(readings);
    }
}

/// Makes accounts again while there are marked days and credit.
pub(in crate::store) fn catch_up(
    connection: &Connection,
    state: &mut State,
    credit: &mut Credit,
) -> rusqlite::Result<()> {
    while credit.0 > 0 {
        // One device after the other, so that a busy one keeps none from its turn.
        let after = state.caught_up;
        let mut marks = state.late.range((after + 1, i64::MIN)..);
        let Some(&(device, day)) = marks.next().or_else(|| state.late.first()) else {
            return Ok(());
        };
        state.caught_up = device;
        if day <= forgotten_until(connection)? {
            // Its other readings are given up: what their account says is all that is left of them.
            tracing::warn!(
                device,
                day,
                "late readings of a day that was given up are in no interval"
            );
            state.late.remove(&(device, day));
            Writer::new(connection)?.unmark(device, day)?;
            continue;
        }
        Pass::new(connection, device, day)?.run(state, credit)?;
    }
    Ok(())
}

/// The last UTC day of which a policy has given up readings.
pub(in crate::store) fn forgotten_until(connection: &Connection) -> rusqlite::Result<i64> {
    let day: Option<i64> = connection
        .prepare_cached("SELECT max(day) FROM forgotten")?
        .query_row((), |row| row.get(0))?;
    Ok(day.unwrap_or(i64::MIN))
}

/// A register on its way.
struct Track {
    series: i64,
    meter: u8,
    register: u8,
    known: Meter,
    running: RunningIntervals,
    /// How far its rows are written anew.
    written: Position,
    /// The energy of all its rows in Wh.
    handed_wh: i64,
    /// Its first value of all, when the pass has come by it.
    first: Option<Point>,
    /// From here on nothing differs from what is stored.
    meets: bool,
}

impl Track {
    /// Whether the account that stood before a day could be replaced by this one: it goes on from the same value.
    fn joins(&self, stood: &RunningIntervals) -> bool {
        self.running.account().last() == stood.account().last()
    }

    /// Goes on by the values of a day, and puts what that completes in the place of what stood there.
    fn day(&mut self, writer: &mut Writer<'_>, day: i64, values: &[Point]) -> rusqlite::Result<()> {
        writer.checkpoint(self.series, day, &self.running)?;
        if self.running.account().last().is_none() {
            self.first = values.first().copied();
        }
        let mut entries = Vec::new();
        for &point in values {
            let pushed = self
                .running
                .push(&self.known, point, &mut |entry| entries.push(entry));
            debug_assert!(pushed.is_ok(), "{pushed:?}");
        }
        let now = self.running.position();
        self.handed_wh -= writer.take_out(self.series, self.written, Some(now))?;
        self.written = now;
        for entry in &entries {
            self.handed_wh += energy_wh(entry);
            writer.entry(self.series, entry)?;
        }
        Ok(())
    }
}

enum AtDamage {
    /// No account ever had anything of that day: it is a hole between two readings.
    Hole,
    /// What stands from that day on goes on from the pass's end.
    Joins,
    /// It does not.
    Parts,
}

struct Pass<'c> {
    connection: &'c Connection,
    writer: Writer<'c>,
    device: i64,
    first_day: i64,
    /// From when to when intervals may have changed, UTC ms.
    changed_ms: (i64, i64),
}

impl<'c> Pass<'c> {
    fn new(connection: &'c Connection, device: i64, first_day: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            connection,
            writer: Writer::new(connection)?,
            device,
            first_day,
            changed_ms: (first_day * DAY_MS, first_day * DAY_MS),
        })
    }

    fn run(&mut self, state: &mut State, credit: &mut Credit) -> rusqlite::Result<()> {
        let first = (self.device, self.first_day);
        let marks: Vec<_> = state
            .late
            .range(first..=(self.device, i64::MAX))
            .copied()
            .collect();
        self.connection.execute_batch("SAVEPOINT pass")?;
        if let Some(damaged_day) = self.attempt(state, credit)? {
            self.connection.execute_batch("ROLLBACK TO pass")?;
            tracing::error!(
                device = self.device,
                from_day = self.first_day,
                damaged_day,
                "late readings are in no interval: a day behind them is damaged; `taraz store verify` names it"
            );
            for &(device, day) in marks.iter().filter(|&&(_, day)| day <= damaged_day) {
                state.late.remove(&(device, day));
                self.writer.unmark(device, day)?;
            }
        }
        let (from_ms, to_ms) = self.changed_ms;
        state.changes.touch(self.device, from_ms, to_ms);
        self.connection.execute_batch("RELEASE pass")
    }

    /// The damaged day that nothing can be joined to, if the pass must be undone for one.
    fn attempt(&mut self, state: &mut State, credit: &mut Credit) -> rusqlite::Result<Option<i64>> {
        let mut tracks = self.tracks(state)?;
        for track in &tracks {
            // The open end of an account is told anew from where it was settled.
            let position = track.running.position();
            let open_ms = position.settled_ms.min(position.open_ms).max(0);
            self.changed_ms.0 = self.changed_ms.0.min(open_ms);
        }
        let mut days = self.days(state, &tracks)?;
        while let Some(day) = days.pop_first() {
            // Up to its begin, if nothing differs from here on.
            self.changed_ms.1 = day * DAY_MS;
            let is_marked = state.late.contains(&(self.device, day));
            if day > self.first_day {
                // On a marked day the readings differ, even if the accounts before it don't.
                if !is_marked {
                    self.meet(&mut tracks, day)?;
                }
                if tracks.iter().all(|track| track.meets) {
                    self.close(state, &tracks, false)?;
                    return Ok(None);
                }
                // A marked day is read for every register: those that met before go on from there with the next pass.
                let has_met = is_marked && tracks.iter().any(|track| track.meets);
                if credit.0 == 0 || has_met {
                    self.pause(state, &tracks, day)?;
                    return Ok(None);
                }
            }
            let read = self.day(&mut tracks, day);
            if state.late.remove(&(self.device, day)) {
                self.writer.unmark(self.device, day)?;
            }
            match read {
                Ok(readings) => credit.spend(readings),
                Err(error) => {
                    let damaged = Damaged::behind(&error).cloned().ok_or(error)?;
                    state.passed.row(&damaged);
                    match self.at_damage(state, &tracks, day)? {
                        AtDamage::Hole => {}
                        AtDamage::Joins => {
                            self.close(state, &tracks, false)?;
                            return Ok(None);
                        }
                        AtDamage::Parts => return Ok(Some(day)),
                    }
                }
            }
        }
        self.close(state, &tracks, true)?;
        Ok(None)
    }

    /// What becomes of a pass at a damaged day.
    fn at_damage(&self, state: &State, tracks: &[Track], day: i64) -> rusqlite::Result<AtDamage> {
        let mut before = self.connection.prepare_cached(
            "SELECT state, day = ?2 FROM checkpoint WHERE series = ?1 AND day >= ?2 ORDER BY day LIMIT 1",
        )?;
        let (mut is_hole, mut joins) = (true, true);
        for track in tracks.iter().filter(|track| !track.meets) {
            let stood = before
                .query_row((track.series, day), |row| {
                    Ok((running(row, 0)?, row.get::<_, bool>(1)?))
                })
                .optional()?;
            is_hole &= stood.as_ref().is_none_or(|(_, is_of_the_day)| !is_of_the_day);
            // Where no later day begins, the account itself is what stands.
            joins &= match (stood, state.accounts.get(&track.series)) {
                (Some((stood, _)), _) => track.joins(&stood),
                (None, Some(account)) => track.joins(&account.running),
                (None, None) => false,
            };
        }
        Ok(if is_hole {
            AtDamage::Hole
        } else if joins {
            AtDamage::Joins
        } else {
            AtDamage::Parts
        })
    }

    /// Every register of the device, each as it stood before the first day.
    fn tracks(&self, state: &State) -> rusqlite::Result<Vec<Track>> {
        let mut all = self
            .connection
            .prepare_cached("SELECT id, meter, register FROM series WHERE device = ?")?;
        // Before its next day with readings an account stands as it did before the first day; without one it still does.
        let mut before = self.connection.prepare_cached(
            "SELECT state FROM checkpoint WHERE series = ? AND day >= ? ORDER BY day LIMIT 1",
        )?;
        let mut rows = all.query([self.device])?;
        let mut tracks = Vec::new();
        while let Some(row) = rows.next()? {
            let series = row.get(0)?;
            let Some(account) = state.accounts.get(&series) else {
                continue;
            };
            let stood = before
                .query_row((series, self.first_day), |row| running(row, 0))
                .optional()?;
            let running = stood.unwrap_or_else(|| account.running.clone());
            tracks.push(Track {
                series,
                meter: row.get(1)?,
                register: row.get(2)?,
                known: account.meter.clone(),
                written: running.position(),
                running,
                handed_wh: account.handed_wh,
                first: None,
                meets: false,
            });
        }
        Ok(tracks)
    }

    /// The days to be read: all that are marked or known to have readings, from the first marked one on.
    fn days(&self, state: &State, tracks: &[Track]) -> rusqlite::Result<BTreeSet<i64>> {
        let mut days = BTreeSet::new();
        let marks = state
            .late
            .range((self.device, self.first_day)..=(self.device, i64::MAX));
        days.extend(marks.map(|&(_, day)| day));
        let mut known = self
            .connection
            .prepare_cached("SELECT day FROM checkpoint WHERE series = ? AND day >= ?")?;
        for track in tracks {
            for day in known.query_map((track.series, self.first_day), |row| row.get(0))? {
                days.insert(day?);
            }
        }
        Ok(days)
    }

    /// Compares with how the stored accounts stood before a day.
    fn meet(&self, tracks: &mut [Track], day: i64) -> rusqlite::Result<()> {
        let mut before = self
            .connection
            .prepare_cached("SELECT state FROM checkpoint WHERE series = ? AND day = ?")?;
        for track in tracks.iter_mut().filter(|track| !track.meets) {
            let stored = before
                .query_row((track.series, day), |row| running(row, 0))
                .optional()?;
            track.meets = stored.as_ref() == Some(&track.running);
        }
        Ok(())
    }

    /// Goes on by the readings of a day; returns how many they are.
    fn day(&mut self, tracks: &mut [Track], day: i64) -> rusqlite::Result<usize> {
        let mut values: Vec<Vec<Point>> = vec![Vec::new(); tracks.len()];
        let mut readings = 0;
        let from_ms = day * DAY_MS;
        history::readings_of(
            self.connection,
            self.device,
            from_ms,
            from_ms + DAY_MS,
            |placed| {
                readings += 1;
                let time_ms = placed.time_ms;
                for (register, value_wh) in registers(&placed.reading) {
                    let of = (placed.reading.meter.get(), register as u8);
                    let track = tracks
                        .iter()
                        .position(|track| (track.meter, track.register) == of);
                    if let Some(values) = track.and_then(|at| values.get_mut(at)) {
                        values.push(Point { time_ms, value_wh });
                    }
                }
                Ok::<_, rusqlite::Error>(())
            },
        )?;
        for (track, mut values) in tracks.iter_mut().zip(values) {
            if track.meets {
                continue;
            }
            // Of several values at one instant the lowest counts.
            values.sort_unstable();
            values.dedup_by_key(|point| point.time_ms);
            if values.is_empty() {
                self.writer.forget(track.series, day)?;
            } else {
                track.day(&mut self.writer, day, &values)?;
            }
        }
        Ok(readings)
    }

    /// Stops before a day and marks it: the next pass begins there.
    fn pause(&mut self, state: &mut State, tracks: &[Track], day: i64) -> rusqlite::Result<()> {
        for track in tracks.iter().filter(|track| !track.meets) {
            self.writer.checkpoint(track.series, day, &track.running)?;
        }
        state.late.insert((self.device, day));
        self.writer.mark(self.device, day)?;
        self.close(state, tracks, false)
    }

    /// Takes what has changed over into the accounts; at the readings' end the accounts themselves.
    fn close(&mut self, state: &mut State, tracks: &[Track], is_end: bool) -> rusqlite::Result<()> {
        for track in tracks {
            let Some(account) = state.accounts.get_mut(&track.series) else {
                continue;
            };
            let (first, stood) = (account.first, account.running.account().last_ms());
            account.handed_wh = track.handed_wh;
            account.first = track.first.or(account.first);
            if is_end && !track.meets {
                account.handed_wh -= self.writer.take_out(track.series, track.written, None)?;
                account.running = track.running.clone();
                if account.running.account().last().is_none() {
                    account.first = None;
                }
                let ends_ms = [stood, account.running.account().last_ms()];
                let to_ms = ends_ms.into_iter().flatten().max().unwrap_or_default();
                self.changed_ms.1 = self.changed_ms.1.max(to_ms);
            }
            if account.first != first {
                self.changed_ms.0 = 0;
            }
            self.writer.save(track.series, account)?;
        }
        Ok(())
    }
}
