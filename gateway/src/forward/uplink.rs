//! What forwarding needs of the way to ingest: in the same process, over HTTP, or later over a replicated log.

use std::future::Future;
use std::time::Duration;

use taraz_telemetry::RejectedItem;

/// Delivers batches to ingest. Idempotent: the same batch may be delivered any number of times.
pub trait Uplink: Send + Sync + 'static {
    /// Delivers one encoded [`Batch`](taraz_telemetry::Batch). `Ok` only when every item of it is durable there.
    fn deliver(&self, batch: Vec<u8>) -> impl Future<Output = Result<(), UplinkError>> + Send;
}

/// Ingest did not take a batch; each answer is treated in its own way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UplinkError {
    /// It was read, and these items can never be taken; all others are durable. They go into the quarantine.
    #[error("ingest rejected {} items of the batch", .0.len())]
    Rejected(Vec<RejectedItem>),
    /// Larger than ingest takes. Halves are tried; a single item that is too large goes into the quarantine.
    #[error("the batch is larger than ingest takes")]
    TooLarge,
    /// Refused without a verdict on its items (an expired token, a proxy): tried again later, whole.
    #[error("ingest answered with status {status}")]
    Refused {
        /// The HTTP status, or what stands for it.
        status: u16,
    },
    /// No answer, or "later": tried again, not before `retry_after`.
    #[error("ingest is not available: {reason}")]
    Unavailable {
        /// What is known of it.
        reason: String,
        /// When it asked to be tried again.
        retry_after: Option<Duration>,
    },
}
