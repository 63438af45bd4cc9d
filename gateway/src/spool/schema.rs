//! The tables of the spool's file, and whether a file has them.

use std::path::Path;

use rusqlite::Connection;

use super::SpoolError;

/// `PRAGMA user_version` of the schema below.
pub(super) const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE items (
    position    INTEGER PRIMARY KEY,
    received_ms INTEGER NOT NULL,
    device      TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    boot        INTEGER NOT NULL,
    first       INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    hold        TEXT,
    crc         INTEGER NOT NULL,
    records     BLOB    NOT NULL
) STRICT;
CREATE TABLE quarantine (
    position       INTEGER PRIMARY KEY,
    received_ms    INTEGER NOT NULL,
    device         TEXT    NOT NULL,
    incarnation    INTEGER NOT NULL,
    boot           INTEGER NOT NULL,
    first          INTEGER NOT NULL,
    count          INTEGER NOT NULL,
    hold           TEXT,
    crc            INTEGER NOT NULL,
    records        BLOB    NOT NULL,
    reason         TEXT    NOT NULL,
    quarantined_ms INTEGER NOT NULL
) STRICT;
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO meta VALUES ('next_position', 1);
";

/// How a file of this schema describes its tables, as far as it does.
fn described(connection: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut statement = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name")?;
    let tables = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tables.collect()
}

/// It has no tables.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    described(connection).map(|tables| tables.is_empty())
}

/// Its tables are those that [`make_empty`] makes. `SQLite` takes a table as it is described: with a damaged description it would look
/// for rows in the wrong columns.
pub(super) fn is_described(connection: &Connection) -> rusqlite::Result<bool> {
    let expected = Connection::open_in_memory()?;
    make_empty(&expected)?;
    Ok(described(connection)? == described(&expected)?)
}

/// As [`is_described`], for whoever works with the rows of `file`.
pub(super) fn check_described(connection: &Connection, file: &Path) -> Result<(), SpoolError> {
    let file = || file.display().to_string();
    match is_described(connection) {
        Ok(true) => Ok(()),
        Ok(false) => Err(SpoolError::Described { file: file() }),
        Err(error) => Err(SpoolError::Open { file: file(), error }),
    }
}

pub(super) fn make_empty(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(&format!(
        "BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    ))
}

/// The version of the schema that a file says it has; 0 for one without tables.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}
