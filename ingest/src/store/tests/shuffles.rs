//! Any order, repetition and splitting of the same records gives the same rows, bit for bit, as does a rebuild; and
//! they are what the auditors' arithmetic says of all register values at once.

use proptest::prelude::*;
use taraz_analytics::energy::{Ledger, Meter, Point, Replacement, Series};
use taraz_telemetry::Record;

use super::super::testing::*;
use crate::accounts::account_for;
use crate::store::{Archive, Register, Store};
use crate::view::Step;

/// One record and what it means, to reckon with beside the store.
#[derive(Clone, Debug)]
struct Told {
    run: Run,
    /// Time and register, where the record states an inverter's energy at a known time.
    point: Option<(i64, i64)>,
}

/// Registers that mostly rise, at times that mostly go on, with gaps, repeats, falls, standstills and glitches.
fn synced() -> impl Strategy<Value = Vec<(i64, i64)>> {
    let step = prop_oneof![
        6 => 1..300_i64,
        3 => 300..2_000_i64,
        1 => 2_000..40_000_i64,
        1 => 40_000..400_000_i64,
        1 => Just(0_i64),
    ];
    let rise = prop_oneof![6 => 0..500_i64, 1 => Just(0_i64), 1 => -2_000..0_i64, 1 => 5_000..90_000_i64];
    let off = prop_oneof![8 => Just(0_i64), 1 => Just(-10_000_000_i64), 1 => -300..0_i64, 1 => 0..4_000_000_000_i64];
    let stands = prop_oneof![6 => Just(1_usize), 1 => 2..20_usize];
    prop::collection::vec((step, rise, off, stands), 1..40).prop_map(|steps| {
        let (mut time_s, mut value_wh) = (0, 10_000);
        let points = steps.into_iter().flat_map(|(step, rise, off, stands)| {
            value_wh = (value_wh + rise).max(0);
            let of = |nth| {
                time_s += step;
                (
                    NOON_MS + time_s * 1_000,
                    if nth == 0 {
                        (value_wh + off).max(0)
                    } else {
                        value_wh
                    },
                )
            };
            (0..stands).map(of).collect::<Vec<_>>()
        });
        points.collect()
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

/// 10 kW, replaced once: five hours after noon, from 12,000 to 9,000 Wh.
fn text() -> String {
    let record = "[[plant.device.meter.replacement]]\nat = \"2026-06-21T13:00:00Z\"\nfinal_wh = 12000\nstart_wh = 9000\n";
    fleet_text().replacen("rated_w = 10000\n", &format!("rated_w = 10000\n{record}"), 1)
}

/// What the auditors' arithmetic says of the points: the lowest value of each instant.
fn expected(told: &[Told]) -> (Ledger, Vec<i64>) {
    let record = Replacement {
        at_ms: NOON_MS + 5 * 60 * MINUTE_MS,
        final_wh: 12_000,
        start_wh: 9_000,
    };
    let meter = Meter::new(10_000).with_replacements(vec![record]).unwrap();
    let meter = meter.with_modulus(1 << 32).unwrap();
    let points = told.iter().filter_map(|told| told.point);
    let series: Series = points
        .map(|(time_ms, value_wh)| Point { time_ms, value_wh })
        .collect();
    let times = series.points().iter().map(|point| point.time_ms).collect();
    (series.account(&meter), times)
}

/// The store's rows of a step against what a ledger says of the same periods.
fn agree(store: &Store, ledger: &Ledger, (first, last): (i64, i64), step: Step) {
    for row in store.intervals("a", first, last + 1, step).unwrap() {
        let period = ledger.period(row.start_ms, row.end_ms);
        let known = period.known_ms as f64 / (row.end_ms - row.start_ms) as f64;
        assert_eq!(
            (row.generated_wh.unwrap_or(0), row.completeness),
            (period.energy_wh, known),
            "{row:?}"
        );
        let flags = (
            period.flags.spread,
            period.flags.reset || period.flags.quarantined,
            false,
        );
        assert_eq!(
            (row.flags.spread, row.flags.reset, row.flags.settling),
            flags,
            "{row:?}"
        );
    }
}

async fn compare(told: Vec<Told>, deliveries: Vec<Run>, batch_len: usize) {
    let clock = TestClock::new(NOON_MS);
    let (one, many) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open =
        |folder: &tempfile::TempDir| Store::open(folder.path(), fleet_of(&text()), clock.now()).unwrap();
    let runs: Vec<_> = told.iter().map(|told| told.run.clone()).collect();
    let at_once = open(&one);
    deliver(&at_once, &runs).await;
    let piecemeal = open(&many);
    for runs in deliveries.chunks(batch_len) {
        deliver(&piecemeal, runs).await;
    }
    let once = caches(one.path());
    assert_eq!(once, caches(many.path()));
    piecemeal.rebuild().await.unwrap();
    assert_eq!(once, caches(many.path()));

    let (ledger, times) = expected(&told);
    let (Some(&first), Some(&last)) = (times.first(), times.last()) else {
        return;
    };
    agree(&at_once, &ledger, (first, last), Step::Quarter);
    agree(&at_once, &ledger, (first, last), Step::Day);
    let plant = at_once.fleet().plants[0].clone();
    let total_wh = at_once.snapshot(|snapshot| snapshot.total_wh(&plant)).unwrap();
    assert_eq!(total_wh, Some(ledger.total_wh()));
    // What explains a figure and what a report is made of.
    let archive = Archive::open(one.path()).unwrap();
    let device = &plant.devices[0];
    let account = account_for(&archive, device, &device.meters[0], Register::Energy, i64::MAX).unwrap();
    assert_eq!(account.ledger, ledger);
    drop(archive);
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
