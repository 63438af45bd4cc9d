//! CRC-32/ISO-HDLC, the one of Ethernet and zlib (IEEE 802.3, section 3.2.9): polynomial 04C11DB7 reflected, all ones in front
//! and behind. It finds torn writes and bit rot in queues, spools and pages; it authenticates nothing.
//!
//! Four bits at a time: a table of 64 bytes is small enough for a board. A computer (feature `alloc`) uses its processor's own
//! instructions where more than a few bytes are added: a batch has a sum over all that is in it, made by the gateway and again by ingest.

const TABLE: [u32; 16] = table();

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut index = 0;
    while index < 16 {
        // The index is below 16.
        #[allow(clippy::cast_possible_truncation)]
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

/// Below it the table is as fast.
#[cfg(feature = "alloc")]
const FAST_LEN_MIN: usize = 16;

/// A check sum that grows.
#[derive(Clone, Copy, Debug)]
pub struct Crc32(u32);

impl Crc32 {
    /// The sum of nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(!0)
    }

    /// With these bytes behind what was added before.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        #[cfg(feature = "alloc")]
        if bytes.len() >= FAST_LEN_MIN {
            return self.fast(bytes);
        }
        self.by_table(bytes)
    }

    #[cfg(feature = "alloc")]
    fn fast(self, bytes: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.sum());
        hasher.update(bytes);
        Self(!hasher.finalize())
    }

    fn by_table(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            self.0 = (self.0 >> 4) ^ TABLE[(self.0 & 15) as usize];
            self.0 = (self.0 >> 4) ^ TABLE[(self.0 & 15) as usize];
        }
        self
    }

    /// With a word, its least significant byte first.
    #[must_use]
    pub fn word(self, word: u32) -> Self {
        self.bytes(&word.to_le_bytes())
    }

    /// The check sum of everything that was added.
    #[must_use]
    pub const fn sum(self) -> u32 {
        !self.0
    }
}

impl Default for Crc32 {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::Crc32;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(Crc32::new().bytes(b"1234").bytes(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().word(0x3433_3231).bytes(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().sum(), 0);
    }

    /// Tests are built with the fast way: the table is held to the same sums.
    #[test]
    fn both_ways_give_the_same_sum() {
        let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for len in [0, 1, 15, 16, 17, 64, 1_000, 5_000] {
            for start in [Crc32::new(), Crc32::new().bytes(b"before")] {
                let (by_table, fast) = (start.by_table(&bytes[..len]), start.fast(&bytes[..len]));
                assert_eq!(by_table.sum(), fast.sum(), "{len}");
                assert_eq!(by_table.word(7).sum(), fast.word(7).sum(), "{len}");
            }
        }
    }
}
