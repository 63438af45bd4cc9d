//! How a door hears that its frames are durable.

use std::fmt::Debug;
use std::sync::Arc;

use tokio::sync::mpsc;

/// A submission, by the session that it came from and the number that the session gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// A door that is told, from the committer's thread: once for each commit, whatever it had in it. It must not wait.
pub(crate) trait Durable: Debug + Send + Sync {
    /// These may be acknowledged; in the order of their submission.
    fn durable(&self, receipts: Vec<Receipt>);
}

/// Whom a submission's commit is told.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    door: Arc<dyn Durable>,
    session: u64,
}

impl Done {
    pub(crate) fn new(door: Arc<dyn Durable>, session: u64) -> Self {
        Self { door, session }
    }
}

/// For a door of one session that waits in a task.
pub(crate) fn durable_channel() -> (Done, mpsc::UnboundedReceiver<Vec<Receipt>>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Done::new(Arc::new(Channel(sender)), 0), receiver)
}

#[derive(Debug)]
struct Channel(mpsc::UnboundedSender<Vec<Receipt>>);

impl Durable for Channel {
    fn durable(&self, receipts: Vec<Receipt>) {
        // A door that has gone needs no answer.
        let _ = self.0.send(receipts);
    }
}

/// The receipts of one commit, door by door.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Doors are few.
    doors: Vec<(Arc<dyn Durable>, Vec<Receipt>)>,
}

impl Receipts {
    pub(super) fn add(&mut self, done: Done, number: u64, more_max: usize) {
        let Done { door, session } = done;
        let receipt = Receipt { session, number };
        match self.doors.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &door)) {
            Some((_, receipts)) => receipts.push(receipt),
            None => {
                let mut receipts = Vec::with_capacity(more_max);
                receipts.push(receipt);
                self.doors.push((door, receipts));
            }
        }
    }

    pub(super) fn tell(self) {
        for (door, receipts) in self.doors {
            door.durable(receipts);
        }
    }
}
