//! What sinks of figures ask the store for: which quarter-hours have changed behind a sink, and how far it has got.
//!
//! A sink takes changes through the writer ([`Store::take_changes`]): whatever is committed after that is marked anew, whatever was committed
//! before is seen by every read that begins after it. So no change falls between two of its looks, and a killed process takes again what it had not
//! reported as done.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _};
use taraz_fleet::Site;
use taraz_telemetry::DeviceId;
use tokio::sync::oneshot;

use super::account;
use super::changes::{self, Changes, Quarters};
use super::read::Snapshot;
use super::runs::{DAY_MS, day_of};
use super::state::State;
use super::writer::Command;
use super::{Store, StoreError};
use crate::analytics::{QUARTER_MS, quarter_of};

/// So many rows are kept for a sink that is behind another one before they are joined.
const CHANGES_KEPT_MAX: i64 = 200_000;
/// A figure's point lies at most so many ms behind the begin of its quarter-hour.
pub(crate) const REVISION_MAX: i64 = QUARTER_MS - 1;

/// How far a sink has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The last change that it has got.
    pub(crate) revision: i64,
    /// Every local day that ends here or before was sent for all sites, UTC ms.
    pub(crate) closed_ms: i64,
}

/// What a sink has done, written as one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Done {
    pub(crate) sink: String,
    pub(crate) revision: Option<i64>,
    pub(crate) closed_ms: Option<i64>,
    /// Of the changes up to `revision`, what was too early to be sent: it stays marked.
    pub(crate) left: Vec<(DeviceId, Quarters)>,
    /// A site of which everything was sent, and the facts behind it.
    pub(crate) site: Option<(String, i64)>,
}

/// Whose sendings are counted: a site's for its own series, a plant's for its and its meters', which stay the same when it gets another site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    /// What [`Counted::site_key`] or [`Counted::plant_key`] gives.
    pub(crate) key: String,
    /// The site that it belongs to.
    pub(crate) site: String,
}

impl Counted {
    pub(crate) fn site_key(site: &str) -> String {
        site.to_owned()
    }

    /// No id has a slash.
    pub(crate) fn plant_key(plant: &str) -> String {
        format!("plant/{plant}")
    }
}

/// What the writer does for sinks; each comes to a number.
#[derive(Debug)]
pub(crate) enum Work {
    /// These are the sinks now. New ones begin with the days from this instant on (UTC ms); everything before is sent site by site.
    Sinks { names: Vec<String>, closed_ms: i64 },
    /// Everything that is marked is being read: the number of the last change.
    Take,
    /// A sink has got something.
    Done(Box<Done>),
    /// Figures of these and of these UTC days are about to be sent (again).
    Send { counted: Vec<Counted>, days: (i64, i64) },
}

impl Work {
    /// Inside the writer's transaction.
    pub(super) fn apply(&self, connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
        match self {
            Self::Sinks { names, closed_ms } => set_sinks(connection, &mut state.changes, names, *closed_ms),
            Self::Take => Ok(()),
            Self::Done(done) => done.apply(connection, state),
            Self::Send { counted, days } => {
                // Plants were counted by their sites alone once: they go on from there.
                let mut count = connection.prepare_cached(
                    "INSERT INTO exported_day (site, day, revision)
                     VALUES (?1, ?2, 1 + coalesce((SELECT revision FROM exported_day WHERE site = ?4 AND day = ?2), 0))
                     ON CONFLICT DO UPDATE SET revision = min(revision + 1, ?3)",
                )?;
                for one in counted {
                    for day in days.0..=days.1 {
                        count.execute((&one.key, day, REVISION_MAX, &one.site))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// After the commit.
    pub(super) fn committed(&self, state: &mut State) -> i64 {
        match self {
            Self::Take => state.changes.take(),
            _ => state.changes.end(),
        }
    }
}

impl Done {
    fn apply(&self, connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
        for (device, quarters) in &self.left {
            if let Some(&device) = state.devices.get(device) {
                state.changes.touch_quarters(device, *quarters);
            }
        }
        connection
            .prepare_cached(
                "UPDATE export SET revision = coalesce(?2, revision), closed_ms = coalesce(?3, closed_ms) WHERE sink = ?1",
            )?
            .execute((&self.sink, self.revision, self.closed_ms))?;
        if let Some((site, facts)) = &self.site {
            connection
                .prepare_cached("INSERT OR REPLACE INTO exported_site (sink, site, facts) VALUES (?, ?, ?)")?
                .execute((&self.sink, site, facts))?;
        }
        if self.revision.is_some() {
            prune(connection)?;
        }
        Ok(())
    }
}

fn set_sinks(
    connection: &Connection,
    changes: &mut Changes,
    names: &[String],
    closed_ms: i64,
) -> rusqlite::Result<()> {
    let mut known = connection.prepare("SELECT sink FROM export")?;
    let known: Vec<String> = known
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    // What has changed without a sink is not known when it comes back: it gets everything then.
    for gone in known.iter().filter(|name| !names.contains(name)) {
        connection.execute("DELETE FROM export WHERE sink = ?", [gone])?;
        connection.execute("DELETE FROM exported_site WHERE sink = ?", [gone])?;
    }
    for new in names.iter().filter(|name| !known.contains(name)) {
        connection.execute(
            "INSERT INTO export (sink, revision, closed_ms) VALUES (?, ?, ?)",
            (new, changes.end(), closed_ms),
        )?;
    }
    changes.want(!names.is_empty());
    prune(connection)
}

/// Rows that every sink has got go; those of a sink that is far behind are joined.
fn prune(connection: &Connection) -> rusqlite::Result<()> {
    let mut cursors = connection.prepare_cached("SELECT revision FROM export ORDER BY revision")?;
    let cursors: Vec<i64> = cursors
        .query_map((), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let first = cursors.first().copied().unwrap_or(i64::MAX);
    connection
        .prepare_cached("DELETE FROM changed WHERE revision <= ?")?
        .execute([first])?;
    for pair in cursors.windows(2).filter(|pair| pair[0] < pair[1]) {
        let kept: i64 = connection
            .prepare_cached("SELECT count(*) FROM changed WHERE revision > ? AND revision <= ?")?
            .query_row((pair[0], pair[1]), |row| row.get(0))?;
        if kept > CHANGES_KEPT_MAX {
            changes::join_rows(connection, pair[0], pair[1])?;
        }
    }
    Ok(())
}

/// Changes behind a sink.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    /// In the order in which they came.
    pub(crate) changes: Vec<(DeviceId, Quarters)>,
    /// The last of them; where there are no more, the last one that was taken.
    pub(crate) revision: i64,
}

impl Store {
    /// Makes known which sinks get figures.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Closed`].
    pub(crate) async fn set_figure_sinks(
        &self,
        names: Vec<String>,
        closed_ms: i64,
    ) -> Result<(), StoreError> {
        self.export(Work::Sinks { names, closed_ms }).await.map(drop)
    }

    /// Takes what is marked: everything up to the number that it returns is seen by whoever reads after this.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Closed`].
    pub(crate) async fn take_changes(&self) -> Result<i64, StoreError> {
        self.export(Work::Take).await
    }

    /// Makes durable what a sink has got.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Closed`].
    pub(crate) async fn exported(&self, done: Done) -> Result<(), StoreError> {
        self.export(Work::Done(Box::new(done))).await.map(drop)
    }

    /// Counts, durably, that figures of these and of these UTC days are sent.
    ///
    /// # Errors
    /// [`StoreError::Failed`], [`StoreError::Closed`].
    pub(crate) async fn count_sent(&self, counted: Vec<Counted>, days: (i64, i64)) -> Result<(), StoreError> {
        self.export(Work::Send { counted, days }).await.map(drop)
    }

    async fn export(&self, work: Work) -> Result<i64, StoreError> {
        self.ask(|reply: oneshot::Sender<Result<i64, StoreError>>| Command::Export { work, reply })
            .await?
    }
}

impl Snapshot<'_> {
    /// How far a sink has got; `None` when it is not known.
    pub(crate) fn progress(&self, sink: &str) -> rusqlite::Result<Option<Progress>> {
        self.connection
            .prepare_cached("SELECT revision, closed_ms FROM export WHERE sink = ?")?
            .query_row([sink], |row| {
                Ok(Progress {
                    revision: row.get(0)?,
                    closed_ms: row.get(1)?,
                })
            })
            .optional()
    }

    /// How many changes behind one begin before a quarter-hour.
    pub(crate) fn changes_behind(&self, revision: i64, before_quarter: i64) -> rusqlite::Result<u64> {
        let count: i64 = self
            .connection
            .prepare_cached("SELECT count(*) FROM changed WHERE revision > ? AND first < ?")?
            .query_row((revision, before_quarter), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// At most `limit` changes behind `revision`, up to `taken`. None begins before the device's first day with readings.
    pub(crate) fn changes_after(&self, revision: i64, taken: i64, limit: usize) -> rusqlite::Result<Behind> {
        let mut statement = self.connection.prepare_cached(
            "SELECT revision, device, name, first, last FROM changed JOIN device ON device.id = changed.device
             WHERE revision > ? AND revision <= ? ORDER BY revision LIMIT ?",
        )?;
        let mut rows = statement.query((revision, taken, i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut behind = Behind {
            revision: taken,
            ..Behind::default()
        };
        let mut count = 0;
        while let Some(row) = rows.next()? {
            count += 1;
            if count == limit {
                behind.revision = row.get(0)?;
            }
            let Ok(device) = DeviceId::new(row.get_ref(2)?.as_str()?) else {
                continue;
            };
            let (mut first, last): (i64, i64) = (row.get(3)?, row.get(4)?);
            // Marks from the begin of all, or of a time that a wrong clock stated.
            if last - first > DAY_MS / QUARTER_MS {
                let since_ms = self.first_day_of(row.get(1)?)?.map(|day| day * DAY_MS);
                first = since_ms.map_or(last, |since_ms| first.max(quarter_of(since_ms)));
            }
            if first <= last {
                behind.changes.push((device, Quarters { first, last }));
            }
        }
        Ok(behind)
    }

    /// The first UTC day of a site's meters that has readings or intervals, as its begin in UTC ms.
    pub(crate) fn first_ms_of(&self, site: &Site) -> rusqlite::Result<Option<i64>> {
        let mut first: Option<i64> = None;
        for device in self.fleet.plants_at(&site.id).flat_map(|plant| &plant.devices) {
            let key = self
                .connection
                .prepare_cached("SELECT id FROM device WHERE name = ?")?
                .query_row([device.id.as_str()], |row| row.get::<_, i64>(0))
                .optional()?;
            let day = key.map(|key| self.first_day_of(key)).transpose()?.flatten();
            first = first.into_iter().chain(day).min();
        }
        Ok(first.map(|day| day * DAY_MS))
    }

    fn first_day_of(&self, device: i64) -> rusqlite::Result<Option<i64>> {
        let mut days = self.connection.prepare_cached(
            "SELECT min(day) FROM run WHERE device = ?1 UNION ALL SELECT min(day) FROM chunk WHERE device = ?1
             UNION ALL SELECT min(day) FROM checkpoint JOIN series ON series.id = series WHERE device = ?1",
        )?;
        let days: Vec<Option<i64>> = days
            .query_map([device], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let single_ms: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(time_ms) FROM record WHERE device = ? AND time_ms IS NOT NULL")?
            .query_row([device], |row| row.get(0))?;
        let held: Option<i64> = self
            .connection
            .prepare_cached("SELECT min(quarter) FROM held WHERE device = ?")?
            .query_row([device], |row| row.get(0))?;
        let held = held.map(|quarter| day_of(quarter * QUARTER_MS));
        Ok(days
            .into_iter()
            .flatten()
            .chain(single_ms.map(day_of))
            .chain(held)
            .min())
    }

    /// Of the time before this instant (UTC ms) readings were given up by age; what they added up to is still there.
    pub(crate) fn given_up_ms(&self) -> rusqlite::Result<i64> {
        let day = account::forgotten_until(self.connection)?;
        Ok(day.saturating_add(1).saturating_mul(DAY_MS))
    }

    /// With which facts all figures of each site were sent to a sink.
    pub(crate) fn exported_sites(&self, sink: &str) -> rusqlite::Result<HashMap<String, i64>> {
        let mut sites = self
            .connection
            .prepare_cached("SELECT site, facts FROM exported_site WHERE sink = ?")?;
        let sites = sites.query_map([sink], |row| Ok((row.get(0)?, row.get(1)?)))?;
        sites.collect()
    }

    /// How often figures of a [`Counted`] were sent, by UTC day.
    pub(crate) fn sent(&self, key: &str, days: (i64, i64)) -> rusqlite::Result<HashMap<i64, i64>> {
        let mut sent = self.connection.prepare_cached(
            "SELECT day, revision FROM exported_day WHERE site = ? AND day >= ? AND day <= ?",
        )?;
        let sent = sent.query_map((key, days.0, days.1), |row| Ok((row.get(0)?, row.get(1)?)))?;
        sent.collect()
    }
}
