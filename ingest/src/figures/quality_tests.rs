use taraz_telemetry::Mppt;

use super::super::testing::{START_MS, start, synced};
use super::*;
use crate::store::testing::{Run, deliver};

const HOUR_MS: i64 = 3_600_000;

#[tokio::test]
async fn phases_are_means_of_each_meter_that_has_three() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let records: Vec<_> = (0..=12_i64)
        .flat_map(|step| {
            let at_ms = START_MS + step * 300_000;
            let three = Quantities {
                voltage_an_dv: Some(2_300),
                voltage_bn_dv: Some(2_300),
                voltage_cn_dv: Some(if step % 2 == 0 { 2_300 } else { 2_240 }),
                current_n_ca: Some(150),
                ..Quantities::default()
            };
            let one = Quantities {
                voltage_an_dv: Some(2_300),
                ..Quantities::default()
            };
            [synced(1, at_ms, one), synced(2, at_ms, three)]
        })
        .collect();
    deliver(&store, &[Run::new("c-01", 1, 0, &records)]).await;
    let found = store.phases("c", START_MS, START_MS + HOUR_MS).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].meter.get(), found[0].quarters.len()), (2, 4));
    let quarter = &found[0].quarters[1];
    assert_eq!(quarter.mean.voltage_formula, Some(VoltageFormula::Phases120Deg));
    let (mean, most) = (
        quarter.mean.voltage_pct.unwrap(),
        quarter.voltage_max_pct.unwrap(),
    );
    // Half the readings are even: the root of the mean square lies between their mean and the largest.
    assert!(mean > most / 2.0 && mean < most && most > 0.5, "{mean} {most}");
    assert!(quarter.mean.neutral_is_measured);
    assert!((quarter.mean.neutral_current_a.unwrap() - 1.5).abs() < 1e-9);
    assert!(matches!(
        store.phases("nobody", START_MS, START_MS + HOUR_MS),
        Err(StoreError::UnknownPlant(_))
    ));
}

#[tokio::test]
async fn each_quarter_hour_names_its_own_formula() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    // The first half-hour with voltages between lines and a measured neutral, the second without either.
    let records: Vec<_> = (0..12_i64)
        .map(|step| {
            let (line, neutral) = if step < 6 {
                (Some(4_000), Some(150))
            } else {
                (None, None)
            };
            let values = Quantities {
                voltage_ab_dv: line,
                voltage_bc_dv: line,
                voltage_ca_dv: line,
                voltage_an_dv: Some(2_300),
                voltage_bn_dv: Some(2_300),
                voltage_cn_dv: Some(2_300),
                current_a_ca: Some(100),
                current_b_ca: Some(100),
                current_c_ca: Some(100),
                current_n_ca: neutral,
                ..Quantities::default()
            };
            synced(2, START_MS + step * 300_000, values)
        })
        .collect();
    deliver(&store, &[Run::new("c-01", 1, 0, &records)]).await;
    let found = store.phases("c", START_MS, START_MS + HOUR_MS).unwrap();
    let formulas: Vec<_> = found[0]
        .quarters
        .iter()
        .map(|quarter| quarter.mean.voltage_formula)
        .collect();
    let (lines, phases) = (Some(VoltageFormula::Lines), Some(VoltageFormula::Phases120Deg));
    assert_eq!(formulas, [lines, lines, phases, phases]);
    let measured: Vec<_> = found[0]
        .quarters
        .iter()
        .map(|quarter| quarter.mean.neutral_is_measured)
        .collect();
    assert_eq!(measured, [true, true, false, false]);
}

#[tokio::test]
async fn a_dead_string_stands_out() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let input = |power_w| Mppt {
        voltage_dv: Some(6_000),
        current_ca: None,
        power_w: Some(power_w),
    };
    let records: Vec<_> = (0..=12)
        .map(|step| {
            let mut values = Quantities::default();
            for power_w in [2_000, 2_000, 0, 2_100] {
                values.mppt.push(input(power_w)).unwrap();
            }
            synced(1, START_MS + step * 300_000, values)
        })
        .collect();
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    let found = store.strings("a", START_MS, START_MS + 2 * HOUR_MS).unwrap();
    let imbalances = |at: usize| -> Vec<Option<f64>> {
        found[0].quarters[at]
            .inputs
            .iter()
            .map(|input| input.imbalance_pct)
            .collect()
    };
    assert_eq!(imbalances(0)[..3], [Some(0.0), Some(0.0), Some(-100.0)]);
    assert!((imbalances(3)[3].unwrap() - 5.0).abs() < 1e-9);
    // Nothing was read in the second hour.
    assert_eq!(imbalances(5), [None; 4]);
}

#[tokio::test]
async fn the_present_shows_phases_and_strings_until_three_polls_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let mut values = Quantities {
        voltage_ab_dv: Some(4_000),
        voltage_bc_dv: Some(4_000),
        voltage_ca_dv: Some(3_960),
        ..Quantities::default()
    };
    for power_w in [2_000, 2_000, 1_000] {
        let input = Mppt {
            voltage_dv: None,
            current_ca: None,
            power_w: Some(power_w),
        };
        values.mppt.push(input).unwrap();
    }
    deliver(&store, &[Run::new("a-01", 1, 0, &[synced(1, START_MS, values)])]).await;
    let meter = |at_ms: i64| {
        let view = store.live().view(at_ms);
        let plant = view.plants.iter().find(|plant| plant.id == "a").unwrap();
        plant.meters[0].clone()
    };
    let now = meter(START_MS + 1_000);
    assert_eq!(now.phases.unwrap().voltage_formula, Some(VoltageFormula::Lines));
    let imbalances: Vec<_> = now.strings.iter().map(|string| string.imbalance_pct).collect();
    assert_eq!(imbalances, [Some(0.0), Some(0.0), Some(-50.0)]);
    let later = meter(START_MS + 120_000);
    assert_eq!((later.phases, later.strings.len()), (None, 0));
}
