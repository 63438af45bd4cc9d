//! The bytes of a chunk: varints as in LEB128, and blocks that are compressed where that makes them shorter.

/// The compression that is worth its time on small columns (Zstandard's default).
const ZSTD_LEVEL: i32 = 3;
/// The longest block, unpacked.
const BLOCK_LEN_MAX: usize = super::RECORDS_LEN_MAX;

/// Signed to unsigned, small numbers to small ones.
pub(super) const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// The other way.
pub(super) const fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends seven bits a byte, the lowest first.
pub(super) fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    bytes.push(low_byte(value));
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

/// Appends a length as a varint.
pub(super) fn put_len(bytes: &mut Vec<u8>, len: usize) {
    put_varint(bytes, len as u64);
}

/// Appends a block, compressed if that helps.
pub(super) fn put_block(bytes: &mut Vec<u8>, block: &[u8]) -> Option<()> {
    if block.len() > BLOCK_LEN_MAX {
        return None;
    }
    let packed = zstd::bulk::compress(block, ZSTD_LEVEL).ok()?;
    let is_shorter = packed.len() < block.len();
    put_varint(bytes, (block.len() as u64) << 1 | u64::from(is_shorter));
    let stored = if is_shorter { &packed } else { block };
    put_len(bytes, stored.len());
    bytes.extend_from_slice(stored);
    Some(())
}

/// Reads what was put; everything ends in `None` where the bytes are damaged.
#[derive(Debug)]
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(byte)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(super) fn number(&mut self) -> Option<u32> {
        u32::try_from(self.varint()?).ok()
    }

    pub(super) fn len(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    pub(super) fn bytes(&mut self, len: usize) -> Option<&'b [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    pub(super) fn block(&mut self) -> Option<Vec<u8>> {
        let head = self.varint()?;
        let len = usize::try_from(head >> 1)
            .ok()
            .filter(|&len| len <= BLOCK_LEN_MAX)?;
        let stored_len = self.len()?;
        let stored = self.bytes(stored_len)?;
        let block = if head & 1 == 1 {
            zstd::bulk::decompress(stored, len).ok()?
        } else {
            stored.to_vec()
        };
        (block.len() == len).then_some(block)
    }
}
