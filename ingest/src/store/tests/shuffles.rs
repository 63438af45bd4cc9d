//! Any order, repetition and splitting of the same records gives the same rows, bit for bit, as does a rebuild; and
//! they are the energies that a second, brute-force calculation finds.

use std::collections::BTreeMap;

use proptest::prelude::*;
use taraz_telemetry::Record;

use super::super::testing::*;
use crate::analytics::QUARTER_MS;
use crate::view::Step;

/// One record and what it means, to reckon with beside the store.
#[derive(Clone, Debug)]
struct Told {
    run: Run,
    /// Time and register, where the record states an inverter's energy at a known time.
    point: Option<(i64, i64)>,
}

/// Registers that mostly rise, at times that mostly go on, with gaps, repeats, falls and glitches.
fn synced() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = prop_oneof![
        6 => 1..300_i64,
        3 => 300..2_000_i64,
        1 => 2_000..40_000_i64,
        1 => 40_000..400_000_i64,
        1 => Just(0_i64),
    ];
    let rise = prop_oneof![6 => 0..500_i64, 1 => Just(0_i64), 1 => -2_000..0_i64, 1 => 5_000..90_000_i64];
    prop::collection::vec((step, rise), 1..40).prop_map(|steps| {
        let (mut time_s, mut value_wh) = (0, 10_000);
        let point = |(step, rise): (i64, i64)| {
            time_s += step;
            value_wh = (value_wh + rise).max(0);
            (NOON_MS + time_s * 1_000, value_wh)
        };
        steps.into_iter().map(point).collect()
    })
}

/// Where anchors (monotonic s, UTC off by ms, error in ms) place a second of their boot, looked up the slow way: the last
/// instant with an anchor up to it and the first one behind it, of each the most certain anchor; of both the one that is more
/// certain after 50 ppm of the way.
fn placed(anchors: &[(u64, i64, u32)], second: i64) -> Option<i64> {
    let at_s = second.unsigned_abs();
    let before_s = anchors.iter().map(|a| a.0).filter(|s| *s <= at_s).max();
    let behind_s = anchors.iter().map(|a| a.0).filter(|s| *s > at_s).min();
    let around = [before_s, behind_s].into_iter().flatten();
    let best_of = |s: u64| {
        let same = anchors.iter().filter(move |a| a.0 == s);
        same.min_by_key(|a| (a.2, a.1))
    };
    let best = around
        .filter_map(best_of)
        .min_by_key(|a| (u64::from(a.2) + (a.0.abs_diff(at_s) * 50).div_ceil(1_000), a.0))?;
    Some(NOON_MS + best.1 + (second - i64::try_from(best.0).unwrap()) * 1_000)
}

/// Boot 1 has a clock; boot 2 has none, but perhaps anchors.
fn told() -> impl Strategy<Value = Vec<Told>> {
    let unsynced_points = prop::collection::vec((0..200_000_i64, 0..50_000_i64), 0..12);
    let anchors = prop::collection::vec((0..200_000_u64, 0..90_000_i64, 0..4_000_u32), 0..6);
    (synced(), unsynced_points, anchors).prop_map(|(synced, drifting, anchors)| {
        let mut told = Vec::new();
        let mut add = |boot, record: Record, point| {
            let first = u32::try_from(told.len()).unwrap();
            told.push(Told {
                run: Run::new("a-01", boot, first, &[record]),
                point,
            });
        };
        for (time_ms, value_wh) in synced {
            add(
                1,
                inverter(time_ms, 1, value_wh.unsigned_abs()),
                Some((time_ms, value_wh)),
            );
        }
        for (seconds, value_wh) in drifting {
            let placed = placed(&anchors, seconds);
            add(
                2,
                unsynced(seconds * 1_000, value_wh.unsigned_abs()),
                placed.map(|time_ms| (time_ms, value_wh)),
            );
        }
        for &(monotonic, utc, error) in &anchors {
            add(2, anchor(2, monotonic * 1_000, NOON_MS + utc, error), None);
        }
        told
    })
}

/// The records in another order, some of them more than once, and after how many of them a batch ends.
fn deliveries() -> impl Strategy<Value = (Vec<Told>, Vec<Run>, usize)> {
    told().prop_flat_map(|told| {
        let runs: Vec<_> = told.iter().map(|told| told.run.clone()).collect();
        let again = prop::collection::vec(prop::sample::select(runs.clone()), 0..10);
        let all = again.prop_map(move |again| [runs.clone(), again].concat());
        (Just(told), all.prop_shuffle(), 1..20_usize)
    })
}

/// Brute force: the highest value of each instant, neighbours in time, each rise spread evenly in exact fractions.
fn expected(told: &[Told]) -> BTreeMap<i64, i64> {
    let mut points: BTreeMap<i64, i64> = BTreeMap::new();
    for &(time_ms, value_wh) in told.iter().filter_map(|told| told.point.as_ref()) {
        let highest = points.entry(time_ms).or_insert(value_wh);
        *highest = (*highest).max(value_wh);
    }
    let points: Vec<_> = points.into_iter().collect();
    let mut energies = BTreeMap::new();
    for pair in points.windows(2) {
        let ((from_ms, from_wh), (to_ms, to_wh)) = (pair[0], pair[1]);
        // 10 kW and a half more for as long, and a count of 1 kWh: 15 Wh in 3.6 s.
        let bound_wh = (to_ms - from_ms) * 15 / 3_600 + 1_000;
        let is_reset = to_wh < from_wh || to_wh - from_wh > bound_wh;
        let rise = if is_reset { 0 } else { i128::from(to_wh - from_wh) };
        let until = |at_ms: i64| {
            rise * i128::from(at_ms.clamp(from_ms, to_ms) - from_ms) / i128::from(to_ms - from_ms)
        };
        let mut start_ms = from_ms - from_ms % QUARTER_MS;
        while start_ms < to_ms {
            let part = i64::try_from(until(start_ms + QUARTER_MS) - until(start_ms)).unwrap();
            *energies.entry(start_ms).or_default() += part;
            start_ms += QUARTER_MS;
        }
    }
    energies
}

async fn compare(told: Vec<Told>, deliveries: Vec<Run>, batch_len: usize) {
    let clock = TestClock::new(NOON_MS);
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let runs: Vec<_> = told.iter().map(|told| told.run.clone()).collect();
    let at_once = open(one.path(), &clock);
    deliver(&at_once, &runs).await;
    let piecemeal = open(many.path(), &clock);
    for runs in deliveries.chunks(batch_len) {
        deliver(&piecemeal, runs).await;
    }
    let once = caches(one.path());
    assert_eq!(once, caches(many.path()));
    piecemeal.rebuild().await.unwrap();
    assert_eq!(once, caches(many.path()));

    let expected = expected(&told);
    let (Some((&first, _)), Some((&last, _))) = (expected.first_key_value(), expected.last_key_value())
    else {
        return;
    };
    let rows = at_once.intervals("a", first, last + 1, Step::Quarter).unwrap();
    for row in &rows {
        assert_eq!(
            row.generated_wh.unwrap_or(0),
            expected.get(&row.start_ms).copied().unwrap_or(0),
            "{row:?}"
        );
    }
    let total: i64 = expected.values().sum();
    let fleet = at_once.fleet().clone();
    let series_wh = at_once
        .snapshot(|snapshot| snapshot.total_wh(&fleet.plants[0]))
        .unwrap();
    assert_eq!(series_wh, Some(total));
    at_once.close().await;
    piecemeal.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn rows_depend_on_the_records_and_on_nothing_else((told, deliveries, batch_len) in deliveries()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(told, deliveries, batch_len));
    }
}
