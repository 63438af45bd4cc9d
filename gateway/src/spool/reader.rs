//! Reading beside the committer: what forwarding has to send.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::SpoolError;
use super::table::{StoredRow, connect, rows, signed};

/// Reads the spool beside the committer.
#[derive(Debug)]
pub(crate) struct SpoolReader {
    connection: Connection,
    file: PathBuf,
}

impl SpoolReader {
    pub(super) fn open(file: &Path) -> Result<Self, SpoolError> {
        let at = |error| SpoolError::Open {
            file: file.display().to_string(),
            error,
        };
        let connection = connect(file).map_err(at)?;
        connection.pragma_update(None, "query_only", true).map_err(at)?;
        Ok(Self {
            connection,
            file: file.to_owned(),
        })
    }

    /// The rows after a position in their order, until `each` says no.
    pub(crate) fn after(
        &self,
        position: u64,
        each: impl FnMut(&StoredRow<'_>) -> bool,
    ) -> Result<(), SpoolError> {
        let sql = "SELECT * FROM items WHERE position > ?1 ORDER BY position";
        rows(&self.connection, sql, &[signed(position)], each).map_err(|error| self.failed(error))
    }

    /// The rows of a range in their order, until `each` says no.
    pub(crate) fn between(
        &self,
        range: &RangeInclusive<u64>,
        each: impl FnMut(&StoredRow<'_>) -> bool,
    ) -> Result<(), SpoolError> {
        let sql = "SELECT * FROM items WHERE position BETWEEN ?1 AND ?2 ORDER BY position";
        let range = [signed(*range.start()), signed(*range.end())];
        rows(&self.connection, sql, &range, each).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: rusqlite::Error) -> SpoolError {
        SpoolError::Open {
            file: self.file.display().to_string(),
            error,
        }
    }
}
