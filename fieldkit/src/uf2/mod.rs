//! UF2, the file that boot loaders take from a drive of their own (microsoft/uf2, README.md).
//!
//! A file is blocks of 512 bytes, each with an address and 256 bytes for it. Here a file is read strictly: what a boot
//! loader would pass over in silence, or take in an order of its own, is refused with its place.

mod block;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use block::{BLOCK_LEN, Block, PAYLOAD_LEN, PAYLOAD_STEP};

/// What an erased flash holds.
const ERASED: u8 = 0xff;

/// The content of a flash, as far as a file states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uf2 {
    family: u32,
    payloads: BTreeMap<u32, [u8; PAYLOAD_LEN]>,
}

/// Why bytes are not a UF2 file that can be taken. Blocks are counted from 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Uf2Error {
    /// Not whole blocks.
    #[error("a UF2 file has blocks of 512 bytes, this one has {0} bytes: it is cut short or something else")]
    Length(usize),
    /// Not a block.
    #[error("UF2 block {0}: not a block: its magic numbers are wrong")]
    Magic(usize),
    /// Something for another kind of boot loader.
    #[error(
        "UF2 block {block}: flags {flags:#x}; only a family (0x2000) and extension tags (0x8000) are understood"
    )]
    Flags {
        /// Where.
        block: usize,
        /// All its flags.
        flags: u32,
    },
    /// For another chip.
    #[error(
        "UF2 block {block}: family {found:#010x}, this board has {expected:#010x}: the file is for another chip"
    )]
    Family {
        /// Where.
        block: usize,
        /// What it says.
        found: u32,
        /// The board's.
        expected: u32,
    },
    /// A payload that the boot loader does not take.
    #[error("UF2 block {block}: {len} bytes for address {address:#010x}; expected 256 for a multiple of 256")]
    Payload {
        /// Where.
        block: usize,
        /// How many bytes.
        len: u32,
        /// For which address.
        address: u32,
    },
    /// Two blocks for one address.
    #[error("UF2 block {block}: address {address:#010x} is there twice")]
    Overlap {
        /// The second.
        block: usize,
        /// For which address.
        address: u32,
    },
    /// Blocks are missing, or there twice.
    #[error("UF2 block {block} says {number} of {total}; expected each number once, {blocks} in all")]
    Number {
        /// Where.
        block: usize,
        /// What it says.
        number: u32,
        /// Of how many.
        total: u32,
        /// How many there are.
        blocks: usize,
    },
}

impl Uf2 {
    /// Nothing yet.
    #[must_use]
    pub const fn new(family: u32) -> Self {
        Self {
            family,
            payloads: BTreeMap::new(),
        }
    }

    /// Reads a file that is for this family whole. Blocks may stand in any order; comments ("not main flash") are left
    /// out, extension tags are not kept.
    ///
    /// # Errors
    /// [`Uf2Error`] names the first block that is not as it should be.
    pub fn parse(bytes: &[u8], family: u32) -> Result<Self, Uf2Error> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_LEN>();
        if blocks.is_empty() || !rest.is_empty() {
            return Err(Uf2Error::Length(bytes.len()));
        }
        let mut uf2 = Self::new(family);
        let mut numbers = BTreeSet::new();
        for (at, bytes) in blocks.iter().enumerate() {
            let block = Block::read(at, bytes, family)?;
            let is_counted = block.total as usize == blocks.len() && block.number < block.total;
            if !is_counted || !numbers.insert(block.number) {
                return Err(Uf2Error::Number {
                    block: at,
                    number: block.number,
                    total: block.total,
                    blocks: blocks.len(),
                });
            }
            if block.is_comment {
                continue;
            }
            if uf2.payloads.insert(block.address, block.payload).is_some() {
                return Err(Uf2Error::Overlap {
                    block: at,
                    address: block.address,
                });
            }
        }
        Ok(uf2)
    }

    /// The file: blocks in the order of their addresses.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // A flash of 4 GiB has 2²⁴ payloads.
        let total = u32::try_from(self.payloads.len()).unwrap_or(u32::MAX);
        (0..total)
            .zip(&self.payloads)
            .flat_map(|(number, (&address, &payload))| {
                let block = Block {
                    number,
                    total,
                    address,
                    payload,
                    is_comment: false,
                };
                block.write(self.family)
            })
            .collect()
    }

    /// Puts bytes at an address, over whatever stands there; the rest of a payload that was not there yet is `ff`.
    /// Addresses past 4 GiB wrap.
    pub fn put(&mut self, address: u32, bytes: &[u8]) {
        for (&byte, at) in bytes.iter().zip(0_u32..) {
            let at = address.wrapping_add(at);
            let offset = at % PAYLOAD_STEP;
            let payload = self.payloads.entry(at - offset).or_insert([ERASED; PAYLOAD_LEN]);
            payload[offset as usize] = byte;
        }
    }

    /// Takes everything within these addresses out; both ends are multiples of 256.
    pub fn remove(&mut self, range: &Range<u32>) {
        self.payloads.retain(|address, _| !range.contains(address));
    }

    /// What stands within these addresses, `ff` where nothing does; `None` when nothing at all does.
    #[must_use]
    pub fn get(&self, range: &Range<u32>) -> Option<Vec<u8>> {
        let first = range.start - range.start % PAYLOAD_STEP;
        let mut bytes = vec![ERASED; range.len()];
        let mut found = false;
        for (&address, payload) in self.payloads.range(first..range.end) {
            found = true;
            for (&byte, at) in payload.iter().zip(address..) {
                if let Some(place) = at
                    .checked_sub(range.start)
                    .and_then(|at| bytes.get_mut(at as usize))
                {
                    *place = byte;
                }
            }
        }
        found.then_some(bytes)
    }

    /// The addresses of all payloads, ascending.
    pub fn addresses(&self) -> impl Iterator<Item = Range<u32>> {
        self.payloads
            .keys()
            .map(|&address| address..address.saturating_add(PAYLOAD_STEP))
    }

    /// Makes every sector that is touched whole, filled with `ff`.
    ///
    /// RP2040 datasheet, erratum RP2040-E14: when "a partially-filled sector appears in the middle of the binary", the boot
    /// loader may write the file incorrectly.
    pub fn fill_sectors(&mut self, sector_len: u32) {
        let sectors: BTreeSet<_> = self
            .payloads
            .keys()
            .map(|address| address - address % sector_len)
            .collect();
        for sector in sectors {
            for address in (sector..=sector.saturating_add(sector_len - 1)).step_by(PAYLOAD_LEN) {
                self.payloads.entry(address).or_insert([ERASED; PAYLOAD_LEN]);
            }
        }
    }
}
