//! `POST /api/v1/batches`: the hop from a gateway. The answer comes after the commit, never before.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq as _;
use taraz_telemetry::{BATCH_LEN_MAX, BatchError};

use super::Api;
use super::error::ApiError;
use crate::counters::BatchResult;
use crate::receive::ReceiveError;

/// The most batches that are held in memory at once; more are told to come again.
pub(super) const BATCHES_AT_ONCE_MAX: usize = 16;
/// How long the bytes of a batch may take to arrive.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn receive(State(api): State<Arc<Api>>, request: Request) -> Result<Response, ApiError> {
    // Before the body is read: who has no token can't make us hold 4 MiB.
    if !is_bearer(request.headers(), &api.token) {
        api.counters.batch(BatchResult::Unauthorised);
        let message = "a batch needs the header \"Authorization: Bearer TOKEN\" with ingest's token";
        return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorised", message));
    }
    let Ok(_place) = api.batches_at_once.try_acquire() else {
        return Err(ApiError::unavailable(format!(
            "{BATCHES_AT_ONCE_MAX} batches are being stored; come again"
        )));
    };
    let body = match tokio::time::timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejection)) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            api.counters.batch(BatchResult::Rejected);
            return Err(too_large());
        }
        Ok(Err(rejection)) => {
            return Err(ApiError::new(
                rejection.status(),
                "bad_body",
                rejection.body_text(),
            ));
        }
        Err(_) => {
            let message = format!("the batch did not arrive within {} s", BODY_TIMEOUT.as_secs());
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
        }
    };
    let verdict = api.receiver.receive(body.into()).await.map_err(refused)?;
    let status = if verdict.rejected.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::UNPROCESSABLE_ENTITY
    };
    Ok((status, Json(verdict)).into_response())
}

fn refused(error: ReceiveError) -> ApiError {
    match error {
        ReceiveError::Malformed(BatchError::Length(length)) if length > BATCH_LEN_MAX => too_large(),
        ReceiveError::Malformed(error) => {
            ApiError::new(StatusCode::BAD_REQUEST, "not_a_batch", error.to_string())
        }
        error @ ReceiveError::Unavailable(_) => ApiError::unavailable(error.to_string()),
    }
}

fn too_large() -> ApiError {
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        format!("a batch has at most {BATCH_LEN_MAX} bytes: send less at once"),
    )
}

/// The scheme's name in any case (RFC 9110, section 11.1), then the token, compared without telling where it differs.
pub(super) fn is_bearer(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let Some((scheme, presented)) = given.and_then(|value| value.split_at_checked("Bearer ".len())) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"Bearer ") && bool::from(presented.ct_eq(token.as_bytes()))
}
