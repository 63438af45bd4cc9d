//! What the sessions of the listener share: who they are for, and what one turn of its thread brings together.

use std::sync::Arc;
use std::time::Instant;

use taraz_telemetry::RecordRange;

use crate::doors::Doorway;
use crate::spool::{Durable, Submission};
use crate::time::now_ms;

use super::READ_LEN;
use super::hub::Hub;
use super::inbox::Inbox;
use super::rebuffs::Rebuffs;

/// A session: its place, and how often the place had been taken before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SessionId(u64);

impl SessionId {
    pub(super) const fn new(place: u32, round: u32) -> Self {
        Self((round as u64) << 32 | place as u64)
    }

    /// As it comes back in a receipt or an event.
    pub(super) const fn from_number(number: u64) -> Self {
        Self(number)
    }

    pub(super) const fn number(self) -> u64 {
        self.0
    }

    pub(super) const fn place(self) -> usize {
        (self.0 & 0xFFFF_FFFF) as usize
    }
}

/// One for all sessions.
pub(super) struct Shared {
    pub(super) door: Doorway,
    pub(super) hub: Arc<Hub>,
    pub(super) inbox: Arc<Inbox>,
    /// The same, as the committer knows it.
    pub(super) done: Arc<dyn Durable>,
}

/// From one wake-up of the thread to the next: frames go to the committer together, and the clock is read once.
pub(super) struct Turn {
    pub(super) now: Instant,
    pub(super) now_ms: u64,
    /// Frames with room in the spool's queue.
    pub(super) submissions: Vec<Submission>,
    /// Other sessions wait for room in the spool's queue: a frame goes behind them.
    pub(super) others_wait: bool,
    /// Committed ranges for other sessions of the same device.
    pub(super) mail: Vec<(SessionId, RecordRange)>,
    /// Sessions whose client id another one has taken over.
    pub(super) unseated: Vec<SessionId>,
    /// Which refusals are told in the log.
    pub(super) rebuffs: Rebuffs,
    /// What is read goes here first; as long as [`READ_LEN`].
    pub(super) buffer: Vec<u8>,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self {
            now: Instant::now(),
            now_ms: now_ms(),
            submissions: Vec::new(),
            others_wait: false,
            mail: Vec::new(),
            unseated: Vec::new(),
            rebuffs: Rebuffs::default(),
            buffer: vec![0; READ_LEN],
        }
    }

    pub(super) fn begin(&mut self) {
        self.now = Instant::now();
        self.now_ms = now_ms();
    }

    /// After a session has panicked with the buffer in its hands: without one, every other would read nothing and be taken for
    /// gone.
    pub(super) fn mend(&mut self) {
        self.buffer.resize(READ_LEN, 0);
    }
}
