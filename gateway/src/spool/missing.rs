//! Rows that were acknowledged and are not there any more: found, noted, and told until a person has taken note.
//!
//! In: the file's positions and the mark beside it. Positions are given out one by one, and `next_position` in `meta` is raised above every row that leaves, from the front or ahead of
//! others: between it and where the next row goes there is a row of every position. A file that has forgotten its newest commits has
//! an older `next_position`; what had gone by then, the mark says. Out: the positions of which there is none. What was found is noted in `meta`, as
//! `missing FIRST` → LAST, as `missing rows` → how many rows altogether, and as `missing mark` → when the mark could not be read, UTC ms;
//! a repair tells it and takes it away.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::inspect::{beside, failed};
use super::log::{Unreadable, unreadable};
use super::mark::{Mark, Marked};
use super::schema::is_empty;
use super::table::{NEXT_POSITION, in_circles, signed, unsigned};
use super::{SpoolError, unusable};

/// Stretches of missing positions that are noted and named; all rows are counted.
pub const MISSING_NAMED_MAX: usize = 1_000;
/// Stretches that one line of the log names.
const LOGGED_MAX: usize = 8;
const ROWS: &str = "missing rows";
/// When somebody who was going to write found the mark damaged, UTC ms.
const UNMARKED: &str = "missing mark";
const PUT: &str = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";

/// Acknowledged rows that are not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) rows: u64,
    /// First and last position of each stretch, at most [`MISSING_NAMED_MAX`].
    pub(super) stretches: Vec<(u64, u64)>,
}

impl Missing {
    pub(super) const fn is_none(&self) -> bool {
        self.rows == 0
    }

    /// There is no row from `first` up to before `end`; of these, `ahead` has gone to ingest.
    fn add(&mut self, first: u64, end: u64, ahead: &[(u64, u64)]) {
        let mut from = first;
        for gone in ahead.iter().filter(|gone| gone.1 >= first && gone.0 < end) {
            self.add_stretch(from, gone.0);
            from = from.max(gone.1.saturating_add(1));
        }
        self.add_stretch(from, end);
    }

    fn add_stretch(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        self.rows = self.rows.saturating_add(end - first);
        if self.stretches.len() < MISSING_NAMED_MAX {
            self.stretches.push((first, end - 1));
        }
    }

    pub(super) fn and(mut self, other: Self) -> Self {
        self.rows = self.rows.saturating_add(other.rows);
        self.stretches.extend(other.stretches);
        self.stretches.sort_unstable();
        self.stretches.dedup();
        self.stretches.truncate(MISSING_NAMED_MAX);
        self
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (first, last)) in self.stretches.iter().take(LOGGED_MAX).enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{first} to {last}")?;
        }
        if self.stretches.len() > LOGGED_MAX {
            f.write_str(", …")?;
        }
        Ok(())
    }
}

/// What can only be seen before the file is opened: whoever opens it passes the log's end over, and writes in its place.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// What of the log can't be read; nobody knows that while a gateway writes to it.
    pub(super) log: Option<Unreadable>,
    pub(super) marked: Marked,
}

impl Before {
    /// Looks at what lies beside the spool `file`; at its log only where nobody writes.
    pub(super) fn look(folder: &Path, file: &Path, is_used: bool) -> Result<Self, SpoolError> {
        let at = |error| unusable(folder, error);
        Ok(Self {
            log: if is_used {
                None
            } else {
                unreadable(&beside(file, "-wal")).map_err(at)?
            },
            // Before the file: rows only become more.
            marked: Marked::read(folder).map_err(at)?,
        })
    }

    /// What of the log can't be read is more than the one commit that was under way: that was never acknowledged.
    pub(super) fn is_log_damaged(&self, missing: &Missing) -> bool {
        self.log
            .is_some_and(|log| !(log.may_be_unfinished() && self.marked.is_whole() && missing.is_none()))
    }

    /// For whoever is going to write: finds what is missing, notes it, keeps a log that can't be read, and tells all of it. The
    /// rows that are missing by now, those noted before among them.
    pub(super) fn account(
        &self,
        connection: &mut Connection,
        file: &Path,
        now_ms: u64,
    ) -> Result<Missing, SpoolError> {
        let at = failed(file);
        let missing = look(connection, self.marked.mark.as_ref()).map_err(&at)?;
        // Before anything is written, which may be where it stands.
        let kept = if missing.is_none() && !self.is_log_damaged(&missing) {
            None
        } else {
            keep_log(file, now_ms)
        };
        self.tell(&missing, file, kept.as_deref());
        if !missing.is_none() {
            let next = self.marked.mark.as_ref().map_or(1, |mark| mark.next_position);
            note(connection, &missing, next).map_err(&at)?;
        }
        if self.marked.is_damaged {
            let row = params![UNMARKED, signed(now_ms)];
            connection.execute(PUT, row).map_err(&at)?;
        }
        noted(connection).map_err(at)
    }

    fn tell(&self, missing: &Missing, file: &Path, kept: Option<&Path>) {
        let file = file.display();
        if self.marked.is_damaged {
            tracing::error!(%file, "what says how far the spool has come can't be read and is made anew: look at the disk; rows that are lost at the end of the log would be missed only by `taraz gaps`");
        }
        match self.log {
            Some(log) if self.is_log_damaged(missing) => tracing::error!(%file, "{log}"),
            Some(log) => {
                let pages = log.pages;
                tracing::info!(%file, pages, "the log ends in a commit that was under way when the gateway was stopped; it was not acknowledged");
            }
            None => {}
        }
        if missing.is_none() {
            return;
        }
        let kept = kept.map_or("none".to_owned(), |kept| kept.display().to_string());
        tracing::error!(
            %file,
            rows = missing.rows,
            positions = %missing,
            damaged_log = kept,
            "acknowledged rows of the spool are gone: look at its disk; `taraz gaps` names their records once the devices' next ones are \
             stored; `taraz spool repair`, while the gateway is stopped, takes note of it and ends the alert"
        );
    }
}

/// A copy of the log, under the name that a repair would give it. A log that is not there is not kept.
fn keep_log(file: &Path, now_ms: u64) -> Option<PathBuf> {
    let kept = beside(file, &format!(".damaged-{now_ms}-wal"));
    let log = beside(file, "-wal");
    let is_there = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    (is_there && std::fs::copy(log, &kept).is_ok()).then_some(kept)
}

/// The positions of which there must be a row, and of which there is none; those that are noted already left out.
pub(super) fn look(connection: &Connection, mark: Option<&Mark>) -> rusqlite::Result<Missing> {
    // One picture: a gateway may run beside.
    let picture = connection.unchecked_transaction()?;
    let never = Mark::default();
    let mark = mark.unwrap_or(&never);
    let mut missing = Missing::default();
    if is_empty(&picture)? {
        // Not even the tables are left, or nobody has made them yet.
        missing.add(mark.removed_to.saturating_add(1), mark.next_position, &mark.ahead);
        return Ok(missing);
    }
    let number = |sql: &str| picture.query_row(sql, [], |row| row.get(0)).map(unsigned);
    let settled = number("SELECT value FROM meta WHERE key = 'next_position'")?;
    let end = number(NEXT_POSITION)?.max(mark.next_position);
    let mut expected = settled.max(mark.removed_to.saturating_add(1));
    let mut statement = picture.prepare(
        "SELECT position FROM items WHERE position >= ?1
         UNION SELECT position FROM quarantine WHERE position >= ?1 ORDER BY 1",
    )?;
    let mut rows = statement.query([signed(expected)])?;
    while let Some(row) = rows.next()? {
        let position = unsigned(row.get(0)?);
        if position < expected {
            return Err(in_circles());
        }
        missing.add(expected, position, &mark.ahead);
        expected = position.saturating_add(1);
    }
    missing.add(expected, end, &mark.ahead);
    Ok(missing)
}

/// What was found missing, now or earlier.
pub(super) fn noted(connection: &Connection) -> rusqlite::Result<Missing> {
    let Some(rows) = value_of(connection, ROWS)? else {
        return Ok(Missing::default());
    };
    let sql =
        "SELECT CAST(substr(key, 9) AS INTEGER), value FROM meta WHERE key GLOB 'missing [0-9]*' ORDER BY 1";
    let mut statement = connection.prepare(sql)?;
    let stretches = statement.query_map([], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
    Ok(Missing {
        rows,
        stretches: stretches.collect::<rusqlite::Result<_>>()?,
    })
}

/// When the mark could not be read, UTC ms, if that was so since the last repair.
pub(super) fn unmarked_since_ms(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    value_of(connection, UNMARKED)
}

fn value_of(connection: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    if is_empty(connection)? {
        return Ok(None);
    }
    let sql = "SELECT value FROM meta WHERE key = ?1";
    let value = connection.query_row(sql, [key], |row| row.get(0)).optional()?;
    Ok(value.map(unsigned))
}

/// Notes what is missing, if anything, in one transaction; the next row goes to `next_position` or behind it.
pub(super) fn note(
    connection: &mut Connection,
    missing: &Missing,
    next_position: u64,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let known = noted(&transaction)?;
    let next = transaction
        .query_row(NEXT_POSITION, [], |row| row.get(0))
        .map(unsigned)?;
    // What was looked at is not looked for again.
    transaction.execute(PUT, params!["next_position", signed(next.max(next_position))])?;
    if !missing.is_none() {
        transaction.execute(
            PUT,
            params![ROWS, signed(known.rows.saturating_add(missing.rows))],
        )?;
    }
    let room = MISSING_NAMED_MAX.saturating_sub(known.stretches.len());
    for (first, last) in missing.stretches.iter().take(room) {
        transaction.execute(PUT, params![format!("missing {first}"), signed(*last)])?;
    }
    transaction.commit()
}

/// A person has been told: takes the notes away, and says what they were.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<Missing> {
    let known = noted(connection)?;
    connection.execute("DELETE FROM meta WHERE key LIKE 'missing %'", [])?;
    Ok(known)
}
