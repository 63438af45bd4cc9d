//! A signal between two futures of one thread: of one task, or of tasks of one executor.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Poll, Waker};

/// Set by one future, awaited by another (one at a time) of the same thread: it keeps one waker, which may be of another
/// task. What was set before the wait is not missed.
#[derive(Debug, Default)]
pub struct Notify {
    set: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Notify {
    /// Not set.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            set: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Sets it and wakes who waits.
    pub fn notify(&self) {
        self.set.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until it is set, and clears it.
    pub async fn wait(&self) {
        poll_fn(|context| {
            if self.set.take() {
                return Poll::Ready(());
            }
            let mut waker = self.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(context.waker()))
            {
                *waker = Some(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
