//! The configuration page of a board: who it is, where it connects and what it reads, in one of two erase sectors of its flash.
//!
//! In: a [`DevicePage`] that the field kit made from the registry. Out: [`PAGE_LEN`] bytes that a board reads at every
//! start. The layout is frozen like a frame's (`docs/protocol.md`, "The configuration page"):
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `TARAZ-PG` |
//! | 8 | version, 1 |
//! | 9 | which save this is, modulo 256; an image has 0 |
//! | 10–11 | length of the body, least significant byte first |
//! | 12–15 | CRC-32 (ISO-HDLC) of bytes 0–11 and the body, least significant byte first |
//! | 16– | body: the fields of [`DevicePage`] in their order, in the forms of the protocol |
//! | – 1023 | `ff`, as an erased flash has it |
//!
//! What it never does: print the key, take a value that can't work, guess one that is missing.

mod check;
mod map;
mod marker;

use core::fmt;
use core::ops::Range;

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::{Crc32, DeviceId, DeviceKey, KEY_LEN, KeyGeneration, MeterAddress, MeterDriver};

pub use check::{
    PAGE_BAUD_MAX, PAGE_BAUD_MIN, PAGE_POLL_INTERVAL_MS_MAX, PAGE_POLL_INTERVAL_MS_MIN,
    PAGE_RESPONSE_TIMEOUT_MS_MAX, PAGE_RESPONSE_TIMEOUT_MS_MIN,
};
pub use map::{
    FLASH_MAP_FEATHER_NRF52840, FLASH_MAP_QEMU_LM3S6965, FLASH_MAP_W5500_EVB_PICO, FLASH_SECTOR_LEN, FlashMap,
};
pub use marker::{BOARD_MARKER_PREFIX, BoardMarker, board_markers};

/// Length of the page in bytes; it stands alone at the beginning of an erase sector.
pub const PAGE_LEN: usize = 1_024;
/// The version of the page that this crate writes and reads.
pub const PAGE_VERSION: u8 = 1;
/// The longest name of a board in bytes.
pub const BOARD_NAME_LEN_MAX: usize = 24;
/// The longest name or address of a server in bytes.
pub const HOST_LEN_MAX: usize = 64;
/// The most meters that a page names.
pub const PAGE_METERS_MAX: usize = 8;

const MAGIC: [u8; 8] = *b"TARAZ-PG";
const MAGIC_AT: Range<usize> = 0..8;
const VERSION_AT: usize = 8;
const SAVE_AT: usize = 9;
const LENGTH_AT: Range<usize> = 10..12;
/// What the CRC counts of the head: everything in front of it.
const HEAD_AT: Range<usize> = 0..12;
const CRC_AT: Range<usize> = 12..16;
const BODY_AT: usize = 16;
const ERASED: u8 = 0xff;

/// How the device gets its network address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageNetwork {
    /// From a DHCP server, names from its DNS server.
    Dhcp,
    /// As stated here; `0.0.0.0` means that there is none.
    Static {
        /// The device's own IPv4 address.
        address: [u8; 4],
        /// Bits of the network part, 1 to 30.
        prefix_len: u8,
        /// The router to other networks, in the device's own network; `0.0.0.0` for none.
        gateway: [u8; 4],
        /// The DNS server; `0.0.0.0` for none, and then servers are given by address.
        dns: [u8; 4],
    },
}

/// Parity on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PageParity {
    /// No parity bit.
    None,
    /// Even parity.
    Even,
    /// Odd parity.
    Odd,
}

/// The RS-485 line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageBus {
    /// [`PAGE_BAUD_MIN`] to [`PAGE_BAUD_MAX`], or 0: the device finds speed, parity and stop bits by itself.
    pub baud: u32,
    /// Parity; without meaning when the device finds it.
    pub parity: PageParity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// How long a meter may take to begin its answer, in ms.
    pub response_timeout_ms: u16,
}

/// What a board is told. Its key is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DevicePage {
    /// The board it was made for: 1 to [`BOARD_NAME_LEN_MAX`] of `a-z`, `0-9`, `-`.
    pub board: String<BOARD_NAME_LEN_MAX>,
    /// Who the device is.
    pub device: DeviceId,
    /// Which rotation of its key this is, from 1.
    pub key_generation: KeyGeneration,
    /// Its key.
    pub key: [u8; KEY_LEN],
    /// How it gets its network address.
    pub network: PageNetwork,
    /// Name or IPv4 address of the broker or the gateway's own door.
    pub broker_host: String<HOST_LEN_MAX>,
    /// The broker's TCP port, from 1.
    pub broker_port: u16,
    /// Name or IPv4 address of the time server.
    pub sntp_host: String<HOST_LEN_MAX>,
    /// The time server's UDP port, from 1.
    pub sntp_port: u16,
    /// The line to the meters.
    pub bus: PageBus,
    /// How often each meter is read, in ms.
    pub poll_interval_ms: u32,
    /// The meters, each address once; empty: the device finds them by itself.
    pub meters: Vec<(MeterAddress, MeterDriver), PAGE_METERS_MAX>,
}

/// Why bytes are not a configuration page, or a page can't be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// The sector was never written.
    #[error("the configuration page is erased: write the device's image (`taraz device image`) to the board")]
    Erased,
    /// Less than a page.
    #[error("a configuration page has {PAGE_LEN} bytes, here are {0}")]
    TooShort(usize),
    /// Something else stands there.
    #[error("no configuration page: it begins with \"TARAZ-PG\", here stands something else")]
    Magic,
    /// A version that this program does not read.
    #[error("configuration page version {0}; this program reads version {PAGE_VERSION}")]
    Version(u8),
    /// The body would not fit into the page.
    #[error("configuration page: a body of {0} bytes; at most 1008 fit")]
    Length(u16),
    /// It was changed or only half written.
    #[error(
        "configuration page: its checksum is {stated:08x}, its bytes give {computed:08x}: write it again"
    )]
    Checksum {
        /// What the page says.
        stated: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The checksum fits and the fields can't be read: not written by this program.
    #[error("configuration page: its fields can't be read")]
    Malformed,
    /// A value that can't work.
    #[error("configuration page: {field}: expected {allowed}")]
    Value {
        /// Which one.
        field: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl DevicePage {
    /// Writes the page as an image has it.
    ///
    /// # Errors
    /// [`PageError::Value`] when a value can't work.
    pub fn encode(&self, page: &mut [u8; PAGE_LEN]) -> Result<(), PageError> {
        self.encode_save(0, page)
    }

    /// Writes the page as this save of it: one more than that of the page in the other sector, modulo 256.
    ///
    /// # Errors
    /// [`PageError::Value`] when a value can't work.
    pub fn encode_save(&self, save: u8, page: &mut [u8; PAGE_LEN]) -> Result<(), PageError> {
        self.check()?;
        page.fill(ERASED);
        // Every field is bounded, and all of them together take less than a third of the page.
        let body = postcard::to_slice(self, &mut page[BODY_AT..]).map_err(|_| PageError::Malformed)?;
        let end = BODY_AT + body.len();
        let length = u16::try_from(body.len()).map_err(|_| PageError::Malformed)?;
        page[MAGIC_AT].copy_from_slice(&MAGIC);
        page[VERSION_AT] = PAGE_VERSION;
        page[SAVE_AT] = save;
        page[LENGTH_AT].copy_from_slice(&length.to_le_bytes());
        let crc = Crc32::new()
            .bytes(&page[HEAD_AT])
            .bytes(&page[BODY_AT..end])
            .sum();
        page[CRC_AT].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }

    /// Reads the page at the beginning of `bytes`; what follows its [`PAGE_LEN`] bytes is not looked at.
    ///
    /// # Errors
    /// [`PageError`] says what is wrong, an erased page by its own name.
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        Self::decode_save(bytes).map(|(page, _)| page)
    }

    /// The same, with which save it is.
    ///
    /// # Errors
    /// As [`Self::decode`].
    pub fn decode_save(bytes: &[u8]) -> Result<(Self, u8), PageError> {
        let page = bytes.get(..PAGE_LEN).ok_or(PageError::TooShort(bytes.len()))?;
        if page.iter().all(|&byte| byte == ERASED) {
            return Err(PageError::Erased);
        }
        if page[MAGIC_AT] != MAGIC {
            return Err(PageError::Magic);
        }
        if page[VERSION_AT] != PAGE_VERSION {
            return Err(PageError::Version(page[VERSION_AT]));
        }
        let length = u16::from_le_bytes([page[LENGTH_AT.start], page[LENGTH_AT.start + 1]]);
        let body = page
            .get(BODY_AT..BODY_AT + usize::from(length))
            .ok_or(PageError::Length(length))?;
        let stated = page[CRC_AT]
            .iter()
            .rev()
            .fold(0, |crc, &byte| crc << 8 | u32::from(byte));
        let computed = Crc32::new().bytes(&page[HEAD_AT]).bytes(body).sum();
        if stated != computed {
            return Err(PageError::Checksum { stated, computed });
        }
        let (read, rest) = postcard::take_from_bytes::<Self>(body).map_err(|_| PageError::Malformed)?;
        if !rest.is_empty() {
            return Err(PageError::Malformed);
        }
        read.check()?;
        Ok((read, page[SAVE_AT]))
    }

    /// The key with its generation, as frames are signed with it.
    #[must_use]
    pub fn device_key(&self) -> DeviceKey {
        DeviceKey::new(self.key, self.key_generation)
    }
}

/// Of the pages in a board's two sectors, whether the second is the one that counts: it alone is whole, or it was saved later.
#[must_use]
pub fn second_page_counts(first: Option<u8>, second: Option<u8>) -> bool {
    match (first, second) {
        (Some(first), Some(second)) => (1..=u8::MAX / 2).contains(&second.wrapping_sub(first)),
        (None, second) => second.is_some(),
        (Some(_), None) => false,
    }
}

impl fmt::Debug for DevicePage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevicePage")
            .field("board", &self.board)
            .field("device", &self.device)
            .field("key", &self.device_key())
            .field("network", &self.network)
            .field("broker", &(&self.broker_host, self.broker_port))
            .field("sntp", &(&self.sntp_host, self.sntp_port))
            .field("bus", &self.bus)
            .field("poll_interval_ms", &self.poll_interval_ms)
            .field("meters", &self.meters)
            .finish()
    }
}
