//! Waiting for a condition, with a deadline and a name.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `condition` holds, for `limit` at most.
///
/// # Panics
/// When the time is over: says `what` was waited for.
pub fn wait_until(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(limit, what, || {
        if condition() {
            Ok(())
        } else {
            Err("it does not hold")
        }
    });
}

/// Waits until `attempt` gives a value, for `limit` at most, and gives that value.
///
/// # Panics
/// When the time is over: says `what` was waited for and the reason that the last attempt gave.
pub fn wait_for<T, E: Display>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        let reason = match attempt() {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(
            begun.elapsed() < limit,
            "waited {:.1} s for {what}; last: {reason}",
            begun.elapsed().as_secs_f64()
        );
        std::thread::sleep(LOOK_INTERVAL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_true_is_waited_for() {
        let mut looks = 0;
        let value = wait_for(Duration::from_secs(10), "the third look", || {
            looks += 1;
            if looks == 3 {
                Ok(looks)
            } else {
                Err(format!("look {looks}"))
            }
        });
        assert_eq!(value, 3);
    }

    #[test]
    #[should_panic(expected = "for the moon to fall; last: it does not hold")]
    fn what_never_comes_true_fails_by_name() {
        wait_until(Duration::from_millis(50), "the moon to fall", || false);
    }
}
