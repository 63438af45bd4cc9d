//! Small, fast, seeded: noise for readings, nothing secret.

/// Vigna's xorshift64*.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The same seed gives the same numbers; 0 is taken as another number.
    pub(crate) const fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring streams: one step of a Weyl sequence apart.
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
        Self(if mixed == 0 { 1 } else { mixed })
    }

    /// 64 bits.
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Evenly one of `-counts..=counts`.
    pub(crate) const fn noise(&mut self, counts: u32) -> i64 {
        let width = 2 * counts as u64 + 1;
        // The upper half of the product: even to one in 2³².
        (((self.next() >> 32) * width) >> 32).cast_signed() - counts as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_takes_every_count_and_no_other() {
        let mut random = Random::new(7);
        let mut seen = [0_u32; 5];
        for _ in 0..5_000 {
            seen[usize::try_from(random.noise(2) + 2).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|&count| (800..1_200).contains(&count)),
            "{seen:?}"
        );
    }

    #[test]
    fn streams_of_neighbouring_seeds_differ() {
        let first: Vec<u64> = (0..100).map(|seed| Random::new(seed).next()).collect();
        let mut apart = first.clone();
        apart.sort_unstable();
        apart.dedup();
        assert_eq!(apart.len(), 100);
    }
}
