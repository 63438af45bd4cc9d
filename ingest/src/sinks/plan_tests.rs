use super::*;
use crate::analytics::quarter_of;
use crate::store::testing::{NOON_MS, fleet};

const NOON: i64 = quarter_of(NOON_MS);

fn device(id: &str) -> DeviceId {
    id.parse().unwrap()
}

fn change(id: &str, first: i64, last: i64) -> (DeviceId, Quarters) {
    let (first, last) = (NOON + first, NOON + last);
    (device(id), Quarters { first, last })
}

/// Kind, sites, first and last quarter-hour beside noon.
type Planned = (JobKind, Vec<usize>, i64, i64);

/// Jobs as kind, sites, first and last quarter-hour beside noon.
fn planned(changes: Vec<(DeviceId, Quarters)>, closed: i64, days_ms: i64) -> (Vec<Planned>, Plan) {
    let fleet = fleet();
    let closed = Closed {
        quarter: NOON + closed,
        days_ms,
    };
    let plan = plan(&fleet, &Followers::of(&fleet), changes, closed);
    let jobs = plan.jobs.iter().map(|job| {
        let (first, last) = (job.periods[0].0, job.periods[job.periods.len() - 1].1);
        (
            job.kind,
            job.sites.clone(),
            quarter_of(first) - NOON,
            quarter_of(last) - NOON - 1,
        )
    });
    (jobs.collect(), plan)
}

#[test]
fn what_is_open_waits_and_the_rest_is_sent_once() {
    let changes = vec![
        change("a-01", 0, 3),
        change("b-01", 5, 6),
        change("a-01", 2, 8),
        change("not-registered", 0, 1),
    ];
    let (jobs, plan) = planned(changes, 5, i64::MIN);
    // The four plants of the district tell each other's sky.
    assert_eq!(jobs, [(JobKind::Quarters, vec![0, 1, 2, 3], 0, 4)]);
    assert_eq!(plan.left, [change("b-01", 5, 6), change("a-01", 5, 8)]);
}

#[test]
fn days_that_were_sent_are_sent_again_and_others_are_not() {
    let day_ms = day_start_ms(NOON_MS);
    let (jobs, _) = planned(vec![change("a-01", 0, 0)], 100, day_end_ms(NOON_MS));
    let day = (quarter_of(day_ms) - NOON, quarter_of(day_ms) - NOON + 95);
    assert_eq!(jobs[1], (JobKind::Days, vec![0, 1, 2, 3], day.0, day.1));
    let (jobs, _) = planned(vec![change("a-01", 0, 0)], 100, day_ms);
    assert_eq!(jobs.len(), 1, "its day is not over");
}

#[test]
fn years_are_cut_into_jobs_without_a_hole() {
    let (jobs, _) = planned(vec![change("a-01", -96 * 400, -1)], 0, i64::MIN);
    assert_eq!(jobs.first().unwrap().2, -96 * 400);
    assert_eq!(jobs.last().unwrap().3, -1);
    let all: Vec<usize> = jobs.iter().flat_map(|job| job.1.clone()).collect();
    assert_eq!(
        all.iter().filter(|&&site| site == 0).count(),
        400_usize.div_ceil(31)
    );
    for job in &jobs {
        assert!((job.3 - job.2 + 1) * i64::try_from(job.1.len()).unwrap() <= JOB_CELLS_MAX);
    }
}

#[test]
fn many_sites_are_cut_into_jobs() {
    let sites: Vec<usize> = (0..250).collect();
    let from_ms = day_start_ms(NOON_MS);
    let jobs = day_jobs(&sites, from_ms, day_end_ms(NOON_MS));
    let sent: Vec<usize> = jobs.iter().flat_map(|job| job.sites.clone()).collect();
    assert_eq!((jobs.len(), sent), (3, sites));
    assert_eq!(day_jobs(&[0], from_ms, from_ms), []);
}

#[test]
fn sites_of_a_district_are_next_to_each_other_in_jobs() {
    let mut fleet = fleet().as_ref().clone();
    let mut other = fleet.districts[0].clone();
    other.id = "b".to_owned();
    fleet.districts.push(other);
    for plant in fleet.plants.iter_mut().step_by(2) {
        plant.district = "b".to_owned();
    }
    let mut sites = vec![2, 0, 3, 1];
    by_district(&fleet, &mut sites);
    let districts: Vec<&str> = sites
        .iter()
        .map(|&at| {
            fleet
                .plants_at(&fleet.sites[at].id)
                .next()
                .unwrap()
                .district
                .as_str()
        })
        .collect();
    assert_eq!(
        districts.windows(2).filter(|pair| pair[0] != pair[1]).count(),
        1,
        "{districts:?}"
    );
    sites.sort_unstable();
    assert_eq!(sites, [0, 1, 2, 3]);
}
