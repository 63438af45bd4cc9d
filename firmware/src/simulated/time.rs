//! The clock behind `embassy-time` in this crate's tests: each test's thread has its own, which stands still until the test
//! moves it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use embassy_time_driver::Driver;

/// Futures that are polled so often without time passing do not wait for anything.
const POLLS_AT_ONCE_MAX: u32 = 20_000;

thread_local! {
    static NOW_US: Cell<u64> = const { Cell::new(0) };
    static ALARMS_US: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

struct SimulatedTime;

embassy_time_driver::time_driver_impl!(static TIME: SimulatedTime = SimulatedTime);

impl Driver for SimulatedTime {
    fn now(&self) -> u64 {
        NOW_US.get()
    }

    fn schedule_wake(&self, at: u64, _: &Waker) {
        // An alarm wakes everybody.
        ALARMS_US.with_borrow_mut(|alarms| alarms.insert(at));
    }
}

/// The time of this test's world, in ms.
pub(crate) fn now_ms() -> u64 {
    NOW_US.get() / 1_000
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Futures, driven through simulated time.
pub(crate) struct World<'f> {
    futures: Vec<Pin<Box<dyn Future<Output = ()> + 'f>>>,
    woken: Arc<Woken>,
}

impl<'f> World<'f> {
    pub(crate) fn new(futures: Vec<Pin<Box<dyn Future<Output = ()> + 'f>>>) -> Self {
        Self {
            futures,
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    /// Lets time pass until `until_ms`, or until every future has ended.
    pub(crate) fn run_until(&mut self, until_ms: u64) {
        // The test may have changed the world.
        self.woken.0.store(true, Ordering::Relaxed);
        loop {
            self.poll();
            let next_us = ALARMS_US.with_borrow_mut(BTreeSet::pop_first);
            match next_us {
                Some(at_us) if at_us <= until_ms * 1_000 && !self.futures.is_empty() => {
                    NOW_US.set(NOW_US.get().max(at_us));
                    self.woken.0.store(true, Ordering::Relaxed);
                }
                other => {
                    ALARMS_US.with_borrow_mut(|alarms| alarms.extend(other));
                    NOW_US.set(NOW_US.get().max(until_ms * 1_000));
                    return;
                }
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.futures.is_empty()
    }

    fn poll(&mut self) {
        let waker = Waker::from(Arc::clone(&self.woken));
        let mut polls = 0;
        while self.woken.0.swap(false, Ordering::Relaxed) {
            polls += 1;
            assert!(polls < POLLS_AT_ONCE_MAX, "busy without end at {} ms", now_ms());
            let mut context = Context::from_waker(&waker);
            self.futures
                .retain_mut(|future| future.as_mut().poll(&mut context).is_pending());
        }
    }
}
