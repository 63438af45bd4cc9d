//! The watchdog is fed only while every task is alive.

use embassy_time::{Duration, Instant, Timer};
use taraz_firmware::{Health, LastRun};

use crate::retained::leave;

/// Between two rounds, in ms. A watchdog must wait for at least two of them.
pub const GUARD_INTERVAL_MS: u64 = 2_000;

/// Resets the chip when it was not fed for at least 2 × [`GUARD_INTERVAL_MS`] after the start.
pub trait Watchdog {
    /// Starts it; it can't be stopped, and starting it again changes nothing.
    fn start(&mut self);

    /// Counts from the start again.
    fn feed(&mut self);
}

/// Asks the tasks round by round, and feeds the watchdog, which is on, while all are alive. `every_round` is called in each.
pub(crate) async fn guard<const N: usize>(
    mut watchdog: impl Watchdog,
    health: &Health<N>,
    mut every_round: impl FnMut(),
) -> ! {
    let mut said = None;
    loop {
        Timer::after(Duration::from_millis(GUARD_INTERVAL_MS)).await;
        every_round();
        match health.round(Instant::now().as_millis()) {
            Ok(()) => {
                if said.take().is_some() {
                    leave(&LastRun::Running);
                }
                watchdog.feed();
            }
            Err(problem) => {
                leave(&LastRun::stalled(format_args!("{problem}")));
                if said.replace(problem) != Some(problem) {
                    crate::say!("health: {problem}; unless it does soon, the watchdog restarts the board");
                }
            }
        }
    }
}
