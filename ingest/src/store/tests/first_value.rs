//! Around the first value of a grid register: what the API, the page (by the API) and the auditors' account say of the same time is one.

use proptest::prelude::*;

use super::super::testing::*;
use crate::accounts::account_for;
use crate::analytics::{Contribution, PeriodStep, QUARTER_MS, periods};
use crate::store::{Archive, Register, Store};

/// A register that comes close to the end of its 32 bits.
const NEAR_END_WH: i64 = (1 << 32) - 3_000;

/// Time, import and export register as they are read; 0 is not stated.
type Told = (i64, i64, i64);

/// A register over a number of steps: silent for some, then it mostly rises, with dips, spikes, resets and roll-overs.
fn register(steps: usize) -> impl Strategy<Value = Vec<i64>> {
    let event = prop_oneof![
        10 => (0..900_i64).prop_map(|rise| (rise, None)),
        1 => Just((0, Some(0_i64))),
        1 => (0..900_i64).prop_map(|rise| (rise, Some(7_i64))),
        1 => Just((5, Some(5_000_000_i64))),
        1 => Just((-1_000_000_000_000, None)),
        1 => (20_000..90_000_i64).prop_map(|rise| (rise, None)),
    ];
    let start =
        prop_oneof![3 => Just(0_i64), 1 => 1..2_000_i64, 1 => Just(NEAR_END_WH), 1 => Just(80_000_i64)];
    (prop::collection::vec(event, steps), 0..steps + 3, start).prop_map(|(events, silent, start)| {
        let mut value_wh = start;
        let read = events.into_iter().enumerate().map(|(n, (rise, shown))| {
            if n < silent {
                return 0;
            }
            value_wh = (value_wh + rise).max(3) % (1 << 32);
            shown.unwrap_or(value_wh)
        });
        read.collect()
    })
}

fn told() -> impl Strategy<Value = Vec<Told>> {
    let step_s = prop_oneof![6 => 60..600_i64, 2 => 600..1_500_i64, 1 => 1_500..90_000_i64];
    (2..30_usize).prop_flat_map(move |steps| {
        let times = prop::collection::vec(step_s.clone(), steps);
        (times, register(steps), register(steps)).prop_map(|(times, imports, exports)| {
            let mut time_ms = NOON_MS;
            let reading = |((step_s, import_wh), export_wh)| {
                time_ms += step_s * 1_000;
                (time_ms, import_wh, export_wh)
            };
            times.into_iter().zip(imports).zip(exports).map(reading).collect()
        })
    })
}

/// The grid meter was replaced in both directions, three hours after noon.
fn text() -> String {
    let record = |register, final_wh, start_wh| {
        format!(
            "[[plant.device.meter.replacement]]\nregister = \"{register}\"\nat = \"2026-06-21T11:00:00Z\"\n\
             final_wh = {final_wh}\nstart_wh = {start_wh}\n"
        )
    };
    let text = fleet_text();
    let (before, grid) = text.split_once("address = 2\n").unwrap();
    let records = record("import", 1_200, 0) + &record("export", 700, 100);
    let grid = grid.replacen("rated_w = 10000\n", &format!("rated_w = 10000\n{records}"), 1);
    format!("{before}address = 2\n{grid}")
}

/// What the API reckons with, per period.
fn by_api(store: &Store, step: PeriodStep, to_ms: i64) -> Vec<((i64, i64), [Contribution; 2])> {
    let periods = periods(NOON_MS, to_ms, step);
    let sites = store.snapshot(|snapshot| snapshot.site("c", &periods)).unwrap();
    let both = sites.iter().map(|site| [site.imported[0], site.exported[0]]);
    periods.iter().copied().zip(both).collect()
}

async fn compare(told: Vec<Told>) {
    let runs: Vec<_> = (0..)
        .zip(&told)
        .map(|(n, &(time_ms, import_wh, export_wh))| {
            let record = acc32(time_ms, 0, import_wh.unsigned_abs(), export_wh.unsigned_abs());
            Run::new("c-01", 1, n, &[record])
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), fleet_of(&text()), TestClock::new(NOON_MS).now()).unwrap();
    deliver(&store, &runs).await;
    let archive = Archive::open(folder.path()).unwrap();
    let plant = store.fleet().plant("c").unwrap().clone();
    let device = &plant.devices[0];
    let accounts = [Register::Import, Register::Export]
        .map(|register| account_for(&archive, device, &device.meters[1], register, i64::MAX).unwrap());
    let to_ms = told.last().unwrap().0 + QUARTER_MS;
    for step in [PeriodStep::Quarter, PeriodStep::Day] {
        for ((start_ms, end_ms), by_api) in by_api(&store, step, to_ms) {
            for (account, by_api) in accounts.iter().zip(by_api) {
                let by_audit = Contribution::from(account.ledger.period(start_ms, end_ms));
                // The API counts in how many parts of the time something is spread; here it matters whether.
                let said = |one: Contribution| (one.energy_wh, one.known_ms, one.spread > 0, one.resets > 0);
                assert_eq!(said(by_api), said(by_audit), "{start_ms}..{end_ms} of {told:?}");
                assert!(by_api.known_ms <= end_ms - start_ms, "{by_api:?}");
            }
        }
    }
    drop(archive);
    store.close().await;
}

#[tokio::test]
async fn a_first_value_within_a_quarter_hour_leaves_it_known_once() {
    // Import from minute 1, export from minute 8: of the quarter-hour both are known for 14 minutes, not for more than there are.
    let told = (1..=30).map(|minute| {
        let export_wh = if minute < 8 { 0 } else { 10 * (minute - 6) };
        (NOON_MS + minute * MINUTE_MS, 10 * minute, export_wh)
    });
    compare(told.collect()).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn api_and_audit_agree_on_grid_registers(told in told()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(compare(told));
    }
}
