//! Grid meters whose registers are "not accumulated" while they stand at 0.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::testing::*;
use crate::analytics::QUARTER_MS;
use crate::store::Store;
use crate::view::{IntervalRow, Step};

/// A reading every 5 minutes from [`NOON_MS`]: power, import and export register.
fn every_5_min(told: &[(i32, u64, u64)]) -> Vec<Run> {
    let readings = (0..).zip(told).map(|(n, &(power_w, import_wh, export_wh))| {
        let time_ms = NOON_MS + i64::from(n) * 5 * MINUTE_MS;
        Run::new("c-01", 1, n, &[acc32(time_ms, power_w, import_wh, export_wh)])
    });
    readings.collect()
}

fn rows_of(store: &Store, quarters: i64) -> Vec<IntervalRow> {
    let to_ms = NOON_MS + quarters * QUARTER_MS;
    store.intervals("c", NOON_MS, to_ms, Step::Quarter).unwrap()
}

/// Per quarter-hour: export, imbalance, whether a register was taken for 0.
fn told(store: &Store, quarters: i64) -> Vec<(Option<i64>, Option<i64>, bool)> {
    let rows = rows_of(store, quarters);
    let told = |row: &IntervalRow| (row.export_wh, row.imbalance_wh, row.flags.assumed);
    rows.iter().map(told).collect()
}

#[tokio::test]
async fn a_meter_that_never_exported_has_a_balance() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &every_5_min(&[
            (1_200, 1_000, 0),
            (1_200, 1_100, 0),
            (1_200, 1_200, 0),
            (1_200, 1_300, 0),
        ]),
    )
    .await;
    assert_eq!(told(&store, 2), [(Some(0), Some(300), true), (None, None, false)]);
}

#[tokio::test]
async fn a_meter_that_does_not_count_what_flows_back_stays_unknown_while_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    // −10 W is what a meter of 10 kW need not register; −3 kW is not.
    let powers = [600, 600, -10, 600, -3_000, 600, 600, 600, 600, 600];
    let readings: Vec<_> = (0..).zip(powers).map(|(n, w)| (w, 1_000 + 50 * n, 0)).collect();
    deliver(&store, &every_5_min(&readings)).await;
    let known = (Some(0), Some(150), true);
    assert_eq!(told(&store, 3), [known, (None, None, false), known]);
    let day = store
        .intervals("c", NOON_MS, NOON_MS + 1, Step::Day)
        .unwrap()
        .remove(0);
    assert_eq!(
        (day.import_wh, day.export_wh, day.imbalance_wh),
        (Some(450), None, None)
    );
}

#[tokio::test]
async fn a_register_that_appears_counts_from_zero_and_tells_of_the_past() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let before = [
        (600, 1_000, 0),
        (-90, 1_050, 0),
        (600, 1_100, 0),
        (-1_200, 1_150, 0),
    ];
    deliver(&store, &every_5_min(&before)).await;
    assert_eq!(
        told(&store, 1),
        [(None, None, false)],
        "90 W flowed back, and nothing was counted"
    );
    // 600 Wh in the five minutes from the last reading without it.
    let all = [&before[..], &[(-7_200, 1_150, 600), (-7_200, 1_150, 1_200)]].concat();
    deliver(&store, &every_5_min(&all)).await;
    assert_eq!(
        told(&store, 2),
        [(Some(0), Some(150), true), (Some(1_200), Some(-1_200), false)]
    );
    let export: i64 = rows_of(&store, 2).iter().filter_map(|row| row.export_wh).sum();
    assert_eq!(export, 1_200, "everything since 0");
    store.rebuild().await.unwrap();
    assert_eq!(told(&store, 1), [(Some(0), Some(150), true)]);
}

#[tokio::test]
async fn a_first_value_that_power_does_not_explain_was_not_zero_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let readings = [
        (600, 1_000, 0),
        (600, 1_050, 0),
        (600, 1_100, 0),
        (600, 1_150, 5_000_000),
        (600, 1_200, 5_000_000),
    ];
    deliver(&store, &every_5_min(&readings)).await;
    assert_eq!(told(&store, 2), [(None, None, false), (Some(0), Some(50), false)]);
}

#[tokio::test]
async fn an_import_register_is_no_other_and_a_register_that_went_missing_is_not_zero() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let readings = [
        (-600, 0, 1_000),
        (-600, 0, 1_050),
        (-600, 0, 1_100),
        (-600, 0, 1_150),
        (600, 10, 1_150),
        (600, 60, 1_150),
        (600, 110, 1_150),
        // A new meter, of which nothing is known.
        (600, 10, 0),
        (600, 60, 0),
        (600, 110, 0),
        (600, 160, 0),
    ];
    deliver(&store, &every_5_min(&readings)).await;
    let rows = rows_of(&store, 3);
    assert_eq!((rows[0].import_wh, rows[0].imbalance_wh), (Some(0), Some(-150)));
    assert_eq!((rows[1].import_wh, rows[1].imbalance_wh), (Some(110), Some(110)));
    assert_eq!((rows[2].export_wh, rows[2].imbalance_wh), (None, None));
    let assumed: Vec<_> = rows.iter().map(|row| row.flags.assumed).collect();
    assert_eq!(assumed, [true, false, false]);
}

/// Time, power, import and export register; nothing is exported before some reading, or ever.
fn readings() -> impl Strategy<Value = Vec<(i64, i32, i64, i64)>> {
    let step_s = prop_oneof![6 => 60..600_i64, 2 => 600..1_500_i64, 1 => 1_500..50_000_i64];
    let power_w = prop_oneof![4 => 0..9_000_i32, 1 => -9_000..0_i32, 1 => -10..0_i32];
    let one = (step_s, power_w, 0..900_i64, 0..900_i64);
    (prop::collection::vec(one, 1..30), 0..40_usize).prop_map(|(steps, silent)| {
        let (mut time_ms, mut import_wh, mut export_wh) = (NOON_MS, 0, 0);
        let told = steps
            .into_iter()
            .enumerate()
            .map(|(n, (step_s, power_w, imported, exported))| {
                time_ms += step_s * 1_000;
                import_wh += imported;
                export_wh += if n >= silent { exported } else { 0 };
                (time_ms, power_w, import_wh, export_wh)
            });
        told.collect()
    })
}

/// What each quarter-hour exports, the slow way: a chain of values, each rise spread evenly.
fn exported(told: &[(i64, i32, i64, i64)]) -> BTreeMap<i64, i64> {
    let is_ever = told.iter().any(|reading| reading.3 > 0);
    let stated = told.iter().filter(|reading| reading.2 > 0 || reading.3 > 0);
    let chain: Vec<_> = stated.map(|reading| (reading.0, reading.3)).collect();
    let mut energies = BTreeMap::new();
    for pair in chain.windows(2) {
        let ((from_ms, from_wh), (to_ms, to_wh)) = (pair[0], pair[1]);
        let until =
            |at_ms: i64| (to_wh - from_wh) * (at_ms.clamp(from_ms, to_ms) - from_ms) / (to_ms - from_ms);
        let mut start_ms = from_ms - from_ms % QUARTER_MS;
        while start_ms < to_ms {
            *energies.entry(start_ms).or_default() += until(start_ms + QUARTER_MS) - until(start_ms);
            start_ms += QUARTER_MS;
        }
    }
    if !is_ever {
        let flows = told.iter().filter(|reading| reading.1 < -10 && reading.2 > 0);
        for (time_ms, ..) in flows {
            energies.remove(&(time_ms - time_ms % QUARTER_MS));
        }
    }
    energies
}

async fn compare(told: Vec<(i64, i32, i64, i64)>, order: Vec<usize>, batch_len: usize) {
    let runs: Vec<_> = (0..)
        .zip(&told)
        .map(|(n, &(time_ms, power_w, import_wh, export_wh))| {
            let record = acc32(
                time_ms,
                power_w,
                import_wh.unsigned_abs(),
                export_wh.unsigned_abs(),
            );
            Run::new("c-01", 1, n, &[record])
        })
        .collect();
    let clock = TestClock::new(NOON_MS);
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (at_once, piecemeal) = (open(one.path(), &clock), open(many.path(), &clock));
    deliver(&at_once, &runs).await;
    for some in order.chunks(batch_len) {
        let runs: Vec<_> = some.iter().map(|&n| runs[n].clone()).collect();
        deliver(&piecemeal, &runs).await;
    }
    let end_ms = told.last().unwrap().0;
    let intervals = |store: &Store| store.intervals("c", NOON_MS, end_ms + 1, Step::Quarter).unwrap();
    let rows = intervals(&at_once);
    assert_eq!(rows, intervals(&piecemeal));
    piecemeal.rebuild().await.unwrap();
    assert_eq!(rows, intervals(&piecemeal));
    assert_eq!(caches(one.path()), caches(many.path()));
    let expected = exported(&told);
    for row in rows {
        assert_eq!(row.export_wh, expected.get(&row.start_ms).copied(), "{row:?}");
    }
    at_once.close().await;
    piecemeal.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn an_unstated_register_depends_on_the_readings_and_on_nothing_else(
        (told, order) in readings().prop_flat_map(|told| {
            let order: Vec<_> = (0..told.len()).collect();
            (Just(told), Just(order).prop_shuffle())
        }),
        batch_len in 1..10_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(told, order, batch_len));
    }
}
