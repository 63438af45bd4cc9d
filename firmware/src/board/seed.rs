//! A seed for a board without a random number generator.
//!
//! It need not be secret: it tells devices and starts apart (the incarnation that a formatted queue draws, the jitter of
//! waits, the first TCP port). Whatever a board has goes in: the device's key, counters that run at the start, the time of
//! a host, the chip's serial number.

/// Gathers what differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self::new()
    }
}

impl Seed {
    /// Nothing gathered yet.
    #[must_use]
    pub const fn new() -> Self {
        // FNV-1a, 64 bits: offset basis (Fowler, Noll, Vo).
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// With these bytes.
    #[must_use]
    pub const fn with(mut self, bytes: &[u8]) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            // FNV-1a, 64 bits: xor, then multiply by the prime.
            self.0 = (self.0 ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            at += 1;
        }
        self
    }

    /// With these words.
    #[must_use]
    pub fn with_words(self, words: &[u32]) -> Self {
        words
            .iter()
            .fold(self, |seed, word| seed.with(&word.to_le_bytes()))
    }

    /// A number of this seed, another for every purpose.
    #[must_use]
    pub const fn draw(self, purpose: &str) -> u64 {
        // SplitMix64's finaliser spreads every bit over all.
        let mut z = self.with(purpose.as_bytes()).0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of 32 bits, another for every purpose.
    #[must_use]
    pub const fn draw_u32(self, purpose: &str) -> u32 {
        let [.., a, b, c, d] = self.draw(purpose).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn small_differences_give_other_numbers() {
        let mut drawn = BTreeSet::new();
        for device in ["dev-1", "dev-2"] {
            for start in 0..1_000 {
                let seed = Seed::new().with(device.as_bytes()).with_words(&[start, 7]);
                drawn.insert(seed.draw_u32("incarnation"));
                drawn.insert(seed.draw_u32("jitter"));
            }
        }
        assert!(drawn.len() > 3_990, "{}", drawn.len());
    }

    /// FNV's published test vectors.
    #[test]
    fn it_hashes_as_published() {
        assert_eq!(Seed::new().with(b"a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Seed::new().with(b"foobar").0, 0x8594_4171_f739_67e8);
    }
}
