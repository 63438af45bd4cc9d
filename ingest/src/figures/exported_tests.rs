//! What sinks get is what the API says.

use taraz_telemetry::Quantities;

use super::super::testing::{START_MS, start, synced};
use super::*;
use crate::analytics::{PeriodStep, day_start_ms, periods};
use crate::store::testing::{Run, deliver};
use crate::view::Step;

const DAY_MS: i64 = 86_400_000;

/// Two mornings; on the second nobody states the DC side, nor a state.
async fn two_mornings(store: &Store) {
    let mut records = Vec::new();
    for (day, step) in (0..2).flat_map(|day| (0..=24).map(move |step| (day, step))) {
        let at_ms = START_MS + day * DAY_MS + step * 300_000;
        let inverter = Quantities {
            energy_wh: Some(1_000_000 + (day * 20_000 + step * 500).unsigned_abs()),
            dc_power_w: (day == 0).then_some(6_800),
            state: (day == 0).then_some(4),
            ..Quantities::default()
        };
        let sensor = Quantities {
            irradiance_dwm2: Some(8_000),
            module_temperature_dc: Some(350),
            ..Quantities::default()
        };
        records.extend([synced(1, at_ms, inverter), synced(4, at_ms, sensor)]);
    }
    deliver(store, &[Run::new("s-01", 1, 0, &records)]).await;
}

fn field(point: &Point, name: &str) -> Option<i64> {
    let (_, value) = point.fields.iter().find(|(field, _)| *field == name).unwrap();
    match *value {
        Value::Is(value) => Some(value),
        Value::Maybe(value) => value,
    }
}

#[tokio::test]
async fn a_days_figures_are_those_of_the_api_asked_with_other_days() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    two_mornings(&store).await;
    let from_ms = day_start_ms(START_MS);
    let to_ms = from_ms + 2 * DAY_MS;
    let days = periods(from_ms, to_ms, PeriodStep::Day);
    let site: Vec<Site> = store
        .fleet()
        .sites
        .iter()
        .filter(|site| site.id == "s")
        .cloned()
        .collect();
    let points = store.day_figures(&site, &days).unwrap();
    let points: Vec<&Point> = points
        .iter()
        .filter(|point| point.measurement == "plant_day")
        .collect();
    let reports = store.performance("s", &days).unwrap();
    let expected = store.expectation("s", from_ms, to_ms, PeriodStep::Day).unwrap();
    let rows = store.intervals("s", from_ms, to_ms, Step::Day).unwrap();
    assert_eq!((points.len(), reports.len(), rows.len()), (2, 2, 2));
    for (at, point) in points.iter().enumerate() {
        let (report, expected, row) = (&reports[at], &expected[at], &rows[at]);
        let count = |count: usize| Some(i64::try_from(count).unwrap());
        let valid = |value: Option<f64>, parts| {
            value
                .filter(|_| report.valid > 0)
                .map(|value| scaled(value, parts))
        };
        for (name, said) in [
            ("generated_wh", row.generated_wh),
            ("completeness_ppm", Some(scaled(row.completeness, PPM))),
            ("spread", Some(i64::from(row.flags.spread))),
            ("reset", Some(i64::from(row.flags.reset))),
            ("held", Some(i64::from(row.flags.held))),
            ("expected_wh", expected.expected_wh),
            ("expected_by", expected.method.map(number_of)),
            ("clear_sky_wh", Some(expected.clear_sky_wh)),
            (
                "expected_completeness_ppm",
                Some(scaled(expected.completeness, PPM)),
            ),
            ("quarters", count(report.intervals)),
            ("valid_quarters", count(report.valid)),
            ("irradiation_mwh_m2", valid(report.irradiation_kwh_m2, PPM)),
            ("dc_mwh", valid(report.dc_kwh, PPM)),
            ("ac_mwh", valid(Some(report.ac_kwh), PPM)),
            ("reference_yield_uh", valid(report.reference_yield_h, PPM)),
            ("array_yield_uh", valid(report.array_yield_h, PPM)),
            ("final_yield_uh", valid(Some(report.final_yield_h), PPM)),
            ("performance_ratio_ppm", valid(report.pr, PPM)),
            ("performance_ratio_stc_ppm", valid(report.pr_stc, PPM)),
            ("performance_ratio_annual_ppm", valid(report.pr_annual, PPM)),
            ("capacity_factor_dc_ppm", valid(report.capacity_factor_dc, PPM)),
            ("capacity_factor_ac_ppm", valid(report.capacity_factor_ac, PPM)),
            ("availability_time_ppm", valid(report.availability_time, PPM)),
            ("availability_energy_ppm", valid(report.availability_energy, PPM)),
            ("lost_mwh", valid(report.lost_kwh, PPM)),
        ] {
            assert_eq!(field(point, name), said, "{name} of day {at}");
        }
        assert_eq!(point.fields.len(), 25);
    }
    assert!(reports[0].dc_kwh > Some(0.0) && reports[1].dc_kwh.is_none());
    assert_eq!(
        field(points[1], "valid_quarters"),
        Some(8),
        "the second day is valid without a DC side"
    );
}
