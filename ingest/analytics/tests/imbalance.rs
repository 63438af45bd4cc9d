//! The imbalances against an independent computation, and a real house's year.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Row, close, data, json, recorded, rows};
use serde_json::Value;
use taraz_analytics::imbalance::{
    EnergyInterval, PhaseVoltages, clear_sky_schedule, current_unbalance_pct, deviation, energy_balance,
    iec_unbalance_pct, lines_of_phasors, mean_deviation_pct, netting, neutral_current_a, obligation,
    persistence_schedule, settlement_periods, symmetrical_pct,
};

const DAY: usize = 96;
const INTERVAL_H: f64 = 0.25;

fn example() -> Vec<Row> {
    rows(&data("imbalance_example.csv"))
}

fn column(rows: &[Row], name: &str) -> Vec<Option<f64>> {
    rows.iter().map(|row| row.number(name)).collect()
}

#[track_caller]
fn check(expected: &Value, found: &[(&str, f64)]) {
    for (key, value) in found {
        close(key, *value, expected[key].as_f64().unwrap(), 1e-6);
    }
}

#[test]
fn the_energy_balance_of_two_days() {
    let (rows, expected) = (example(), json("imbalance_example_expected.json"));
    let intervals: Vec<EnergyInterval> = rows
        .iter()
        .map(|row| EnergyInterval::of(row.f64("gen_kwh"), row.f64("load_kwh")))
        .collect();
    for (period, part) in [
        ("total", &intervals[..]),
        ("day1", &intervals[..DAY]),
        ("day2", &intervals[DAY..]),
    ] {
        let expected = &expected[period];
        let balance = energy_balance(part, INTERVAL_H);
        let due = obligation(&balance, expected["obligation_share"].as_f64().unwrap());
        check(
            expected,
            &[
                ("gen_kwh", balance.generation_kwh),
                ("load_kwh", balance.load_kwh),
                ("imbalance_kwh", balance.imbalance_kwh),
                ("import_kwh", balance.import_kwh),
                ("export_kwh", balance.export_kwh),
                ("self_consumed_kwh", balance.self_consumed_kwh),
                ("self_consumption_ratio", balance.self_consumption().unwrap()),
                ("self_sufficiency_ratio", balance.self_sufficiency().unwrap()),
                ("renewable_coverage", balance.coverage().unwrap()),
                ("coverage_capped", balance.coverage().unwrap().min(1.0)),
                ("obligation_kwh", due.due_kwh),
                ("obligation_gap_kwh", due.gap_kwh),
                ("abs_imbalance_kwh", balance.abs_imbalance_kwh),
                ("max_interval_import_kw", balance.import_max_kw),
                ("max_interval_export_kw", balance.export_max_kw),
            ],
        );
        assert_eq!(Some(due.is_met), expected["obligation_met"].as_bool());
    }
}

#[test]
fn both_schedules_of_the_second_day() {
    let (rows, expected) = (example(), json("imbalance_example_expected.json"));
    let (made, clear) = (column(&rows, "gen_kwh"), column(&rows, "clearsky_kwh"));
    let (clear_sky, scale) = clear_sky_schedule(&clear[DAY..], &made[..DAY], &clear[..DAY]).unwrap();
    close(
        "scale",
        scale,
        expected["day2_forecast"]["clearsky_scale"].as_f64().unwrap(),
        1e-6,
    );
    let is_daylight: Vec<bool> = clear[DAY..].iter().map(|kwh| kwh.unwrap() > 0.0).collect();
    let persistence = persistence_schedule(&made[..DAY]);
    for (name, schedule, stated) in [
        ("persistence", persistence, "sched_persistence_kwh"),
        ("clearsky", clear_sky, "sched_clearsky_kwh"),
    ] {
        for (ours, theirs) in schedule.iter().zip(column(&rows[DAY..], stated)) {
            close(stated, ours.unwrap(), theirs.unwrap(), 1e-9);
        }
        let met = deviation(&made[DAY..], &schedule, &is_daylight, INTERVAL_H);
        check(
            &expected["day2_forecast"][name],
            &[
                ("sched_kwh", met.scheduled_kwh),
                ("deviation_kwh", met.deviation_kwh),
                ("abs_deviation_kwh", met.abs_kwh),
                ("positive_kwh", met.over_kwh),
                ("negative_kwh", met.under_kwh),
                ("mae_kw_all", met.mae_kw.unwrap()),
                ("mbe_kw_all", met.mbe_kw.unwrap()),
                ("rmse_kw_all", met.rmse_kw.unwrap()),
                ("mae_kw_daylight", met.mae_daylight_kw.unwrap()),
                ("mbe_kw_daylight", met.mbe_daylight_kw.unwrap()),
                (
                    "nmae_p0_pct",
                    met.nmae_pct(expected["P0_kw"].as_f64().unwrap()).unwrap(),
                ),
                ("n_daylight", met.daylight as f64),
            ],
        );
        // In longer settlement periods deviations cancel, and the total stays.
        let hourly = settlement_periods(&made[DAY..], 4);
        let by_hour = deviation(&hourly, &settlement_periods(&schedule, 4), &[true; 24], 1.0);
        close(name, by_hour.deviation_kwh, met.deviation_kwh, 1e-9);
        assert!(by_hour.abs_kwh <= met.abs_kwh && by_hour.valid == 24);
    }
}

#[test]
fn two_sites_are_netted() {
    let (rows, expected) = (example(), json("imbalance_example_expected.json"));
    // The second site's rule is stated in the file: scaled by 0.4 in reverse order and 0.3, in whole Wh.
    let whole_wh = |kwh: f64| (kwh * 1_000.0).round_ties_even() / 1_000.0;
    let imbalance = |row: &Row| row.f64("load_kwh") - row.f64("gen_kwh");
    let first: Vec<Option<f64>> = rows.iter().map(|row| Some(imbalance(row))).collect();
    let second = rows.iter().zip(rows.iter().rev()).map(|(row, mirrored)| {
        Some(whole_wh(row.f64("load_kwh") * 0.3) - whole_wh(mirrored.f64("gen_kwh") * 0.4))
    });
    let netted = netting(&[first, second.collect()]);
    check(
        &expected["fleet_two_sites"],
        &[
            ("gross_abs_kwh", netted.gross_kwh),
            ("net_abs_kwh", netted.net_kwh),
            ("netting_benefit_kwh", netted.benefit_kwh()),
        ],
    );
}

#[test]
fn phases() {
    for row in rows(&data("imbalance_example_phases.csv")) {
        let three = |names: [&str; 3]| names.map(|name| row.f64(name));
        let phases = PhaseVoltages {
            voltage_v: three(["v1", "v2", "v3"]),
            angle_deg: three(["ang1", "ang2", "ang3"]),
        };
        let lines = lines_of_phasors(&phases);
        for (name, line) in ["u12", "u23", "u31"].iter().zip(lines.0) {
            close(name, line, row.f64(name), 1e-5);
        }
        let exact = symmetrical_pct(&phases).unwrap();
        let current_a = three(["i1", "i2", "i3"]);
        for (name, found) in [
            ("vuf_true_u2_pct", exact.negative_pct),
            ("vuf_iec61000_4_30_lines_pct", iec_unbalance_pct(lines).unwrap()),
            ("nema_lvur_pct", mean_deviation_pct(lines.0).unwrap()),
            ("phase_pvur_pct", mean_deviation_pct(phases.voltage_v).unwrap()),
            ("u0_pct", exact.zero_pct),
            ("current_unbalance_pct", current_unbalance_pct(current_a).unwrap()),
            ("neutral_current_a_pf1_120deg", neutral_current_a(current_a)),
        ] {
            close(name, found, row.f64(name), 1e-5);
        }
    }
}

#[test]
fn a_real_house_over_a_year() {
    // Half-hourly mean powers in kW: consumption (GC) and generation (GG).
    let rows = rows(&recorded("ausgrid_CCBY/customer12_2011-2012_30min.csv.gz"));
    assert_eq!(rows.len(), 366 * 48);
    let sum = |name: &str| rows.iter().map(|row| row.f64(name) * 0.5).sum::<f64>();
    let interval = |row: &Row| EnergyInterval::of(row.f64("GG") * 0.5, row.f64("GC") * 0.5);
    let intervals: Vec<EnergyInterval> = rows.iter().map(interval).collect();
    let year = energy_balance(&intervals, 0.5);
    close("generation", year.generation_kwh, sum("GG"), 1e-6);
    close("consumption", year.load_kwh, sum("GC"), 1e-6);
    close("imbalance", year.imbalance_kwh, sum("GC") - sum("GG"), 1e-6);
    close(
        "connection",
        year.import_kwh - year.export_kwh,
        year.imbalance_kwh,
        1e-6,
    );
    let days = intervals.chunks(48).map(|day| energy_balance(day, 0.5));
    close(
        "by day",
        days.map(|day| day.import_kwh).sum(),
        year.import_kwh,
        1e-6,
    );
    assert!(year.generation_kwh > 1_000.0 && year.import_kwh > 0.0 && year.export_kwh > 0.0);
}
