//! CRC-32 (IEEE 802.3, reflected, polynomial 0xEDB8_8320) over parts, with a table of 64 bytes.

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
pub(super) struct Crc32(u32);

impl Crc32 {
    pub(super) const fn new() -> Self {
        Self(!0)
    }

    pub(super) fn add(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 ^= u32::from(*byte);
            self.0 = (self.0 >> 4) ^ TABLE[(self.0 & 15) as usize];
            self.0 = (self.0 >> 4) ^ TABLE[(self.0 & 15) as usize];
        }
        self
    }

    pub(super) fn word(self, word: u32) -> Self {
        self.add(&word.to_le_bytes())
    }

    pub(super) const fn sum(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Crc32;

    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(Crc32::new().add(b"1234").add(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().word(0x3433_3231).add(b"56789").sum(), 0xcbf4_3926);
        assert_eq!(Crc32::new().sum(), 0);
    }
}
