//! How fast the data's disk makes something durable, and how much lies in a folder.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};

const SYNCS: usize = 200;
const WRITE_LEN: usize = 4096;

/// How long an fdatasync after an appended page takes, in µs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncTimes {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Times them in a file in `folder`.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn sync_times(folder: &Path) -> Result<SyncTimes> {
    let path = folder.join("fdatasync");
    let mut file = File::create(&path).with_context(|| path.display().to_string())?;
    let mut times_us = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&[0x5a; WRITE_LEN])?;
        let begun = Instant::now();
        file.sync_data()?;
        times_us.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    times_us.sort_by(f64::total_cmp);
    Ok(SyncTimes {
        p50_us: times_us[SYNCS / 2],
        p99_us: times_us[SYNCS * 99 / 100],
    })
}

/// The length of all files in `folder`, deeper ones included.
///
/// # Errors
/// When something in it can't be read.
pub(crate) fn bytes_in(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            bytes_in(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(bytes)
}
