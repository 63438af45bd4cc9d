//! The emulator's flash as a file: sector 0 is the configuration page, sectors 1 to 256 are the queue, the last one is the
//! page's other sector, each of 4,096 bytes.
//!
//! A page is written over sector 0 in place, and the other sector erased, as a board may have saved a page there: what a device has in
//! its queue stays, until it is told to go.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use taraz_telemetry::{
    DeviceId, DevicePage, FLASH_MAP_QEMU_LM3S6965, FLASH_SECTOR_LEN, PAGE_LEN, PageError, second_page_counts,
};

/// Length of the file in bytes.
pub const FLASH_FILE_LEN: u64 = (FLASH_MAP_QEMU_LM3S6965.pages_at[1] + FLASH_SECTOR_LEN) as u64;
/// … when the page had one sector. Such a file is taken, and becomes longer.
const FLASH_FILE_LEN_BEFORE: u64 = FLASH_MAP_QEMU_LM3S6965.queue.end as u64;

/// Why a flash file can't be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FlashFileError {
    /// Not a flash file.
    #[error("has {0} bytes, a flash file of the emulator has {FLASH_FILE_LEN}: it is something else")]
    Length(u64),
    /// Its queue is another device's: this one would erase it.
    #[error(
        "is the flash of {0}, and its queue may hold readings that nobody has yet: take another file, or erase them with --format"
    )]
    OtherDevice(DeviceId),
    /// The page.
    #[error(transparent)]
    Page(#[from] PageError),
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// A new file with an erased queue.
    New,
    /// Only the page's sectors; the queue is as it was.
    PageOnly,
    /// The page's sectors, and the queue was erased.
    Formatted,
}

/// Puts a page into a flash file, which is made (only its owner may read it) when it is not there. With `format` the queue
/// is erased too.
///
/// # Errors
/// [`FlashFileError`] when the file is something else or, without `format`, another device's, or the page can't be written.
pub fn write_page(path: &Path, page: &DevicePage, format: bool) -> Result<Written, FlashFileError> {
    let mut bytes = [0; PAGE_LEN];
    page.encode(&mut bytes)?;
    let mut sector = [0xff; FLASH_SECTOR_LEN as usize];
    sector[..PAGE_LEN].copy_from_slice(&bytes);
    let mut file = open_private(path)?;
    let found = file.metadata()?.len();
    if found != 0 && !is_flash_file(found) {
        return Err(FlashFileError::Length(found));
    }
    if found != 0
        && !format
        && let Ok(old) = newest_page(&mut file)?
        && old.device != page.device
    {
        return Err(FlashFileError::OtherDevice(old.device));
    }
    file.rewind()?;
    file.write_all(&sector)?;
    let erased = [0xff; FLASH_SECTOR_LEN as usize];
    if found == 0 || format {
        for _ in FLASH_MAP_QEMU_LM3S6965.queue.step_by(FLASH_SECTOR_LEN as usize) {
            file.write_all(&erased)?;
        }
    }
    file.seek(SeekFrom::Start(FLASH_MAP_QEMU_LM3S6965.pages_at[1].into()))?;
    file.write_all(&erased)?;
    file.sync_all()?;
    Ok(match (found, format) {
        (0, _) => Written::New,
        (_, false) => Written::PageOnly,
        (_, true) => Written::Formatted,
    })
}

/// Reads the page of a flash file.
///
/// # Errors
/// [`FlashFileError`] when the file is something else or its page is not whole.
pub fn read_page(path: &Path) -> Result<DevicePage, FlashFileError> {
    let mut file = File::open(path)?;
    let found = file.metadata()?.len();
    if !is_flash_file(found) {
        return Err(FlashFileError::Length(found));
    }
    Ok(newest_page(&mut file)??)
}

const fn is_flash_file(len: u64) -> bool {
    len == FLASH_FILE_LEN || len == FLASH_FILE_LEN_BEFORE
}

/// The page that counts of the two that may stand in the file.
fn newest_page(file: &mut File) -> io::Result<Result<DevicePage, PageError>> {
    let len = file.metadata()?.len();
    let mut pages = Vec::new();
    for at in FLASH_MAP_QEMU_LM3S6965.pages_at.map(u64::from) {
        let mut bytes = [0xff; PAGE_LEN];
        if at < len {
            file.seek(SeekFrom::Start(at))?;
            file.read_exact(&mut bytes)?;
        }
        pages.push(DevicePage::decode_save(&bytes));
    }
    let save = |page: &Result<(DevicePage, u8), PageError>| page.as_ref().ok().map(|(_, save)| *save);
    let counts = usize::from(second_page_counts(save(&pages[0]), save(&pages[1])));
    Ok(pages.swap_remove(counts).map(|(page, _)| page))
}

/// Opens a file that holds a key: a new one is its owner's alone, and so is an old one from now on.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        options.mode(0o600);
        let file = options.open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}
