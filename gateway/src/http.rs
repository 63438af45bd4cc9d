//! HTTP of a lone gateway: `/metrics`, `/healthz`, `/readyz`, `/api/v1/refused`, `/api/v1/devices`.

use std::net::SocketAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use prometheus::{Registry, TextEncoder};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::gateway::View;

/// A server at work.
#[derive(Debug)]
pub struct Server {
    /// Where it listens, with the port it was given.
    pub addr: SocketAddr,
    /// Ends after the token was cancelled.
    pub ended: JoinHandle<std::io::Result<()>>,
}

/// Binds the address and serves until `stop` is cancelled.
///
/// # Errors
/// What the system says when the address can't be bound.
pub async fn serve(
    addr: SocketAddr,
    registry: Registry,
    view: View,
    stop: CancellationToken,
) -> std::io::Result<Server> {
    let listener = TcpListener::bind(addr).await?;
    let addr = listener.local_addr()?;
    let app = router(registry, view);
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    let ended = tokio::spawn(async move { serving.await });
    Ok(Server { addr, ended })
}

/// The routes alone, for whoever serves them beside others.
pub fn router(registry: Registry, view: View) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route(
            "/api/v1/refused",
            get(async |State(shown): State<Shown>| Json(shown.view.refused())),
        )
        .route(
            "/api/v1/devices",
            get(async |State(shown): State<Shown>| Json(shown.view.device_states())),
        )
        .with_state(Shown { registry, view })
}

#[derive(Clone)]
struct Shown {
    registry: Registry,
    view: View,
}

async fn metrics(State(shown): State<Shown>) -> Response {
    match TextEncoder::new().encode_to_string(&shown.registry.gather()) {
        Ok(text) => ([(CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn ready(State(shown): State<Shown>) -> Response {
    match shown.view.not_ready() {
        None => "ready\n".into_response(),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}
