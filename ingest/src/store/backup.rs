//! A copy of the whole store in one file, from one consistent state, while ingest runs.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::verify::{Verified, verify_file};
use super::{FILE_NAME, StoreError, schema};

/// Writes the store in the folder `data` into a new file `to`, verifies that file, and gives it its name only then. The copy is a
/// store: as `store.sqlite` in a data folder it is what ingest goes on with.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Newer`], [`StoreError::Sqlite`]; [`StoreError::Backup`] when the file
/// is there already, can't be written, or is not what it should be.
pub fn backup(data: &Path, to: &Path) -> Result<Verified, StoreError> {
    let refused = |reason: String| StoreError::Backup {
        path: to.to_owned(),
        reason,
    };
    if to.exists() {
        return Err(refused("it exists already: name another file".to_owned()));
    }
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(StoreError::Missing(path));
    }
    let name = to
        .file_name()
        .ok_or_else(|| refused("expected the path of a file".to_owned()))?;
    let mut partial = name.to_owned();
    partial.push(".partial");
    let partial = to.with_file_name(partial);
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(|error| refused(error.to_string()))?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)?;
    schema::prepare(&connection)?;
    schema::check_is_present(&connection)?;
    let text = partial
        .to_str()
        .ok_or_else(|| refused("its path is no UTF-8".to_owned()))?;
    let copied = copy(&connection, text, refused).and_then(|verified| {
        place(&partial, to).map_err(|error| refused(error.to_string()))?;
        Ok(verified)
    });
    if copied.is_err() {
        // What is left of it is no backup. That it can't be removed is not why the backup has failed, and the next one tries again.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

/// Copies the store into a new file and verifies that.
fn copy(
    connection: &Connection,
    partial: &str,
    refused: impl Fn(String) -> StoreError,
) -> Result<Verified, StoreError> {
    connection
        .execute("VACUUM INTO ?", [partial])
        .map_err(|error| refused(error.to_string()))?;
    let verified = verify_file(Path::new(partial))?;
    if let Some(first) = verified.wrong.first() {
        return Err(refused(format!(
            "the copy is wrong, and so is the store ({first}): `taraz store verify` says what"
        )));
    }
    Ok(verified)
}

/// On the disk first, then under its name.
fn place(partial: &Path, to: &Path) -> std::io::Result<()> {
    File::open(partial)?.sync_all()?;
    std::fs::rename(partial, to)?;
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}
