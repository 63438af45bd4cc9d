//! How long to wait before trying again.

use std::time::Duration;

use rand::Rng as _;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Doubles from try to try, with jitter over the upper half, so that many sinks don't come back in step.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait now; the next wait is longer.
    pub(super) fn next_delay(&mut self) -> Duration {
        let most = self.next;
        self.next = (most * 2).min(DELAY_MAX);
        most.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_with_jitter_up_to_its_bound() {
        let mut backoff = Backoff::new();
        let mut most = FIRST;
        for _ in 0..20 {
            let delay = backoff.next_delay();
            assert!(
                delay >= most.mul_f64(0.499) && delay <= most,
                "{delay:?} of {most:?}"
            );
            most = (most * 2).min(DELAY_MAX);
        }
        assert_eq!(most, DELAY_MAX);
    }
}
