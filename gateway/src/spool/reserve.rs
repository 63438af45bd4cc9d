//! Room for the way out: a file that holds a few megabytes of the disk, given back when the disk is so full that not even what
//! ingest has taken can be removed. Removing needs room in the log first; without this a full disk could never empty itself.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use taraz_telemetry::BATCH_LEN_MAX;

/// The file in the data folder.
const FILE_NAME: &str = "spool.reserve";
/// More than the log of the largest removal: its rows are a batch, and every page of them is written once.
pub(super) const RESERVE_BYTES: usize = 2 * BATCH_LEN_MAX;
/// Between attempts to take it again.
const RETRY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Reserve {
    file: PathBuf,
    is_there: bool,
    tried: Option<Instant>,
}

impl Reserve {
    /// Takes the room, unless it is held from before.
    pub(super) fn take(folder: &std::path::Path) -> Self {
        let file = folder.join(FILE_NAME);
        let is_whole = std::fs::metadata(&file).is_ok_and(|found| found.len() == RESERVE_BYTES as u64);
        let mut reserve = Self {
            file,
            is_there: is_whole,
            tried: None,
        };
        reserve.take_again();
        reserve
    }

    /// Gives the room back. False when there is none to give.
    pub(super) fn give(&mut self) -> bool {
        if !std::mem::take(&mut self.is_there) {
            return false;
        }
        tracing::warn!(file = %self.file.display(), "the disk is full: giving the reserve back, so that what ingest has can be removed");
        self.tried = Some(Instant::now());
        std::fs::remove_file(&self.file).is_ok()
    }

    /// Takes the room again when it was given back; seldom, and only what is left over.
    pub(super) fn take_again(&mut self) {
        if self.is_there || self.tried.is_some_and(|at| at.elapsed() < RETRY) {
            return;
        }
        self.tried = Some(Instant::now());
        match self.write() {
            Ok(()) => self.is_there = true,
            Err(error) => {
                tracing::warn!(%error, file = %self.file.display(), "no room for the spool's reserve");
                // A part of it helps nobody.
                let _ = std::fs::remove_file(&self.file);
            }
        }
    }

    fn write(&self) -> std::io::Result<()> {
        let mut file = File::create(&self.file)?;
        // Bytes that no file system can compress or leave out.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let bytes: Vec<u8> = noise.take(RESERVE_BYTES / 8).flatten().collect();
        file.write_all(&bytes)?;
        file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_taken_given_and_not_taken_again_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(FILE_NAME);
        let mut reserve = Reserve::take(folder.path());
        assert_eq!(std::fs::metadata(&file).unwrap().len(), RESERVE_BYTES as u64);
        assert!(reserve.give());
        assert!(!file.exists() && !reserve.give());
        reserve.take_again();
        assert!(!file.exists(), "too soon");
        reserve.tried = None;
        reserve.take_again();
        assert!(file.exists());
        assert!(Reserve::take(folder.path()).is_there, "found from before");
        let nowhere = folder.path().join("not-there");
        assert!(!Reserve::take(&nowhere).is_there);
    }
}
