//! What waits for the committer: submissions within a bound of bytes, and removals.

use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::validate::Accepted;

use super::fair::{GROUP_FRAMES_MAX, Waiting};
use super::{Done, SpoolError};

/// Bytes that wait for a commit, all doors together: above it, doors stop reading from their sockets.
pub(super) const QUEUE_BYTES_MAX: usize = 8 << 20;
/// What a frame costs in the queue beside its bytes.
const SUBMISSION_OVERHEAD: usize = 128;
/// How long the committer waits for as many frames as the commit before had, in steps: at most 2 ms.
const LINGER_STEP: Duration = Duration::from_micros(500);
const LINGER_STEPS_MAX: u32 = 4;

/// Room in the queue, given back when the frame is committed or given up.
#[derive(Debug)]
pub(crate) struct Room {
    _permit: OwnedSemaphorePermit,
}

/// A frame on its way into a commit.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(super) accepted: Accepted,
    pub(super) received_ms: u64,
    pub(super) done: Done,
    pub(super) number: u64,
    /// Given back with the submission.
    _room: Room,
}

impl Submission {
    /// `done` hears `number` once the frame is durable.
    pub(crate) const fn new(
        room: Room,
        accepted: Accepted,
        received_ms: u64,
        done: Done,
        number: u64,
    ) -> Self {
        Self {
            accepted,
            received_ms,
            done,
            number,
            _room: room,
        }
    }
}

/// Why a row that is not what was written goes into the quarantine.
pub(crate) const DAMAGED: &str = "damaged in the spool";

/// What ingest has taken.
#[derive(Debug)]
pub(super) struct Removal {
    /// Everything up to this position.
    pub(super) up_to: u64,
    /// And these, above it.
    pub(super) ranges: Vec<RangeInclusive<u64>>,
    pub(super) rejected: Vec<(u64, String)>,
    pub(super) done: oneshot::Sender<()>,
}

impl Removal {
    /// A row of it could not be forwarded because it is damaged.
    pub(super) fn has_damaged(&self) -> bool {
        self.rejected.iter().any(|(_, reason)| reason == DAMAGED)
    }
}

/// What the committer does next.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) submissions: Vec<Submission>,
    pub(super) removals: Vec<Removal>,
    /// Nothing will follow.
    pub(super) last: bool,
}

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    room: Arc<Semaphore>,
    bytes_max: usize,
    ended: tokio_util::sync::CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    submissions: Waiting,
    removals: Vec<Removal>,
    closing: bool,
    /// The committer waits for a change; only then it must be woken.
    idle: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            room: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
            ended: tokio_util::sync::CancellationToken::new(),
        }
    }

    pub(super) async fn reserve(&self, len: usize) -> Result<Room, SpoolError> {
        let room = Arc::clone(&self.room).acquire_many_owned(self.cost(len)).await;
        room.map(|permit| Room { _permit: permit })
            .map_err(|_| SpoolError::Closed)
    }

    pub(super) fn try_reserve(&self, len: usize) -> Option<Room> {
        let room = Arc::clone(&self.room).try_acquire_many_owned(self.cost(len));
        room.ok().map(|permit| Room { _permit: permit })
    }

    pub(super) fn submit(&self, submissions: impl IntoIterator<Item = Submission>) {
        let mut state = self.lock();
        state.submissions.extend(submissions);
        self.wake(state);
    }

    pub(super) fn remove(&self, removal: Removal) {
        let mut state = self.lock();
        state.removals.push(removal);
        self.wake(state);
    }

    /// No more will come; what is there is still taken.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        self.wake(state);
    }

    pub(super) fn closing(&self) -> bool {
        self.lock().closing
    }

    /// The committer ended: every waiting door hears it, and what waits is dropped, unacknowledged.
    pub(super) fn end(&self) {
        self.room.close();
        let mut state = self.lock();
        state.submissions.clear();
        state.removals.clear();
        state.closing = true;
        drop(state);
        self.ended.cancel();
    }

    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ended.is_cancelled()
    }

    /// Waits for work. Without `accepting`, submissions stay where they are. Lingers up to 2 ms for as many frames as
    /// the commit before had. `emptied` is a list of a commit before, for its memory. With `until`, no longer than that: what it returns
    /// may be nothing.
    pub(super) fn take(
        &self,
        accepting: bool,
        previous_frames: usize,
        emptied: Vec<Submission>,
        until: Option<Instant>,
    ) -> Work {
        let mut state = self.lock();
        loop {
            let something = !state.removals.is_empty() || (accepting && !state.submissions.is_empty());
            if something || state.closing {
                break;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                break;
            }
            state.idle = true;
            state = match left {
                Some(left) => {
                    let waited = self.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.idle = false;
        }
        let expected = previous_frames.min(GROUP_FRAMES_MAX);
        for _ in 0..LINGER_STEPS_MAX {
            if !accepting || state.closing || state.submissions.len() >= expected {
                break;
            }
            drop(state);
            std::thread::sleep(LINGER_STEP);
            state = self.lock();
        }
        let submissions = if accepting {
            state.submissions.take_group(emptied)
        } else {
            emptied
        };
        let last = state.closing && (state.submissions.is_empty() || !accepting);
        Work {
            submissions,
            removals: std::mem::take(&mut state.removals),
            last,
        }
    }

    /// Waits before a retry and returns the removals that came meanwhile.
    pub(super) fn wait_for_retry(&self, timeout: Duration) -> Vec<Removal> {
        let mut state = self.lock();
        if !state.closing && state.removals.is_empty() {
            state.idle = true;
            let waited = self.changed.wait_timeout_while(state, timeout, |state| {
                !state.closing && state.removals.is_empty()
            });
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.idle = false;
        }
        std::mem::take(&mut state.removals)
    }

    /// What a frame of this length takes of the room; one longer than all of it takes all.
    fn cost(&self, len: usize) -> u32 {
        u32::try_from((len + SUBMISSION_OVERHEAD).min(self.bytes_max)).unwrap_or(u32::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: MutexGuard<'_, State>) {
        let idle = state.idle;
        drop(state);
        if idle {
            self.changed.notify_one();
        }
    }
}
