//! Serves the page's files with a validator, so that a phone fetches each only once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::page::{ASSETS, Asset};

/// One route for each file.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let tag = tag(asset.bytes);
        router.route(
            asset.path,
            get(move |headers: HeaderMap| async move { answer(asset, &tag, &headers) }),
        )
    })
}

fn answer(asset: &'static Asset, tag: &str, headers: &HeaderMap) -> Response {
    // Asked again every time, answered with nothing while it is the same: an update shows at once.
    let always = [
        (header::ETAG, tag),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_TYPE, asset.mime),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return (StatusCode::NOT_MODIFIED, always).into_response();
    }
    (always, asset.bytes).into_response()
}

fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
