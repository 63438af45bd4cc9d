use taraz_telemetry::Quantities;

use super::super::testing::{START_MS, start, synced};
use super::*;
use crate::analytics::{PeriodStep, periods};
use crate::store::testing::{Run, deliver};

const HOUR_MS: i64 = 3_600_000;

/// Readings at both ends of each quarter-hour of an hour, of registers that rise evenly.
async fn hour(store: &Store, device: &'static str, rises: &[(u8, [u64; 3])]) {
    let mut records = Vec::new();
    for quarter in 0..=4_u64 {
        for &(address, [energy, import, export]) in rises {
            let at = |rise: u64| (rise > 0).then(|| 50_000 + rise * quarter / 4);
            let zero = |rise: u64| Some(50_000 + rise * quarter / 4);
            let values = Quantities {
                energy_wh: at(energy).filter(|_| address == 1),
                import_wh: zero(import).filter(|_| address != 1),
                export_wh: zero(export).filter(|_| address == 2),
                ..Quantities::default()
            };
            let at_ms = START_MS + i64::try_from(quarter).unwrap() * 900_000;
            records.push(synced(address, at_ms, values));
        }
    }
    deliver(store, &[Run::new(device, 1, 0, &records)]).await;
}

#[tokio::test]
async fn sites_are_balanced_alone_and_set_off_against_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    // c generates 8 kWh, gives 5 of them and takes 1: it consumes 4. d generates 1 kWh, consumes 3, takes 2.
    hour(&store, "c-01", &[(1, [8_000, 0, 0]), (2, [0, 1_000, 5_000])]).await;
    hour(
        &store,
        "d-01",
        &[(1, [1_000, 0, 0]), (2, [0, 2_000, 0]), (3, [0, 3_000, 0])],
    )
    .await;
    let whole = periods(START_MS, START_MS + HOUR_MS, PeriodStep::Whole);
    let of = |sites: &[&str]| {
        let sites: Vec<_> = sites.iter().map(|&site| site.to_owned()).collect();
        store.balances(&sites, &whole).unwrap().remove(0)
    };
    let c = of(&["c"]).balance;
    assert_eq!((c.valid, c.intervals), (4, 4));
    assert_eq!(
        (c.load_kwh, c.imbalance_kwh, c.self_consumed_kwh),
        (4.0, -4.0, 3.0)
    );
    assert_eq!(c.self_consumption(), Some(3.0 / 8.0));
    let d = of(&["d"]);
    assert_eq!((d.balance.imbalance_kwh, d.netting.benefit_kwh()), (2.0, 0.0));

    let both = of(&["c", "d"]);
    assert_eq!((both.balance.imbalance_kwh, both.balance.import_kwh), (-2.0, 3.0));
    // 4 and 2 apart, 2 together, in every quarter-hour.
    let netting = both.netting;
    assert!(
        (netting.gross_kwh - 6.0).abs() < 1e-9 && (netting.net_kwh - 2.0).abs() < 1e-9,
        "{netting:?}"
    );
    assert!((netting.benefit_kwh() - 4.0).abs() < 1e-9);
    // Without a word of a third site the two are not known together with it.
    let unknown = of(&["c", "d", "a"]);
    assert_eq!((unknown.balance.valid, unknown.balance.intervals), (8, 12));
    assert_eq!(unknown.netting.gross_kwh, 0.0);
}

#[tokio::test]
async fn a_grid_meter_that_is_silent_is_not_inferred() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    hour(&store, "d-01", &[(1, [1_000, 0, 0]), (3, [0, 3_000, 0])]).await;
    let whole = periods(START_MS, START_MS + HOUR_MS, PeriodStep::Whole);
    let balance = store
        .balances(&["d".to_owned()], &whole)
        .unwrap()
        .remove(0)
        .balance;
    assert_eq!((balance.valid, balance.intervals), (0, 4));
    assert!(is_metered(store.fleet(), "d") && !is_metered(store.fleet(), "a"));
}
