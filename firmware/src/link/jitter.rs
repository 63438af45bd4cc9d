//! Chance for timing only: thousands of devices must not knock at the same instant after a broken broker came back.

/// A small generator (xorshift64*, Vigna 2016); never for secrets.
#[derive(Clone, Debug)]
pub struct Jitter {
    state: u64,
}

impl Jitter {
    /// From any seed; devices must not share it.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        // The generator stands still at zero.
        Self {
            state: seed ^ 0x9E37_79B9_7F4A_7C15 | 1,
        }
    }

    /// A time between three quarters and five quarters of `nominal_ms`.
    pub fn around_ms(&mut self, nominal_ms: u64) -> u64 {
        let half = nominal_ms / 2;
        nominal_ms - half / 2 + self.next() % (half + 1)
    }

    /// 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        // One step gives 48 of them.
        self.next() << 32 ^ self.next()
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stay_around_the_nominal_one_and_differ() {
        let mut jitter = Jitter::new(0);
        let times: Vec<u64> = (0..1_000).map(|_| jitter.around_ms(1_000)).collect();
        assert!(times.iter().all(|ms| (750..=1_250).contains(ms)));
        assert!(times.iter().any(|ms| *ms < 800) && times.iter().any(|ms| *ms > 1_200));
        assert_eq!(jitter.around_ms(0), 0);
    }
}
