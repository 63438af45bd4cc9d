//! `taraz calc imbalance`.

use std::ops::Range;

use anyhow::{Context as _, bail};
use taraz_analytics::imbalance::{
    Deviation, EnergyInterval, clear_sky_schedule, deviation, energy_balance, netting, obligation,
    persistence_schedule,
};

use super::FilesWithParams;
use super::intervals::Intervals;
use super::json::Object;
use super::params::Params;
use super::table::Table;

/// Where a file of results keeps its parameters.
const WITHIN: &[&str] = &["params", "total", "fleet_two_sites"];
const PARAMS: &[&str] = &["P0_kw", "obligation_share", "site2_rule", "tau_h"];
/// Schedules that are made when the file has none.
const OWN_SCHEDULES: [&str; 2] = ["persistence", "clearsky"];

/// The file, column by column.
struct Data<'a> {
    grid: Intervals<'a>,
    made: Vec<Option<f64>>,
    load: Vec<Option<f64>>,
    clear: Vec<Option<f64>>,
    /// Name and column.
    schedules: Vec<(String, Vec<Option<f64>>)>,
    rated_kw: Option<f64>,
}

pub(super) fn run(files: &FilesWithParams) -> anyhow::Result<()> {
    let table = Table::read(&files.input, &["ts_utc", "gen_kwh", "load_kwh"])?;
    let params = Params::read(&files.params, PARAMS)?;
    let data = data(&table, &params)?;
    let share = params.number("obligation_share", WITHIN)?;
    if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
        bail!("expected the parameter obligation_share from 0 to 1 (20 % is 0.2), got {share}");
    }
    let days = data.grid.days(files.stamp);
    let mut result = Object::default();
    result.add("P0_kw", data.rated_kw);
    result.add("total", balance(&data, 0..data.grid.len(), share));
    for (number, range) in (1..).zip(&days) {
        result.add(format!("day{number}"), balance(&data, range.clone(), share));
    }
    for (number, pair) in (2..).zip(days.windows(2)) {
        result.add(
            format!("day{number}_forecast"),
            forecast(&data, &pair[0], pair[1].clone()),
        );
    }
    if let Some(rule) = params.text("site2_rule", WITHIN) {
        result.add("fleet_two_sites", two_sites(&data, rule)?);
    }
    result.write(&files.output)
}

fn data<'a>(table: &'a Table, params: &Params) -> anyhow::Result<Data<'a>> {
    let grid = Intervals::of(table, params, WITHIN)?;
    let column = |name: &str| grid.column(name);
    let mut names: Vec<&str> = OWN_SCHEDULES.to_vec();
    for header in table.columns() {
        let name = header
            .strip_prefix("sched_")
            .and_then(|rest| rest.strip_suffix("_kwh"));
        names.extend(name.filter(|name| !OWN_SCHEDULES.contains(name)));
    }
    let schedule = |name: &str| -> anyhow::Result<(String, Vec<Option<f64>>)> {
        Ok((name.to_owned(), column(&format!("sched_{name}_kwh"))?))
    };
    Ok(Data {
        made: column("gen_kwh")?,
        load: column("load_kwh")?,
        clear: column("clearsky_kwh")?,
        schedules: names.into_iter().map(schedule).collect::<anyhow::Result<_>>()?,
        rated_kw: params.number("P0_kw", WITHIN)?,
        grid,
    })
}

fn balance(data: &Data<'_>, range: Range<usize>, share: Option<f64>) -> Object {
    let interval = |index: usize| EnergyInterval {
        generation_kwh: data.made[index],
        load_kwh: data.load[index],
        grid_kwh: None,
    };
    let intervals: Vec<EnergyInterval> = range.map(interval).collect();
    let balance = energy_balance(&intervals, data.grid.length_h);
    let due = share.map(|share| obligation(&balance, share));
    let mut object = Object::default();
    object
        .add("gen_kwh", balance.generation_kwh)
        .add("load_kwh", balance.load_kwh)
        .add("imbalance_kwh", balance.imbalance_kwh)
        .add("import_kwh", balance.import_kwh)
        .add("export_kwh", balance.export_kwh)
        .add("self_consumed_kwh", balance.self_consumed_kwh)
        .add("self_consumption_ratio", balance.self_consumption())
        .add("self_sufficiency_ratio", balance.self_sufficiency())
        .add("renewable_coverage", balance.coverage())
        .add(
            "coverage_capped",
            balance.coverage().map(|covered| covered.min(1.0)),
        )
        .add("obligation_share", share)
        .add("obligation_kwh", due.map(|due| due.due_kwh))
        .add("obligation_gap_kwh", due.map(|due| due.gap_kwh))
        .add("obligation_met", due.map(|due| due.is_met))
        .add("abs_imbalance_kwh", balance.abs_imbalance_kwh)
        .add("max_interval_import_kw", balance.import_max_kw)
        .add("max_interval_export_kw", balance.export_max_kw)
        .add("data_completeness", balance.completeness());
    object
}

fn forecast(data: &Data<'_>, before: &Range<usize>, day: Range<usize>) -> Object {
    let clear_sky = clear_sky_schedule(
        &data.clear[day.clone()],
        &data.made[before.clone()],
        &data.clear[before.clone()],
    );
    let mut object = Object::default();
    for (name, stated) in &data.schedules {
        let stated = &stated[day.clone()];
        let schedule = if stated.iter().any(Option::is_some) {
            Some(stated.to_vec())
        } else {
            match name.as_str() {
                "persistence" => Some(persistence_schedule(&the_day_before(data, before, &day))),
                "clearsky" => clear_sky.as_ref().map(|(schedule, _)| schedule.clone()),
                _ => None,
            }
        };
        if let Some(schedule) = schedule {
            object.add(name.clone(), met(data, &schedule, day.clone()));
        }
    }
    object.add("clearsky_scale", clear_sky.map(|(_, scale)| scale));
    object
}

/// What was made 24 h before each interval of a day, within the local day before.
fn the_day_before(data: &Data<'_>, before: &Range<usize>, day: &Range<usize>) -> Vec<Option<f64>> {
    let made = |index: usize| {
        data.grid
            .day_before(index, before)
            .and_then(|index| data.made[index])
    };
    day.clone().map(made).collect()
}

fn met(data: &Data<'_>, schedule: &[Option<f64>], day: Range<usize>) -> Object {
    let actual = &data.made[day.clone()];
    let clear = &data.clear[day];
    let is_lit = |index: usize| match clear[index] {
        Some(clear_kwh) => clear_kwh > 0.0,
        // Without a clear sky, daylight is when something was generated or scheduled.
        None => [actual[index], schedule.get(index).copied().flatten()]
            .into_iter()
            .flatten()
            .any(|kwh| kwh > 0.0),
    };
    let is_daylight: Vec<bool> = (0..actual.len()).map(is_lit).collect();
    let met: Deviation = deviation(actual, schedule, &is_daylight, data.grid.length_h);
    let mut object = Object::default();
    object
        .add("sched_kwh", met.scheduled_kwh)
        .add("deviation_kwh", met.deviation_kwh)
        .add("abs_deviation_kwh", met.abs_kwh)
        .add("positive_kwh", met.over_kwh)
        .add("negative_kwh", met.under_kwh)
        .add("mae_kw_all", met.mae_kw)
        .add("mbe_kw_all", met.mbe_kw)
        .add("rmse_kw_all", met.rmse_kw)
        .add("mae_kw_daylight", met.mae_daylight_kw)
        .add("mbe_kw_daylight", met.mbe_daylight_kw)
        .add(
            "nmae_p0_pct",
            data.rated_kw.and_then(|rated_kw| met.nmae_pct(rated_kw)),
        )
        .add("n_daylight", met.daylight);
    object
}

/// A second site that is made from the first: `gen2=round(reverse(gen)*0.4,3), load2=round(load*0.3,3)`.
fn two_sites(data: &Data<'_>, rule: &str) -> anyhow::Result<Object> {
    let unclear = || {
        format!(
            "expected a site2_rule such as gen2=round(reverse(gen)*0.4,3), load2=round(load*0.3,3), got {rule:?}"
        )
    };
    let dense: String = rule.split_whitespace().collect();
    let (made_rule, load_rule) = dense.split_once("),load2=").with_context(unclear)?;
    let factor = |text: &str, quantity: &str| -> Option<(f64, u32)> {
        let inner = text
            .strip_prefix("round(")?
            .trim_end_matches(')')
            .strip_prefix(quantity)?;
        let (factor, decimals) = inner.split_once(',')?;
        Some((factor.parse().ok()?, decimals.parse().ok()?))
    };
    let made_rule = made_rule.strip_prefix("gen2=").with_context(unclear)?;
    let (made_factor, made_decimals) = factor(made_rule, "reverse(gen)*").with_context(unclear)?;
    let (load_factor, load_decimals) = factor(load_rule, "load*").with_context(unclear)?;
    let scaled = |value: Option<f64>, factor: f64, decimals: u32| {
        let unit = 10_f64.powi(decimals.min(15).cast_signed());
        value.map(|value| (value * factor * unit).round_ties_even() / unit)
    };
    let imbalance = |load: Option<f64>, made: Option<f64>| load.zip(made).map(|(load, made)| load - made);
    let first = data
        .load
        .iter()
        .zip(&data.made)
        .map(|(&load, &made)| imbalance(load, made));
    let second = data
        .load
        .iter()
        .zip(data.made.iter().rev())
        .map(|(&load, &made)| {
            imbalance(
                scaled(load, load_factor, load_decimals),
                scaled(made, made_factor, made_decimals),
            )
        });
    let netted = netting(&[first.collect(), second.collect()]);
    let mut object = Object::default();
    object
        .add("site2_rule", rule.to_owned())
        .add("gross_abs_kwh", netted.gross_kwh)
        .add("net_abs_kwh", netted.net_kwh)
        .add("netting_benefit_kwh", netted.benefit_kwh());
    Ok(object)
}
