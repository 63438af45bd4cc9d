//! One process works on a spool's folder at a time.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::{SpoolError, unusable};

/// Locked while a gateway works on the folder: two of them would give out the same positions.
pub(super) const LOCK_NAME: &str = "spool.lock";
/// How often the lock is tried: whoever only looks at a spool holds it for an instant.
const LOCK_ATTEMPTS_MAX: u32 = 20;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Takes the folder for one process.
pub(super) fn lock(folder: &Path) -> Result<File, SpoolError> {
    lock_patiently(folder, || std::thread::sleep(LOCK_RETRY))
}

/// As [`lock`]; `pause` is called between attempts.
fn lock_patiently(folder: &Path, mut pause: impl FnMut()) -> Result<File, SpoolError> {
    let lock = File::create(folder.join(LOCK_NAME)).map_err(|error| unusable(folder, error))?;
    for attempt in 1..=LOCK_ATTEMPTS_MAX {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS_MAX => pause(),
            Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(unusable(folder, error)),
        }
    }
    Err(SpoolError::InUse {
        folder: folder.display().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_who_only_looks_keeps_no_gateway_from_starting() {
        let folder = tempfile::tempdir().unwrap();
        let mut looking = Some(lock(folder.path()).unwrap());
        let mut pauses = 0;
        let locked = lock_patiently(folder.path(), || {
            pauses += 1;
            if pauses == 2 {
                looking = None;
            }
        });
        assert!(locked.is_ok());
        assert_eq!(pauses, 2);
        let mut pauses = 0;
        let again = lock_patiently(folder.path(), || pauses += 1);
        assert!(matches!(again, Err(SpoolError::InUse { .. })));
        assert_eq!(pauses, LOCK_ATTEMPTS_MAX - 1, "bounded");
    }
}
