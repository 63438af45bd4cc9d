//! One block of a UF2 file (microsoft/uf2, README.md, "File format"): all numbers 32 bits, least significant byte first.

use std::ops::Range;

use super::Uf2Error;

/// "The UF2 file consists of 512 byte blocks, each of which is self-contained and independent of others."
pub(super) const BLOCK_LEN: usize = 512;
/// RP2040 datasheet, section 2.8.4.2: "all data destined for flash must be 256 byte […] payloads".
pub(super) const PAYLOAD_STEP: u32 = 256;
/// The same, of a payload.
pub(super) const PAYLOAD_LEN: usize = PAYLOAD_STEP as usize;

const MAGIC_START_0: u32 = 0x0a32_4655;
const MAGIC_START_1: u32 = 0x9e5d_5157;
const MAGIC_END: u32 = 0x0ab1_6f30;

const MAGIC_START_0_AT: usize = 0;
const MAGIC_START_1_AT: usize = 4;
const FLAGS_AT: usize = 8;
const ADDRESS_AT: usize = 12;
const PAYLOAD_LEN_AT: usize = 16;
const NUMBER_AT: usize = 20;
const TOTAL_AT: usize = 24;
const FAMILY_AT: usize = 28;
const PAYLOAD_AT: Range<usize> = 32..32 + PAYLOAD_LEN;
/// "476 | Data, padded with 0xFF".
const DATA_AT: Range<usize> = 32..508;
const MAGIC_END_AT: usize = 508;

/// "not main flash - this block should be skipped when writing the device flash".
const FLAG_COMMENT: u32 = 0x0001;
const FLAG_FAMILY: u32 = 0x2000;
const FLAG_EXTENSION_TAGS: u32 = 0x8000;

/// What a block says.
pub(super) struct Block {
    pub(super) number: u32,
    pub(super) total: u32,
    pub(super) address: u32,
    pub(super) payload: [u8; PAYLOAD_LEN],
    pub(super) is_comment: bool,
}

impl Block {
    /// Reads block number `at` of a file.
    pub(super) fn read(at: usize, bytes: &[u8; BLOCK_LEN], family: u32) -> Result<Self, Uf2Error> {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let magic = [MAGIC_START_0_AT, MAGIC_START_1_AT, MAGIC_END_AT].map(word);
        if magic != [MAGIC_START_0, MAGIC_START_1, MAGIC_END] {
            return Err(Uf2Error::Magic(at));
        }
        let flags = word(FLAGS_AT);
        let is_comment = flags & FLAG_COMMENT != 0;
        if flags & !(FLAG_COMMENT | FLAG_FAMILY | FLAG_EXTENSION_TAGS) != 0 || flags & FLAG_FAMILY == 0 {
            return Err(Uf2Error::Flags { block: at, flags });
        }
        let found = word(FAMILY_AT);
        if found != family {
            return Err(Uf2Error::Family {
                block: at,
                found,
                expected: family,
            });
        }
        let (address, len) = (word(ADDRESS_AT), word(PAYLOAD_LEN_AT));
        if !is_comment && (len != PAYLOAD_STEP || address % PAYLOAD_STEP != 0) {
            return Err(Uf2Error::Payload {
                block: at,
                len,
                address,
            });
        }
        let mut payload = [0; PAYLOAD_LEN];
        payload.copy_from_slice(&bytes[PAYLOAD_AT]);
        Ok(Self {
            number: word(NUMBER_AT),
            total: word(TOTAL_AT),
            address,
            payload,
            is_comment,
        })
    }

    /// The block's bytes.
    pub(super) fn write(&self, family: u32) -> [u8; BLOCK_LEN] {
        let mut bytes = [0; BLOCK_LEN];
        bytes[DATA_AT].fill(0xff);
        bytes[PAYLOAD_AT].copy_from_slice(&self.payload);
        for (at, word) in [
            (MAGIC_START_0_AT, MAGIC_START_0),
            (MAGIC_START_1_AT, MAGIC_START_1),
            (FLAGS_AT, FLAG_FAMILY),
            (ADDRESS_AT, self.address),
            (PAYLOAD_LEN_AT, PAYLOAD_STEP),
            (NUMBER_AT, self.number),
            (TOTAL_AT, self.total),
            (FAMILY_AT, family),
            (MAGIC_END_AT, MAGIC_END),
        ] {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}
