//! `GET /api/v1/plants/{plant}/performance?from&to&step`: the figures of IEC 61724-1, with their completeness.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;
use taraz_analytics::performance::Report;
use taraz_fleet::Plant;

use super::Api;
use super::error::ApiError;
use super::fleet::rounded;
use super::period::Given;
use crate::analytics::{PeriodStep, QUARTER_MS, date_start_ms, day_end_ms, periods, quarter_of};

/// The most days at once: ten years.
const DAYS_MAX: i64 = 3_660;
/// The most quarter-hours and days at once; longer steps have far fewer.
const PERIODS_MAX: usize = 366 * 96;
/// Everything since the plant was commissioned, in one.
const LIFETIME: &str = "lifetime";

#[derive(Serialize)]
pub(super) struct Performance {
    plant: String,
    step: &'static str,
    from_ms: i64,
    to_ms: i64,
    time_zone: &'static str,
    standard: &'static str,
    /// What the figures are measured against.
    dc_rated_w: u64,
    ac_rated_w: u32,
    gamma_per_k: f64,
    annual_module_c: Option<f64>,
    irradiance_measured: bool,
    periods: Vec<PeriodJson>,
}

/// One period; yields and losses in hours (kWh per kW), ratios of 1; `null` is unknown, and nothing is known of a period without a valid
/// quarter-hour.
#[derive(Serialize)]
struct PeriodJson {
    start_ms: i64,
    end_ms: i64,
    label: Option<String>,
    quarters: usize,
    valid_quarters: usize,
    completeness: f64,
    irradiation_wh_m2: Option<f64>,
    dc_wh: Option<f64>,
    ac_wh: Option<f64>,
    reference_yield_h: Option<f64>,
    array_yield_h: Option<f64>,
    final_yield_h: Option<f64>,
    capture_loss_h: Option<f64>,
    bos_loss_h: Option<f64>,
    performance_ratio: Option<f64>,
    performance_ratio_stc: Option<f64>,
    performance_ratio_annual: Option<f64>,
    capacity_factor_dc: Option<f64>,
    capacity_factor_ac: Option<f64>,
    availability_time: Option<f64>,
    availability_energy: Option<f64>,
    lost_wh: Option<f64>,
}

/// How the time is cut.
#[derive(Clone, Copy)]
enum Cut {
    Step(PeriodStep),
    Lifetime,
}

const CUTS: &[(&str, Cut)] = &[
    ("1d", Cut::Step(PeriodStep::Day)),
    ("15m", Cut::Step(PeriodStep::Quarter)),
    ("month", Cut::Step(PeriodStep::Month)),
    ("jalali_month", Cut::Step(PeriodStep::JalaliMonth)),
    ("year", Cut::Step(PeriodStep::Year)),
    ("jalali_year", Cut::Step(PeriodStep::JalaliYear)),
    (LIFETIME, Cut::Lifetime),
];

pub(super) async fn performance(
    State(api): State<Arc<Api>>,
    Path(plant): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Performance>, ApiError> {
    let registered = api.must_have(&plant)?;
    let given = Given::of(&query, &["from", "to", "step"])?;
    let now_ms = (api.now)();
    let (from_ms, to_ms, step) = asked(&given, registered, now_ms)?;
    let periods = expected(&periods(from_ms, to_ms, step), (from_ms, to_ms), now_ms);
    let answer = Performance {
        plant: plant.clone(),
        step: if step == PeriodStep::Whole {
            LIFETIME
        } else {
            step.as_str()
        },
        from_ms,
        to_ms,
        time_zone: "Asia/Tehran",
        standard: "IEC 61724-1:2021",
        dc_rated_w: registered.peak_w(),
        ac_rated_w: registered.inverter_ac_w,
        gamma_per_k: registered.temperature_coefficient_per_k,
        annual_module_c: registered.annual_module_c,
        irradiance_measured: crate::figures::sensor_of(registered).is_some(),
        periods: Vec::new(),
    };
    let _turn = api.heavy.acquire().await?;
    let store = api.store.clone();
    let asked = periods.clone();
    let reports = tokio::task::spawn_blocking(move || store.performance(&plant, &asked)).await??;
    let periods = periods
        .iter()
        .zip(&reports)
        .map(|(&period, report)| period_json(step, period, report));
    Ok(Json(Performance {
        periods: periods.collect(),
        ..answer
    }))
}

fn asked(given: &Given<'_>, plant: &Plant, now_ms: i64) -> Result<(i64, i64, PeriodStep), ApiError> {
    let step = match given.word("step", CUTS)? {
        Cut::Step(step) => step,
        Cut::Lifetime => {
            if let Some((key, text)) = ["from", "to"].iter().find_map(|key| Some((key, given.get(key)?))) {
                return Err(ApiError::parameter(
                    key,
                    text,
                    "nothing: a lifetime has its own begin and end",
                ));
            }
            let to_ms = day_end_ms(now_ms);
            let from_ms = date_start_ms(plant.commissioned).min(to_ms - 1);
            return Ok((from_ms, to_ms, PeriodStep::Whole));
        }
    };
    let (from_ms, to_ms) = given.span(now_ms, DAYS_MAX)?;
    let count = periods(from_ms, to_ms, step).len();
    if count > PERIODS_MAX {
        let allowed = format!("at most {PERIODS_MAX} periods at once, this are {count}");
        return Err(ApiError::parameter("step", step.as_str(), allowed));
    }
    Ok((from_ms, to_ms, step))
}

/// Of each period what can be known: the quarter-hours that overlap `from`..`to` and are over. A period without one is left out.
fn expected(periods: &[(i64, i64)], (from_ms, to_ms): (i64, i64), now_ms: i64) -> Vec<(i64, i64)> {
    let first_ms = quarter_of(from_ms) * QUARTER_MS;
    let end_ms = ((quarter_of(to_ms - 1) + 1) * QUARTER_MS).min(quarter_of(now_ms) * QUARTER_MS);
    let clipped = periods
        .iter()
        .map(|&(start, end)| (start.max(first_ms), end.min(end_ms)));
    clipped.filter(|(start, end)| start < end).collect()
}

fn period_json(step: PeriodStep, (start_ms, end_ms): (i64, i64), report: &Report) -> PeriodJson {
    let of_valid = |value: f64| (report.valid > 0).then_some(value);
    let ratio = |value: Option<f64>| value.and_then(of_valid).map(|value| rounded(value, 1e6));
    let wh = |kwh: Option<f64>| kwh.and_then(of_valid).map(|kwh| rounded(kwh * 1e3, 1e3));
    PeriodJson {
        start_ms,
        end_ms,
        label: step.label(start_ms),
        quarters: report.intervals,
        valid_quarters: report.valid,
        completeness: rounded(report.completeness.unwrap_or(0.0), 1e6),
        irradiation_wh_m2: wh(report.irradiation_kwh_m2),
        dc_wh: wh(report.dc_kwh),
        ac_wh: wh(Some(report.ac_kwh)),
        reference_yield_h: ratio(report.reference_yield_h),
        array_yield_h: ratio(report.array_yield_h),
        final_yield_h: ratio(Some(report.final_yield_h)),
        capture_loss_h: ratio(report.capture_loss_h),
        bos_loss_h: ratio(report.bos_loss_h),
        performance_ratio: ratio(report.pr),
        performance_ratio_stc: ratio(report.pr_stc),
        performance_ratio_annual: ratio(report.pr_annual),
        capacity_factor_dc: ratio(report.capacity_factor_dc),
        capacity_factor_ac: ratio(report.capacity_factor_ac),
        availability_time: ratio(report.availability_time),
        availability_energy: ratio(report.availability_energy),
        lost_wh: wh(report.lost_kwh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_and_what_is_to_come_is_not_expected() {
        let hour_ms = 4 * QUARTER_MS;
        let month = [(0, 720 * hour_ms)];
        let asked = (QUARTER_MS + 1, 100 * hour_ms);
        // Up to "to" when that is over, else up to the last quarter-hour that is.
        assert_eq!(
            expected(&month, asked, 800 * hour_ms),
            [(QUARTER_MS, 100 * hour_ms)]
        );
        assert_eq!(
            expected(&month, asked, 10 * hour_ms + 1),
            [(QUARTER_MS, 10 * hour_ms)]
        );
        assert_eq!(expected(&month, asked, QUARTER_MS), []);
    }

    #[test]
    fn a_lifetime_begins_with_the_commissioning_however_long_ago() {
        let fleet = taraz_fleet::Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let query = [("step".to_owned(), LIFETIME.to_owned())];
        let given = Given::of(&query, &["from", "to", "step"]).unwrap();
        let commissioned_ms = date_start_ms(fleet.plants[0].commissioned);
        let now_ms = commissioned_ms + 25 * 366 * super::super::period::DAY_MS;
        let (from_ms, to_ms, _) = asked(&given, &fleet.plants[0], now_ms).unwrap();
        assert_eq!((from_ms, to_ms), (commissioned_ms, day_end_ms(now_ms)));
    }
}
