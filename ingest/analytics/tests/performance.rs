//! IEC 61724-1 figures against an independent computation and against a real plant.

#![allow(clippy::unwrap_used)]

mod common;

use common::{Row, close, data, json, recorded, rows};
use taraz_analytics::performance::{Interval, Plant, Report, report};

fn interval(row: &Row) -> Interval {
    Interval {
        plane_w_m2: row.number("g_poa_wm2"),
        module_c: row.number("t_mod_c"),
        dc_kwh: row.number("e_dc_kwh"),
        ac_kwh: row.number("e_ac_kwh"),
        is_up: row.number("unit_up").map(|up| up > 0.0),
    }
}

fn figures(figures: &Report) -> Vec<(&'static str, Option<f64>)> {
    vec![
        ("n_intervals", Some(figures.intervals as f64)),
        ("n_valid", Some(figures.valid as f64)),
        ("data_completeness", figures.completeness),
        ("H_poa_kwh_m2", figures.irradiation_kwh_m2),
        ("E_dc_kwh", figures.dc_kwh),
        ("E_ac_kwh", Some(figures.ac_kwh)),
        ("Yr_h", figures.reference_yield_h),
        ("Ya_h", figures.array_yield_h),
        ("Yf_h", Some(figures.final_yield_h)),
        ("Lc_h", figures.capture_loss_h),
        ("Lbos_h", figures.bos_loss_h),
        ("PR", figures.pr),
        ("PR_stc25", figures.pr_stc),
        ("PR_annual_eq", figures.pr_annual),
        ("capacity_factor_dc", figures.capacity_factor_dc),
        ("capacity_factor_ac", figures.capacity_factor_ac),
        ("availability_time", figures.availability_time),
        ("E_lost_downtime_kwh", figures.lost_kwh),
        ("availability_energy", figures.availability_energy),
    ]
}

#[test]
fn three_days_with_a_trip_and_missing_intervals() {
    let expected = json("iec61724_example_expected.json");
    let number = |key: &str| expected["params"][key].as_f64().unwrap();
    let plant = Plant {
        dc_rated_kw: number("P0"),
        ac_rated_kw: Some(number("Pac")),
        gamma_per_k: number("gamma"),
        annual_module_c: Some(number("Tann")),
        irradiance_min_w_m2: number("Gmin"),
        has_sensor: true,
    };
    let intervals: Vec<Interval> = rows(&data("iec61724_example.csv")).iter().map(interval).collect();
    let periods = expected["expected"].as_array().unwrap();
    assert_eq!(periods.len(), 4);
    for period in periods {
        let name = period["period"].as_str().unwrap();
        // Each day has 96 intervals.
        let part = match name.strip_prefix("day") {
            Some(day) => intervals
                .chunks(96)
                .nth(day.parse::<usize>().unwrap() - 1)
                .unwrap(),
            None => &intervals,
        };
        for (key, found) in figures(&report(&plant, part, number("tau_h"))) {
            // The expected values are rounded to six decimals.
            close(
                &format!("{name} {key}"),
                found.unwrap(),
                period[key].as_f64().unwrap(),
                1e-6,
            );
        }
    }
}

#[test]
fn the_ratios_of_a_real_plant() {
    // NREL RSF II, second inverter, 204.12 kW; on the last day it was off.
    const EXPECTED: [f64; 5] = [0.556_698, 0.573_764, 0.745_706, 0.775_916, 0.0];
    let plant = Plant {
        dc_rated_kw: 204.12,
        ac_rated_kw: None,
        gamma_per_k: 0.0,
        annual_module_c: None,
        irradiance_min_w_m2: 50.0,
        has_sensor: true,
    };
    let rows = rows(&recorded("pvanalytics_MIT/nrel_RSF_II.csv.gz"));
    let mut days: Vec<(&str, Vec<Interval>)> = Vec::new();
    for row in &rows {
        let date = row.text("").split_once(' ').unwrap().0;
        if days.last().is_none_or(|(last, _)| *last != date) {
            days.push((date, Vec::new()));
        }
        let of_day = &mut days.last_mut().unwrap().1;
        of_day.push(Interval {
            plane_w_m2: row.number("poa_irradiance__1055"),
            ac_kwh: row
                .number("inv2_ac_power_w__1047")
                .map(|power_w| power_w / 1_000.0 * 0.25),
            ..Interval::default()
        });
    }
    assert_eq!(days.len(), EXPECTED.len());
    for ((date, intervals), expected) in days.iter().zip(EXPECTED) {
        close(date, report(&plant, intervals, 0.25).pr.unwrap(), expected, 1e-6);
    }
}
