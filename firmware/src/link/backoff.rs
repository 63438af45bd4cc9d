//! How long to wait before the next connection.

use super::Jitter;

/// Doubling, jittered, bounded.
#[derive(Clone, Debug)]
pub struct Backoff {
    min_ms: u64,
    max_ms: u64,
    next_ms: u64,
}

impl Backoff {
    /// From `min_ms` up to `max_ms`.
    #[must_use]
    pub const fn new(min_ms: u64, max_ms: u64) -> Self {
        Self {
            min_ms,
            max_ms,
            next_ms: min_ms,
        }
    }

    /// The wait after another failure, in ms.
    pub fn after_failure_ms(&mut self, jitter: &mut Jitter) -> u64 {
        let wait_ms = jitter.around_ms(self.next_ms);
        self.next_ms = (self.next_ms * 2).min(self.max_ms);
        wait_ms
    }

    /// A connection held: the next failure is the first again.
    pub const fn reset(&mut self) {
        self.next_ms = self.min_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound_and_begin_again() {
        let (mut jitter, mut backoff) = (Jitter::new(1), Backoff::new(1_000, 60_000));
        let waits: Vec<u64> = (0..10).map(|_| backoff.after_failure_ms(&mut jitter)).collect();
        for (wait_ms, nominal_ms) in waits
            .iter()
            .zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000])
        {
            assert!(
                (nominal_ms * 3 / 4..=nominal_ms * 5 / 4).contains(wait_ms),
                "{waits:?}"
            );
        }
        backoff.reset();
        assert!(backoff.after_failure_ms(&mut jitter) <= 1_250);
    }
}
