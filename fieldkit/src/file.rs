//! A text file changed whole or not at all.

use std::io::{self, Write as _};
use std::path::Path;

/// Why a file was not replaced; it is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Someone else changed it.
    #[error("it was changed by another program in the meantime; try again")]
    Changed,
    /// The file or its folder.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Replaces a file that holds `old` by `new`, keeping its permissions. A link stays one: what it names is replaced. After a
/// power cut either text is there, whole.
///
/// # Errors
/// [`ReplaceError`] when it holds something else by now, or can't be written.
pub fn replace(path: &Path, old: &str, new: &str) -> Result<(), ReplaceError> {
    let path = path.canonicalize()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    beside.write_all(new.as_bytes())?;
    beside
        .as_file()
        .set_permissions(std::fs::metadata(&path)?.permissions())?;
    beside.as_file().sync_all()?;
    if std::fs::read_to_string(&path)? != old {
        return Err(ReplaceError::Changed);
    }
    beside.persist(&path).map_err(|error| error.error)?;
    // The new name is durable once the folder is; where a folder can't be opened as a file, it has to do without.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
