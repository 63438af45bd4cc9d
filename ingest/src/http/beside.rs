//! What a gateway in the same process shows of itself, served at ingest's address: `taraz up` has no other.

use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::State;
use serde_json::Value;

use super::Api;
use super::error::ApiError;

/// A gateway as far as HTTP shows it; the answers are those of a gateway of its own.
pub trait Beside: Send + Sync {
    /// The last refused messages of each reason.
    fn refused(&self) -> Value;
    /// The last state of each device that stated one.
    fn devices(&self) -> Value;
    /// Why nothing is taken in; `None` when all is well.
    fn not_ready(&self) -> Option<&'static str>;
}

/// Set once the gateway runs, which is after ingest.
pub(crate) type BesideSlot = Arc<OnceLock<Box<dyn Beside>>>;

pub(super) async fn refused(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(of(&api)?.refused()))
}

pub(super) async fn devices(State(api): State<Arc<Api>>) -> Result<Json<Value>, ApiError> {
    Ok(Json(of(&api)?.devices()))
}

fn of(api: &Api) -> Result<&dyn Beside, ApiError> {
    let gateway = api.beside.get().map(AsRef::as_ref);
    gateway.ok_or_else(|| {
        ApiError::not_found(
            "no gateway runs in this process: ask the gateway at its own address, gateway.http_listen",
        )
    })
}
