//! The board's flash: a file of the host that behaves like a NOR flash.
//!
//! `flash.img` stands in QEMU's working folder, so a restart of the emulator is a power cycle and a folder is a device. It is
//! made erased when it is not there. As in a real flash, writing only turns ones into zeros, and only erasing a whole
//! sector brings them back: what is written is what was there AND what is new.

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read, check_write,
};

use taraz_telemetry::{FLASH_MAP_QEMU_LM3S6965, FLASH_SECTOR_LEN};

use crate::semihosting::{HostError, HostFile};

/// The file's name for the host, with the zero that semihosting wants.
const NAME: &[u8] = b"flash.img\0";
/// A sector, erased as a whole.
const SECTOR_LEN: usize = FLASH_SECTOR_LEN as usize;
/// A word, written as a whole.
const WORD_LEN: usize = 4;
/// Up to the end of the configuration page's second sector, behind the queue.
const LEN: usize = FLASH_MAP_QEMU_LM3S6965.pages_at[1] as usize + SECTOR_LEN;
/// How much is handled at a time.
const CHUNK_LEN: usize = 128;

/// The flash.
#[derive(Debug)]
pub(crate) struct HostFlash {
    file: HostFile,
}

/// The flash failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FlashError {
    /// Out of range or not aligned.
    Request(NorFlashErrorKind),
    /// The host could not read or write the file.
    Host,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Request(kind) => *kind,
            Self::Host => NorFlashErrorKind::Other,
        }
    }
}

impl From<HostError> for FlashError {
    fn from(_: HostError) -> Self {
        Self::Host
    }
}

impl HostFlash {
    /// Opens the file; what it lacks is erased flash.
    pub(crate) fn open() -> Result<Self, FlashError> {
        let mut file = HostFile::open(NAME)?;
        let mut at = file.len()?;
        while at < LEN {
            let len = CHUNK_LEN.min(LEN - at);
            file.write(at, &[0xff; CHUNK_LEN][..len])?;
            at += len;
        }
        Ok(Self { file })
    }
}

impl ErrorType for HostFlash {
    type Error = FlashError;
}

impl ReadNorFlash for HostFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len()).map_err(FlashError::Request)?;
        Ok(self.file.read(offset as usize, bytes)?)
    }

    fn capacity(&self) -> usize {
        LEN
    }
}

impl NorFlash for HostFlash {
    const WRITE_SIZE: usize = WORD_LEN;
    const ERASE_SIZE: usize = SECTOR_LEN;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to).map_err(FlashError::Request)?;
        for at in (from as usize..to as usize).step_by(CHUNK_LEN) {
            self.file.write(at, &[0xff; CHUNK_LEN])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len()).map_err(FlashError::Request)?;
        let mut at = offset as usize;
        for new in bytes.chunks(CHUNK_LEN) {
            let mut cells = [0; CHUNK_LEN];
            let cells = &mut cells[..new.len()];
            self.file.read(at, cells)?;
            for (cell, new) in cells.iter_mut().zip(new) {
                *cell &= new;
            }
            self.file.write(at, cells)?;
            at += new.len();
        }
        Ok(())
    }
}
