//! The clock behind `embassy-time` in this process: time since its first use, and one thread that wakes whoever waits.
//!
//! It takes the place of the driver that `embassy-time` has for computers, which would be linked into the firmware library's
//! own tests too, where time is simulated, and has 128 places for all devices of a process.

use std::sync::{Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use embassy_time_driver::{Driver, TICK_HZ};

const _: () = assert!(TICK_HZ == 1_000_000, "ticks are microseconds");

static ZERO: LazyLock<Instant> = LazyLock::new(Instant::now);

struct HostTime {
    alarms: Mutex<Alarms>,
    changed: Condvar,
}

struct Alarms {
    has_thread: bool,
    waiting: Vec<(u64, Waker)>,
}

embassy_time_driver::time_driver_impl!(static TIME: HostTime = HostTime {
    alarms: Mutex::new(Alarms { has_thread: false, waiting: Vec::new() }),
    changed: Condvar::new(),
});

impl Driver for HostTime {
    fn now(&self) -> u64 {
        u64::try_from(ZERO.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        let mut alarms = self.lock();
        let known = alarms
            .waiting
            .iter_mut()
            .find(|(_, known)| known.will_wake(waker));
        match known {
            Some((known_at, _)) if *known_at <= at => return,
            Some((known_at, _)) => *known_at = at,
            None => alarms.waiting.push((at, waker.clone())),
        }
        if !alarms.has_thread {
            // Without a thread nobody is woken; the next alarm tries again.
            let thread = std::thread::Builder::new().name("embassy-time".to_owned());
            alarms.has_thread = thread.spawn(|| TIME.wake_for_ever()).is_ok();
        }
        drop(alarms);
        self.changed.notify_one();
    }
}

impl HostTime {
    fn lock(&self) -> MutexGuard<'_, Alarms> {
        self.alarms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_for_ever(&self) {
        let mut alarms = self.lock();
        loop {
            let now = self.now();
            let due: Vec<Waker> = alarms
                .waiting
                .extract_if(.., |(at, _)| *at <= now)
                .map(|(_, waker)| waker)
                .collect();
            if !due.is_empty() {
                // Whoever is woken may set its next alarm at once.
                drop(alarms);
                due.into_iter().for_each(Waker::wake);
                alarms = self.lock();
                continue;
            }
            let next = alarms.waiting.iter().map(|(at, _)| *at).min();
            let wait = next.map_or(Duration::MAX, |at| Duration::from_micros(at - now));
            alarms = self
                .changed
                .wait_timeout(alarms, wait.min(Duration::from_secs(3_600)))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

#[cfg(test)]
mod tests {
    use embassy_time::{Duration, Instant, Timer, with_timeout};

    /// More than the 128 places of `embassy-time`'s own queue, in one task each and out of order.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_timer_fires_at_its_time_however_many_there_are() {
        let began = Instant::now();
        let timers = (0..500_u64).map(|n| {
            let after = Duration::from_millis(50 + (n * 7_919) % 200);
            tokio::spawn(async move {
                Timer::after(after).await;
                began.elapsed() >= after
            })
        });
        for timer in timers.collect::<Vec<_>>() {
            assert!(timer.await.unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(20));
        let never = with_timeout(Duration::from_millis(20), std::future::pending::<()>());
        assert!(never.await.is_err());
    }
}
