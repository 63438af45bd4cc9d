//! A second place that knows how far the spool has come: without it, a log whose end is gone looks like one that was never longer.
//!
//! In: the committer's positions after each commit. Out: at the next start, the positions of which a row must be there. Layout: two
//! slots of a sector each, written in turn, so that a torn write leaves the one before:
//!
//! ```text
//! slot = "TARAZ-SM" ‖ count of writes u64 LE ‖ next position u64 LE ‖ removed up to u64 LE
//!        ‖ stretches u32 LE ‖ (first u64 LE ‖ last u64 LE) of each ‖ zeros ‖ CRC-32 u32 LE
//! ```
//!
//! The stretches are what has gone ahead of rows that are still there: live rows go before a backlog.
//!
//! It is written when the commit is durable and before anybody is told, and is not synced itself: never ahead of what is durable,
//! exact after a kill, and after a power cut as old as what the system had not written back yet (docs/adr/0028).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use taraz_telemetry::Crc32;

use super::queue::Removal;

/// The file in the data folder.
pub(super) const MARK_NAME: &str = "spool.mark";
const MAGIC: &[u8; 8] = b"TARAZ-SM";
const SLOT_LEN: usize = 512;
const FILE_LEN: usize = 2 * SLOT_LEN;
/// Before the stretches: magic, three numbers, and how many stretches.
const HEAD_LEN: usize = 36;
const STRETCH_LEN: usize = 16;
/// Everything but the sum.
const SUMMED: usize = SLOT_LEN - 4;
/// Stretches that a slot holds. With more, the rows before the last of them are not missed: it says less then, not too much.
const AHEAD_MAX: usize = (SUMMED - HEAD_LEN) / STRETCH_LEN;

/// How far the spool had come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The position that the next row gets.
    pub(super) next_position: u64,
    /// Up to this position ingest has taken everything, or it is in the quarantine.
    pub(super) removed_to: u64,
    /// First and last of what has gone behind that, in order and apart from each other.
    pub(super) ahead: Vec<(u64, u64)>,
}

impl Default for Mark {
    /// Of a spool that never had anything.
    fn default() -> Self {
        Self {
            next_position: 1,
            removed_to: 0,
            ahead: Vec::new(),
        }
    }
}

impl Mark {
    /// Rows that it says there are.
    pub(super) fn rows(&self) -> u64 {
        let behind = self
            .next_position
            .saturating_sub(self.removed_to.saturating_add(1));
        let gone = self.ahead.iter().map(|(first, last)| last - first + 1).sum();
        behind.saturating_sub(gone)
    }

    /// Rows have gone.
    fn remove(&mut self, removal: &Removal) {
        self.removed_to = self.removed_to.max(removal.up_to);
        let ranges = removal.ranges.iter().filter(|range| !range.is_empty());
        self.ahead
            .extend(ranges.map(|range| (*range.start(), *range.end())));
        self.ahead.sort_unstable();
        let mut joined: Vec<(u64, u64)> = Vec::with_capacity(self.ahead.len());
        for (first, last) in std::mem::take(&mut self.ahead) {
            if first <= self.removed_to.saturating_add(1) {
                self.removed_to = self.removed_to.max(last);
                continue;
            }
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        let excess = joined.len().saturating_sub(AHEAD_MAX);
        if let Some(dropped) = joined.drain(..excess).next_back() {
            self.removed_to = dropped.1;
        }
        self.ahead = joined;
    }
}

/// What stands in the mark's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Marked {
    /// `None` where there is none, as beside the spool of an earlier version, or where it can't be read.
    pub(super) mark: Option<Mark>,
    /// A slot can't be read.
    pub(super) is_damaged: bool,
    count: u64,
}

impl Marked {
    /// Reads the mark in a gateway's data folder.
    pub(super) fn read(folder: &Path) -> std::io::Result<Self> {
        let bytes = match std::fs::read(folder.join(MARK_NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            read => read?,
        };
        let slots = bytes.chunks(SLOT_LEN).take(2).map(slot);
        let found: Vec<(u64, Mark)> = slots.flatten().collect();
        let is_damaged = found.len() < 2 || bytes.len() != FILE_LEN;
        let (count, mark) = found.into_iter().max_by_key(|(count, _)| *count).unzip();
        Ok(Self {
            mark,
            is_damaged,
            count: count.unwrap_or(0),
        })
    }

    /// There is a mark, and all of it can be read.
    pub(super) const fn is_whole(&self) -> bool {
        self.mark.is_some() && !self.is_damaged
    }
}

fn slot(bytes: &[u8]) -> Option<(u64, Mark)> {
    let (summed, sum) = bytes.split_at_checked(SUMMED)?;
    let is_whole = summed.starts_with(MAGIC) && Crc32::new().bytes(summed).sum().to_le_bytes() == *sum;
    if !is_whole {
        return None;
    }
    let number = |at: usize| {
        let bytes: [u8; 8] = summed.get(at..at + 8)?.try_into().ok()?;
        Some(u64::from_le_bytes(bytes))
    };
    let stretches = usize::try_from(u32::from_le_bytes(summed[32..HEAD_LEN].try_into().ok()?)).ok()?;
    let stretch = |n: usize| {
        let at = HEAD_LEN + n * STRETCH_LEN;
        Some((number(at)?, number(at + 8)?))
    };
    let mark = Mark {
        next_position: number(16)?,
        removed_to: number(24)?,
        ahead: (0..stretches.min(AHEAD_MAX))
            .map(stretch)
            .collect::<Option<_>>()?,
    };
    Some((number(8)?, mark))
}

fn slot_of(count: u64, mark: &Mark) -> [u8; SLOT_LEN] {
    let mut slot = [0; SLOT_LEN];
    slot[..8].copy_from_slice(MAGIC);
    let mut put = |at: usize, number: u64| slot[at..at + 8].copy_from_slice(&number.to_le_bytes());
    put(8, count);
    put(16, mark.next_position);
    put(24, mark.removed_to);
    // Below AHEAD_MAX; the four bytes behind it belong to the first stretch and are written after it.
    put(32, mark.ahead.len() as u64);
    for (n, (first, last)) in mark.ahead.iter().enumerate() {
        put(HEAD_LEN + n * STRETCH_LEN, *first);
        put(HEAD_LEN + n * STRETCH_LEN + 8, *last);
    }
    let sum = Crc32::new().bytes(&slot[..SUMMED]).sum();
    slot[SUMMED..].copy_from_slice(&sum.to_le_bytes());
    slot
}

/// The mark, as the one who commits keeps it.
#[derive(Debug)]
pub(super) struct MarkFile {
    path: PathBuf,
    file: Option<File>,
    count: u64,
    mark: Mark,
    has_failed: bool,
}

impl MarkFile {
    /// Takes the mark of `folder` over and brings it to `next_position`; makes it anew where it is damaged or not there.
    pub(super) fn take(folder: &Path, marked: &Marked, next_position: u64) -> Self {
        let mut taken = Self {
            path: folder.join(MARK_NAME),
            file: None,
            count: marked.count,
            mark: marked.mark.clone().unwrap_or_default(),
            has_failed: false,
        };
        if marked.is_whole() {
            taken.file = OpenOptions::new().write(true).open(&taken.path).ok();
        }
        taken.advance(next_position, &[]);
        taken
    }

    /// Rows up to before `next_position` are durable, and so are the removals. A disk that takes it not is told once:
    /// what it says is still true then, only older.
    pub(super) fn advance(&mut self, next_position: u64, removals: &[Removal]) {
        self.mark.next_position = self.mark.next_position.max(next_position);
        removals.iter().for_each(|removal| self.mark.remove(removal));
        self.count += 1;
        let written = self.write();
        match written {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                self.file = None;
                if !std::mem::replace(&mut self.has_failed, true) {
                    let file = self.path.display();
                    tracing::warn!(%error, %file, "can't note how far the spool has come: look at its disk and the folder's permissions; until it can be noted, rows that the disk loses may stay unnoticed");
                }
            }
        }
    }

    fn write(&mut self) -> std::io::Result<()> {
        let slot = slot_of(self.count, &self.mark);
        match &self.file {
            Some(file) => file.write_all_at(&slot, self.count % 2 * SLOT_LEN as u64),
            None => {
                self.file = Some(make(&self.path, &slot)?);
                Ok(())
            }
        }
    }
}

/// A new file with the same in both slots, put in place whole.
fn make(path: &Path, slot: &[u8; SLOT_LEN]) -> std::io::Result<File> {
    let new = path.with_extension("mark.new");
    let mut file = File::create(&new)?;
    file.write_all(&[*slot, *slot].concat())?;
    file.sync_data()?;
    std::fs::rename(new, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(next_position: u64, removed_to: u64) -> Mark {
        Mark {
            next_position,
            removed_to,
            ahead: Vec::new(),
        }
    }

    fn removal(up_to: u64, ranges: &[std::ops::RangeInclusive<u64>]) -> [Removal; 1] {
        let (done, _) = tokio::sync::oneshot::channel();
        [Removal {
            up_to,
            ranges: ranges.to_vec(),
            rejected: Vec::new(),
            done,
        }]
    }

    #[test]
    fn what_was_noted_last_is_read_and_never_less() {
        let folder = tempfile::tempdir().unwrap();
        let read = || Marked::read(folder.path()).unwrap();
        assert_eq!(read(), Marked::default());
        let mut file = MarkFile::take(folder.path(), &read(), 1);
        assert_eq!((read().mark, read().is_whole()), (Some(mark(1, 0)), true));
        file.advance(7, &removal(0, &[]));
        file.advance(7, &removal(5, &[]));
        file.advance(9, &removal(2, &[]));
        assert_eq!((read().mark, read().is_whole()), (Some(mark(9, 5)), true));
        drop(file);
        // A spool that lies behind its mark does not bring it back.
        drop(MarkFile::take(folder.path(), &read(), 3));
        assert_eq!((read().mark, read().is_whole()), (Some(mark(9, 5)), true));
        assert_eq!(read().mark.unwrap().rows(), 3);
    }

    #[test]
    fn what_went_ahead_is_noted_and_joined_and_with_too_much_of_it_less_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = MarkFile::take(folder.path(), &Marked::default(), 1_001);
        let read = || Marked::read(folder.path()).unwrap().mark.unwrap();
        file.advance(1_001, &removal(3, &[10..=11, 20..=20]));
        file.advance(1_001, &removal(3, &[12..=15]));
        assert_eq!(
            (read().removed_to, read().ahead, read().rows()),
            (3, vec![(10, 15), (20, 20)], 990)
        );
        file.advance(1_001, &removal(9, &[]));
        assert_eq!((read().removed_to, read().ahead), (15, vec![(20, 20)]));
        let apart: Vec<_> = (0..AHEAD_MAX as u64)
            .map(|n| 100 + n * 10..=104 + n * 10)
            .collect();
        file.advance(1_001, &removal(15, &apart));
        assert_eq!((read().removed_to, read().ahead.len()), (20, AHEAD_MAX));
        assert_eq!(read().ahead.last(), Some(&(380, 384)));
    }

    #[test]
    fn every_bit_of_it_counts_and_one_slot_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(MARK_NAME);
        let mut file = MarkFile::take(folder.path(), &Marked::default(), 5);
        file.advance(6, &removal(1, &[]));
        file.advance(8, &removal(2, &[]));
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            std::fs::write(&path, bytes).unwrap();
            let found = Marked::read(folder.path()).unwrap();
            assert!(found.is_damaged, "{at}");
            assert!([Some(mark(8, 2)), Some(mark(6, 1))].contains(&found.mark), "{at}");
        }
        for len in [0, 100, SLOT_LEN, FILE_LEN - 1, FILE_LEN + 1] {
            let mut bytes = good.clone();
            bytes.resize(len, 0);
            std::fs::write(&path, bytes).unwrap();
            assert!(Marked::read(folder.path()).unwrap().is_damaged, "{len}");
        }
        let damaged = Marked::read(folder.path()).unwrap();
        drop(MarkFile::take(folder.path(), &damaged, 8));
        let found = Marked::read(folder.path()).unwrap();
        assert!(found.is_whole(), "made anew");
        assert_eq!(found.mark, Some(mark(8, 2)));
    }

    #[test]
    fn a_disk_that_does_not_take_it_is_gone_on_without_and_noted_later() {
        let folder = tempfile::tempdir().unwrap();
        let later = folder.path().join("later");
        let mut file = MarkFile::take(&later, &Marked::default(), 5);
        assert!(file.has_failed);
        std::fs::create_dir(&later).unwrap();
        file.advance(6, &removal(0, &[]));
        assert_eq!(Marked::read(&later).unwrap().mark, Some(mark(6, 0)));
        assert!(!file.has_failed);
    }
}
