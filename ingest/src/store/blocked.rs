//! Whether the store commits: said once when it stops to, and once when it does again, not with every batch that comes again.

use std::time::Instant;

use crate::counters::Counters;

/// Since when commits fail, and why the first of them did.
#[derive(Debug, Default)]
pub(super) struct Blocked(Option<(Instant, String)>);

impl Blocked {
    /// A commit failed.
    pub(super) fn failed(&mut self, error: &rusqlite::Error, counters: &Counters) {
        if self.0.is_none() {
            tracing::error!(
                %error,
                "the store can't commit: free space on its disk, or replace it; batches are answered 503, and what was delivered will come again"
            );
            self.0 = Some((Instant::now(), error.to_string()));
            counters.store_is_blocked(true);
        }
    }

    /// A commit succeeded.
    pub(super) fn succeeded(&mut self, counters: &Counters) {
        if let Some((since, reason)) = self.0.take() {
            tracing::info!(
                blocked_s = since.elapsed().as_secs(),
                reason,
                "the store commits again"
            );
            counters.store_is_blocked(false);
        }
    }
}
