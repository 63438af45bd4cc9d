//! Every error of the API has one shape: `{"error":{"code","message"}}`, and for a wrong parameter also what is allowed.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::StoreError;

/// An answer that is not what was asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    retry_after_s: Option<u32>,
    /// Boxed, so that results that carry no error stay small.
    body: Box<Body>,
}

#[derive(Debug, Serialize)]
struct Body {
    code: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed: Option<String>,
}

#[derive(Serialize)]
struct Envelope {
    error: Box<Body>,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let body = Box::new(Body {
            code,
            message: message.into(),
            key: None,
            value: None,
            allowed: None,
        });
        Self {
            status,
            retry_after_s: None,
            body,
        }
    }

    /// 400 for a query parameter: which, what it was, what is allowed.
    pub(crate) fn parameter(key: &str, value: &str, allowed: impl Into<String>) -> Self {
        let (value, allowed) = (value.chars().take(80).collect::<String>(), allowed.into());
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            "bad_parameter",
            format!("{key} = \"{value}\": {allowed}"),
        );
        error.body.key = Some(key.to_owned());
        error.body.value = Some(value);
        error.body.allowed = Some(allowed);
        error
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 503: the same request may succeed later.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        error.retry_after_s = Some(1);
        error
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::UnknownPlant(_) => Self::not_found(message),
            StoreError::TooLong(_) => Self::new(StatusCode::BAD_REQUEST, "too_long", message),
            _ => Self::unavailable(message),
        }
    }
}

/// A blocking task that did not come back: it panicked, or the program is stopping.
impl From<tokio::task::JoinError> for ApiError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::unavailable("the answer could not be made; ask again")
    }
}

/// The program is stopping.
impl From<tokio::sync::AcquireError> for ApiError {
    fn from(_: tokio::sync::AcquireError) -> Self {
        Self::unavailable("the program is stopping; ask again later")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(Envelope { error: self.body })).into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
