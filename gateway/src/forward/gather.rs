//! When the next batch is read: each batch costs ingest a commit, and a device's readings of one commit share their rows there.
//!
//! In: the position of the newest committed row. Out: the instant to read at. Nothing waits longer than [`LINGER`] for company.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::batch::READINGS_MAX;
use crate::spool::SpoolError;

/// How long a committed row may wait for others. A reading is shown at most so much later, and a thousand devices that publish without
/// a pause cost ingest a third of what they cost without it.
const LINGER: Duration = Duration::from_millis(150);
/// From one look to the next: there may be a thousand commits in a second, and not each has to wake the forwarder.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Returns when rows behind `done_up_to` fill a batch (as if each held one reading), or when the oldest of them has waited for [`LINGER`].
/// All of them were committed after `read_at`.
///
/// # Errors
/// [`SpoolError::Closed`] when the committer has ended while nothing waited.
pub(super) async fn gather(
    committed: &mut watch::Receiver<u64>,
    done_up_to: u64,
    read_at: Instant,
) -> Result<(), SpoolError> {
    let mut oldest_at = read_at;
    if *committed.borrow() <= done_up_to {
        let waits = committed.wait_for(|&newest| newest > done_up_to).await;
        waits.map_err(|_| SpoolError::Closed)?;
        oldest_at = Instant::now();
    }
    let full = done_up_to.saturating_add(READINGS_MAX.into());
    while oldest_at.elapsed() < LINGER && *committed.borrow() < full {
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the clock of the test, which stands still while anything can be done.
    async fn gathered_after(newest: watch::Receiver<u64>, done_up_to: u64, read_at: Instant) -> Duration {
        let (begun, mut newest) = (Instant::now(), newest);
        gather(&mut newest, done_up_to, read_at).await.unwrap();
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_during_the_last_delivery_has_waited_already() {
        let (_committer, newest) = watch::channel(8);
        let read_at = Instant::now();
        sleep(LINGER - 2 * LOOK_EVERY).await;
        assert_eq!(gathered_after(newest.clone(), 7, read_at).await, 2 * LOOK_EVERY);
        sleep(LINGER).await;
        assert_eq!(gathered_after(newest, 7, read_at).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_waits_from_its_commit_on_and_a_full_batch_does_not_wait() {
        let (committer, newest) = watch::channel(7);
        let read_at = Instant::now();
        // Long after the last read.
        sleep(10 * LINGER).await;
        let gathered = tokio::spawn(gathered_after(newest.clone(), 7, read_at));
        sleep(LINGER).await;
        committer.send_replace(8);
        assert_eq!(gathered.await.unwrap(), 2 * LINGER);

        let gathered = tokio::spawn(gathered_after(newest, 8, Instant::now()));
        let half_a_look = LOOK_EVERY / 2;
        sleep(half_a_look).await;
        committer.send_replace(8 + u64::from(READINGS_MAX) - 1);
        sleep(3 * half_a_look).await;
        assert!(!gathered.is_finished(), "one row less than a batch");
        committer.send_replace(8 + u64::from(READINGS_MAX));
        assert_eq!(gathered.await.unwrap(), 5 * half_a_look);
    }

    #[tokio::test(start_paused = true)]
    async fn with_nothing_waiting_the_end_of_the_committer_is_the_end() {
        let (committer, mut newest) = watch::channel(7);
        drop(committer);
        let ended = gather(&mut newest, 7, Instant::now()).await;
        assert!(matches!(ended, Err(SpoolError::Closed)), "{ended:?}");
    }
}
