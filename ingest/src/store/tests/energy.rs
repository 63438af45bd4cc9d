//! Energy and balance through the whole store.

use super::super::testing::*;
use crate::analytics::QUARTER_MS;
use crate::view::{IntervalFlags, IntervalRow, Step};

const DAY_MS: i64 = 24 * 3_600_000;

async fn quarter(store: &crate::store::Store, plant: &str, time_ms: i64) -> IntervalRow {
    store
        .intervals(plant, time_ms, time_ms + 1, Step::Quarter)
        .unwrap()
        .remove(0)
}

#[tokio::test]
async fn a_backlog_oldest_first_under_a_live_reading_costs_what_it_touches() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let start_ms = NOON_MS - 30 * DAY_MS;
    deliver(
        &store,
        &[Run::new("a-01", 2, 0, &[inverter(NOON_MS, 0, 2_880_000)])],
    )
    .await;
    deliver(&store, &[Run::new("a-01", 1, 0, &[inverter(start_ms, 0, 0)])]).await;
    // Thirty days of gap are one segment, still open, and every quarter-hour of it knows its share.
    let count = |table: &str| rows(&raw(folder.path()), &format!("SELECT * FROM {table}")).len();
    assert_eq!((count("interval"), count("segment")), (0, 0));
    let row = quarter(&store, "a", NOON_MS - 10 * DAY_MS).await;
    assert_eq!(row.generated_wh, Some(2_880_000 / (30 * 96)));
    assert_eq!((row.completeness, row.flags.spread), (0.0, true));
    let records: Vec<_> = (1..=288_i64)
        .map(|n| inverter(start_ms + n * 5 * MINUTE_MS, 0, n.unsigned_abs() * 1_000))
        .collect();
    for (first, chunk) in (1..).step_by(50).zip(records.chunks(50)) {
        deliver(&store, &[Run::new("a-01", 1, first, chunk)]).await;
        assert_eq!(count("segment"), 0);
    }
    // The last nine readings may still be taken back: 93 quarter-hours lie whole before the one that ends at 23:20.
    assert_eq!((count("interval"), count("late")), (93, 0));
    let days = store.intervals("a", start_ms, NOON_MS, Step::Day).unwrap();
    assert_eq!(
        days.iter().map(|day| day.generated_wh.unwrap()).sum::<i64>(),
        2_880_000
    );
    assert!(days.iter().all(|day| (0.0..=1.0).contains(&day.completeness)));
    let quarters = store.intervals("a", start_ms, NOON_MS, Step::Quarter).unwrap();
    assert_eq!(
        quarters
            .iter()
            .map(|quarter| quarter.generated_wh.unwrap())
            .sum::<i64>(),
        2_880_000
    );
    assert_eq!(quarters.len(), 30 * 96);
}

#[tokio::test]
async fn a_late_reading_reopens_what_lies_between_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let ends = [
        inverter(NOON_MS, 0, 0),
        inverter(NOON_MS + 2 * QUARTER_MS, 0, 1_000),
    ];
    deliver(&store, &[Run::new("a-01", 1, 0, &ends)]).await;
    let flags = IntervalFlags {
        spread: true,
        ..IntervalFlags::default()
    };
    let row = quarter(&store, "a", NOON_MS).await;
    assert_eq!(
        (row.generated_wh, row.flags, row.completeness),
        (Some(500), flags, 0.0)
    );
    deliver(
        &store,
        &[Run::new("a-01", 1, 2, &[inverter(NOON_MS + QUARTER_MS, 0, 900)])],
    )
    .await;
    let row = quarter(&store, "a", NOON_MS).await;
    assert_eq!(
        (row.generated_wh, row.flags, row.completeness),
        (Some(900), IntervalFlags::default(), 1.0)
    );
    assert_eq!(
        quarter(&store, "a", NOON_MS + QUARTER_MS).await.generated_wh,
        Some(100)
    );
}

#[tokio::test]
async fn a_register_that_begins_again_counts_what_it_holds_since() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let records: Vec<_> = [5_000, 5_100, 7, 107, 207]
        .into_iter()
        .enumerate()
        .map(|(at, wh)| inverter(NOON_MS + i64::try_from(at).unwrap() * 3 * MINUTE_MS, 0, wh))
        .collect();
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    let row = quarter(&store, "a", NOON_MS).await;
    assert_eq!((row.generated_wh, row.flags.reset), (Some(307), true));
    assert_eq!(row.completeness, 9.0 / 15.0);
}

#[tokio::test]
async fn a_glitch_of_the_register_counts_no_lifetime() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let records: Vec<_> = [50_000_000, 50_000_010, 0, 50_000_020, 50_000_030]
        .into_iter()
        .enumerate()
        .map(|(at, wh)| inverter(NOON_MS + i64::try_from(at).unwrap() * 3 * MINUTE_MS, 0, wh))
        .collect();
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    let row = quarter(&store, "a", NOON_MS).await;
    assert_eq!((row.generated_wh, row.flags.reset), (Some(30), false));
    assert_eq!(row.completeness, 12.0 / 15.0);
    let total = |store: &crate::store::Store| {
        let plant = store.fleet().plants[0].clone();
        store.snapshot(|snapshot| snapshot.total_wh(&plant)).unwrap()
    };
    assert_eq!(total(&store), Some(30));
    let before = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
}

#[tokio::test]
async fn another_rated_power_makes_the_intervals_again() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    // 3 kWh in 5 minutes are beyond 10 kW, not beyond 100 kW.
    let records = [
        inverter(NOON_MS, 0, 0),
        inverter(NOON_MS + 5 * MINUTE_MS, 0, 3_000),
    ];
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    assert_eq!(quarter(&store, "a", NOON_MS).await.generated_wh, None);
    store.close().await;
    let fleet = fleet_of(&fleet_text().replace("rated_w = 10000", "rated_w = 100000"));
    let store = crate::store::Store::open(folder.path(), fleet, clock.now()).unwrap();
    assert_eq!(quarter(&store, "a", NOON_MS).await.generated_wh, Some(3_000));
    let before = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
}

#[tokio::test]
async fn grid_and_consumption_meters_state_the_balance_of_their_site() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let end_ms = NOON_MS + QUARTER_MS;
    let with_grid = [
        inverter(NOON_MS, 0, 0),
        inverter(end_ms, 0, 1_000),
        grid(2, NOON_MS, 0, 0, 0),
        grid(2, end_ms, 0, 10, 610),
    ];
    let with_both = [
        &with_grid[..],
        &[grid(3, NOON_MS, 0, 0, 0), grid(3, end_ms, 0, 450, 0)],
    ]
    .concat();
    deliver(
        &store,
        &[
            Run::new("c-01", 1, 0, &with_grid),
            Run::new("d-01", 1, 0, &with_both),
        ],
    )
    .await;
    let c = quarter(&store, "c", NOON_MS).await;
    assert_eq!(
        (c.import_wh, c.export_wh, c.consumed_wh, c.imbalance_wh),
        (Some(10), Some(610), Some(400), Some(-600))
    );
    let d = quarter(&store, "d", NOON_MS).await;
    assert_eq!(
        (d.import_wh, d.export_wh, d.consumed_wh, d.imbalance_wh),
        (Some(10), Some(610), Some(450), Some(-550))
    );
    let a = quarter(&store, "a", NOON_MS).await;
    assert_eq!(
        (a.generated_wh, a.consumed_wh, a.imbalance_wh, a.completeness),
        (None, None, None, 0.0)
    );
}

#[tokio::test]
async fn periods_are_whole_and_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let rows = store
        .intervals("a", NOON_MS + 1, NOON_MS + QUARTER_MS + 1, Step::Quarter)
        .unwrap();
    let bounds: Vec<_> = rows.iter().map(|row| (row.start_ms, row.end_ms)).collect();
    assert_eq!(bounds, [quarter_at(NOON_MS), quarter_at(NOON_MS + QUARTER_MS)]);
    assert!(
        rows.iter()
            .all(|row| row.generated_wh.is_none() && row.completeness == 0.0)
    );
    assert!(
        store
            .intervals("a", NOON_MS, NOON_MS, Step::Day)
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .intervals("nobody", NOON_MS, NOON_MS + 1, Step::Day)
            .is_err()
    );
    assert!(store.intervals("a", 0, i64::MAX, Step::Quarter).is_err());
    let days = store
        .intervals("a", NOON_MS, NOON_MS + DAY_MS, Step::Day)
        .unwrap();
    assert_eq!(days.len(), 2);
    assert_eq!((days[0].start_ms + days[0].end_ms) / 2, NOON_MS + 30 * MINUTE_MS);
}

#[tokio::test]
async fn a_replacement_that_is_recorded_afterwards_makes_the_energy_whole() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let at = |minute: i64, wh| inverter(NOON_MS + minute * MINUTE_MS, 0, wh);
    let records = [
        at(0, 700_000),
        at(5, 700_400),
        at(10, 9_000),
        at(15, 9_300),
        at(20, 9_700),
    ];
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    let row = quarter(&store, "a", NOON_MS).await;
    assert!(row.flags.reset && row.completeness < 1.0, "{row:?}");
    store.close().await;
    // 2026-06-21T08:07:00Z.
    let record = "[[plant.device.meter.replacement]]\nat = \"2026-06-21T11:37:00+03:30\"\nfinal_wh = 700500\nstart_wh = 8900\n";
    let text = fleet_text().replacen("rated_w = 10000\n", &format!("rated_w = 10000\n{record}"), 1);
    let store = crate::store::Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    let row = quarter(&store, "a", NOON_MS).await;
    assert_eq!(
        (row.generated_wh, row.flags, row.completeness),
        (Some(400 + 100 + 100 + 300), IntervalFlags::default(), 1.0)
    );
    let before = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
}

/// A standstill of 16 days by the minute, in which a late reading lies: the account is another one until the register moves.
#[tokio::test]
async fn what_a_commit_has_no_time_for_is_worked_in_when_the_writer_is_idle() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = TestClock::new(NOON_MS);
    let (store, at_once) = (open(folder.path(), &clock), open(other.path(), &clock));
    let minutes = 16 * 1_440;
    let start_ms = NOON_MS - minutes * MINUTE_MS;
    let mut records: Vec<_> = (1..=minutes)
        .map(|minute| inverter(start_ms + minute * MINUTE_MS, 0, 5_000))
        .collect();
    records.push(inverter(NOON_MS + MINUTE_MS, 0, 5_050));
    let late = Run::new("a-01", 1, 0, &[inverter(start_ms, 0, 5_000)]);
    for (first, chunk) in (1..).step_by(1_000).zip(records.chunks(1_000)) {
        let run = Run::new("a-01", 1, first, chunk);
        deliver(&store, std::slice::from_ref(&run)).await;
        deliver(&at_once, &[late.clone(), run]).await;
    }
    let mut commits = store.commits();
    deliver(&store, &[late]).await;
    let rows = |store: &crate::store::Store| {
        store
            .intervals("a", start_ms, NOON_MS + DAY_MS, Step::Day)
            .unwrap()
    };
    let wait = async {
        while rows(&store).iter().any(|row| row.flags.settling) {
            commits.changed().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), wait)
        .await
        .unwrap();
    assert_eq!(rows(&store), rows(&at_once));
    assert_eq!(caches(folder.path()), caches(other.path()));
}

#[tokio::test]
async fn a_register_that_is_late_again_after_another_one_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let at_ms = |n: i64| NOON_MS + n * 10 * MINUTE_MS;
    let of_inverter = |n: i64| inverter(at_ms(n), 3_000, (n * 60 + 1_000_000).unsigned_abs());
    // Not even, so that a reading in the middle of a day changes its intervals.
    let of_grid = |n: i64| grid(2, at_ms(n), 3_000, ((n / 7) * 400 + 500_000).unsigned_abs(), 5);
    // The last values of an inverter's day are late, and those of the grid meter two days behind.
    let (inverter_late, grid_late) = (90..96, 300..310);
    let told: Vec<_> = (0..500)
        .flat_map(|n| {
            let one = (!inverter_late.contains(&n)).then(|| of_inverter(n));
            let other = (!grid_late.contains(&n)).then(|| of_grid(n));
            [one, other].into_iter().flatten()
        })
        .collect();
    deliver(&store, &[Run::new("c-01", 1, 0, &told)]).await;
    let late: Vec<_> = inverter_late
        .clone()
        .map(of_inverter)
        .chain(grid_late.clone().map(of_grid))
        .collect();
    deliver(&store, &[Run::new("c-01", 2, 0, &late)]).await;
    store.close().await;
    // The start catches up.
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let found = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(found, caches(folder.path()));
}
