//! Which quarter-hours have changed since the sinks have got them.
//!
//! In: what a transaction touches, as times of devices. Out: rows of `changed`, in that transaction. A row that no sink has taken yet
//! grows with what is touched beside it, so a live device has one row between two takes, and so has a backlog of months. Once a sink has
//! taken a row, what is touched there is a new row. A device has at most [`MARKS_MAX`] rows that are not taken.
//!
//! Nothing is marked while no sink is known.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use taraz_analytics::sampling::GAP_MS_MAX;
use taraz_telemetry::{MeterAddress, Outcome, Quantities, Reading};

use crate::analytics::quarter_of;
use crate::keys::KeyMap;

/// The most rows of a device that no sink has taken; more are joined.
const MARKS_MAX: usize = 8;
/// Stretches with at most so many quarter-hours between them become one.
const NEAR_QUARTERS: i64 = 4;

/// The highest number that was given to a change.
const END: &str = "SELECT max(coalesce((SELECT max(revision) FROM changed), 0), coalesce((SELECT max(revision) FROM export), 0))";

/// Quarter-hours, the last one included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quarters {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

impl Quarters {
    /// How many lie between two stretches; 0 when they touch or overlap.
    fn between(self, other: Self) -> i64 {
        (self.first.max(other.first) - self.last.min(other.last) - 1).max(0)
    }

    fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    fn with(self, other: Self) -> Self {
        Self {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// Few stretches that hold all that were added, and little more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stretches(Vec<Quarters>);

impl Stretches {
    pub(crate) fn add(&mut self, quarters: Quarters) {
        // What came last is mostly what comes next.
        if let Some(last) = self.0.last_mut()
            && last.between(quarters) == 0
        {
            *last = last.with(quarters);
            return;
        }
        self.0.push(quarters);
        if self.0.len() > MARKS_MAX {
            self.join();
        }
    }

    /// In order, without touching each other.
    pub(crate) fn into_sorted(mut self) -> Vec<Quarters> {
        self.join();
        self.0
    }

    /// Joins what is near, and then what is nearest until there are at most [`MARKS_MAX`].
    fn join(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|next, before| {
            let is_near = before.between(*next) <= NEAR_QUARTERS;
            if is_near {
                *before = before.with(*next);
            }
            is_near
        });
        while self.0.len() > MARKS_MAX {
            let gaps = self.0.windows(2).map(|pair| pair[0].between(pair[1]));
            let Some((at, _)) = gaps.enumerate().min_by_key(|&(_, gap)| gap) else {
                return;
            };
            let next = self.0.remove(at + 1);
            self.0[at] = self.0[at].with(next);
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    revision: i64,
    quarters: Quarters,
}

/// What the writer knows of changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// There are sinks.
    wanted: bool,
    /// The highest number that was given.
    end: i64,
    /// Rows that no sink has taken, by device.
    untaken: HashMap<i64, Vec<Mark>>,
    /// What this transaction has touched, by device.
    touched: BTreeMap<i64, Stretches>,
    /// The time of loading, UTC ms.
    loaded_ms: i64,
    /// What was touched last: mostly it holds what is touched next.
    last: Option<(i64, Quarters)>,
    /// Counts what is written: what a meter has touched before that is no longer in `touched`.
    written: u64,
    /// Each meter of which a reading came since the start.
    meters: KeyMap<(i64, MeterAddress), Seen>,
}

/// What came of a meter.
#[derive(Clone, Copy, Debug)]
struct Seen {
    newest: Newest,
    /// What its last reading touched, and when that was.
    touched: Quarters,
    written: u64,
}

/// Figures take means of so many quantities, each by itself.
const AVERAGED: usize = 6;

/// Which of these quantities values state. Whoever takes means of another one adds it here.
fn averaged(values: &Quantities) -> [bool; AVERAGED] {
    [
        values.irradiance_dwm2.is_some(),
        values.module_temperature_dc.is_some(),
        values.ambient_temperature_dc.is_some(),
        values.wind_speed_dms.is_some(),
        values.dc_power_w.is_some(),
        values.state.is_some(),
    ]
}

/// Times of a meter's newest readings, UTC ms; `i64::MIN` before the first.
#[derive(Clone, Copy, Debug)]
struct Newest {
    any_ms: i64,
    /// Of those that state each averaged quantity.
    stated_ms: [i64; AVERAGED],
}

impl Newest {
    const NONE: Self = Self {
        any_ms: i64::MIN,
        stated_ms: [i64::MIN; AVERAGED],
    };

    /// Takes a reading in; from when to when (UTC ms) means may be others now. A mean goes straight from one reading that states its quantity to
    /// the next, over failed polls and over readings without it.
    fn take(&mut self, time_ms: i64, outcome: &Outcome, loaded_ms: i64) -> (i64, i64) {
        let since = |newest_ms: i64| newest_ms.max(time_ms - GAP_MS_MAX);
        let (mut from_ms, mut to_ms) = (since(self.any_ms), time_ms);
        if self.any_ms == i64::MIN || time_ms < self.any_ms || time_ms <= loaded_ms {
            // Perhaps between two that are stored; what was stored before the start is not known here.
            (from_ms, to_ms) = (time_ms - GAP_MS_MAX, time_ms + GAP_MS_MAX);
        }
        self.any_ms = self.any_ms.max(time_ms);
        let Outcome::Values(values) = outcome else {
            return (from_ms, to_ms);
        };
        for (newest_ms, is_stated) in self.stated_ms.iter_mut().zip(averaged(values)) {
            if is_stated {
                from_ms = from_ms.min(since(*newest_ms));
                *newest_ms = time_ms.max(*newest_ms);
            }
        }
        (from_ms, to_ms)
    }
}

impl Changes {
    /// All rows count as taken: who is asked now may have read them before. `now_ms` is UTC.
    pub(super) fn load(connection: &Connection, now_ms: i64) -> rusqlite::Result<Self> {
        let wanted = connection.query_row("SELECT count(*) > 0 FROM export", (), |row| row.get(0))?;
        Ok(Self {
            wanted,
            end: connection.query_row(END, (), |row| row.get(0))?,
            loaded_ms: now_ms,
            ..Self::default()
        })
    }

    /// From now on there are sinks, or none.
    pub(super) fn want(&mut self, wanted: bool) {
        self.wanted = wanted;
        self.untaken.clear();
        self.forget_last();
    }

    pub(super) const fn end(&self) -> i64 {
        self.end
    }

    /// Whoever reads after this has all that is marked; what is touched from now on is marked anew.
    pub(super) fn take(&mut self) -> i64 {
        self.untaken.clear();
        self.end
    }

    /// What is known of the time between two instants (UTC ms), both included, may be something else now.
    pub(super) fn touch(&mut self, device: i64, from_ms: i64, to_ms: i64) {
        self.touch_quarters(
            device,
            Quarters {
                first: quarter_of(from_ms),
                last: quarter_of(to_ms.max(from_ms)),
            },
        );
    }

    pub(super) fn touch_quarters(&mut self, device: i64, quarters: Quarters) {
        let is_there = |(of, last): (i64, Quarters)| of == device && last.holds(quarters);
        if !self.wanted || self.last.is_some_and(is_there) {
            return;
        }
        self.touched.entry(device).or_default().add(quarters);
        self.last = Some((device, quarters));
    }

    /// A reading came to count.
    pub(super) fn reading(&mut self, device: i64, reading: &Reading, time_ms: i64) {
        if !self.wanted {
            return;
        }
        let key = (device, reading.meter);
        let seen = self.meters.get(&key).copied();
        let mut newest = seen.map_or(Newest::NONE, |seen| seen.newest);
        let (from_ms, to_ms) = newest.take(time_ms, &reading.outcome, self.loaded_ms);
        let quarters = Quarters {
            first: quarter_of(from_ms),
            last: quarter_of(to_ms),
        };
        // Most readings lie in the quarter-hours of the one before.
        let touched = match seen {
            Some(seen) if seen.written == self.written && seen.touched.holds(quarters) => seen.touched,
            _ => {
                self.touch_quarters(device, quarters);
                quarters
            }
        };
        let now = Seen {
            newest,
            touched,
            written: self.written,
        };
        self.meters.insert(key, now);
    }

    /// A reading counts no more, or not there.
    pub(super) fn gone(&mut self, device: i64, time_ms: i64) {
        self.touch(device, time_ms - GAP_MS_MAX, time_ms + GAP_MS_MAX);
    }

    /// Forgets what was touched, but of these devices: what was done came out as it was.
    pub(super) fn keep_of(&mut self, is_kept: impl Fn(i64) -> bool) {
        self.touched.retain(|&device, _| is_kept(device));
        self.forget_last();
    }

    /// What was touched before is perhaps no longer in `touched`.
    const fn forget_last(&mut self) {
        self.last = None;
        self.written += 1;
    }

    /// Writes what was touched; to be called in the transaction that touched it.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.forget_last();
        for (device, stretches) in std::mem::take(&mut self.touched) {
            for quarters in stretches.into_sorted() {
                self.mark(connection, device, quarters)?;
            }
        }
        Ok(())
    }

    fn mark(&mut self, connection: &Connection, device: i64, quarters: Quarters) -> rusqlite::Result<()> {
        let marks = self.untaken.entry(device).or_default();
        let nearest = marks
            .iter_mut()
            .min_by_key(|mark| mark.quarters.between(quarters));
        if let Some(mark) = nearest {
            if mark.quarters.holds(quarters) {
                return Ok(());
            }
            if mark.quarters.between(quarters) <= NEAR_QUARTERS || self.untaken[&device].len() >= MARKS_MAX {
                return grow(connection, self.untaken.entry(device).or_default(), quarters);
            }
        }
        self.end += 1;
        connection
            .prepare_cached("INSERT INTO changed (revision, device, first, last) VALUES (?, ?, ?, ?)")?
            .execute((self.end, device, quarters.first, quarters.last))?;
        self.untaken.entry(device).or_default().push(Mark {
            revision: self.end,
            quarters,
        });
        Ok(())
    }
}

/// The nearest mark takes the quarter-hours in.
fn grow(connection: &Connection, marks: &mut [Mark], quarters: Quarters) -> rusqlite::Result<()> {
    let Some(mark) = marks
        .iter_mut()
        .min_by_key(|mark| mark.quarters.between(quarters))
    else {
        return Ok(());
    };
    mark.quarters = mark.quarters.with(quarters);
    connection
        .prepare_cached("UPDATE changed SET first = ?, last = ? WHERE revision = ?")?
        .execute((mark.quarters.first, mark.quarters.last, mark.revision))?;
    Ok(())
}

/// Joins the rows of each device behind one change and up to another, which only one sink has not got yet. What is joined has the number of its
/// last row: a sink that is at work on some of them gets it all the same when it has gone on behind those.
pub(super) fn join_rows(connection: &Connection, after: i64, to: i64) -> rusqlite::Result<()> {
    let mut of_device: BTreeMap<i64, (Stretches, Vec<Mark>)> = BTreeMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT revision, device, first, last FROM changed WHERE revision > ? AND revision <= ?",
    )?;
    let mut rows = statement.query((after, to))?;
    while let Some(row) = rows.next()? {
        let (stretches, marks) = of_device.entry(row.get(1)?).or_default();
        let quarters = Quarters {
            first: row.get(2)?,
            last: row.get(3)?,
        };
        stretches.add(quarters);
        marks.push(Mark {
            revision: row.get(0)?,
            quarters,
        });
    }
    drop(rows);
    connection
        .prepare_cached("DELETE FROM changed WHERE revision > ? AND revision <= ?")?
        .execute((after, to))?;
    let mut insert = connection
        .prepare_cached("INSERT INTO changed (revision, device, first, last) VALUES (?, ?, ?, ?)")?;
    for (device, (stretches, marks)) in of_device {
        for quarters in stretches.into_sorted() {
            // Each row is part of one stretch, so no number is given twice.
            let parts = marks.iter().filter(|mark| quarters.holds(mark.quarters));
            if let Some(revision) = parts.map(|mark| mark.revision).max() {
                insert.execute((revision, device, quarters.first, quarters.last))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::{Clock, Stamp};

    use super::*;
    use crate::analytics::QUARTER_MS;

    /// Device, first and last quarter-hour of every row.
    fn rows(connection: &Connection) -> Vec<(i64, i64, i64)> {
        let mut rows = connection
            .prepare("SELECT device, first, last FROM changed ORDER BY revision")
            .unwrap();
        let rows = rows.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// A meter's poll that states no averaged quantity.
    fn of_meter(address: u8) -> Reading {
        Reading {
            meter: MeterAddress::new(address).unwrap(),
            stamp: Stamp {
                clock: Clock::Synced,
                ms: 0,
            },
            outcome: Outcome::Values(Quantities::default()),
        }
    }

    #[test]
    fn what_was_touched_before_a_take_is_touched_again_after_it() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("CREATE TABLE changed (revision INTEGER PRIMARY KEY, device, first, last)")
            .unwrap();
        let mut changes = Changes::default();
        changes.want(true);
        let polls = [1, 2].map(of_meter);
        let mut expected = Vec::new();
        for round in 0..3 {
            // Two devices in turns, each with two meters, all in one quarter-hour.
            for second in 0..30 {
                for device in [7, 8] {
                    for poll in &polls {
                        changes.reading(device, poll, 40 * QUARTER_MS + (30 * round + second) * 1_000);
                    }
                    changes.touch(device, 40 * QUARTER_MS, 40 * QUARTER_MS + second);
                }
            }
            changes.write(&connection).unwrap();
            // The first readings may tell what was before them and after.
            let (first, last) = if round == 0 { (39, 41) } else { (40, 40) };
            expected.extend([(7, first, last), (8, first, last)]);
            assert_eq!(rows(&connection), expected, "round {round}");
            changes.take();
        }
        changes.want(false);
        changes.reading(7, &polls[0], 90 * QUARTER_MS);
        changes.write(&connection).unwrap();
        assert_eq!(rows(&connection), expected, "without a sink");
    }
}
