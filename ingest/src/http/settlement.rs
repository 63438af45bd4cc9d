//! `GET /api/v1/imbalances/settlement` and `POST /api/v1/schedules`: generation against what was scheduled.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest as _, Query, Request, State};
use axum::http::StatusCode;
use serde::Serialize;

use super::Api;
use super::batches::{BODY_TIMEOUT, is_bearer};
use super::error::ApiError;
use super::fleet::rounded;
use super::imbalances::thousandths;
use super::period::Given;
use crate::figures::{Schedule, SettlementRow};
use crate::schedules::ScheduleError;

/// The most days at once: a leap year.
const DAYS_MAX: i64 = 366;
/// The largest upload in bytes.
pub(super) const UPLOAD_LEN_MAX: usize = 8 * 1_024 * 1_024;
const WH_PER_KWH: f64 = 1_000.0;

#[derive(Clone, Copy)]
enum Kind {
    Uploaded,
    Persistence,
    ClearSky,
}

const KINDS: &[(&str, (&str, Kind))] = &[
    ("uploaded", ("uploaded", Kind::Uploaded)),
    ("persistence", ("persistence", Kind::Persistence)),
    ("clear_sky", ("clear_sky", Kind::ClearSky)),
];
const PERIODS: &[(&str, (&str, i64))] = &[("15m", ("15m", 15)), ("30m", ("30m", 30)), ("60m", ("60m", 60))];

#[derive(Serialize)]
pub(super) struct Settlement {
    plant: String,
    schedule: &'static str,
    period: &'static str,
    from_ms: i64,
    to_ms: i64,
    time_zone: &'static str,
    sign: &'static str,
    summary: Summary,
    periods: Vec<PeriodJson>,
}

/// Over the periods of which both are known. Errors are mean powers.
#[derive(Serialize)]
struct Summary {
    valid_periods: usize,
    completeness: f64,
    scheduled_wh: Option<i64>,
    deviation_wh: Option<i64>,
    absolute_deviation_wh: Option<i64>,
    over_delivery_wh: Option<i64>,
    under_delivery_wh: Option<i64>,
    mae_w: Option<f64>,
    mbe_w: Option<f64>,
    rmse_w: Option<f64>,
    /// Mean absolute error in percent of the inverters' rating.
    nmae_pct: Option<f64>,
    daylight_periods: usize,
    mae_daylight_w: Option<f64>,
    mbe_daylight_w: Option<f64>,
}

/// One settlement period; `null` is unknown.
#[derive(Serialize)]
struct PeriodJson {
    start_ms: i64,
    end_ms: i64,
    actual_wh: Option<i64>,
    scheduled_wh: Option<i64>,
    deviation_wh: Option<i64>,
}

pub(super) async fn settlement(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Settlement>, ApiError> {
    let given = Given::of(&query, &["plant", "schedule", "period", "from", "to"])?;
    let plant = given
        .get("plant")
        .ok_or_else(|| ApiError::parameter("plant", "", "the id of a plant; /api/v1/plants lists them"))?;
    let rated_kw = f64::from(api.must_have(plant)?.inverter_ac_w) / WH_PER_KWH;
    let (schedule, kind) = given.word("schedule", KINDS)?;
    let (period, minutes) = given.word("period", PERIODS)?;
    let (from_ms, to_ms) = given.span((api.now)(), DAYS_MAX)?;
    let _turn = api.heavy.acquire().await?;
    let (store, schedules, asked) = (api.store.clone(), api.schedules.clone(), plant.to_owned());
    let read = move || -> Result<_, ApiError> {
        let schedule = match kind {
            Kind::Uploaded => Schedule::Uploaded(schedules.read(&asked)?),
            Kind::Persistence => Schedule::Persistence,
            Kind::ClearSky => Schedule::ClearSky,
        };
        Ok(store.settlement(&asked, (from_ms, to_ms), minutes, &schedule)?)
    };
    let (rows, deviation) = tokio::task::spawn_blocking(read).await??;
    let known = |kwh: f64| (deviation.valid > 0).then(|| thousandths(kwh));
    let watts = |kw: Option<f64>| kw.map(|kw| rounded(kw * 1e3, 1e3));
    let summary = Summary {
        valid_periods: deviation.valid,
        // A year has 35,136 of them.
        completeness: rounded(deviation.valid as f64 / rows.len().max(1) as f64, 1e6),
        scheduled_wh: known(deviation.scheduled_kwh),
        deviation_wh: known(deviation.deviation_kwh),
        absolute_deviation_wh: known(deviation.abs_kwh),
        over_delivery_wh: known(deviation.over_kwh),
        under_delivery_wh: known(deviation.under_kwh),
        mae_w: watts(deviation.mae_kw),
        mbe_w: watts(deviation.mbe_kw),
        rmse_w: watts(deviation.rmse_kw),
        nmae_pct: deviation.nmae_pct(rated_kw).map(|pct| rounded(pct, 1e4)),
        daylight_periods: deviation.daylight,
        mae_daylight_w: watts(deviation.mae_daylight_kw),
        mbe_daylight_w: watts(deviation.mbe_daylight_kw),
    };
    Ok(Json(Settlement {
        plant: plant.to_owned(),
        schedule,
        period,
        from_ms,
        to_ms,
        time_zone: "Asia/Tehran",
        sign: "deviation = actual - scheduled; above zero is over-delivery",
        summary,
        periods: rows.iter().map(period_json).collect(),
    }))
}

fn period_json(row: &SettlementRow) -> PeriodJson {
    let both = row.actual_kwh.zip(row.scheduled_kwh);
    PeriodJson {
        start_ms: row.start_ms,
        end_ms: row.end_ms,
        actual_wh: row.actual_kwh.map(thousandths),
        scheduled_wh: row.scheduled_kwh.map(thousandths),
        deviation_wh: both.map(|(actual, scheduled)| thousandths(actual - scheduled)),
    }
}

/// What an upload brought.
#[derive(Serialize)]
pub(super) struct Uploaded {
    plants: Vec<String>,
    periods: usize,
}

pub(super) async fn upload(
    State(api): State<Arc<Api>>,
    request: Request,
) -> Result<Json<Uploaded>, ApiError> {
    // Before the body is read: who has no token can't make us hold megabytes.
    if !is_bearer(request.headers(), &api.token) {
        let message = "a schedule needs the header \"Authorization: Bearer TOKEN\" with ingest's token";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorised", message));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await;
    let body = body
        .map_err(|_| {
            let message = format!("the schedule did not arrive within {} s", BODY_TIMEOUT.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
        })?
        .map_err(|_| {
            let message = format!("a schedule has at most {UPLOAD_LEN_MAX} bytes: send less at once");
            ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
        })?;
    let _turn = api.heavy.acquire().await?;
    let text = String::from_utf8(body.into()).map_err(|_| {
        ApiError::new(
            StatusCode::BAD_REQUEST,
            "bad_schedule",
            "the file is no UTF-8 text: expected CSV",
        )
    })?;
    let schedules = api.schedules.clone();
    let imported = tokio::task::spawn_blocking(move || schedules.import(&text)).await??;
    Ok(Json(Uploaded {
        plants: imported.plants,
        periods: imported.periods,
    }))
}

impl From<ScheduleError> for ApiError {
    fn from(error: ScheduleError) -> Self {
        let message = error.to_string();
        match error {
            ScheduleError::Line { .. } | ScheduleError::TooMany(_) => {
                Self::new(StatusCode::BAD_REQUEST, "bad_schedule", message)
            }
            ScheduleError::Stored { .. } => Self::new(StatusCode::CONFLICT, "overlap", message),
            ScheduleError::Disk { .. } => Self::unavailable(message),
        }
    }
}
