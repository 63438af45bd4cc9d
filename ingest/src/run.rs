//! Starts every part of ingest and ends them in order. The only place that reads a clock.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use taraz_fleet::Fleet;
use taraz_settings::Wrong;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, StoreConfig};
use crate::http::{self, Beside, BesideSlot, Parts};
use crate::receive::Receiver;
use crate::sinks::{Sink, SinkError, days_over_ms};
use crate::store::{Now, Store, StoreError};

/// How often the figures of today are computed while something arrives.
const FIGURES_PERIOD: Duration = Duration::from_secs(2);
/// They take at most a tenth of the time, as long as they are not older than this when the next ones come.
const FIGURES_REST: u32 = 9;
const FIGURES_REST_MAX: Duration = Duration::from_secs(30);
/// How often when nothing does: time goes on.
const FIGURES_PERIOD_IDLE: Duration = Duration::from_secs(20);
/// How often the gap ledger is read from the store while something arrives.
const GAPS_PERIOD: Duration = Duration::from_secs(10);

/// How often what is held because its time was ahead is judged again.
const JUDGE_PERIOD: Duration = Duration::from_secs(60);
/// How often days that are over are looked for. The first time is as long after the start: a backlog comes first.
const KEEP_PERIOD: Duration = Duration::from_secs(600);
/// How often the outlook is computed: it changes every quarter-hour.
const OUTLOOK_PERIOD: Duration = Duration::from_secs(30);
/// It takes at most a tenth of the time.
const OUTLOOK_REST: u32 = 9;

/// Ingest as a whole.
#[derive(Debug)]
pub struct Ingest;

/// Ingest at work.
pub struct RunningIngest {
    /// Where HTTP listens; the port is the real one when the configuration says 0.
    pub http_addr: SocketAddr,
    store: Store,
    beside: BesideSlot,
    ended: JoinHandle<()>,
    why: Why,
}

/// The first reason that ingest had to end without being asked to.
type Why = Arc<OnceLock<RunError>>;

/// Ingest ended without being asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The store's writer is gone.
    #[error(
        "the store's writer has ended, the log says why; what was delivered and not stored will come again"
    )]
    Writer,
    /// HTTP is gone.
    #[error("HTTP has ended: {0}")]
    Http(String),
    /// A part of it panicked.
    #[error("a part of ingest has panicked, the log says where")]
    Panicked,
}

/// Ingest can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration can't be used.
    #[error("ingest configuration: {0}")]
    Config(#[from] Wrong),
    /// A sink's configuration can't be used.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The store can't be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing can listen there.
    #[error(
        "can't listen for HTTP on {listen}: {error}; ingest.listen (or --http) takes another ADDRESS:PORT"
    )]
    Listen {
        /// The configured address.
        listen: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// The thread that opened the store has ended by a panic.
    #[error("the store could not be opened: its thread has panicked")]
    Panicked,
}

impl Ingest {
    /// Checks the configuration, opens the store, then serves until the token is cancelled.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub async fn start(
        config: Config,
        fleet: Arc<Fleet>,
        registry: prometheus::Registry,
        cancel: CancellationToken,
    ) -> Result<RunningIngest, StartError> {
        config.check()?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|error| StartError::Listen {
                listen: config.listen,
                error,
            })?;
        let http_addr = listener.local_addr().map_err(|error| StartError::Listen {
            listen: config.listen,
            error,
        })?;
        let now: Now = Arc::new(system_now_ms);
        let store = open(config.data.clone(), fleet, Arc::clone(&now)).await?;
        let sinks: Vec<Sink> = config
            .influx
            .iter()
            .map(|sink| Sink::new(sink, store.clone()))
            .collect::<Result<_, _>>()?;
        let statuses: Vec<_> = sinks.iter().map(Sink::status).collect();
        let names = config.influx.iter().map(|sink| sink.name.clone()).collect();
        store.set_figure_sinks(names, days_over_ms(now())).await?;
        let beside = BesideSlot::default();
        let parts = Parts {
            store: store.clone(),
            registry,
            sinks: statuses,
            now: Arc::clone(&now),
            token: config.token,
            beside: Arc::clone(&beside),
        };
        let mut tasks = JoinSet::new();
        let why = Why::default();
        tasks.spawn(serve(listener, parts, cancel.clone(), Arc::clone(&why)));
        tasks.spawn(watch_writer(store.commits(), cancel.clone(), Arc::clone(&why)));
        tasks.spawn(keep_gaps(store.clone(), cancel.clone()));
        tasks.spawn(keep_figures(store.clone(), Arc::clone(&now), cancel.clone()));
        tasks.spawn(keep_store(
            store.clone(),
            config.store,
            Arc::clone(&now),
            cancel.clone(),
        ));
        tasks.spawn(judge_times(store.clone(), cancel.clone()));
        tasks.spawn(keep_outlook(store.clone(), Arc::clone(&now), cancel.clone()));
        for sink in sinks {
            tasks.spawn(sink.figures(Arc::clone(&now)).run(cancel.clone()));
            tasks.spawn(sink.run(cancel.clone()));
        }
        let ended = tokio::spawn(end(tasks, store.clone(), cancel, Arc::clone(&why)));
        Ok(RunningIngest {
            http_addr,
            store,
            beside,
            ended,
            why,
        })
    }
}

impl std::fmt::Debug for RunningIngest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("RunningIngest");
        shown.field("http_addr", &self.http_addr).finish_non_exhaustive()
    }
}

impl RunningIngest {
    /// Serves what a gateway in the same process shows of itself, and counts it in `/readyz`. The first one stays.
    pub fn show_beside(&self, gateway: impl Beside + 'static) {
        let _ = self.beside.set(Box::new(gateway));
    }

    /// The door for batches of a gateway in the same process.
    #[must_use]
    pub fn receiver(&self) -> Receiver {
        self.store.receiver()
    }

    /// What is stored, and through it the present.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns when everything has ended and the store is closed.
    ///
    /// # Errors
    /// [`RunError`] when it ended without being asked to.
    pub async fn stopped(self) -> Result<(), RunError> {
        self.ended.await.map_err(|_| RunError::Panicked)?;
        self.why.get().cloned().map_or(Ok(()), Err)
    }
}

async fn open(data: std::path::PathBuf, fleet: Arc<Fleet>, now: Now) -> Result<Store, StartError> {
    let opened = tokio::task::spawn_blocking(move || Store::open(&data, fleet, now)).await;
    Ok(opened.map_err(|_| StartError::Panicked)??)
}

/// When HTTP ends before it is told to, everything ends: a store without a door helps nobody.
async fn serve(listener: TcpListener, parts: Parts, cancel: CancellationToken, why: Why) {
    if let Err(error) = http::serve(listener, parts, cancel.clone()).await {
        tracing::error!(%error, "HTTP has ended");
        why.get_or_init(|| RunError::Http(error.to_string()));
    }
    cancel.cancel();
}

/// When the store's writer ends before it is told to, by a panic, everything ends: nothing would be stored any more.
async fn watch_writer(mut commits: watch::Receiver<u64>, cancel: CancellationToken, why: Why) {
    tokio::select! {
        () = cancel.cancelled() => {}
        // The writer holds the sender; an error says that it is gone.
        () = async { while commits.changed().await.is_ok() {} } => {
            tracing::error!("the store's writer has ended; ingest stops");
            why.get_or_init(|| RunError::Writer);
            cancel.cancel();
        }
    }
}

/// The store is closed after whoever uses it.
async fn end(mut tasks: JoinSet<()>, store: Store, cancel: CancellationToken, why: Why) {
    cancel.cancelled().await;
    while let Some(ended) = tasks.join_next().await {
        if ended.is_err() {
            why.get_or_init(|| RunError::Panicked);
        }
    }
    store.close().await;
}

/// How long figures that took so long to compute are left alone, and for how long after that when nothing arrives.
fn figures_waits(took: Duration) -> (Duration, Duration) {
    let rest = (took * FIGURES_REST).clamp(FIGURES_PERIOD, FIGURES_REST_MAX);
    (rest, FIGURES_PERIOD_IDLE.saturating_sub(rest))
}

async fn keep_figures(store: Store, now: Now, cancel: CancellationToken) {
    let mut commits = store.commits();
    loop {
        commits.borrow_and_update();
        let (live, of, now_ms) = (store.live(), store.clone(), now());
        let began = std::time::Instant::now();
        let computed = tokio::task::spawn_blocking(move || live.refresh(&of, now_ms)).await;
        let (rest, idle) = figures_waits(began.elapsed());
        if let Ok(Err(error)) = computed {
            tracing::warn!(%error, "today's figures can't be computed; trying again");
        }
        let next = async {
            tokio::time::sleep(rest).await;
            // The store's handle keeps the sender alive; were it gone, the idle period would still hold.
            let _ = tokio::time::timeout(idle, commits.changed()).await;
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = next => {}
        }
    }
}

/// Keeps the gap ledger up to date while something arrives.
async fn keep_gaps(store: Store, cancel: CancellationToken) {
    let mut commits = store.commits();
    loop {
        commits.borrow_and_update();
        let of = store.clone();
        let read = tokio::task::spawn_blocking(move || of.live().gaps().refresh(&of)).await;
        if let Ok(Err(error)) = read {
            tracing::warn!(%error, "the gap ledger can't be read; trying again");
        }
        let next = async {
            tokio::time::sleep(GAPS_PERIOD).await;
            // The store's handle keeps the sender alive; an error would only mean one reading more.
            let _ = commits.changed().await;
        };
        tokio::select! {
            () = cancel.cancelled() => return,
            () = next => {}
        }
    }
}

/// Releases what was held because its time was ahead, once it has passed.
async fn judge_times(store: Store, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(JUDGE_PERIOD) => {}
        }
        let judged = tokio::select! {
            () = cancel.cancelled() => return,
            judged = store.judge_times() => judged,
        };
        if let Err(error) = judged {
            tracing::warn!(%error, "held records can't be judged; trying again");
        }
    }
}

/// Seals and gives up what the policy says, now and then.
async fn keep_store(store: Store, policy: StoreConfig, now: Now, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(KEEP_PERIOD) => {}
        }
        let kept = store.keep(now(), policy.seal_after_days, policy.keep_readings_days);
        let kept = tokio::select! {
            () = cancel.cancelled() => return,
            kept = kept => kept,
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "days that are over can't be sealed; trying again");
        }
    }
}

async fn keep_outlook(store: Store, now: Now, cancel: CancellationToken) {
    loop {
        let (live, of, now_ms) = (store.live(), store.clone(), now());
        let began = std::time::Instant::now();
        let computed = tokio::task::spawn_blocking(move || live.refresh_outlook(&of, now_ms)).await;
        if let Ok(Err(error)) = computed {
            tracing::warn!(%error, "the outlook can't be computed; trying again");
        }
        let rest = OUTLOOK_PERIOD.max(began.elapsed() * OUTLOOK_REST);
        tokio::select! {
            () = cancel.cancelled() => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// UTC ms by the system's clock; a clock before 1970 is taken as 1970.
fn system_now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
