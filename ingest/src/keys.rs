//! Maps by keys that the store has numbered itself.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such keys. Nobody else chooses them, so nobody can choose them to collide.
pub(crate) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// Multiplicative hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4), of one or a few whole numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

/// 2⁶⁴ over the golden ratio, odd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u8(&mut self, part: u8) {
        self.write_u64(u64::from(part));
    }

    fn write_u64(&mut self, part: u64) {
        self.0 = (self.0.rotate_left(5) ^ part).wrapping_mul(GOLDEN);
    }

    fn write_i64(&mut self, part: i64) {
        self.write_u64(part.cast_unsigned());
    }

    fn write_isize(&mut self, part: isize) {
        self.write_u64(part.cast_unsigned() as u64);
    }

    /// A product's upper half depends on every bit of the key; the map looks at the lower one first.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_in_a_row_spread_over_the_places_of_a_table() {
        let mut places = HashSet::new();
        for device in 1_i64..=1_024 {
            for meter in 1_u8..=4 {
                let mut hasher = KeyHasher::default();
                hasher.write_i64(device);
                hasher.write_u8(meter);
                places.insert(hasher.finish() % 8_192);
            }
        }
        // Thrown at random, 4,096 keys would take 3,223 of 8,192 places.
        assert!(places.len() > 2_900, "{}", places.len());
    }
}
