//! The boards that images can be made for: where in their flash everything stands, and how an image gets onto them.

use std::ops::Range;

use taraz_telemetry::{FLASH_MAP_FEATHER_NRF52840, FLASH_MAP_QEMU_LM3S6965, FLASH_MAP_W5500_EVB_PICO};

/// A board.
#[derive(Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, as in its program's mark and its folder in `firmware/boards`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Addresses that its program may take.
    pub program: Range<u32>,
    /// Its UART can have odd parity.
    pub odd_parity: bool,
    /// How an image gets onto it.
    pub medium: Medium,
}

/// How an image gets onto a board.
#[derive(Debug, PartialEq, Eq)]
pub enum Medium {
    /// A UF2 file with program and page, copied to the drive that the boot loader shows.
    Uf2 {
        /// The family in its blocks: a boot loader passes over any other.
        family: u32,
        /// The addresses of the configuration page's two erase sectors: an image writes the first and erases the second.
        pages: [u32; 2],
        /// The addresses of the queue: an image touches them only to erase them, when told to.
        queue: Range<u32>,
        /// The drive.
        drive: BootDrive,
    },
    /// The emulator's flash as a file beside the program: the page in sector 0, the queue in the others.
    FlashFile,
}

/// The drive that a boot loader shows.
#[derive(Debug, PartialEq, Eq)]
pub struct BootDrive {
    /// The value of `Board-ID` in its `INFO_UF2.TXT`.
    pub board_id: &'static str,
    /// Its volume name.
    pub volume: &'static str,
    /// What to do so that it appears.
    pub how: &'static str,
}

/// `RP2040` in the master list of UF2 families (microsoft/uf2, utils/uf2families.json).
const FAMILY_RP2040: u32 = 0xe48b_ff56;
const RP2040: Medium = Medium::Uf2 {
    family: FAMILY_RP2040,
    pages: FLASH_MAP_W5500_EVB_PICO.page_addresses(),
    queue: FLASH_MAP_W5500_EVB_PICO.queue_addresses(),
    // RP2040 datasheet, section 2.8.4: the boot ROM's drive and its INFO_UF2.TXT.
    drive: BootDrive {
        board_id: "RPI-RP2",
        volume: "RPI-RP2",
        how: "hold the button BOOTSEL while you plug in the USB cable, then let go",
    },
};

/// `NRF52840` in the master list of UF2 families: Adafruit's boot loader.
const FAMILY_NRF52840: u32 = 0xada5_2840;

const FEATHER: Medium = Medium::Uf2 {
    family: FAMILY_NRF52840,
    pages: FLASH_MAP_FEATHER_NRF52840.page_addresses(),
    queue: FLASH_MAP_FEATHER_NRF52840.queue_addresses(),
    drive: BootDrive {
        board_id: "nRF52840-Feather-revD",
        volume: "FTHR840BOOT",
        how: "press the button RESET twice within half a second; the red light pulses",
    },
};

/// Every board.
pub const BOARDS: &[Board] = &[
    Board {
        name: "w5500-evb-pico",
        about: "WIZnet W5500-EVB-Pico: RP2040, 2 MiB of flash, Ethernet",
        program: FLASH_MAP_W5500_EVB_PICO.program,
        odd_parity: true,
        medium: RP2040,
    },
    Board {
        name: "feather-nrf52840",
        about: "Adafruit Feather nRF52840 Express with Ethernet FeatherWing: 1 MiB of flash; not tried on hardware yet",
        program: FLASH_MAP_FEATHER_NRF52840.program,
        // nRF52840 Product Specification, 6.34.10.23: parity is even or excluded.
        odd_parity: false,
        medium: FEATHER,
    },
    Board {
        name: "qemu-lm3s6965",
        about: "LM3S6965 as qemu-system-arm emulates it: Cortex-M3, 256 KiB of flash, Ethernet",
        program: FLASH_MAP_QEMU_LM3S6965.program,
        odd_parity: true,
        medium: Medium::FlashFile,
    },
];

/// No board has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no board \"{name}\"; there are: {}", names())]
pub struct UnknownBoard {
    name: String,
}

/// The board of this name.
///
/// # Errors
/// [`UnknownBoard`] lists those there are.
pub fn board(name: &str) -> Result<&'static Board, UnknownBoard> {
    let found = BOARDS.iter().find(|board| board.name == name);
    found.ok_or_else(|| UnknownBoard {
        name: name.to_owned(),
    })
}

fn names() -> String {
    let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::BOARD_NAME_LEN_MAX;

    use super::*;

    #[test]
    fn every_board_has_a_name_that_a_page_can_hold() {
        assert!(BOARDS.iter().all(|board| board.name.len() <= BOARD_NAME_LEN_MAX));
    }

    #[test]
    fn an_unknown_board_is_told_what_there_is() {
        assert_eq!(board("w5500-evb-pico").unwrap().name, "w5500-evb-pico");
        let told = board("arduino").unwrap_err().to_string();
        assert!(
            told.contains("arduino") && told.contains("qemu-lm3s6965"),
            "{told}"
        );
    }
}
