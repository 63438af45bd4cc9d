//! Integers of few bytes: LEB128 varints, signed ones zigzag.

/// Appends a number of 7 bits a byte, the lowest first.
pub(crate) fn put_unsigned(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Appends a number so that small ones of either sign are short.
pub(crate) fn put_signed(bytes: &mut Vec<u8>, number: i64) {
    put_unsigned(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Reads from the begin of bytes; `None` when they end too early.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(first)
    }

    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return None;
            }
            number |= part << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(crate) fn signed(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// What has not been read yet.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(signed in any::<i64>(), unsigned in any::<u64>()) {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, signed);
            put_unsigned(&mut bytes, unsigned);
            bytes.push(7);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!((reader.signed(), reader.unsigned()), (Some(signed), Some(unsigned)));
            prop_assert_eq!(reader.rest(), &[7]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            while reader.unsigned().is_some() {}
            prop_assert!(reader.rest().len() <= bytes.len());
        }
    }

    #[test]
    fn the_ends_of_the_range_stand_in_ten_bytes_and_more_is_refused() {
        for number in [i64::MIN, i64::MAX, 0, -1] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, number);
            assert!(bytes.len() <= 10);
            assert_eq!(Reader::new(&bytes).signed(), Some(number));
        }
        assert_eq!(Reader::new(&[0xff; 11]).unsigned(), None);
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).unsigned(),
            None
        );
    }
}
