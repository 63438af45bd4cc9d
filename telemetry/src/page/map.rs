//! Where in a board's flash everything stands: one table for the program that reads there and the field kit that writes
//! there. `cargo xtask boards` holds each program's own memory (`memory.x`) against it.

use core::ops::Range;

/// Erase sector of every board so far, in bytes.
pub const FLASH_SECTOR_LEN: u32 = 4_096;

/// The parts of a board's flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlashMap {
    /// Addresses of the processor that the program may take.
    pub program: Range<u32>,
    /// Where the flash of page and queue begins, as an address of the processor; images name such addresses.
    pub base: u32,
    /// Where the sectors of the configuration page begin, from `base` on: an image writes the first one and erases the second;
    /// the board saves to the one that it does not use.
    pub pages_at: [u32; 2],
    /// The queue's sectors, from `base` on.
    pub queue: Range<u32>,
}

impl FlashMap {
    /// The addresses of the configuration page's sectors.
    #[must_use]
    pub const fn page_addresses(&self) -> [u32; 2] {
        let [first, second] = self.pages_at;
        [self.base + first, self.base + second]
    }

    /// The addresses of the queue.
    #[must_use]
    pub const fn queue_addresses(&self) -> Range<u32> {
        self.base + self.queue.start..self.base + self.queue.end
    }
}

/// WIZnet's W5500-EVB-Pico, 2 MiB: the program in the first MiB, the page in its last two sectors, the queue in the second MiB.
/// RP2040 datasheet, section 2.6.3: flash appears at `XIP_BASE`, 0x1000_0000.
pub const FLASH_MAP_W5500_EVB_PICO: FlashMap = FlashMap {
    program: 0x1000_0000..0x100f_0000,
    base: 0x1000_0000,
    pages_at: [0x000f_f000, 0x000f_e000],
    queue: 0x0010_0000..0x0020_0000,
};

/// Adafruit's Feather nRF52840: the part of its flash that the boot loader writes (its `src/usb/uf2/uf2cfg.h`: 0x26000 to
/// 0xAD000).
pub const FLASH_MAP_FEATHER_NRF52840: FlashMap = FlashMap {
    program: 0x0002_6000..0x0006_6000,
    base: 0,
    pages_at: [0x0006_6000, 0x0006_7000],
    queue: 0x0006_8000..0x000a_d000,
};

/// The LM3S6965 of the emulator: the program in the chip's 256 KiB, page and 1 MiB of queue in a file beside it: a sector of
/// the page, the queue, the page's other sector.
pub const FLASH_MAP_QEMU_LM3S6965: FlashMap = FlashMap {
    program: 0..0x0004_0000,
    base: 0,
    pages_at: [0, 0x0010_1000],
    queue: 0x0000_1000..0x0010_1000,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PAGE_LEN;

    #[test]
    fn every_part_of_a_flash_stands_alone_in_whole_sectors() {
        for map in [
            FLASH_MAP_W5500_EVB_PICO,
            FLASH_MAP_FEATHER_NRF52840,
            FLASH_MAP_QEMU_LM3S6965,
        ] {
            let [first, second] = map.page_addresses().map(|page| page..page + FLASH_SECTOR_LEN);
            let queue = map.queue_addresses();
            for part in [&map.program, &first, &second, &queue] {
                assert_eq!(
                    (part.start % FLASH_SECTOR_LEN, part.end % FLASH_SECTOR_LEN),
                    (0, 0),
                    "{map:?}"
                );
                assert!(part.start < part.end, "{map:?}");
            }
            let apart =
                |one: &Range<u32>, other: &Range<u32>| one.end <= other.start || other.end <= one.start;
            assert!(
                apart(&first, &second) && apart(&first, &queue) && apart(&second, &queue),
                "{map:?}"
            );
            // The emulator's page and queue are in a flash of their own.
            assert!(
                map == FLASH_MAP_QEMU_LM3S6965
                    || [&first, &second, &queue]
                        .iter()
                        .all(|part| apart(&map.program, part)),
                "{map:?}"
            );
        }
        assert!(PAGE_LEN <= FLASH_SECTOR_LEN as usize);
    }
}
