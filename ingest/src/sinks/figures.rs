//! Gets the figures of quarter-hours and days to one sink, again whenever they change.
//!
//! In: the store's changes behind the sink, what is closed by now, sites of which the sink has not got everything. Out: lines. A
//! quarter-hour is sent once it is closed, a day once it is over, both again after each change. How far it has got is in the store, and is moved on
//! only when everything up to there was taken: a killed process sends some of it again.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use taraz_fleet::{Fleet, Site};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::deliver::{Outcome, deliver};
use super::influx::{Influx, encode_point};
use super::look::{Found, Next, look};
use super::plan::{Closed, Followers, Job, JobKind, by_district, day_jobs, plan, quarter_jobs};
use super::status::{SinkStatus, What};
use super::{BATCH_LINES_MAX, Interrupted};
use crate::analytics::{QUARTER_MS, day_start_ms, quarter_of};
use crate::figures::{CLOSED_AFTER_MS, Point, neighbours};
use crate::store::{Counted, Done, Now, Quarters, Store, StoreError, utc_day_of};

/// Changes wait so long for company.
const PERIOD: Duration = Duration::from_secs(10);
/// The most changes that are worked off at once.
const CHANGES_MAX: usize = 20_000;
/// Counts up when figures are computed otherwise or get other fields: everything is sent again then.
const FIGURES_VERSION: u32 = 1;

/// The figures of one sink, ready to run.
pub(crate) struct FigureSink {
    pub(super) influx: Arc<Influx>,
    pub(super) store: Store,
    pub(super) status: Arc<SinkStatus>,
    pub(super) now: Now,
    /// The server keeps the last point of a time.
    pub(super) overwrites: bool,
    pub(super) period: Duration,
    pub(super) lag_period: Duration,
    /// Changes have had their turn while days or whole sites wait.
    pub(super) is_others_turn: AtomicBool,
}

impl FigureSink {
    pub(super) const PERIOD: Duration = PERIOD;

    /// Sends what there is and then what comes, until the token is cancelled.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let fleet = Arc::clone(self.store.fleet());
        let mut backoff = Backoff::new();
        let mut known: Option<(Followers, Vec<i64>)> = None;
        loop {
            let done = match &known {
                Some((followers, facts)) => self.round(followers, facts, &cancel).await,
                None => {
                    let of = Arc::clone(&fleet);
                    let found = self
                        .blocking(move |_| Ok((Followers::of(&of), facts_of(&of))))
                        .await;
                    found.map(|found| known.insert(found)).map(|_| true)
                }
            };
            let wait = match done {
                Ok(true) => Duration::ZERO,
                Ok(false) => {
                    backoff = Backoff::new();
                    self.period
                }
                Err(Interrupted::Stopping) => return,
                Err(Interrupted::Store(error)) => {
                    tracing::warn!(sink = self.status.name(), %error, "the figures of the sink can't use the store; trying again");
                    self.status.failed(error.to_string());
                    backoff.next_delay()
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Does the next thing; false when there is nothing to do at once.
    async fn round(
        &self,
        followers: &Followers,
        facts: &[i64],
        cancel: &CancellationToken,
    ) -> Result<bool, Interrupted> {
        let now_ms = (self.now)();
        let is_others_turn = self.is_others_turn.load(Ordering::Relaxed);
        let found = self.look(facts, now_ms, is_others_turn).await?;
        self.status.set_lag(What::Figures, found.lag);
        let is_more = tokio::select! {
            done = self.work_off(found.next, found.closed_ms, now_ms, followers, cancel) => done?,
            error = self.keep_lag(facts) => return Err(error),
        };
        Ok(is_more)
    }

    async fn look(&self, facts: &[i64], now_ms: i64, is_others_turn: bool) -> Result<Found, Interrupted> {
        let (name, facts) = (self.status.name().to_owned(), facts.to_vec());
        self.blocking(move |store| look(store, &name, &facts, now_ms, is_others_turn))
            .await
    }

    /// Keeps the lag true while something is under way, however long the server is away.
    async fn keep_lag(&self, facts: &[i64]) -> Interrupted {
        loop {
            tokio::time::sleep(self.lag_period).await;
            match self.look(facts, (self.now)(), false).await {
                Ok(found) => self.status.set_lag(What::Figures, found.lag),
                // Nothing is lost: what is under way is not noted as done.
                Err(error) => return error,
            }
        }
    }

    async fn work_off(
        &self,
        next: Next,
        closed_ms: i64,
        now_ms: i64,
        followers: &Followers,
        cancel: &CancellationToken,
    ) -> Result<bool, Interrupted> {
        let done = Done {
            sink: self.status.name().to_owned(),
            ..Done::default()
        };
        let fleet = self.store.fleet();
        let closed_quarter = quarter_of(now_ms - CLOSED_AFTER_MS);
        match next {
            Next::Nothing => return Ok(false),
            Next::Changes { after, is_alone } => {
                self.is_others_turn.store(!is_alone, Ordering::Relaxed);
                let closed = Closed {
                    quarter: closed_quarter,
                    days_ms: closed_ms,
                };
                return self.changes(after, closed, followers, cancel).await;
            }
            Next::Days { from_ms, to_ms } => {
                self.is_others_turn.store(false, Ordering::Relaxed);
                self.send(day_jobs(&all_sites(fleet), from_ms, to_ms), cancel)
                    .await?;
                let closed_ms = Some(to_ms);
                self.store.exported(Done { closed_ms, ..done }).await?;
            }
            Next::Site { at, facts } => {
                self.is_others_turn.store(false, Ordering::Relaxed);
                let site = self.store.fleet().sites[at].clone();
                let asked = site.clone();
                let first_ms = self
                    .blocking(move |store| store.snapshot(|snapshot| snapshot.first_ms_of(&asked)))
                    .await?;
                if let Some(first_ms) = first_ms {
                    let (first, last) = (quarter_of(first_ms), closed_quarter - 1);
                    self.send(quarter_jobs(&[at], Quarters { first, last }), cancel)
                        .await?;
                    self.send(day_jobs(&[at], day_start_ms(first_ms), closed_ms), cancel)
                        .await?;
                }
                let site = Some((site.id, facts));
                self.store.exported(Done { site, ..done }).await?;
            }
        }
        Ok(true)
    }

    /// Sends what follows from some changes; whether there are more of them.
    async fn changes(
        &self,
        after: i64,
        closed: Closed,
        followers: &Followers,
        cancel: &CancellationToken,
    ) -> Result<bool, Interrupted> {
        let taken = self.store.take_changes().await?;
        let behind = self
            .blocking(move |store| {
                store.snapshot(|snapshot| snapshot.changes_after(after, taken, CHANGES_MAX))
            })
            .await?;
        let plan = plan(self.store.fleet(), followers, behind.changes, closed);
        self.send(plan.jobs, cancel).await?;
        let done = Done {
            sink: self.status.name().to_owned(),
            revision: Some(behind.revision),
            left: plan.left,
            ..Done::default()
        };
        self.store.exported(done).await?;
        // What came meanwhile waits for company, unless there was more than fits.
        Ok(behind.revision < taken)
    }

    /// Returns when the server has everything.
    async fn send(&self, jobs: Vec<Job>, cancel: &CancellationToken) -> Result<(), Interrupted> {
        for job in jobs {
            let sites: Vec<Site> = job
                .sites
                .iter()
                .map(|&at| self.store.fleet().sites[at].clone())
                .collect();
            let revisions = self.revisions(&sites, &job).await?;
            let lines = self
                .blocking(move |store| {
                    let points = computed(store, &sites, job.kind, &job.periods)?;
                    Ok(lines(&points, &revisions))
                })
                .await?;
            for lines in lines.chunks(BATCH_LINES_MAX) {
                match deliver(&self.influx, &self.status, What::Figures, lines.to_vec(), cancel).await {
                    Outcome::Delivered => {}
                    Outcome::Stopping => return Err(Interrupted::Stopping),
                }
            }
        }
        Ok(())
    }

    /// How many times figures of each site, plant and UTC day were sent, this time included; empty for a server that overwrites. It is
    /// durable before anything is sent, so that no two sendings are taken for one.
    async fn revisions(&self, sites: &[Site], job: &Job) -> Result<Revisions, Interrupted> {
        let (Some(&(start_ms, _)), Some(&(_, end_ms)), false) =
            (job.periods.first(), job.periods.last(), self.overwrites)
        else {
            return Ok(Revisions::new());
        };
        let days = (utc_day_of(start_ms), utc_day_of(end_ms - 1));
        let of_site = |site: &Site| {
            let plants = self.store.fleet().plants_at(&site.id);
            let keys = plants.map(|plant| Counted::plant_key(&plant.id));
            let keys: Vec<_> = keys.chain([Counted::site_key(&site.id)]).collect();
            let site = site.id.clone();
            keys.into_iter().map(move |key| Counted {
                key,
                site: site.clone(),
            })
        };
        let counted: Vec<Counted> = sites.iter().flat_map(of_site).collect();
        self.store.count_sent(counted.clone(), days).await?;
        self.blocking(move |store| {
            store.snapshot(|snapshot| {
                let each = counted.into_iter().map(|one| {
                    let sent = snapshot.sent(&one.key, days)?;
                    Ok((one.key, sent))
                });
                each.collect()
            })
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Interrupted> {
        super::blocking(&self.store, work).await
    }
}

/// Key of a [`Counted`] → UTC day → how many times it was sent.
type Revisions = HashMap<String, HashMap<i64, i64>>;

/// The lines of all figures of the quarter-hours, or, when both times are begins of local days, of the days from `from_ms` to `to_ms` (UTC ms), as
/// every sink gets them when they are closed: some at a time to `each`. It blocks on the disk.
///
/// # Errors
/// [`StoreError::Sqlite`].
pub fn figure_lines(
    store: &Store,
    from_ms: i64,
    to_ms: i64,
    mut each: impl FnMut(&[String]),
) -> Result<(), StoreError> {
    let all = all_sites(store.fleet());
    let is_days = [from_ms, to_ms]
        .iter()
        .all(|&time_ms| day_start_ms(time_ms) == time_ms);
    let jobs = if is_days {
        day_jobs(&all, from_ms, to_ms)
    } else {
        let (first, last) = (quarter_of(from_ms), quarter_of(to_ms - 1));
        quarter_jobs(&all, Quarters { first, last })
    };
    for job in jobs {
        let sites: Vec<Site> = job
            .sites
            .iter()
            .map(|&at| store.fleet().sites[at].clone())
            .collect();
        let points = computed(store, &sites, job.kind, &job.periods)?;
        each(&lines(&points, &Revisions::new()));
    }
    Ok(())
}

fn all_sites(fleet: &Fleet) -> Vec<usize> {
    let mut all: Vec<usize> = (0..fleet.sites.len()).collect();
    by_district(fleet, &mut all);
    all
}

/// What the registry says that figures of each site follow from, as a number.
fn facts_of(fleet: &Fleet) -> Vec<i64> {
    // Each once, though a plant is the neighbour of many.
    let texts: HashMap<&str, String> = fleet
        .plants
        .iter()
        .map(|plant| (plant.id.as_str(), format!("{plant:?}")))
        .collect();
    let of_site = |site: &Site| {
        let mut hasher = DefaultHasher::new();
        FIGURES_VERSION.hash(&mut hasher);
        for plant in fleet.plants_at(&site.id) {
            for one in neighbours(fleet, plant).into_iter().chain([plant]) {
                if let Some(text) = texts.get(one.id.as_str()) {
                    text.hash(&mut hasher);
                }
            }
            let district = fleet
                .districts
                .iter()
                .find(|district| district.id == plant.district);
            format!("{district:?}").hash(&mut hasher);
        }
        hasher.finish().cast_signed()
    };
    fleet.sites.iter().map(of_site).collect()
}

/// The points of a job. Days of a device that are damaged have no figures, here as in the API: they are left out, the others are not.
fn computed(
    store: &Store,
    sites: &[Site],
    kind: JobKind,
    periods: &[(i64, i64)],
) -> Result<Vec<Point>, StoreError> {
    let points = match kind {
        JobKind::Quarters => store.quarter_figures(sites, periods),
        JobKind::Days => store.day_figures(sites, periods),
    };
    let error = match points {
        Err(error) if error.is_damage() => error,
        other => return other,
    };
    let (one, other) = match (sites.len(), periods.len()) {
        (2.., _) => {
            let (one, other) = sites.split_at(sites.len() / 2);
            ((one, periods), (other, periods))
        }
        (_, 2..) => {
            let (one, other) = periods.split_at(periods.len() / 2);
            ((sites, one), (sites, other))
        }
        _ => {
            tracing::warn!(
                site = sites.first().map_or("", |site| site.id.as_str()),
                start_ms = periods.first().map_or(0, |period| period.0),
                %error,
                "no figures are sent of a damaged day; `taraz store verify` names it"
            );
            return Ok(Vec::new());
        }
    };
    let mut points = computed(store, one.0, kind, one.1)?;
    points.extend(computed(store, other.0, kind, other.1)?);
    Ok(points)
}

/// Each point's line, as many ms behind the begin of its period as it was sent before. Servers that keep every point have the newest one
/// last so.
fn lines(points: &[Point], revisions: &Revisions) -> Vec<String> {
    let line = |point: &Point| {
        let sent = revisions.get(&point.counted_by);
        let revision = sent.and_then(|sent| sent.get(&utc_day_of(point.start_ms)));
        let mut line = String::new();
        encode_point(point, point.start_ms + revision.copied().unwrap_or(0), &mut line);
        line
    };
    points.iter().map(line).collect()
}

const _: () = assert!(crate::store::REVISION_MAX < QUARTER_MS);

#[cfg(test)]
#[path = "figures_tests.rs"]
pub(crate) mod tests;

#[cfg(test)]
#[path = "figures_order_tests.rs"]
mod order_tests;
