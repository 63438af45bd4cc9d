//! The way to ingest over HTTP: `POST {url}/api/v1/batches` with a bearer token.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode, Url};
use taraz_telemetry::BatchVerdict;

use super::uplink::{Uplink, UplinkError};

/// Where ingest takes batches.
const PATH: &str = "/api/v1/batches";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// From the first byte sent to the last received.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A verdict names at most the items of one batch.
const VERDICT_LEN_MAX: usize = 8 << 20;

/// Delivers batches to an ingest in another process.
#[derive(Clone)]
pub struct HttpUplink {
    client: Client,
    url: Url,
    token: String,
}

// The token stays out of logs.
impl std::fmt::Debug for HttpUplink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.url.as_str();
        f.debug_struct("HttpUplink")
            .field("url", &url)
            .finish_non_exhaustive()
    }
}

/// An uplink can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUplinkError {
    /// Not a URL that can be used.
    #[error("the ingest's url {url:?} can't be used: expected http://HOST:PORT, {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The HTTP client can't be built.
    #[error("can't build the HTTP client: {0}")]
    Client(String),
}

impl HttpUplink {
    /// `url` is the ingest's base, as in `http://127.0.0.1:8080`; `token` is its bearer token.
    ///
    /// # Errors
    /// [`HttpUplinkError`] when the URL is not one of plain HTTP.
    pub fn new(url: &str, token: &str) -> Result<Self, HttpUplinkError> {
        let wrong = |reason: String| HttpUplinkError::Url {
            url: url.to_owned(),
            reason,
        };
        let base = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
        if base.scheme() != "http" {
            return Err(wrong("for https put a TLS proxy beside the gateway".to_owned()));
        }
        let full = format!("{}{PATH}", url.trim_end_matches('/'));
        let url = Url::parse(&full).map_err(|error| wrong(error.to_string()))?;
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A redirect would turn the POST into a GET and carry the token elsewhere.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| HttpUplinkError::Client(error.to_string()))?;
        Ok(Self {
            client,
            url,
            token: token.to_owned(),
        })
    }
}

impl Uplink for HttpUplink {
    async fn deliver(&self, batch: Vec<u8>) -> Result<(), UplinkError> {
        let request = self
            .client
            .post(self.url.clone())
            .bearer_auth(&self.token)
            .header(CONTENT_TYPE, "application/octet-stream")
            .body(batch);
        let mut response = request.send().await.map_err(|error| unavailable(&error))?;
        let (status, retry_after) = (response.status(), retry_after(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(&error))? {
            if body.len() + chunk.len() > VERDICT_LEN_MAX {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        judge(status, retry_after, serde_json::from_slice(&body).ok())
    }
}

/// What an answer means. Only a verdict truncates or quarantines: any proxy can answer 200 or 400.
fn judge(
    status: StatusCode,
    retry_after: Option<Duration>,
    verdict: Option<BatchVerdict>,
) -> Result<(), UplinkError> {
    let known = matches!(status.as_u16(), 200..=299 | 400 | 422);
    match verdict.filter(|_| known) {
        Some(verdict) if !verdict.rejected.is_empty() => return Err(UplinkError::Rejected(verdict.rejected)),
        Some(_) if status.is_success() => return Ok(()),
        _ => {}
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Err(UplinkError::TooLarge);
    }
    if status.is_success() {
        let reason = format!("status {status} without a verdict: is this really the ingest?");
        return Err(UplinkError::Unavailable { reason, retry_after });
    }
    match retry_after {
        Some(_) => Err(UplinkError::Unavailable {
            reason: format!("status {status}"),
            retry_after,
        }),
        None => Err(UplinkError::Refused {
            status: status.as_u16(),
        }),
    }
}

/// Seconds; the form with a date (RFC 9110, 10.2.3) counts as none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn unavailable(error: &reqwest::Error) -> UplinkError {
    // The innermost source says what the system said.
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    UplinkError::Unavailable {
        reason: format!("{error}: {source}"),
        retry_after: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_http_urls() {
        assert!(HttpUplink::new("http://127.0.0.1:8080", "t").is_ok());
        let error = HttpUplink::new("https://example.org", "t")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("https://example.org") && error.contains("http://HOST:PORT"),
            "{error}"
        );
        assert!(HttpUplink::new("127.0.0.1:8080", "t").is_err());
        let uplink = HttpUplink::new("http://127.0.0.1:8080/", "t").unwrap();
        assert_eq!(uplink.url.as_str(), "http://127.0.0.1:8080/api/v1/batches");
    }
}
