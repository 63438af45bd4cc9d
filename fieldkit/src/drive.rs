//! The drive that a boot loader shows: found, written to, and gone again when the board has restarted.
//!
//! A drive is a boot loader's when `INFO_UF2.TXT` stands in it (microsoft/uf2, README.md: "Flashing tools can use the
//! presence of `INFO_UF2.TXT` (in upper or lower case […]) file as an indication that a given directory is actually a
//! connected UF2 board").

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::board::BootDrive;

const INFO_NAMES: [&str; 2] = ["INFO_UF2.TXT", "info_uf2.txt"];
/// More than any boot loader says about itself.
const INFO_LEN_MAX: u64 = 4_096;
/// The name under which an image is written; a boot loader does not look at it.
const IMAGE_NAME: &str = "TARAZ.UF2";
/// How often a drive is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where to look for a drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// Where systems mount drives.
    Mounted,
    /// In this folder and nowhere else.
    At(PathBuf),
}

/// A boot loader's drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// Its folder.
    pub path: PathBuf,
    /// Which board it says it is.
    pub board_id: String,
}

/// Why nothing was written, or the board did not restart.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// It did not appear.
    #[error("no drive of a board appeared within {seconds} s{others}")]
    NotFound {
        /// How long it was looked for.
        seconds: u64,
        /// Which drives of other boards there were.
        others: String,
    },
    /// The drive is of another board.
    #[error(
        "{path} is the drive of a board that calls itself {found}, not {expected}: plug in the right board, or make the image for \
         this one"
    )]
    Other {
        /// Its folder.
        path: PathBuf,
        /// What it calls itself.
        found: String,
        /// What was looked for.
        expected: &'static str,
    },
    /// Several boards wait.
    #[error("several boards wait for an image: {0}; unplug all but one, or say which with --drive")]
    Several(String),
    /// It can't be written to.
    #[error("{path}: can't be written; unplug the board and begin again")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The image was taken and the drive is still there.
    #[error(
        "{path}: the image was copied, but the board has not restarted within {seconds} s: it did not take it; unplug it and try again"
    )]
    NotRestarted {
        /// The drive.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
}

/// How it ended.
#[derive(Debug)]
pub enum Restarted {
    /// Everything was written, then the board restarted.
    Whole,
    /// The board left the drive while the system was still writing: usually because it had everything and restarted.
    Early(io::Error),
}

/// All drives of boot loaders that are there now.
#[must_use]
pub fn find_drives(places: &Places) -> Vec<Drive> {
    match places {
        Places::At(path) => drive_at(path).into_iter().collect(),
        Places::Mounted => mount_points().iter().filter_map(|path| drive_at(path)).collect(),
    }
}

/// The one drive of this kind of board, as soon as it is there; `waiting` is called once if it is not there at first.
///
/// # Errors
/// [`DriveError`] when it does not appear in time, is another board's, or is not the only one.
pub fn wait_for_drive(
    wanted: &BootDrive,
    places: &Places,
    patience: Duration,
    waiting: impl FnOnce(),
) -> Result<Drive, DriveError> {
    let begun = Instant::now();
    let mut waiting = Some(waiting);
    loop {
        let (mut ours, others): (Vec<_>, Vec<_>) = find_drives(places)
            .into_iter()
            .partition(|drive| drive.board_id == wanted.board_id);
        if ours.len() > 1 {
            let paths: Vec<_> = ours
                .iter()
                .map(|drive| drive.path.display().to_string())
                .collect();
            return Err(DriveError::Several(paths.join(", ")));
        }
        if let Some(drive) = ours.pop() {
            return Ok(drive);
        }
        if let (Places::At(_), Some(other)) = (places, others.first()) {
            return Err(DriveError::Other {
                path: other.path.clone(),
                found: other.board_id.clone(),
                expected: wanted.board_id,
            });
        }
        if begun.elapsed() >= patience {
            let other = |drive: &Drive| format!("; {} is a board {}", drive.path.display(), drive.board_id);
            return Err(DriveError::NotFound {
                seconds: patience.as_secs(),
                others: match places {
                    Places::At(path) if !path.is_dir() => format!("; there is no folder {}", path.display()),
                    Places::At(path) => format!(
                        "; {} has no INFO_UF2.TXT, so it is no board's drive",
                        path.display()
                    ),
                    Places::Mounted => others.iter().map(other).collect(),
                },
            });
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        sleep(LOOK_EVERY);
    }
}

/// Writes an image to the drive and waits until the board has restarted with it: then its drive is gone.
///
/// # Errors
/// [`DriveError`] when it can't be written, or the drive stays.
pub fn write_image(drive: &Drive, image: &[u8], patience: Duration) -> Result<Restarted, DriveError> {
    let path = drive.path.join(IMAGE_NAME);
    let failed = |source| DriveError::Write {
        path: path.clone(),
        source,
    };
    let mut file = create_private(&path).map_err(failed)?;
    // Whoever writes the last block meets a board that has already restarted: what an error means is known afterwards.
    let written = file.write_all(image).and_then(|()| file.sync_all());
    drop(file);
    let begun = Instant::now();
    while drive_at(&drive.path).is_some() {
        if begun.elapsed() >= patience {
            return Err(match written {
                Err(source) => failed(source),
                Ok(()) => DriveError::NotRestarted {
                    path: drive.path.clone(),
                    seconds: patience.as_secs(),
                },
            });
        }
        sleep(LOOK_EVERY);
    }
    Ok(written.map_or_else(Restarted::Early, |()| Restarted::Whole))
}

/// A drive of this volume name is plugged in, whether or not it is mounted; only Linux can tell.
#[must_use]
pub fn is_plugged_in(volume: &str) -> bool {
    Path::new("/dev/disk/by-label").join(volume).exists()
}

fn drive_at(path: &Path) -> Option<Drive> {
    let file = INFO_NAMES
        .iter()
        .find_map(|name| File::open(path.join(name)).ok())?;
    let mut info = Vec::new();
    file.take(INFO_LEN_MAX).read_to_end(&mut info).ok()?;
    let info = String::from_utf8_lossy(&info);
    let board_id = info
        .lines()
        .find_map(|line| line.trim().strip_prefix("Board-ID:"))?;
    Some(Drive {
        path: path.to_owned(),
        board_id: board_id.trim().to_owned(),
    })
}

/// Folders in which systems and people mount drives, and the folders in them.
fn mount_points() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if cfg!(windows) {
        found.extend(('D'..='Z').map(|letter| PathBuf::from(format!("{letter}:\\"))));
    }
    for place in ["/media", "/run/media", "/Volumes", "/mnt"] {
        for folder in folders_in(Path::new(place)) {
            // By user, where the system mounts for a person.
            if place.ends_with("media") {
                found.extend(folders_in(&folder));
            }
            found.push(folder);
        }
    }
    found
}

fn folders_in(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

/// The image holds a key; on a drive that knows permissions it is its owner's alone.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
