//! Registers as they came: a view of big-endian bytes.

/// The registers of one answer, 1 to 125 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers<'a> {
    bytes: &'a [u8],
}

impl<'a> Registers<'a> {
    /// Registers from their bytes, two each, high byte first (MODBUS Application Protocol V1.1b3, 4.2: "MODBUS uses a
    /// 'big-Endian' representation"). An odd last byte is ignored.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / 2
    }

    /// There are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The register at `index`, counted from the first one that was read; `None` behind the last.
    #[must_use]
    pub fn u16(&self, index: usize) -> Option<u16> {
        self.bytes
            .get(index * 2..index * 2 + 2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }

    /// Two registers from `index` on as one number, the high one first.
    #[must_use]
    pub fn u32(&self, index: usize) -> Option<u32> {
        Some(u32::from(self.u16(index)?) << 16 | u32::from(self.u16(index + 1)?))
    }

    /// All of them in their order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + 'a {
        self.bytes
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn big_endian_and_bounded() {
        let registers = Registers::new(&[0x12, 0x34, 0x56, 0x78]);
        assert_eq!(registers.len(), 2);
        assert_eq!(registers.u16(1), Some(0x5678));
        assert_eq!(registers.u32(0), Some(0x1234_5678));
        assert_eq!((registers.u16(2), registers.u32(1)), (None, None));
        assert!(registers.iter().eq([0x1234, 0x5678]));
        assert!(Registers::new(&[1]).is_empty());
    }
}
