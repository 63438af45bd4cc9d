//! `GET /api/v1/conflicts`: records that came under the identity of a stored one and say something else, beside what is stored.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};

use super::Api;
use super::error::ApiError;
use super::period::Given;
use crate::store::{CONFLICTS_SHOWN_MAX, Conflicts};

/// How many are told unless `limit` says otherwise.
const LIMIT_DEFAULT: u32 = 100;

pub(super) async fn conflicts(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Conflicts>, ApiError> {
    let (device, limit) = parse(&query)?;
    let _turn = api.heavy.acquire().await?;
    let store = api.store.clone();
    let read = move || store.snapshot(|snapshot| snapshot.conflicts(device.as_deref(), limit));
    Ok(Json(tokio::task::spawn_blocking(read).await??))
}

fn parse(query: &[(String, String)]) -> Result<(Option<String>, u32), ApiError> {
    let given = Given::of(query, &["device", "limit"])?;
    let limit = match given.get("limit") {
        None => LIMIT_DEFAULT,
        Some(text) => {
            let number = text.parse().ok();
            number
                .filter(|number| (1..=CONFLICTS_SHOWN_MAX).contains(number))
                .ok_or_else(|| {
                    let allowed = format!("a number from 1 to {CONFLICTS_SHOWN_MAX}");
                    ApiError::parameter("limit", text, allowed)
                })?
        }
    };
    Ok((given.get("device").map(str::to_owned), limit))
}
