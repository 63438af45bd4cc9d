//! HTTP: batches in; metrics, JSON API and page out. The only module that names axum.
//!
//! In: what [`Api`] holds. Out: a router and a server that ends with its token. It computes nothing: the numbers are the
//! store's and the present's, the words about them are in `fleet`.

mod batches;
mod beside;
mod conflicts;
mod error;
mod expectation;
mod fleet;
mod gaps;
mod imbalances;
mod intervals;
mod judge;
mod page;
mod performance;
mod period;
mod probes;
mod settlement;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};
use prometheus::Registry;
use taraz_fleet::{Fleet, Plant};
use taraz_telemetry::BATCH_LEN_MAX;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::counters::Counters;
use crate::live::Live;
use crate::metrics::{Metrics, Sources};
use crate::receive::Receiver;
use crate::schedules::Schedules;
use crate::sinks::SinkStatus;
use crate::store::{Now, Store};

pub use beside::Beside;
pub(crate) use beside::BesideSlot;
use error::ApiError;

/// What the server answers from.
pub(crate) struct Parts {
    /// Where batches go and everything is read.
    pub(crate) store: Store,
    /// What `/metrics` shows beside `metrics`: of the process, and of a gateway in it.
    pub(crate) registry: Registry,
    /// How the sinks go.
    pub(crate) sinks: Vec<Arc<SinkStatus>>,
    /// The time.
    pub(crate) now: Now,
    /// What a gateway must present, and who uploads schedules.
    pub(crate) token: String,
    /// The gateway in this process.
    pub(crate) beside: BesideSlot,
}

/// The parts, and what the server itself remembers.
struct Api {
    fleet: Arc<Fleet>,
    receiver: Receiver,
    live: Live,
    counters: Arc<Counters>,
    store: Store,
    registry: Registry,
    metrics: Metrics,
    sinks: Vec<Arc<SinkStatus>>,
    now: Now,
    token: String,
    beside: BesideSlot,
    batches_at_once: Semaphore,
    /// Turns of answers that read years.
    heavy: Semaphore,
    /// Turns of scrapes.
    scrapes: Arc<Semaphore>,
    schedules: Schedules,
    readiness: Mutex<probes::Readiness>,
    today: Mutex<fleet::Today>,
}

/// The most answers that read years at once; others wait for their turn.
const HEAVY_AT_ONCE_MAX: usize = 2;
/// The most scrapes at once: each holds the text of the whole fleet.
const SCRAPES_AT_ONCE_MAX: usize = 1;
/// How long requests that are under way may take once the server is told to end.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until the token is cancelled, then lets requests that are under way finish, for at most [`GRACE`]: a client that
/// sends half a request must not keep the program.
///
/// # Errors
/// The listener fails.
pub(crate) async fn serve(listener: TcpListener, parts: Parts, cancel: CancellationToken) -> io::Result<()> {
    let server =
        axum::serve(listener, router(parts)).with_graceful_shutdown(cancel.clone().cancelled_owned());
    let too_late = async {
        cancel.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended,
        () = too_late => Ok(()),
    }
}

impl Api {
    fn new(parts: Parts) -> Self {
        Self {
            fleet: Arc::clone(parts.store.fleet()),
            receiver: parts.store.receiver(),
            live: parts.store.live(),
            counters: parts.store.counters(),
            schedules: parts.store.schedules(),
            metrics: Metrics::new(Sources {
                store: parts.store.clone(),
                sinks: parts.sinks.clone(),
                now: Arc::clone(&parts.now),
            }),
            store: parts.store,
            registry: parts.registry,
            sinks: parts.sinks,
            now: parts.now,
            token: parts.token,
            beside: parts.beside,
            batches_at_once: Semaphore::new(batches::BATCHES_AT_ONCE_MAX),
            heavy: Semaphore::new(HEAVY_AT_ONCE_MAX),
            scrapes: Arc::new(Semaphore::new(SCRAPES_AT_ONCE_MAX)),
            readiness: Mutex::default(),
            today: Mutex::default(),
        }
    }
}

fn router(parts: Parts) -> Router {
    let api = Arc::new(Api::new(parts));
    routes()
        .into_iter()
        .fold(Router::new(), |router, (path, method)| router.route(path, method))
        .merge(page::routes())
        .fallback(|| async { ApiError::not_found("nothing is served here; the API begins with /api/v1/") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this address takes another method",
            )
        })
        .layer(map_response(secure))
        .with_state(api)
}

/// Every route but the page's files; `docs/api/openapi.json` describes each.
fn routes() -> Vec<(&'static str, MethodRouter<Arc<Api>>)> {
    let batches = post(batches::receive).layer(DefaultBodyLimit::max(BATCH_LEN_MAX));
    let schedules = post(settlement::upload).layer(DefaultBodyLimit::max(settlement::UPLOAD_LEN_MAX));
    vec![
        ("/api/v1/batches", batches),
        ("/api/v1/plants", get(fleet::plants)),
        ("/api/v1/plants/{plant}/intervals", get(intervals::intervals)),
        (
            "/api/v1/plants/{plant}/expectation",
            get(expectation::expectation),
        ),
        (
            "/api/v1/plants/{plant}/performance",
            get(performance::performance),
        ),
        ("/api/v1/imbalances/energy", get(imbalances::energy)),
        ("/api/v1/imbalances/phase", get(imbalances::phase)),
        ("/api/v1/imbalances/string", get(imbalances::string)),
        ("/api/v1/imbalances/settlement", get(settlement::settlement)),
        ("/api/v1/schedules", schedules),
        ("/api/v1/sites", get(fleet::sites)),
        ("/api/v1/sinks", get(fleet::sinks)),
        ("/api/v1/gaps", get(gaps::gaps)),
        ("/api/v1/conflicts", get(conflicts::conflicts)),
        ("/api/v1/refused", get(beside::refused)),
        ("/api/v1/devices", get(beside::devices)),
        ("/api/v1/openapi.json", get(probes::openapi)),
        ("/healthz", get(probes::health)),
        ("/readyz", get(probes::ready)),
        ("/metrics", get(probes::metrics)),
    ]
}

impl Api {
    /// The plant of this id, or 404.
    fn must_have(&self, plant: &str) -> Result<&Plant, ApiError> {
        self.fleet.plant(plant).ok_or_else(|| {
            ApiError::not_found(format!(
                "no plant \"{plant}\" in the registry; /api/v1/plants lists them"
            ))
        })
    }
}

/// What every answer carries: nothing is guessed, framed or fetched from elsewhere, and numbers are never from a cache.
async fn secure(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; \
             img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ];
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod conflicts_tests;
#[cfg(test)]
mod gaps_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
