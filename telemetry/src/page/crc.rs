//! CRC-32/ISO-HDLC, the one of Ethernet and zlib: polynomial 04C11DB7 reflected, all ones in front and behind
//! (ISO/IEC 13239, section 4.2.5.3).

/// The polynomial with its bits reversed.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// The checksum of the parts as if they stood one after the other. Bit by bit: a page is read once at a start, and a
/// table would take a kilobyte of flash.
pub(super) fn crc32<const PARTS: usize>(parts: [&[u8]; PARTS]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.into_iter().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = (crc & 1).wrapping_neg();
            crc = crc >> 1 ^ POLYNOMIAL & carry;
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the "CRC-32/ISO-HDLC" entry in the catalogue of parametrised CRC algorithms.
    #[test]
    fn it_is_the_one_of_the_catalogue() {
        assert_eq!(crc32([b"123456789"]), 0xcbf4_3926);
        assert_eq!(crc32([b"1234", b"", b"56789"]), 0xcbf4_3926);
        assert_eq!(crc32([b""]), 0);
    }
}
