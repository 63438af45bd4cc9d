//! The boards that images can be made for: where in their flash everything stands, and how an image gets onto them.

use std::ops::Range;

/// A board.
#[derive(Debug, PartialEq, Eq)]
pub struct Board {
    /// Its name, as in its program's mark and its folder in `firmware/boards`.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Addresses that its program may take.
    pub program: Range<u32>,
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
        /// The address of the configuration page, the beginning of an erase sector.
        page: u32,
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

/// Erase sector of every board so far, in bytes.
pub(crate) const SECTOR_LEN: u32 = 4_096;

/// `RP2040` in the master list of UF2 families (microsoft/uf2, utils/uf2families.json).
const FAMILY_RP2040: u32 = 0xe48b_ff56;
/// RP2040 datasheet, section 2.6.3: flash appears at `XIP_BASE`.
const XIP_BASE: u32 = 0x1000_0000;

/// 2 MiB of flash behind an RP2040: the program in the first MiB, the page in its last sector, the queue in the second.
const RP2040: Medium = Medium::Uf2 {
    family: FAMILY_RP2040,
    page: XIP_BASE + 0x000f_f000,
    queue: XIP_BASE + 0x0010_0000..XIP_BASE + 0x0020_0000,
    // RP2040 datasheet, section 2.8.4: the boot ROM's drive and its INFO_UF2.TXT.
    drive: BootDrive {
        board_id: "RPI-RP2",
        volume: "RPI-RP2",
        how: "hold the button BOOTSEL while you plug in the USB cable, then let go",
    },
};
const RP2040_PROGRAM: Range<u32> = XIP_BASE..XIP_BASE + 0x000f_0000;

/// `NRF52840` in the master list of UF2 families: Adafruit's boot loader.
const FAMILY_NRF52840: u32 = 0xada5_2840;

/// The part of an nRF52840's flash that Adafruit's boot loader writes (its `src/usb/uf2/uf2cfg.h`: 0x26000 to 0xAD000).
const FEATHER: Medium = Medium::Uf2 {
    family: FAMILY_NRF52840,
    page: 0x0006_6000,
    queue: 0x0006_7000..0x000a_d000,
    drive: BootDrive {
        board_id: "nRF52840-Feather-revD",
        volume: "FTHR840BOOT",
        how: "press the button RESET twice within half a second; the red light pulses",
    },
};
const FEATHER_PROGRAM: Range<u32> = 0x0002_6000..0x0006_6000;

/// Every board.
pub const BOARDS: &[Board] = &[
    Board {
        name: "w5500-evb-pico",
        about: "WIZnet W5500-EVB-Pico: RP2040, 2 MiB of flash, Ethernet",
        program: RP2040_PROGRAM,
        medium: RP2040,
    },
    Board {
        name: "feather-nrf52840",
        about: "Adafruit Feather nRF52840 Express with Ethernet FeatherWing: 1 MiB of flash; not tried on hardware yet",
        program: FEATHER_PROGRAM,
        medium: FEATHER,
    },
    Board {
        name: "qemu-lm3s6965",
        about: "LM3S6965 as qemu-system-arm emulates it: Cortex-M3, 256 KiB of flash, Ethernet",
        program: 0..0x0004_0000,
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
    use taraz_telemetry::{BOARD_NAME_LEN_MAX, PAGE_LEN};

    use super::*;

    #[test]
    fn every_part_of_a_flash_stands_alone_in_whole_sectors() {
        for board in BOARDS {
            assert!(board.name.len() <= BOARD_NAME_LEN_MAX);
            let Medium::Uf2 { page, queue, .. } = &board.medium else {
                continue;
            };
            let page = *page..*page + SECTOR_LEN;
            for part in [&board.program, &page, queue] {
                assert_eq!(
                    (part.start % SECTOR_LEN, part.end % SECTOR_LEN),
                    (0, 0),
                    "{}",
                    board.name
                );
                assert!(part.start < part.end, "{}", board.name);
            }
            assert!(
                board.program.end <= page.start && page.end <= queue.start,
                "{}",
                board.name
            );
        }
        assert!(PAGE_LEN <= SECTOR_LEN as usize);
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
