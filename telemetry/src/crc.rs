//! CRC-32/ISO-HDLC, the one of Ethernet and zlib (IEEE 802.3, section 3.2.9): polynomial 04C11DB7 reflected, all ones in front
//! and behind. It finds torn writes and bit rot in queues, spools and pages; it authenticates nothing.
//!
//! Four bits at a time: a table of 64 bytes is small enough for a board.

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
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
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
    use super::Crc32;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(Crc32::new().bytes(b"1234").bytes(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().word(0x3433_3231).bytes(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().sum(), 0);
    }
}
