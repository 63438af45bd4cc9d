//! The CRC of the serial line (MODBUS over Serial Line V1.02, 6.2.2): polynomial 0xA001 (0x8005 reflected), preset to
//! all ones, low byte sent first.

const POLYNOMIAL: u16 = 0xA001;
const PRESET: u16 = 0xFFFF;

const TABLE: [u16; 256] = table();

/// The CRC of `bytes`; on the line its low byte comes first.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(PRESET, |crc, &byte| {
        crc >> 8 ^ TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)]
    })
}

/// Whether a frame ends in the CRC of what stands before it.
pub(crate) fn is_sealed(frame: &[u8]) -> bool {
    frame
        .split_last_chunk::<2>()
        .is_some_and(|(content, crc)| crc16(content) == u16::from_le_bytes(*crc))
}

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < table.len() {
        // Below 256.
        #[allow(clippy::cast_possible_truncation)]
        let mut crc = index as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ POLYNOMIAL
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

#[cfg(test)]
mod tests {
    use super::*;

    /// MODBUS over Serial Line V1.02, 6.2.2, "Placing the CRC into the message": unit 2, function 7 gives 0x1241, sent as
    /// 41 12.
    #[test]
    fn the_example_of_the_specification() {
        assert_eq!(crc16(&[0x02, 0x07]), 0x1241);
        assert!(is_sealed(&[0x02, 0x07, 0x41, 0x12]));
        assert!(!is_sealed(&[0x02, 0x07, 0x12, 0x41]));
    }

    /// The check value of CRC-16/MODBUS in the catalogue of parametrised CRC algorithms.
    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(crc16(b"123456789"), 0x4B37);
    }

    #[test]
    fn nothing_is_not_sealed() {
        assert!(!is_sealed(&[]));
        assert!(!is_sealed(&[0xFF]));
    }
}
