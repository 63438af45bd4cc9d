//! Where readings and figures go besides the store: two workers per InfluxDB server, each with a durable cursor in the store.
//!
//! In: the store's feed of readings behind the cursor, its changes of figures. Out: line protocol, at least once and idempotently. A worker never
//! holds the only copy of anything: the store keeps every reading, a line set aside is only missing in the sink.

mod backoff;
mod deliver;
mod figures;
mod influx;
mod look;
mod plan;
mod status;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::InfluxConfig;
use crate::store::{Now, Store, StoreError};
use crate::view::StoredReading;

use backoff::Backoff;
use deliver::{Outcome, deliver};
use influx::{Influx, encode};

pub(crate) use figures::FigureSink;
pub use figures::figure_lines;
pub use influx::SinkError;
pub(crate) use influx::is_plain_base;
pub(crate) use look::days_over_ms;
use status::What;
pub(crate) use status::{SinkSnapshot, SinkStatus};

/// The most points of figures in one write.
const BATCH_LINES_MAX: usize = 5_000;
/// The most readings in one write; what was sealed meanwhile comes a device and day at a time, which may be more.
const BATCH_READINGS_MAX: usize = 5_000;
/// Commits come every few milliseconds while a backlog drains; writes wait this long for company.
const LINGER: Duration = Duration::from_millis(200);
/// How often the lag is counted while a write takes its time, or a server is away.
const LAG_PERIOD: Duration = Duration::from_secs(10);

/// One sink, ready to run.
#[derive(Debug)]
pub(crate) struct Sink {
    influx: Arc<Influx>,
    overwrites: bool,
    store: Store,
    status: Arc<SinkStatus>,
    lag_period: Duration,
}

/// The line of a reading in line protocol, with its line feed, as every sink is sent it; `None` for one without a value.
#[must_use]
pub fn line_protocol(reading: &StoredReading) -> Option<String> {
    let mut line = String::new();
    encode(reading, &mut line).then_some(line)
}

/// Why a round ended early.
enum Interrupted {
    /// The program is stopping.
    Stopping,
    /// The store could not be read or written.
    Store(StoreError),
}

impl From<StoreError> for Interrupted {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::Stopping,
            error => Self::Store(error),
        }
    }
}

impl Sink {
    /// Checks the configuration; nothing is sent and nothing read.
    ///
    /// # Errors
    /// [`SinkError`] names the key and what is allowed.
    pub(crate) fn new(config: &InfluxConfig, store: Store) -> Result<Self, SinkError> {
        let status = Arc::new(SinkStatus::new(config.name.clone()));
        Ok(Self {
            influx: Arc::new(Influx::new(config)?),
            overwrites: config.overwrites,
            store,
            status,
            lag_period: LAG_PERIOD,
        })
    }

    /// How it goes; for metrics and the API.
    #[must_use]
    pub(crate) fn status(&self) -> Arc<SinkStatus> {
        Arc::clone(&self.status)
    }

    /// The figures' way to the same server. The store must know the sink ([`Store::set_figure_sinks`]).
    pub(crate) fn figures(&self, now: Now) -> FigureSink {
        FigureSink {
            influx: Arc::clone(&self.influx),
            store: self.store.clone(),
            status: Arc::clone(&self.status),
            now,
            overwrites: self.overwrites,
            period: FigureSink::PERIOD,
            lag_period: self.lag_period,
            is_others_turn: AtomicBool::new(false),
        }
    }

    /// Writes what the store has and then what it gets, until the token is cancelled. What was written is noted in the store
    /// after each write, so a restart repeats at most one write.
    pub(crate) async fn run(self, cancel: CancellationToken) {
        let mut commits = self.store.commits();
        let mut backoff = Backoff::new();
        loop {
            commits.borrow_and_update();
            match self.round(&cancel).await {
                Ok(BATCH_READINGS_MAX..) => backoff = Backoff::new(),
                Ok(_) => {
                    backoff = Backoff::new();
                    let next = async { commits.changed().await.is_ok() };
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        open = next => if !open { return },
                    }
                    tokio::time::sleep(LINGER).await;
                }
                Err(Interrupted::Stopping) => return,
                Err(Interrupted::Store(error)) => {
                    tracing::warn!(sink = self.status.name(), %error, "the sink can't use the store; trying again");
                    self.status.failed(error.to_string());
                    tokio::select! {
                        () = cancel.cancelled() => return,
                        () = tokio::time::sleep(backoff.next_delay()) => {}
                    }
                }
            }
        }
    }

    /// Takes one batch behind the cursor, writes it, moves the cursor. Returns how many readings it took.
    async fn round(&self, cancel: &CancellationToken) -> Result<usize, Interrupted> {
        let name = self.status.name().to_owned();
        let (readings, behind, cursor) = self
            .blocking(move |store| {
                let cursor = store.cursor(&name)?;
                Ok((
                    store.readings_after(cursor, BATCH_READINGS_MAX)?,
                    store.behind(cursor)?,
                    cursor,
                ))
            })
            .await?;
        let Some(last) = readings.last().map(|reading| reading.rowid) else {
            // Records that are no readings may stand behind the cursor; there is nothing to write of them.
            self.status.set_lag(What::Readings, 0);
            return Ok(0);
        };
        self.status.set_lag(What::Readings, behind);
        let taken = readings.len();
        let lines = encode_all(&readings);
        drop(readings);
        let outcome = tokio::select! {
            outcome = deliver(&self.influx, &self.status, What::Readings, lines, cancel) => outcome,
            error = self.keep_lag(cursor) => return Err(error),
        };
        match outcome {
            Outcome::Delivered => {}
            Outcome::Stopping => return Err(Interrupted::Stopping),
        }
        self.store.set_cursor(self.status.name(), last).await?;
        let left = if taken < BATCH_READINGS_MAX {
            0
        } else {
            self.blocking(move |store| store.behind(last)).await?
        };
        self.status.set_lag(What::Readings, left);
        Ok(taken)
    }

    /// Keeps the lag true while a batch is under way, however long the server is away.
    async fn keep_lag(&self, cursor: i64) -> Interrupted {
        loop {
            tokio::time::sleep(self.lag_period).await;
            match self.blocking(move |store| store.behind(cursor)).await {
                Ok(behind) => self.status.set_lag(What::Readings, behind),
                // The batch is not lost: the cursor has not moved.
                Err(error) => return error,
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Interrupted> {
        blocking(&self.store, work).await
    }
}

/// Uses the store on a thread that may block.
async fn blocking<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Interrupted> {
    let store = store.clone();
    match tokio::task::spawn_blocking(move || work(&store)).await {
        Ok(done) => Ok(done?),
        Err(error) if error.is_panic() => Err(StoreError::Failed(
            "a computation over it panicked; the log above says where: please report it".into(),
        )
        .into()),
        Err(_) => Err(Interrupted::Stopping),
    }
}

/// The lines of the readings that carry a value.
fn encode_all(readings: &[StoredReading]) -> Vec<String> {
    let line = |reading| {
        let mut line = String::new();
        encode(reading, &mut line).then_some(line)
    };
    readings.iter().filter_map(line).collect()
}

#[cfg(test)]
pub(crate) use figures::tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod worker_tests;
