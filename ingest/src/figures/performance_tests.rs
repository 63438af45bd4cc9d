use super::super::testing::{QUARTERS, START_MS, start, synced};
use super::*;
use crate::analytics::{PeriodStep, periods};
use crate::store::testing::{NOON_MS, Run, deliver};
use crate::view::Step;

const STEP_MS: i64 = 300_000;

/// Two hours of 800 W/m² and 35 °C, in which the inverter makes 6.4 kW; `change` makes something else of a reading, or nothing.
async fn figures(change: impl Fn(i64, &mut Quantities, &mut Quantities)) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let mut records = Vec::new();
    for step in 0..=QUARTERS * 3 {
        let mut inverter = Quantities {
            energy_wh: Some(1_000_000 + u64::try_from(step).unwrap() * 6_400 / 12),
            dc_power_w: Some(6_800),
            state: Some(4),
            ..Quantities::default()
        };
        let mut sensor = Quantities {
            irradiance_dwm2: Some(8_000),
            module_temperature_dc: Some(350),
            ..Quantities::default()
        };
        change(step, &mut inverter, &mut sensor);
        let at_ms = START_MS + step * STEP_MS;
        for (address, values) in [(1, inverter), (4, sensor)] {
            if !values.is_empty() {
                records.push(synced(address, at_ms, values));
            }
        }
    }
    deliver(&store, &[Run::new("s-01", 1, 0, &records)]).await;
    let whole = periods(START_MS, NOON_MS, PeriodStep::Whole);
    store.performance("s", &whole).unwrap().remove(0)
}

fn near(found: Option<f64>, expected: f64) {
    assert!(
        (found.unwrap() - expected).abs() < 1e-3,
        "{found:?}, expected {expected}"
    );
}

#[tokio::test]
async fn a_plant_with_a_sensor_has_every_figure() {
    let report = figures(|_, _, _| {}).await;
    assert_eq!((report.intervals, report.valid), (8, 8));
    // 10 kWp: 12.8 kWh of 1.6 kWh/m².
    near(report.reference_yield_h, 1.6);
    near(Some(report.final_yield_h), 1.28);
    near(report.pr, 0.8);
    // (1 − 0.004 · 10) of the rating.
    near(report.pr_stc, 0.8 / 0.96);
    near(report.array_yield_h, 1.36);
    near(report.capture_loss_h, 0.24);
    near(report.bos_loss_h, 0.08);
    near(report.capacity_factor_ac, 0.64);
    near(report.availability_time, 1.0);
    near(report.availability_energy, 1.0);
}

#[tokio::test]
async fn what_one_meter_leaves_open_leaves_both_sums() {
    // The sensor is silent for the second hour, and the inverter makes nothing then.
    let report = figures(|step, inverter, sensor| {
        if step > 12 {
            *sensor = Quantities::default();
            inverter.energy_wh = Some(1_000_000 + 6_400);
        }
    })
    .await;
    assert_eq!((report.intervals, report.valid), (8, 4));
    near(report.pr, 0.8);
    near(report.completeness, 0.5);
}

#[tokio::test]
async fn a_fault_costs_availability_by_what_was_lost() {
    let report = figures(|step, inverter, _| {
        if step > 12 {
            inverter.state = Some(7);
            inverter.dc_power_w = Some(0);
            inverter.energy_wh = Some(1_000_000 + 6_400);
        }
    })
    .await;
    assert_eq!(report.valid, 8);
    near(report.availability_time, 0.5);
    // As much as in the first hour; the first quarter of the fault shares a straight line with what came before.
    near(report.lost_kwh, 6.4);
    near(report.availability_energy, 0.5);
}

#[tokio::test]
async fn an_inverter_that_never_states_its_dc_side_has_no_array_yield() {
    let report = figures(|_, inverter, _| inverter.dc_power_w = None).await;
    assert_eq!(
        (report.valid, report.array_yield_h, report.capture_loss_h),
        (8, None, None)
    );
    near(report.pr, 0.8);
}

#[tokio::test]
async fn a_plant_without_a_sensor_has_the_figures_that_need_none() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    super::super::testing::follow_the_sun(&store, "a-01", 0.5).await;
    let whole = periods(START_MS, NOON_MS, PeriodStep::Whole);
    let report = store.performance("a", &whole).unwrap().remove(0);
    let made: i64 = store
        .intervals("a", START_MS, NOON_MS, Step::Quarter)
        .unwrap()
        .iter()
        .map(|row| row.generated_wh.unwrap())
        .sum();
    assert_eq!(
        (report.valid, report.reference_yield_h, report.pr),
        (8, None, None)
    );
    near(Some(report.final_yield_h), made as f64 / 10_000.0);
    near(report.availability_time.or(Some(1.0)), 1.0);
}

#[tokio::test]
async fn a_night_is_known_although_the_inverter_sleeps() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let night_ms = NOON_MS + 10 * 3_600_000;
    let sensor = Quantities {
        irradiance_dwm2: Some(0),
        module_temperature_dc: Some(100),
        ..Quantities::default()
    };
    let inverter = |state| Quantities {
        energy_wh: Some(5_000),
        dc_power_w: Some(0),
        state: Some(state),
        ..Quantities::default()
    };
    // It falls silent after a quarter-hour and wakes an hour later, at the same register.
    let mut records = vec![
        synced(1, night_ms, inverter(2)),
        synced(1, night_ms + 900_000, inverter(2)),
        synced(1, night_ms + 4_500_000, inverter(2)),
    ];
    records.extend((0..=15).map(|step| synced(4, night_ms + step * STEP_MS, sensor.clone())));
    deliver(&store, &[Run::new("s-01", 1, 0, &records)]).await;
    let whole = periods(night_ms, night_ms + 4_500_000, PeriodStep::Whole);
    let report = store.performance("s", &whole).unwrap().remove(0);
    assert_eq!((report.intervals, report.valid), (5, 5), "{report:?}");
    assert_eq!((report.pr, report.dc_kwh), (None, Some(0.0)));
}
