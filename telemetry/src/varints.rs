//! Bytes and varints from the front of a record, and whether each varint stood there in its shortest form.
//!
//! The varints of postcard (<https://postcard.jamesmunns.com/wire-format.html>, "varint(N)"): seven bits in each byte, the lowest first, the
//! highest bit set in all but the last; signed ones in zigzag form.

/// The longest varint of 64 bits.
const LEN_MAX: u32 = 10;

/// Reads on from where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Varints<'a> {
    rest: &'a [u8],
    are_shortest: bool,
}

impl<'a> Varints<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            are_shortest: true,
        }
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Every varint so far ended with a digit above zero, or was a zero of one byte.
    pub(crate) const fn are_shortest(&self) -> bool {
        self.are_shortest
    }

    /// One byte as it stands there; `None` at the end.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    /// A varint of at most 64 bits; `None` when it is cut short or holds more.
    pub(crate) fn unsigned(&mut self) -> Option<u64> {
        let mut value = 0;
        for at in 0..LEN_MAX {
            let byte = self.byte()?;
            let digits = u64::from(byte & 0x7F);
            value |= digits << (7 * at);
            if byte & 0x80 == 0 {
                self.are_shortest &= byte != 0 || at == 0;
                // Of the tenth byte one bit fits.
                return (at + 1 < LEN_MAX || byte <= 1).then_some(value);
            }
        }
        None
    }

    /// A signed varint of at most 64 bits.
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let zigzag = self.unsigned()?;
        Some((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_longer_form_is_read_and_told() {
        for (bytes, value, is_shortest) in [
            (&[0][..], 0, true),
            (&[0x80, 0], 0, false),
            (&[0x81, 0x80, 0], 1, false),
            (&[0x80, 1], 128, true),
        ] {
            let mut varints = Varints::new(bytes);
            assert_eq!(varints.unsigned(), Some(value), "{bytes:?}");
            assert_eq!(
                (varints.rest(), varints.are_shortest()),
                (&[][..], is_shortest),
                "{bytes:?}"
            );
        }
    }

    proptest! {
        /// Any bytes are read as postcard reads them, and are the shortest form when postcard writes them so.
        #[test]
        fn varints_are_postcards(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0), Just(0xFF), Just(1)], 0..12)) {
            let mut varints = Varints::new(&bytes);
            let expected = postcard::take_from_bytes::<u64>(&bytes).ok();
            prop_assert_eq!(varints.unsigned(), expected.map(|(value, _)| value));
            let signed = postcard::take_from_bytes::<i64>(&bytes).ok();
            prop_assert_eq!(Varints::new(&bytes).signed(), signed.map(|(value, _)| value));
            if let Some((value, rest)) = expected {
                prop_assert_eq!(varints.rest(), rest);
                let mut again = [0; 10];
                let again = postcard::to_slice(&value, &mut again).unwrap();
                prop_assert_eq!(varints.are_shortest(), bytes.starts_with(again));
            }
        }
    }
}
