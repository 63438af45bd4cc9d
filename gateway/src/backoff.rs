//! Waits between attempts: they double, they are jittered so that many gateways do not come back at once.

use std::time::Duration;

use rand::Rng;

/// The waits of one thing that is tried again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    /// How long to wait now: between half and the whole of a time that doubles up to the maximum.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.max);
        whole.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(min, max);
        let waits: Vec<_> = (0..8).map(|_| backoff.next_wait()).collect();
        assert!(waits[0] >= min / 2 && waits[0] <= min);
        assert!(waits[1] >= min && waits[1] <= min * 2);
        assert!(waits[4..].iter().all(|wait| *wait >= max / 2 && *wait <= max));
        backoff.reset();
        assert!(backoff.next_wait() <= min);
    }
}
