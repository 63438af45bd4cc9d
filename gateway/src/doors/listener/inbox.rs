//! What other threads tell the listener's thread, and how they wake it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use mio::Waker;

use crate::spool::{Durable, Receipt};

/// Filled by the committer, by whoever frees room in the spool's queue, and by whoever closes the door; emptied once a turn.
#[derive(Debug)]
pub(super) struct Inbox {
    waker: Waker,
    told: Mutex<Told>,
}

/// What was told since the last look.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Frames that are durable. At most `in_flight_max` of each connection: only taking them lets a session submit more.
    pub(super) receipts: Vec<Receipt>,
    /// Perhaps there is room for the frame that waits longest.
    pub(super) room: bool,
    /// The door closes.
    pub(super) stop: bool,
}

impl Inbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            waker,
            told: Mutex::default(),
        }
    }

    /// Takes what was told.
    pub(super) fn take(&self) -> Told {
        std::mem::take(&mut *self.lock())
    }

    /// The door closes.
    pub(super) fn stop(&self) {
        self.tell(|told| told.stop = true);
    }

    fn tell(&self, what: impl FnOnce(&mut Told)) {
        let mut told = self.lock();
        let is_woken = told.room || told.stop || !told.receipts.is_empty();
        what(&mut told);
        drop(told);
        if !is_woken && let Err(error) = self.waker.wake() {
            tracing::error!(%error, "can't wake the MQTT listener's thread");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Durable for Inbox {
    fn durable(&self, receipts: Vec<Receipt>) {
        self.tell(|told| {
            if told.receipts.is_empty() {
                told.receipts = receipts;
            } else {
                told.receipts.extend(receipts);
            }
        });
    }
}

/// For the future of a frame that waits for room.
impl Wake for Inbox {
    fn wake(self: Arc<Self>) {
        self.tell(|told| told.room = true);
    }
}
