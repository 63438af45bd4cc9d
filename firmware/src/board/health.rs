//! Whether every task is alive.
//!
//! A timer that feeds a watchdog proves that timers work. [`Health`] asks every task instead: a round wakes each one, and
//! by the next round each must have been polled and have come back. A task that spins, that waits without yielding or
//! whose waker was lost does not answer. A task that gives [`Health::progress`] must also get somewhere within its time.
//!
//! All tasks run on one executor of one core, as the cells in it say.

use core::cell::{Cell, RefCell};
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Waker;

/// The tasks of one executor.
#[derive(Debug)]
pub struct Health<const N: usize> {
    tasks: [Task; N],
}

#[derive(Debug)]
struct Task {
    name: &'static str,
    answered: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    stall_ms_max: Cell<Option<u64>>,
    progress_ms: Cell<u64>,
}

/// A task that is not alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HealthProblem {
    /// It was woken and did not come back.
    #[error("{0} does not answer")]
    Silent(&'static str),
    /// It answers and gets nowhere.
    #[error("{0} gets nowhere")]
    Stalled(&'static str),
}

impl<const N: usize> Health<N> {
    /// Tasks that have not been started; the first round asks them.
    #[must_use]
    pub fn new(names: [&'static str; N]) -> Self {
        let task = |name| Task {
            name,
            answered: Cell::new(true),
            waker: RefCell::new(None),
            stall_ms_max: Cell::new(None),
            progress_ms: Cell::new(0),
        };
        Self {
            tasks: names.map(task),
        }
    }

    /// Drives the future of a task, which answers by being polled. The future comes pinned so that it is not stored twice.
    ///
    /// # Panics
    /// There is no such task.
    pub async fn watch<F: Future>(&self, index: usize, mut future: Pin<&mut F>) -> F::Output {
        let task = &self.tasks[index];
        poll_fn(|context| {
            let outcome = future.as_mut().poll(context);
            task.answered.set(true);
            let mut waker = task.waker.borrow_mut();
            if !waker
                .as_ref()
                .is_some_and(|waker| waker.will_wake(context.waker()))
            {
                *waker = Some(context.waker().clone());
            }
            outcome
        })
        .await
    }

    /// From now on the task must make [progress](Self::progress) within this many ms.
    pub fn expect(&self, index: usize, now_ms: u64, stall_ms_max: u64) {
        if let Some(task) = self.tasks.get(index) {
            task.progress_ms.set(now_ms);
            task.stall_ms_max.set(Some(stall_ms_max));
        }
    }

    /// From now on the task may take as long as it likes, as long as it answers.
    pub fn trust(&self, index: usize) {
        if let Some(task) = self.tasks.get(index) {
            task.stall_ms_max.set(None);
        }
    }

    /// The task has got somewhere.
    pub fn progress(&self, index: usize, now_ms: u64) {
        if let Some(task) = self.tasks.get(index) {
            task.progress_ms.set(now_ms);
        }
    }

    /// Ends a round and begins the next: looks who answered, and asks everybody again.
    ///
    /// # Errors
    /// The first task that is not alive; the others are asked all the same.
    pub fn round(&self, now_ms: u64) -> Result<(), HealthProblem> {
        let mut outcome = Ok(());
        for task in self.tasks.iter().rev() {
            let stalled = task
                .stall_ms_max
                .get()
                .is_some_and(|max_ms| now_ms.saturating_sub(task.progress_ms.get()) > max_ms);
            if stalled {
                outcome = Err(HealthProblem::Stalled(task.name));
            }
            if !task.answered.take() {
                outcome = Err(HealthProblem::Silent(task.name));
            }
            if let Some(waker) = task.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use core::pin::pin;
    use core::task::{Context, Poll};

    use super::*;

    /// Polls a task as an executor would if it had been woken.
    fn poll(task: Pin<&mut impl Future<Output = ()>>) -> Poll<()> {
        task.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn who_is_polled_between_two_rounds_is_alive() {
        let health = Health::new(["one", "two"]);
        let (one, two) = (pin!(core::future::pending()), pin!(core::future::pending()));
        let mut one = pin!(health.watch(0, one));
        let mut two = pin!(health.watch(1, two));
        assert_eq!(health.round(0), Ok(()), "nobody was asked yet");
        assert!(poll(one.as_mut()).is_pending() && poll(two.as_mut()).is_pending());
        assert_eq!(health.round(1), Ok(()));
        assert!(poll(one.as_mut()).is_pending());
        assert_eq!(health.round(2), Err(HealthProblem::Silent("two")));
        assert!(poll(one.as_mut()).is_pending() && poll(two.as_mut()).is_pending());
        assert_eq!(health.round(3), Ok(()), "it was only slow");
    }

    #[test]
    fn a_task_that_never_started_or_has_ended_is_not_alive() {
        let health = Health::new(["one", "two"]);
        let done = pin!(core::future::ready(()));
        let mut one = pin!(health.watch(0, done));
        assert!(poll(one.as_mut()).is_ready());
        assert_eq!(health.round(0), Ok(()));
        assert_eq!(health.round(1), Err(HealthProblem::Silent("one")));
    }

    #[test]
    fn a_round_wakes_every_task() {
        use std::sync::Arc;
        use std::sync::atomic::{AtomicU32, Ordering};
        struct Count(AtomicU32);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(count.clone());
        let health = Health::new(["one"]);
        let future = pin!(core::future::pending::<()>());
        let mut task = pin!(health.watch(0, future));
        assert!(task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((health.round(0), count.0.load(Ordering::Relaxed)), (Ok(()), 1));
        assert_eq!(health.round(0), Err(HealthProblem::Silent("one")));
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn who_answers_must_also_get_somewhere() {
        let health = Health::new(["one"]);
        let future = pin!(core::future::pending::<()>());
        let mut task = pin!(health.watch(0, future));
        health.expect(0, 1_000, 500);
        let mut round = |now_ms| {
            assert!(poll_unit(task.as_mut()));
            health.round(now_ms)
        };
        assert_eq!(round(1_500), Ok(()));
        assert_eq!(round(1_501), Err(HealthProblem::Stalled("one")));
        health.progress(0, 1_501);
        assert_eq!(round(2_001), Ok(()));
        assert_eq!(round(2_002), Err(HealthProblem::Stalled("one")));
        health.trust(0);
        assert_eq!(round(99_999), Ok(()));
    }

    fn poll_unit(task: Pin<&mut impl Future<Output = ()>>) -> bool {
        poll(task).is_pending()
    }
}
