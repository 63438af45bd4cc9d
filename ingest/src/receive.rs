//! Where gateways deliver: a batch in, committed, a verdict out.

use std::sync::Arc;

use taraz_telemetry::{BATCH_LEN_MAX, BatchError, BatchVerdict};
use tokio::sync::{mpsc, oneshot};

use crate::counters::{BatchResult, Counters};
use crate::store::Command;

/// A handle for delivering batches; cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {
    commands: mpsc::Sender<Command>,
    counters: Arc<Counters>,
}

/// A batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Not a batch: too long (HTTP 413 for [`BatchError::Length`] above [`BATCH_LEN_MAX`]) or not readable (400).
    #[error("not a batch: {0}")]
    Malformed(BatchError),
    /// It could not be committed now; deliver it again (503).
    #[error("not committed, deliver it again: {0}")]
    Unavailable(String),
}

impl Receiver {
    pub(crate) fn new(commands: mpsc::Sender<Command>, counters: Arc<Counters>) -> Self {
        Self { commands, counters }
    }

    /// Stores a batch and returns after its commit is durable. The same batch may come any number of times.
    ///
    /// Items that can never be taken are named in the verdict; the others are committed.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing of the batch counts as taken then.
    pub async fn receive(&self, batch: Vec<u8>) -> Result<BatchVerdict, ReceiveError> {
        let result = self.deliver(batch).await;
        self.counters.batch(match &result {
            Ok(verdict) if verdict.rejected.is_empty() => BatchResult::Accepted,
            Ok(_) | Err(ReceiveError::Malformed(_)) => BatchResult::Rejected,
            Err(ReceiveError::Unavailable(_)) => BatchResult::Failed,
        });
        result
    }

    async fn deliver(&self, batch: Vec<u8>) -> Result<BatchVerdict, ReceiveError> {
        if batch.len() > BATCH_LEN_MAX {
            return Err(ReceiveError::Malformed(BatchError::Length(batch.len())));
        }
        let closing = || ReceiveError::Unavailable("the store is closing".to_owned());
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Batch { bytes: batch, reply })
            .await
            .map_err(|_| closing())?;
        answer.await.map_err(|_| closing())?
    }
}
