//! What a sink takes as changed holds every figure that has changed: whatever comes, in whatever order.

use std::sync::Arc;

use proptest::prelude::*;
use taraz_fleet::Fleet;
use taraz_telemetry::{Clock, Hold, Outcome, PollFailure, PollStatus, Quantities, Reading, Record, Stamp};

use super::super::testing::*;
use super::super::{Done, Quarters, Store};
use crate::analytics::{Contribution, InverterQuarters, Measured, QUARTER_MS, SensorQuarters, quarter_of};
use crate::store::{HeldFilter, drop_held};
use crate::view::{IntervalFlags, IntervalRow, Step};

const HOUR_MS: i64 = 60 * MINUTE_MS;
const FROM_MS: i64 = NOON_MS - 24 * HOUR_MS;
const TO_MS: i64 = NOON_MS + 72 * HOUR_MS;

/// What a sink takes behind its cursor, as plant and quarter-hours; moves the cursor.
pub(super) async fn take(store: &Store, cursor: &mut i64) -> Vec<(String, Quarters)> {
    let taken = store.take_changes().await.unwrap();
    let behind = store
        .snapshot(|snapshot| snapshot.changes_after(*cursor, taken, 1_000))
        .unwrap();
    *cursor = taken;
    let plant = |device: &str| device.split('-').next().unwrap().to_owned();
    behind
        .changes
        .into_iter()
        .map(|(device, quarters)| (plant(device.as_str()), quarters))
        .collect()
}

/// The store's fleet with an irradiance meter at 4 beside plant `c`'s inverter and grid meter.
pub(super) fn with_sensor() -> Arc<Fleet> {
    let device = "[[plant.device]]\nid = \"c-01\"\n";
    let sensor = "[[plant.device.meter]]\naddress = 4\nrole = \"irradiance\"\ndriver = \"si_rs485\"\n";
    fleet_of(&fleet_text().replace(device, &format!("{device}{sensor}")))
}

/// A meter's reading of these values, or a poll of it that failed.
pub(super) fn stated(address: u8, time_ms: i64, values: Option<Quantities>) -> Record {
    let failure = PollFailure {
        status: PollStatus::Timeout,
        count: 1,
        span_ms: 0,
    };
    Record::Reading(Reading {
        meter: meter(address),
        stamp: Stamp {
            ms: time_ms.unsigned_abs(),
            clock: Clock::Synced,
        },
        outcome: values.map_or(Outcome::Failed(failure), Outcome::Values),
    })
}

type Means = (Measured, Option<f64>, Option<bool>);

/// What the sensor and the inverter of plant `c` state of each quarter-hour.
pub(super) fn means(store: &Store) -> Vec<Means> {
    let quarters = usize::try_from((TO_MS - FROM_MS) / QUARTER_MS).unwrap();
    let mut sensor = SensorQuarters::new(FROM_MS, quarters);
    let mut inverter = InverterQuarters::new(FROM_MS, quarters);
    let device = "c-01".parse().unwrap();
    store
        .snapshot(|snapshot| {
            snapshot.readings_between(
                &device,
                FROM_MS,
                TO_MS,
                &mut |from, time_ms, values| match from.get() {
                    1 => inverter.push(time_ms, values),
                    4 => sensor.push(time_ms, values),
                    _ => {}
                },
            )
        })
        .unwrap();
    let at = |at| (sensor.quarter(at), inverter.dc_w(at), inverter.is_up(at));
    (0..quarters).map(at).collect()
}

/// Every mean that differs lies within what was taken.
pub(super) fn assert_means_covered(before: &[Means], after: &[Means], taken: &[(String, Quarters)]) {
    for (quarter, (old, new)) in (quarter_of(FROM_MS)..).zip(before.iter().zip(after)) {
        let is_taken = |(of, quarters): &(String, Quarters)| {
            of == "c" && (quarters.first..=quarters.last).contains(&quarter)
        };
        assert!(
            old == new || taken.iter().any(is_taken),
            "{quarter}: {old:?} became {new:?}, taken: {taken:?}"
        );
    }
}

type Rows = Vec<(String, Vec<IntervalRow>, Vec<Contribution>)>;

/// Every figure of quarter-hours that follows from registers.
fn figures(store: &Store) -> Rows {
    ["a", "c"]
        .map(|plant| {
            let mut rows = store.intervals(plant, FROM_MS, TO_MS, Step::Quarter).unwrap();
            for row in &mut rows {
                // Passes, and is not sent.
                row.flags = IntervalFlags {
                    settling: false,
                    ..row.flags
                };
            }
            let periods: Vec<_> = rows.iter().map(|row| (row.start_ms, row.end_ms)).collect();
            let meter = store.fleet().plant(plant).unwrap().devices[0].clone();
            let with_registers = meter.meters.iter().max_by_key(|meter| meter.address.get() % 4);
            let registers = store
                .snapshot(|snapshot| snapshot.registers(&meter, with_registers.unwrap(), &periods))
                .unwrap();
            let parts = registers.into_iter().flat_map(|(_, parts)| parts).collect();
            (plant.to_owned(), rows, parts)
        })
        .into()
}

/// Every figure that differs lies within what was taken.
fn assert_covered(before: &Rows, after: &Rows, taken: &[(String, Quarters)]) {
    for ((plant, before, parts_before), (_, after, parts_after)) in before.iter().zip(after) {
        for (at, (old, new)) in before.iter().zip(after).enumerate() {
            let nth = |parts: &Vec<Contribution>| -> Vec<Contribution> {
                parts.iter().skip(at).step_by(before.len()).copied().collect()
            };
            if old == new && nth(parts_before) == nth(parts_after) {
                continue;
            }
            let quarter = quarter_of(new.start_ms);
            let is_taken = |(of, quarters): &(String, Quarters)| {
                of == plant && (quarters.first..=quarters.last).contains(&quarter)
            };
            assert!(
                taken.iter().any(is_taken),
                "{plant} {quarter}: {old:?} became {new:?}, taken: {taken:?}"
            );
        }
    }
}

async fn worked_in(folder: &std::path::Path) {
    let started = std::time::Instant::now();
    while rows(&raw(folder), "SELECT count(*) FROM late") != ["[Integer(0)]"] {
        assert!(
            started.elapsed().as_secs() < 60,
            "late readings are not worked in"
        );
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Inverter, grid and sensor readings of one or two days that mostly rise, failed polls, a few unsynced ones with anchors, a few held.
fn records() -> impl Strategy<Value = Vec<(u32, Record, bool)>> {
    let step_s = prop_oneof![6 => 1..300_i64, 3 => 300..2_000_i64, 1 => 2_000..40_000_i64, 1 => Just(0_i64)];
    let rise = prop_oneof![6 => 0..500_i64, 2 => Just(0_i64), 1 => -2_000..0_i64, 1 => 5_000..90_000_i64];
    let off = prop_oneof![8 => Just(0_i64), 1 => Just(-10_000_000_i64), 1 => 0..4_000_000_i64];
    let kind = prop_oneof![5 => Just(0), 4 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4), 4 => Just(5), 2 => Just(6)];
    prop::collection::vec((step_s, rise, off, kind), 1..60).prop_map(|steps| {
        let (mut time_s, mut value_wh) = (0, 10_000);
        let record = |(step_s, rise, off, kind): (i64, i64, i64, i32)| {
            time_s = (time_s + step_s) % 200_000;
            value_wh = (value_wh + rise).max(0);
            let time_ms = NOON_MS + time_s * 1_000;
            let shown_wh = (value_wh + off).max(0).unsigned_abs();
            match kind {
                0 => (1, inverter(time_ms, 5_000, shown_wh), false),
                // Export is first stated somewhere on the way.
                1 => (
                    1,
                    acc32(time_ms, -100, shown_wh, shown_wh.saturating_sub(12_000)),
                    false,
                ),
                2 => (2, unsynced(time_s * 1_000, shown_wh), false),
                3 => (
                    2,
                    anchor(2, time_s.unsigned_abs() * 1_000, time_ms + off.min(90_000), 20),
                    false,
                ),
                4 => (1, inverter(time_ms, 5_000, shown_wh), true),
                // Each states other fields.
                5 => (
                    1,
                    stated(if rise > 250 { 1 } else { 4 }, time_ms, Some(means_of(rise))),
                    false,
                ),
                _ => (1, stated(if rise > 250 { 1 } else { 4 }, time_ms, None), false),
            }
        };
        steps.into_iter().map(record).collect()
    })
}

/// What figures take means of; some of it absent.
fn means_of(number: i64) -> Quantities {
    let some = |every: i64| (number % every != 0).then(|| i32::try_from(number.rem_euclid(900)).unwrap());
    Quantities {
        irradiance_dwm2: some(2),
        module_temperature_dc: some(3),
        dc_power_w: some(5),
        state: some(7).map(|number| if number % 2 == 0 { 4 } else { 7 }),
        ..Quantities::default()
    }
}

fn runs(records: Vec<(u32, Record, bool)>) -> Vec<Run> {
    let run = |(sequence, (boot, record, is_held)): (u32, (u32, Record, bool))| {
        let run = Run::new("c-01", boot, sequence, &[record]);
        if is_held {
            run.held(Hold::ImplausibleValue)
        } else {
            run
        }
    };
    (0..).zip(records).map(run).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn nothing_changes_without_a_mark(
        runs in records().prop_map(runs).prop_flat_map(|runs| (Just(runs.clone()), Just(runs).prop_shuffle())),
        in_order in any::<bool>(),
        at_once in 1..12_usize,
    ) {
        let deliveries = if in_order { runs.0 } else { runs.1 };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut clock = TestClock::new(NOON_MS);
            let mut store = Store::open(folder.path(), with_sensor(), clock.now()).unwrap();
            store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
            let (mut cursor, mut before) = (0, (figures(&store), means(&store)));
            for (at, batch) in deliveries.chunks(at_once).enumerate() {
                deliver(&store, batch).await;
                worked_in(folder.path()).await;
                if at == 2 {
                    // A mark outlives the process that made it, and what was read before its end.
                    store.close().await;
                    clock = TestClock::new(NOON_MS);
                    store = Store::open(folder.path(), with_sensor(), clock.now()).unwrap();
                }
                let taken = take(&store, &mut cursor).await;
                let after = (figures(&store), means(&store));
                assert_covered(&before.0, &after.0, &taken);
                assert_means_covered(&before.1, &after.1, &taken);
                before = after;
            }
            store.close().await;
        });
    }
}

fn minutes(from: i64, to: i64) -> Vec<Record> {
    let minute = |minute: i64| {
        inverter(
            NOON_MS + minute * MINUTE_MS,
            6_000,
            1_000 + minute.unsigned_abs() * 100,
        )
    };
    (from..to).map(minute).collect()
}

fn spans(taken: &[(String, Quarters)]) -> Vec<(i64, i64)> {
    let noon = quarter_of(NOON_MS);
    taken
        .iter()
        .map(|(_, quarters)| (quarters.first - noon, quarters.last - noon))
        .collect()
}

#[tokio::test]
async fn a_live_device_marks_each_quarter_once_between_two_takes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
    let mut cursor = 0;
    deliver(&store, &[Run::new("a-01", 1, 0, &minutes(0, 20))]).await;
    take(&store, &mut cursor).await;
    for minute in 20..75 {
        deliver(
            &store,
            &[Run::new(
                "a-01",
                1,
                u32::try_from(minute).unwrap(),
                &minutes(minute, minute + 1),
            )],
        )
        .await;
    }
    assert_eq!(
        rows(
            &raw(folder.path()),
            "SELECT count(*) FROM changed WHERE revision > 1"
        ),
        ["[Integer(1)]"]
    );
    assert_eq!(spans(&take(&store, &mut cursor).await), [(1, 4)]);
    // What was taken is marked anew: the sink may have read before.
    deliver(&store, &[Run::new("a-01", 1, 75, &minutes(75, 76))]).await;
    assert_eq!(spans(&take(&store, &mut cursor).await), [(4, 5)]);
    assert_eq!(spans(&take(&store, &mut cursor).await), []);
}

#[tokio::test]
async fn a_backlog_of_months_is_a_handful_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
    for hour in 0..24 * 90 {
        let record = inverter(
            NOON_MS - hour * HOUR_MS,
            6_000,
            1_000_000 - hour.unsigned_abs() * 100,
        );
        deliver(
            &store,
            &[Run::new("a-01", 1, u32::try_from(hour).unwrap(), &[record])],
        )
        .await;
    }
    let count: i64 = raw(folder.path())
        .query_row("SELECT count(*) FROM changed", (), |row| row.get(0))
        .unwrap();
    assert!((1..=8).contains(&count), "{count}");
}

#[tokio::test]
async fn rows_go_when_every_sink_has_them_and_nothing_is_marked_without_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let marks = || rows(&raw(folder.path()), "SELECT count(*) FROM changed");
    deliver(&store, &[Run::new("a-01", 1, 0, &minutes(0, 5))]).await;
    assert_eq!(marks(), ["[Integer(0)]"]);
    store
        .set_figure_sinks(vec!["one".to_owned(), "other".to_owned()], 0)
        .await
        .unwrap();
    deliver(&store, &[Run::new("a-01", 1, 5, &minutes(5, 10))]).await;
    let revision = store.take_changes().await.unwrap();
    let done = |sink: &str| Done {
        sink: sink.to_owned(),
        revision: Some(revision),
        ..Done::default()
    };
    store.exported(done("one")).await.unwrap();
    assert_eq!(marks(), ["[Integer(1)]"]);
    store.exported(done("other")).await.unwrap();
    assert_eq!(marks(), ["[Integer(0)]"]);
    // Numbers are never given twice.
    store.close().await;
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[Run::new("a-01", 1, 10, &minutes(10, 11))]).await;
    assert!(store.take_changes().await.unwrap() > revision);
    store.set_figure_sinks(Vec::new(), 0).await.unwrap();
    assert_eq!(
        (marks(), rows(&raw(folder.path()), "SELECT * FROM export")),
        (vec!["[Integer(0)]".to_owned()], vec![])
    );
}

#[tokio::test]
async fn what_a_person_drops_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &minutes(0, 1)).held(Hold::ImplausibleValue)],
    )
    .await;
    let mut cursor = store.take_changes().await.unwrap();
    store.close().await;
    assert_eq!(
        drop_held(folder.path(), &HeldFilter::default(), NOON_MS).unwrap(),
        1
    );
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    assert_eq!(spans(&take(&store, &mut cursor).await), [(0, 0)]);
}
