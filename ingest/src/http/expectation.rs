//! `GET /api/v1/plants/{plant}/expectation?from&to&step`: what a plant should have made, beside what it made.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::fleet::rounded;
use super::period::Given;
use crate::analytics::PeriodStep;
use crate::view::{ExpectationMethod, ExpectationRow};

/// The most days at once: each costs the sun's place over the plant and its neighbours, every 5 minutes. A leap year.
const DAYS_MAX: i64 = 366;
/// The most days of quarter-hours.
const QUARTER_DAYS_MAX: i64 = 92;
const STEPS: &[PeriodStep] = &[
    PeriodStep::Quarter,
    PeriodStep::Day,
    PeriodStep::Month,
    PeriodStep::JalaliMonth,
];

#[derive(Serialize)]
pub(super) struct Expectation {
    plant: String,
    step: &'static str,
    from_ms: i64,
    to_ms: i64,
    time_zone: &'static str,
    periods: Vec<PeriodJson>,
}

/// One period; `null` is unknown.
#[derive(Serialize)]
struct PeriodJson {
    start_ms: i64,
    end_ms: i64,
    label: Option<String>,
    expected_wh: Option<i64>,
    method: Option<ExpectationMethod>,
    clear_sky_wh: i64,
    clear_sky_index: Option<f64>,
    plane_w_m2: Option<f64>,
    /// Share of the quarter-hours whose expectation is known.
    completeness: f64,
    /// What was made in the quarter-hours of which both are known, what was expected of them, and their ratio.
    made_wh: Option<i64>,
    made_of_wh: Option<i64>,
    made_ratio: Option<f64>,
}

pub(super) async fn expectation(
    State(api): State<Arc<Api>>,
    Path(plant): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Expectation>, ApiError> {
    api.must_have(&plant)?;
    let given = Given::of(&query, &["from", "to", "step"])?;
    let step = given.step(STEPS)?;
    let days_max = match step {
        PeriodStep::Quarter => QUARTER_DAYS_MAX,
        _ => DAYS_MAX,
    };
    let (from_ms, to_ms) = given.span((api.now)(), days_max)?;
    let _turn = api.heavy.acquire().await?;
    let (store, asked) = (api.store.clone(), plant.clone());
    let rows = tokio::task::spawn_blocking(move || store.expectation(&asked, from_ms, to_ms, step)).await??;
    Ok(Json(Expectation {
        plant,
        step: step.as_str(),
        from_ms,
        to_ms,
        time_zone: "Asia/Tehran",
        periods: rows.into_iter().map(|row| period(step, row)).collect(),
    }))
}

fn period(step: PeriodStep, row: ExpectationRow) -> PeriodJson {
    let ratio = row
        .made_wh
        .zip(row.made_of_wh)
        .filter(|&(_, of_wh)| of_wh > 0)
        // Both far below 2^53.
        .map(|(made_wh, of_wh)| rounded(made_wh as f64 / of_wh as f64, 1e6));
    PeriodJson {
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        label: step.label(row.start_ms),
        expected_wh: row.expected_wh,
        method: row.method,
        clear_sky_wh: row.clear_sky_wh,
        clear_sky_index: row.clear_sky_index.map(|index| rounded(index, 1e6)),
        plane_w_m2: row.plane_w_m2.map(|plane| rounded(plane, 1e3)),
        completeness: rounded(row.completeness, 1e6),
        made_wh: row.made_wh,
        made_of_wh: row.made_of_wh,
        made_ratio: ratio,
    }
}
