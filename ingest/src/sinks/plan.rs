//! Which figures have to be sent after changes: pure.
//!
//! In: quarter-hours of devices that have changed, what is closed. Out: jobs, each of bounded size; what is too early.

use std::collections::{BTreeMap, HashMap};

use taraz_fleet::Fleet;
use taraz_telemetry::DeviceId;

use crate::analytics::{PeriodStep, QUARTER_MS, day_end_ms, day_start_ms, periods};
use crate::figures::neighbours;
use crate::store::{Quarters, Stretches};

/// The most quarter-hours of one job: 31 days.
const JOB_QUARTERS_MAX: i64 = 31 * 96;
/// The most quarter-hours of all sites of a job together.
const JOB_CELLS_MAX: i64 = 10_000;

/// Figures of some sites, the same ones of each. Sites are numbers in the registry's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) sites: Vec<usize>,
    pub(super) kind: JobKind,
    /// Begin and end of each period, UTC ms; in order, without gaps.
    pub(super) periods: Vec<(i64, i64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobKind {
    Quarters,
    Days,
}

/// What is closed at an instant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closed {
    /// Quarter-hours before this one are.
    pub(super) quarter: i64,
    /// Days that end here or before were sent once already, UTC ms; a later one is sent when it is over.
    pub(super) days_ms: i64,
}

/// Which sites' figures follow from a plant's readings: its own, and those of the plants whose sky it tells.
#[derive(Debug)]
pub(super) struct Followers {
    of_plant: HashMap<String, Vec<usize>>,
}

/// What follows from changes.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) jobs: Vec<Job>,
    /// Not closed yet.
    pub(super) left: Vec<(DeviceId, Quarters)>,
}

impl Followers {
    pub(super) fn of(fleet: &Fleet) -> Self {
        let sites: HashMap<&str, usize> = (0..)
            .zip(&fleet.sites)
            .map(|(at, site)| (site.id.as_str(), at))
            .collect();
        let mut of_plant: HashMap<String, Vec<usize>> = HashMap::new();
        for plant in &fleet.plants {
            let Some(&site) = sites.get(plant.site_id()) else {
                continue;
            };
            for told_by in neighbours(fleet, plant).into_iter().chain([plant]) {
                let followers = of_plant.entry(told_by.id.clone()).or_default();
                if !followers.contains(&site) {
                    followers.push(site);
                }
            }
        }
        Self { of_plant }
    }
}

/// What has to be sent after these changes.
pub(super) fn plan(
    fleet: &Fleet,
    followers: &Followers,
    changes: Vec<(DeviceId, Quarters)>,
    closed: Closed,
) -> Plan {
    let mut plan = Plan::default();
    let mut of_site: BTreeMap<usize, Stretches> = BTreeMap::new();
    for (device, quarters) in changes {
        if quarters.last >= closed.quarter {
            let first = quarters.first.max(closed.quarter);
            plan.left.push((device.clone(), Quarters { first, ..quarters }));
        }
        let over = Quarters {
            last: quarters.last.min(closed.quarter - 1),
            ..quarters
        };
        // A registry that knows the device later has its site sent whole.
        let found = fleet.device(&device).filter(|_| over.first <= over.last);
        for &site in found
            .and_then(|found| followers.of_plant.get(&found.plant.id))
            .into_iter()
            .flatten()
        {
            of_site.entry(site).or_default().add(over);
        }
    }
    let (mut quarters, mut days) = (BTreeMap::new(), BTreeMap::new());
    for (site, stretches) in of_site {
        let mut of_days = Stretches::default();
        for stretch in stretches.into_sorted() {
            sites_of(&mut quarters, stretch).push(site);
            if let Some(days) = days_within(stretch, closed.days_ms) {
                of_days.add(days);
            }
        }
        for stretch in of_days.into_sorted() {
            sites_of(&mut days, stretch).push(site);
        }
    }
    for (stretch, mut sites) in quarters {
        by_district(fleet, &mut sites);
        plan.jobs.extend(quarter_jobs(&sites, stretch));
    }
    for (stretch, mut sites) in days {
        by_district(fleet, &mut sites);
        plan.jobs.extend(day_jobs(
            &sites,
            stretch.first * QUARTER_MS,
            (stretch.last + 1) * QUARTER_MS,
        ));
    }
    plan
}

fn sites_of(all: &mut BTreeMap<Quarters, Vec<usize>>, stretch: Quarters) -> &mut Vec<usize> {
    all.entry(stretch).or_default()
}

/// The local days that a stretch lies in, as quarter-hours, as far as they were sent before.
fn days_within(stretch: Quarters, days_ms: i64) -> Option<Quarters> {
    let from_ms = day_start_ms(stretch.first * QUARTER_MS);
    let to_ms = day_end_ms(stretch.last * QUARTER_MS).min(days_ms);
    (from_ms < to_ms).then_some(Quarters {
        first: from_ms / QUARTER_MS,
        last: to_ms / QUARTER_MS - 1,
    })
}

/// Puts the sites of a district next to each other, so that one job has most of the neighbours that tell their sky.
pub(super) fn by_district(fleet: &Fleet, sites: &mut [usize]) {
    sites.sort_by_cached_key(|&at| {
        let plant = fleet
            .sites
            .get(at)
            .and_then(|site| fleet.plants_at(&site.id).next());
        (plant.map(|plant| plant.district.as_str()), at)
    });
}

/// Quarter-hours of sites.
pub(super) fn quarter_jobs(sites: &[usize], stretch: Quarters) -> Vec<Job> {
    let mut jobs = Vec::new();
    let mut first = stretch.first;
    while first <= stretch.last {
        let last = stretch.last.min(first + JOB_QUARTERS_MAX - 1);
        let quarters = periods(first * QUARTER_MS, (last + 1) * QUARTER_MS, PeriodStep::Quarter);
        jobs.extend(of_sites(sites, JobKind::Quarters, &quarters, last - first + 1));
        first = last + 1;
    }
    jobs
}

/// The local days of sites that begin in `from_ms..to_ms` (UTC ms, begins of days).
pub(super) fn day_jobs(sites: &[usize], from_ms: i64, to_ms: i64) -> Vec<Job> {
    let days = periods(from_ms, to_ms, PeriodStep::Day);
    let days_max = usize::try_from(JOB_QUARTERS_MAX / 96).unwrap_or(1);
    days.chunks(days_max)
        .flat_map(|days| of_sites(sites, JobKind::Days, days, days.len() as i64 * 96))
        .collect()
}

fn of_sites(sites: &[usize], kind: JobKind, periods: &[(i64, i64)], quarters: i64) -> Vec<Job> {
    let at_once = usize::try_from(JOB_CELLS_MAX / quarters.max(1))
        .unwrap_or(1)
        .max(1);
    sites
        .chunks(at_once)
        .map(|sites| Job {
            sites: sites.to_vec(),
            kind,
            periods: periods.to_vec(),
        })
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
