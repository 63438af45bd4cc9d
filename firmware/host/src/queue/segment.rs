//! One file of the log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use taraz_firmware::Position;

const SUFFIX: &str = "seg";
/// What every segment begins with, the layout's version last.
pub(super) const MAGIC: [u8; 8] = *b"tarazq\x001";

/// A segment, open.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u32,
    path: PathBuf,
    file: File,
    /// How much of the file is valid.
    pub(super) len: u64,
    /// Records in it, released ones included.
    pub(super) records: u32,
    /// Records in it that are pending.
    pub(super) pending: u32,
    /// Behind its last record.
    pub(super) end: Position,
}

impl Segment {
    /// Creates segment `number` with these first bytes, durable when this returns.
    pub(super) fn create(dir: &Path, number: u32, head: &[u8]) -> io::Result<Self> {
        let path = dir.join(format!("{number:010}.{SUFFIX}"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)?;
        file.write_all_at(head, 0)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self {
            number,
            path,
            file,
            len: head.len() as u64,
            records: 0,
            pending: 0,
            end: Position::START,
        })
    }

    /// Opens segment `number` and reads it whole.
    pub(super) fn open(dir: &Path, number: u32) -> io::Result<(Self, Vec<u8>)> {
        let path = dir.join(format!("{number:010}.{SUFFIX}"));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let bytes = std::fs::read(&path)?;
        let segment = Self {
            number,
            path,
            file,
            len: bytes.len() as u64,
            records: 0,
            pending: 0,
            end: Position::START,
        };
        Ok((segment, bytes))
    }

    /// Writes behind the valid part, which does not grow until [`Self::grow`]: what fails is written over.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)
    }

    /// Waits until what was written is durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// What was written is valid.
    pub(super) const fn grow(&mut self, len: usize) {
        self.len += len as u64;
    }

    /// Cuts a torn tail off.
    pub(super) fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.sync_all()?;
        self.len = len;
        Ok(())
    }

    /// Reads as much as there is from `offset` on, up to the buffer's length.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let available = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let len = buffer.len().min(available);
        self.file.read_exact_at(&mut buffer[..len], offset)?;
        Ok(len)
    }

    /// Deletes the file.
    pub(super) fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// The numbers of the segments in a folder, ascending.
pub(super) fn numbers(dir: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|suffix| suffix == SUFFIX)
            && let Some(number) = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .and_then(|stem| stem.parse().ok())
        {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes segment `number`.
pub(super) fn delete(dir: &Path, number: u32) -> io::Result<()> {
    std::fs::remove_file(dir.join(format!("{number:010}.{SUFFIX}")))
}
