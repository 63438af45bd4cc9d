//! `taraz calc iec61724`.

use anyhow::bail;
use taraz_analytics::performance::{Interval, Plant, Report, report};

use super::FilesWithParams;
use super::intervals::Intervals;
use super::json::Object;
use super::params::Params;
use super::table::{Row, Table};

/// Irradiance in W/m² from which on a plant should be running, unless the parameters say otherwise.
const IRRADIANCE_MIN_W_M2: f64 = 50.0;
/// Where a file of results keeps its parameters.
const WITHIN: &[&str] = &["params"];
const PARAMS: &[&str] = &["P0", "Pac", "gamma", "Tann", "Gmin", "tau_h"];

pub(super) fn run(files: &FilesWithParams) -> anyhow::Result<()> {
    let table = Table::read(&files.input, &["ts_utc", "g_poa_wm2", "e_ac_kwh"])?;
    let params = Params::read(&files.params, PARAMS)?;
    let grid = Intervals::of(&table, &params, WITHIN)?;
    let intervals: anyhow::Result<Vec<Interval>> = grid
        .rows()
        .iter()
        .map(|row| row.map_or_else(|| Ok(Interval::default()), interval))
        .collect();
    let intervals = intervals?;
    let plant = plant(&params, &intervals)?;
    let mut periods = vec![figures("total", &report(&plant, &intervals, grid.length_h))];
    for (number, range) in (1..).zip(grid.days(files.stamp)) {
        let of_day = report(&plant, &intervals[range], grid.length_h);
        periods.push(figures(&format!("day{number}"), &of_day));
    }
    let mut shown = Object::default();
    shown
        .add("P0", plant.dc_rated_kw)
        .add("Pac", plant.ac_rated_kw)
        .add("gamma", plant.gamma_per_k)
        .add("Tann", plant.annual_module_c)
        .add("Gmin", plant.irradiance_min_w_m2)
        .add("tau_h", grid.length_h);
    let mut result = Object::default();
    result.add("params", shown).add("expected", periods);
    result.write(&files.output)
}

fn interval(row: Row<'_>) -> anyhow::Result<Interval> {
    Ok(Interval {
        plane_w_m2: row.number("g_poa_wm2")?,
        module_c: row.number("t_mod_c")?,
        dc_kwh: row.number("e_dc_kwh")?,
        ac_kwh: row.number("e_ac_kwh")?,
        is_up: row.truth("unit_up")?,
    })
}

fn plant(params: &Params, intervals: &[Interval]) -> anyhow::Result<Plant> {
    let dc_rated_kw = params.positive("P0", WITHIN)?;
    let gamma_per_k = params.number("gamma", WITHIN)?;
    if gamma_per_k.is_none() && intervals.iter().any(|one| one.module_c.is_some()) {
        bail!(
            "the parameters lack gamma (power per kelvin, such as -0.004), which the module temperature needs"
        );
    }
    Ok(Plant {
        dc_rated_kw,
        ac_rated_kw: params.number("Pac", WITHIN)?,
        gamma_per_k: gamma_per_k.unwrap_or(0.0),
        annual_module_c: params.number("Tann", WITHIN)?,
        irradiance_min_w_m2: params.number("Gmin", WITHIN)?.unwrap_or(IRRADIANCE_MIN_W_M2),
        has_sensor: true,
    })
}

fn figures(period: &str, report: &Report) -> Object {
    let mut object = Object::default();
    object
        .add("period", period.to_owned())
        .add("n_intervals", report.intervals as f64)
        .add("n_valid", report.valid as f64)
        .add("data_completeness", report.completeness)
        .add("H_poa_kwh_m2", report.irradiation_kwh_m2)
        .add("E_dc_kwh", report.dc_kwh)
        .add("E_ac_kwh", report.ac_kwh)
        .add("Yr_h", report.reference_yield_h)
        .add("Ya_h", report.array_yield_h)
        .add("Yf_h", report.final_yield_h)
        .add("Lc_h", report.capture_loss_h)
        .add("Lbos_h", report.bos_loss_h)
        .add("PR", report.pr)
        .add("PR_stc25", report.pr_stc)
        .add("PR_annual_eq", report.pr_annual)
        .add("capacity_factor_dc", report.capacity_factor_dc)
        .add("capacity_factor_ac", report.capacity_factor_ac)
        .add("availability_time", report.availability_time)
        .add("E_lost_downtime_kwh", report.lost_kwh)
        .add("availability_energy", report.availability_energy);
    object
}
