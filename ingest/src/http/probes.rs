//! `/healthz`, `/readyz` and `/metrics`: for whoever watches this process.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus::TextEncoder;
use serde::Serialize;

use super::Api;
use super::error::ApiError;

/// How long the store may take to commit before it does not count as writable.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long an answer about the store is good: a probe costs a commit.
const READY_AGE_MS: i64 = 1_000;
/// The cursor that the probe writes; no sink can be called so.
const READY_CURSOR: &str = "readyz!";

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
}

const OK: Health = Health {
    status: "ok",
    version: env!("CARGO_PKG_VERSION"),
};

/// The process is alive and answers; nothing else is said.
pub(super) async fn health() -> Json<Health> {
    Json(OK)
}

/// What the last probe of the store said, and when.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    at_ms: Option<i64>,
    reason: Option<String>,
}

/// The store takes a commit (it is asked for a real one), and a gateway in this process takes readings in.
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Health>, ApiError> {
    let now_ms = (api.now)();
    // Held across the probe: many who ask at once get one answer.
    let mut last = api.readiness.lock().await;
    if last
        .at_ms
        .is_none_or(|at| !(0..READY_AGE_MS).contains(&(now_ms - at)))
    {
        // Another value each time, so that there is something to write; negative, because places of readings go on behind the
        // highest cursor.
        let commit = api.store.set_cursor(READY_CURSOR, -now_ms);
        last.reason = match tokio::time::timeout(COMMIT_TIMEOUT, commit).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!(
                "the store did not commit within {} s",
                COMMIT_TIMEOUT.as_secs()
            )),
        };
        last.at_ms = Some(now_ms);
    }
    let gateway = api.beside.get().and_then(|gateway| gateway.not_ready());
    match last.reason.as_deref().or(gateway) {
        None => Ok(Json(OK)),
        Some(reason) => Err(ApiError::unavailable(format!("not ready: {reason}"))),
    }
}

/// Every registered metric, and those of plants and of ingest, in Prometheus' text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Result<Response, ApiError> {
    // One at a time: whoever asks more often waits, and costs no more memory.
    let turn = Arc::clone(&api.scrapes).acquire_owned().await?;
    let text = tokio::task::spawn_blocking(move || {
        // Until the text is made, not only until whoever asked gives up.
        let _turn = turn;
        let mut text = api.metrics.text();
        TextEncoder::new().encode_utf8(&api.registry.gather(), &mut text)?;
        Ok::<_, prometheus::Error>(text)
    });
    let text = text.await?.map_err(|error| {
        ApiError::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not_encodable",
            error.to_string(),
        )
    })?;
    Ok(([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response())
}

/// The description of this API, as it was built.
pub(super) async fn openapi() -> Response {
    const TEXT: &str = include_str!("../../../docs/api/openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], TEXT).into_response()
}

#[cfg(test)]
#[path = "probes_tests.rs"]
mod tests;
