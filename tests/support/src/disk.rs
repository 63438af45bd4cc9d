//! A small disk of its own for a folder: one that can be full, or read-only, without harm to anybody else.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{require, wait_for};

/// How long a disk may be busy before its remounting is given up.
const REMOUNT_LIMIT: Duration = Duration::from_secs(10);
/// What fills it.
const FILLER: &str = "filler";

/// A tmpfs on a folder; unmounted with its guard.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts it; the folder is made if need be.
    ///
    /// # Panics
    /// When it can't be mounted, which only root may do.
    #[must_use]
    pub fn mount(folder: &Path, mib: u32) -> Self {
        std::fs::create_dir_all(folder).expect("the folder of a small disk");
        let size = format!("size={mib}m,mode=700");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], folder);
        assert!(
            mounted,
            "a tmpfs can't be mounted on {}: run this test as root, in a container with CAP_SYS_ADMIN",
            folder.display()
        );
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Leaves no space.
    ///
    /// # Panics
    /// When writing fails for another reason.
    pub fn fill(&self) {
        let mut filler = File::create(self.folder.join(FILLER)).expect("a file on a small disk");
        for len in [1 << 16, 1 << 12, 1] {
            let zeros = vec![0; len];
            loop {
                match filler.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("filling {}: {error}", self.folder.display()),
                }
            }
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        // It may not have been full.
        let _ = std::fs::remove_file(self.folder.join(FILLER));
    }

    /// Makes it read-only, or writable again. Waits while somebody still has a file of it open for writing.
    ///
    /// # Panics
    /// When the system still refuses after ten seconds.
    pub fn set_read_only(&self, is_read_only: bool) {
        let option = if is_read_only { "remount,ro" } else { "remount,rw" };
        let what = format!("{} mounted anew with {option}", self.folder.display());
        wait_for(REMOUNT_LIMIT, &what, || {
            let is_done = run("mount", &["-o", option], &self.folder);
            is_done.then_some(()).ok_or("the system refuses")
        });
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a process that is killed after this may still have files open.
        let _ = run("umount", &["-l"], &self.folder);
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let status = Command::new(require(program))
        .args(arguments)
        .arg(folder)
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_full_and_read_only_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk::mount(&folder.path().join("disk"), 1);
        let file = folder.path().join("disk/file");
        let write = || std::fs::write(&file, [7; 10_000]).map_err(|error| error.kind());
        write().unwrap();
        std::fs::remove_file(&file).unwrap();
        disk.fill();
        assert_eq!(write(), Err(ErrorKind::StorageFull));
        disk.free();
        write().unwrap();
        disk.set_read_only(true);
        assert_eq!(write(), Err(ErrorKind::ReadOnlyFilesystem));
        disk.set_read_only(false);
        write().unwrap();
    }
}
