//! Spool positions → batches → ingest; what ingest has is removed from the spool.
//!
//! What is live before a backlog, each oldest first, one batch at a time; what comes in waits a moment for more ([`gather`]). Only a
//! verdict on items removes or quarantines them: an expired token, a proxy's error page or silence pause forwarding, with
//! jittered back-off and an alarm, and touch nothing.

mod batch;
mod gather;
mod http_uplink;
mod pause;
mod uplink;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use taraz_telemetry::RejectedItem;

use crate::backoff::Backoff;
use crate::metrics::{BatchResult, Metrics};
use crate::spool::{DAMAGED, Spool, SpoolError, SpoolReader};

use batch::{ITEMS_MAX, Prepared, prepare};
use gather::gather;
pub use http_uplink::{HttpUplink, HttpUplinkError};
use pause::{Kind, Pause};
pub use uplink::{Uplink, UplinkError};

/// The longest wait before ingest is tried again, unless it asks for more.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// A `Retry-After` beyond this is not believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// The part of a rejection's reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 500;

/// The loop between spool and ingest.
pub(crate) struct Forward<U> {
    spool: Arc<Spool>,
    uplink: U,
    metrics: Metrics,
    stop: CancellationToken,
    /// Everything up to here is removed.
    done_up_to: u64,
    /// Items in a batch; halved when ingest finds one too large.
    items_max: usize,
    backoff: Backoff,
    pause: Pause,
}

/// What to do after an answer.
enum Next {
    Remove { rejected: Vec<(u64, String)> },
    Smaller,
    Pause { retry_after: Option<Duration> },
}

impl<U: Uplink> Forward<U> {
    pub(crate) fn new(spool: Arc<Spool>, uplink: U, metrics: Metrics, stop: CancellationToken) -> Self {
        let backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        Self {
            spool,
            uplink,
            metrics,
            stop,
            done_up_to: 0,
            items_max: ITEMS_MAX,
            backoff,
            pause: Pause::default(),
        }
    }

    /// Forwards until it is stopped or the spool ends.
    ///
    /// # Errors
    /// [`SpoolError`] when the spool can't be read at all.
    pub(crate) async fn run(mut self) -> Result<(), SpoolError> {
        let stop = self.stop.clone();
        let mut reader = self.spool.reader()?;
        let mut committed = self.spool.committed();
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = async {
                // What waits at the start has waited for long.
                let (mut is_more, mut read_at) = (true, Instant::now());
                loop {
                    if !is_more {
                        gather(&mut committed, self.done_up_to, read_at).await?;
                    }
                    read_at = Instant::now();
                    let newest = *committed.borrow();
                    let (back, prepared) = self.read(reader).await?;
                    reader = back;
                    is_more = match prepared {
                        Some(prepared) => self.deliver(prepared).await?,
                        None => {
                            // Rows up to there are gone.
                            self.done_up_to = self.done_up_to.max(newest);
                            false
                        }
                    };
                }
            } => ended,
        }
    }

    /// The next batch.
    async fn read(&mut self, reader: SpoolReader) -> Result<(SpoolReader, Option<Prepared>), SpoolError> {
        let mut reader = reader;
        loop {
            let (after, items_max) = (self.done_up_to, self.items_max);
            let live = self.spool.live_behind(after);
            let read = tokio::task::spawn_blocking(move || {
                let prepared = prepare(&reader, after, &live, items_max);
                (reader, prepared)
            });
            let (back, prepared) = read.await.map_err(|_| SpoolError::Closed)?;
            reader = back;
            match prepared {
                Ok(prepared) => return Ok((reader, prepared)),
                Err(error) => {
                    if self.pause.met(Kind::Unread, Instant::now().into_std()) {
                        tracing::error!(%error, "can't read the spool: forwarding pauses until it can be read again");
                    }
                    self.metrics.paused.set(1);
                    sleep(self.backoff.next_wait()).await;
                }
            }
        }
    }

    /// Delivers a batch; true when there is more that waits already.
    async fn deliver(&mut self, prepared: Prepared) -> Result<bool, SpoolError> {
        let Prepared {
            bytes,
            positions,
            last,
            ahead,
            damaged,
            is_full,
        } = prepared;
        let answer = if positions.is_empty() {
            Ok(())
        } else {
            self.uplink.deliver(bytes).await
        };
        match self.next(answer, &positions) {
            Next::Remove { mut rejected } => {
                for position in &damaged {
                    tracing::error!(
                        position,
                        "a row of the spool is damaged; it goes into the quarantine"
                    );
                    rejected.push((*position, DAMAGED.to_owned()));
                }
                self.spool.remove(last, ahead, rejected).await?;
                self.done_up_to = last;
                self.items_max = (self.items_max * 2).min(ITEMS_MAX);
                self.backoff.reset();
                if let Some(lasted) = self.pause.over(Instant::now().into_std()) {
                    let lasted_s = lasted.as_secs();
                    tracing::info!(lasted_s, "forwarding goes on: ingest takes batches again");
                }
                self.metrics.paused.set(0);
                return Ok(is_full);
            }
            Next::Smaller => self.items_max = (positions.len() / 2).max(1),
            Next::Pause { retry_after } => {
                self.metrics.paused.set(1);
                let wait = self.backoff.next_wait();
                sleep(retry_after.map_or(wait, |asked| asked.clamp(wait, RETRY_AFTER_MAX))).await;
            }
        }
        Ok(true)
    }

    fn next(&mut self, answer: Result<(), UplinkError>, positions: &BTreeSet<u64>) -> Next {
        match answer {
            Ok(()) => {
                self.metrics.batch(BatchResult::Accepted);
                Next::Remove { rejected: Vec::new() }
            }
            Err(UplinkError::Rejected(items)) => {
                self.metrics.batch(BatchResult::Rejected);
                let rejected = ours(items, positions);
                if rejected.is_empty() {
                    if self.pause.met(Kind::Confused, Instant::now().into_std()) {
                        tracing::error!(
                            "ingest rejected items that were not in the batch: forwarding pauses, and nothing is removed"
                        );
                    }
                    return Next::Pause { retry_after: None };
                }
                tracing::warn!(
                    items = rejected.len(),
                    reason = rejected[0].1,
                    "ingest rejected items for good"
                );
                Next::Remove { rejected }
            }
            Err(UplinkError::TooLarge) => {
                self.metrics.batch(BatchResult::TooLarge);
                match positions.first() {
                    Some(position) if positions.len() == 1 => {
                        let rejected = vec![(*position, "too large for ingest".to_owned())];
                        Next::Remove { rejected }
                    }
                    _ => Next::Smaller,
                }
            }
            Err(error @ UplinkError::Refused { .. }) => {
                self.metrics.batch(BatchResult::Refused);
                if self.pause.met(Kind::Refused, Instant::now().into_std()) {
                    tracing::warn!(%error, "forwarding pauses; nothing is lost");
                }
                Next::Pause { retry_after: None }
            }
            Err(UplinkError::Unavailable { reason, retry_after }) => {
                self.metrics.batch(BatchResult::Unavailable);
                if self.pause.met(Kind::Unavailable, Instant::now().into_std()) {
                    tracing::warn!(
                        reason,
                        "forwarding pauses, and goes on by itself; nothing is lost"
                    );
                }
                Next::Pause { retry_after }
            }
        }
    }
}

/// The rejected items that were in the batch.
fn ours(items: Vec<RejectedItem>, positions: &BTreeSet<u64>) -> Vec<(u64, String)> {
    let ours = items
        .into_iter()
        .filter(|item| positions.contains(&item.position));
    ours.map(|item| {
        (
            item.position,
            item.reason.chars().take(REASON_CHARS_MAX).collect(),
        )
    })
    .collect()
}
