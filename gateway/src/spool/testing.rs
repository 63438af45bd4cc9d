//! For tests of whoever uses a spool.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::FILE_NAME;

/// Keeps a folder's spool from committing until it is dropped.
pub(crate) struct HeldCommits {
    _connection: Connection,
}

impl HeldCommits {
    /// Waits as long as `timeout` for a commit that is under way.
    pub(crate) fn hold(folder: &Path, timeout: Duration) -> Self {
        let connection = Connection::open(folder.join(FILE_NAME)).unwrap();
        connection.busy_timeout(timeout).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self {
            _connection: connection,
        }
    }
}
