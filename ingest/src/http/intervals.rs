//! `GET /api/v1/plants/{plant}/intervals?from&to&step`: energies of a plant and its site per quarter-hour or day.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use super::period::{DAY_MS, Given};
use crate::store::INTERVALS_MAX;
use crate::view::{IntervalRow, Step};

/// What was asked for: `from_ms` included, `to_ms` excluded.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Period {
    from_ms: i64,
    to_ms: i64,
    step: Step,
}

#[derive(Serialize)]
pub(super) struct Intervals {
    plant: String,
    step: Step,
    from_ms: i64,
    to_ms: i64,
    time_zone: &'static str,
    intervals: Vec<Interval>,
}

/// One interval; `null` is unknown. Imbalance is consumption − generation, above zero is a deficit.
#[derive(Serialize)]
struct Interval {
    start_ms: i64,
    end_ms: i64,
    generated_wh: Option<i64>,
    consumed_wh: Option<i64>,
    import_wh: Option<i64>,
    export_wh: Option<i64>,
    imbalance_wh: Option<i64>,
    completeness: f64,
    spread: bool,
    reset: bool,
    held: bool,
    assumed: bool,
    settling: bool,
}

pub(super) async fn intervals(
    State(api): State<Arc<Api>>,
    Path(plant): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Intervals>, ApiError> {
    api.must_have(&plant)?;
    let period = parse(&query, (api.now)())?;
    let store = api.store.clone();
    let asked = plant.clone();
    let rows = tokio::task::spawn_blocking(move || {
        store.intervals(&asked, period.from_ms, period.to_ms, period.step)
    })
    .await??;
    Ok(Json(Intervals {
        plant,
        step: period.step,
        from_ms: period.from_ms,
        to_ms: period.to_ms,
        time_zone: "Asia/Tehran",
        intervals: rows.into_iter().map(Interval::from).collect(),
    }))
}

impl From<IntervalRow> for Interval {
    fn from(row: IntervalRow) -> Self {
        Self {
            start_ms: row.start_ms,
            end_ms: row.end_ms,
            generated_wh: row.generated_wh,
            consumed_wh: row.consumed_wh,
            import_wh: row.import_wh,
            export_wh: row.export_wh,
            imbalance_wh: row.imbalance_wh,
            completeness: row.completeness,
            spread: row.flags.spread,
            reset: row.flags.reset,
            held: row.flags.held,
            assumed: row.flags.assumed,
            settling: row.flags.settling,
        }
    }
}

/// Reads the parameters. Left out, they mean today in Tehran, by the quarter-hour.
fn parse(query: &[(String, String)], now_ms: i64) -> Result<Period, ApiError> {
    let given = Given::of(query, &["from", "to", "step"])?;
    let step = given.word("step", &[("15m", Step::Quarter), ("1d", Step::Day)])?;
    let step_ms = match step {
        Step::Quarter => 15 * 60_000,
        // The shortest local day has 23 h.
        Step::Day => 23 * 3_600_000,
    };
    let days_max = i64::try_from(INTERVALS_MAX).unwrap_or(i64::MAX) * step_ms / DAY_MS;
    let (from_ms, to_ms) = given.span(now_ms, days_max)?;
    Ok(Period { from_ms, to_ms, step })
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::*;

    /// 2026-11-23 13:30 in Tehran.
    const NOW_MS: i64 = 1_795_428_000_000;
    const HOUR_MS: i64 = 3_600_000;

    fn ask(query: &str) -> Result<Period, ApiError> {
        let pairs: Vec<_> = query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| p.split_once('=').unwrap())
            .collect();
        let pairs: Vec<_> = pairs
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        parse(&pairs, NOW_MS)
    }

    #[test]
    fn nothing_asked_is_today_by_the_quarter_hour() {
        let midnight = NOW_MS - 13 * HOUR_MS - HOUR_MS / 2;
        let today = Period {
            from_ms: midnight,
            to_ms: midnight + 24 * HOUR_MS,
            step: Step::Quarter,
        };
        assert_eq!(ask("").unwrap(), today);
        assert_eq!(
            ask("from=2026-11-23&to=2026-11-24&step=15m").unwrap(),
            today,
            "dates are Tehran's"
        );
        assert_eq!(
            ask("from=2026-11-22T20:30:00Z&to=2026-11-24T00:00:00+03:30").unwrap(),
            today
        );
        assert_eq!(ask("from=2026-10-24&step=1d").unwrap().to_ms, today.to_ms);
    }

    #[test]
    fn an_error_names_key_value_and_what_is_allowed() {
        let cases = [
            ("step=1h", "step = \"1h\": 15m or 1d"),
            ("from=yesterday", "from = \"yesterday\": a date like"),
            ("from=2026-11-23T10:00:00", "from = \"2026-11-23T10:00:00\""),
            ("from=1999-01-01", "from 2000 to 2100"),
            (
                "from=2026-11-23&to=2026-11-23",
                "to = \"2026-11-23\": a time after",
            ),
            ("from=2025-01-01&to=2026-11-23", "at most 366 days after"),
            ("plant=a", "the parameters are from, to and step"),
            ("step=1d&step=1d", "each at most once"),
        ];
        for (query, expected) in cases {
            let error = ask(query).expect_err(query);
            let said = format!("{error:?}").replace("\\\"", "\"");
            assert!(said.contains(expected), "{query}: {said}");
            assert_eq!(error.into_response().status(), 400, "{query}");
        }
    }

    #[test]
    fn a_year_of_days_is_not_too_long() {
        assert_eq!(ask("from=2020-01-01&step=1d").unwrap().step, Step::Day);
    }
}
