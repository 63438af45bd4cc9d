//! Puts aside what is damaged in the spool of a gateway that does not run. Nothing is deleted: rows go into the quarantine, and
//! a file that can't be trusted any more is kept beside the new one.

use std::fs::File;
use std::path::{Path, PathBuf};

use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, params};
use serde::Serialize;

use super::inspect::{SpoolFile, beside, failed};
use super::mark::{Mark, MarkFile};
use super::missing::{self, Before};
use super::schema::make_empty;
use super::table::{
    NEXT_POSITION, StoredRow, Table, TableLimits, connect, in_circles, signed, stored, unsigned,
};
use super::verify::{FindingKind, wrong_with};
use super::{FILE_NAME, SpoolError, lock, unusable};

/// Behind the spool's name while a repair copies into it.
const COPYING: &str = ".copying";
/// Behind the spool's name when a repair has all in it and has yet to put it in place.
const RESCUED: &str = ".rescued";
/// Behind the spool's name, and before a time in UTC ms, when a repair keeps the damaged file.
const DAMAGED: &str = ".damaged-";

/// What a repair did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Repair {
    /// Rows that are good.
    pub good_rows: u64,
    /// Rows that went into the quarantine.
    pub put_aside: u64,
    /// Where the damaged file is now, when a new one had to be made.
    pub damaged_file: Option<PathBuf>,
    /// Positions (first, last) in which the damaged file gave no row: it is not known whether it held any there.
    pub unreadable: Vec<(u64, u64)>,
    /// Rows that were acknowledged and are not there; this repair has taken note of them.
    pub missing_rows: u64,
    /// Their positions (first, last), at most [`MISSING_NAMED_MAX`](super::MISSING_NAMED_MAX) stretches.
    pub missing: Vec<(u64, u64)>,
}

/// Repairs the spool in a gateway's data folder. A good one stays as it is.
///
/// # Errors
/// [`SpoolError::InUse`] while a gateway runs; [`SpoolError::Missing`] without a spool; [`SpoolError::Folder`],
/// [`SpoolError::Open`], [`SpoolError::Schema`].
pub fn repair(data_dir: &Path, now_ms: u64) -> Result<Repair, SpoolError> {
    let file = data_dir.join(FILE_NAME);
    let is_half = || beside(&file, RESCUED).exists();
    if !data_dir.exists() {
        return Err(none_at(&file));
    }
    let _lock = lock(data_dir)?;
    let mut repair = Repair::default();
    if is_half() {
        finish(data_dir, &file, &mut repair)?;
    }
    let mark = Before::look(data_dir, &file, true)?.marked.mark;
    match mark.as_ref().map_or(0, Mark::rows) {
        _ if file.exists() => {}
        0 => return Err(none_at(&file)),
        // A new one, of which every row is missing.
        _ => {
            put_aside(data_dir, &file, now_ms, &mut repair)?;
            return Ok(repair);
        }
    }
    let is_whole = SpoolFile::open_used(data_dir, false).and_then(|spool| match spool {
        Some(spool) => Ok(!spool
            .verify()?
            .findings
            .iter()
            .any(|found| found.kind == FindingKind::File)),
        None => Ok(true),
    });
    match is_whole {
        Ok(true) => {}
        Err(error @ (SpoolError::Schema { .. } | SpoolError::Folder { .. })) => return Err(error),
        Ok(false) | Err(_) => rescue(data_dir, &file, mark.as_ref(), now_ms, &mut repair)?,
    }
    match put_aside(data_dir, &file, now_ms, &mut repair) {
        // What SQLite's check passes over can still be met where something is written: a list of free pages, for one.
        Err(error) if is_corrupt(&error) && repair.damaged_file.is_none() => {
            repair = Repair::default();
            rescue(data_dir, &file, mark.as_ref(), now_ms, &mut repair)?;
            put_aside(data_dir, &file, now_ms, &mut repair)?;
        }
        done => done?,
    }
    Ok(repair)
}

fn is_corrupt(error: &SpoolError) -> bool {
    let code = match error {
        SpoolError::Open { error, .. } => error.sqlite_error_code(),
        _ => None,
    };
    code == Some(rusqlite::ErrorCode::DatabaseCorrupt)
}

fn none_at(file: &Path) -> SpoolError {
    SpoolError::Missing {
        file: file.display().to_string(),
    }
}

/// Refuses to go on where a repair has not put the new file in place: beside it, the spool is the damaged one or has no rows.
pub(super) fn refuse_half_repaired(data_dir: &Path) -> Result<(), SpoolError> {
    let rescued = beside(&data_dir.join(FILE_NAME), RESCUED);
    if rescued.exists() {
        return Err(SpoolError::HalfRepaired {
            file: rescued.display().to_string(),
        });
    }
    Ok(())
}

/// Moves every row that can never go to ingest into the quarantine, and takes note of what is missing.
fn put_aside(data_dir: &Path, file: &Path, now_ms: u64, repair: &mut Repair) -> Result<(), SpoolError> {
    let at = failed(file);
    let before = Before::look(data_dir, file, false)?;
    // Makes the tables where a gateway has only just begun to.
    drop(Table::open(file, &TableLimits::default())?);
    let mut connection = connect(file).map_err(&at)?;
    before.account(&mut connection, file, now_ms)?;
    let spool = SpoolFile {
        connection,
        file: file.to_owned(),
        before: before.clone(),
    };
    let mut wrong = Vec::new();
    spool.each("items", |row| match wrong_with(row) {
        None => repair.good_rows += 1,
        Some(what) => wrong.push((row.position, what)),
    })?;
    let mut connection = spool.connection;
    let moved = (|| {
        let transaction = connection.transaction()?;
        for (position, what) in &wrong {
            let reason = format!("damaged in the spool: {what}");
            let sql = "INSERT INTO quarantine SELECT *, ?2, ?3 FROM items WHERE position = ?1";
            transaction.execute(sql, params![signed(*position), reason, signed(now_ms)])?;
            transaction.execute("DELETE FROM items WHERE position = ?1", [signed(*position)])?;
        }
        transaction.commit()
    })();
    moved.map_err(&at)?;
    repair.put_aside = wrong.len() as u64;
    let next = connection.query_row(NEXT_POSITION, [], |row| row.get(0));
    drop(MarkFile::take(
        data_dir,
        &before.marked,
        unsigned(next.map_err(&at)?),
    ));
    let missing = missing::settle(&connection).map_err(at)?;
    (repair.missing_rows, repair.missing) = (missing.rows, missing.stretches);
    Ok(())
}

/// Copies every row that can be read into a new file, which takes the place of the damaged one.
///
/// Whenever it is killed, nothing is lost: until `.rescued` has its name, the damaged file and its log are untouched; from then on
/// the new file is whole and the damaged one is kept under another name, and nothing uses the spool before [`finish`] was done.
fn rescue(
    data_dir: &Path,
    file: &Path,
    mark: Option<&Mark>,
    now_ms: u64,
    repair: &mut Repair,
) -> Result<(), SpoolError> {
    let new = beside(file, COPYING);
    for old in [new.clone(), beside(&new, "-wal"), beside(&new, "-shm")] {
        // Of a repair that was killed while it copied; the damaged file still has everything.
        let _ = std::fs::remove_file(old);
    }
    make_new(file, &new, mark, repair)?;
    keep_aside(data_dir, file, now_ms)
        .and_then(|()| {
            std::fs::rename(&new, beside(file, RESCUED))?;
            sync(data_dir)
        })
        .map_err(|error| unusable(data_dir, error))?;
    finish(data_dir, file, repair)
}

fn make_new(file: &Path, new: &Path, mark: Option<&Mark>, repair: &mut Repair) -> Result<(), SpoolError> {
    let from = Connection::open(file).map_err(failed(file))?;
    let mut to = connect(new).map_err(failed(new))?;
    make_empty(&to).map_err(failed(new))?;
    let mut next = copy(&from, &mut to, "items", repair).map_err(failed(new))?;
    next = next.max(copy(&from, &mut to, "quarantine", repair).map_err(failed(new))?);
    // Positions that were given out are never given out again: ingest's verdicts name them.
    if let Ok(known) = from.query_row(NEXT_POSITION, [], |row| row.get(0)).map(unsigned) {
        next = next.max(known);
    }
    carry_missing(&from, &mut to, mark, next)
        .and_then(|()| to.pragma_update_and_check(None, "wal_checkpoint", "TRUNCATE", |_| Ok(())))
        .map_err(failed(new))?;
    to.close().map_err(|(_, error)| failed(new)(error))?;
    // Closing takes the log into the file where that is still possible.
    drop(from);
    File::open(new)
        .and_then(|new| new.sync_all())
        .map_err(|error| unusable(new, error))
}

/// Notes in the new file what was noted in the old one, and what is missing of it; this repair tells both. Rows are looked for from
/// where the old one says that everything before has gone; where it can't be asked, from where the mark says
/// so, or from the first that was read.
fn carry_missing(
    from: &Connection,
    to: &mut Connection,
    mark: Option<&Mark>,
    next_position: u64,
) -> rusqlite::Result<()> {
    let number = |connection: &Connection, sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let first = || match mark {
        Some(mark) => Ok(signed(mark.removed_to.saturating_add(1))),
        None => number(to, "SELECT coalesce(min(position), 1) FROM items"),
    };
    let settled = number(from, "SELECT value FROM meta WHERE key = 'next_position'").or_else(|_| first())?;
    to.execute(
        "UPDATE meta SET value = ?1 WHERE key = 'next_position'",
        [settled],
    )?;
    let noted = missing::noted(from).unwrap_or_default();
    let missing = noted.and(missing::look(to, mark)?);
    let marked = mark.map_or(1, |mark| mark.next_position);
    missing::note(to, &missing, next_position.max(marked))
}

/// Gives the damaged file and its log second names, under which they stay.
fn keep_aside(data_dir: &Path, file: &Path, now_ms: u64) -> std::io::Result<()> {
    let kept = beside(file, &format!("{DAMAGED}{now_ms}"));
    for ending in ["", "-wal"] {
        let old = beside(file, ending);
        if old.exists() {
            second_name(&old, &beside(&kept, ending))?;
        }
    }
    sync(data_dir)
}

/// A hard link, or a copy where the disk knows none.
fn second_name(old: &Path, kept: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{PermissionDenied, Unsupported};
    match std::fs::hard_link(old, kept) {
        Err(error) if matches!(error.kind(), PermissionDenied | Unsupported) => {
            std::fs::copy(old, kept)?;
            File::open(kept)?.sync_all()
        }
        linked => linked,
    }
}

/// Puts the new file in the place of the damaged one, whose second name it tells; again after it was killed, if need be.
fn finish(data_dir: &Path, file: &Path, repair: &mut Repair) -> Result<(), SpoolError> {
    let done = (|| {
        // Before the new file has its name: it must not be read with the other's log.
        for ending in ["-wal", "-shm"] {
            match std::fs::remove_file(beside(file, ending)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync(data_dir)?;
        std::fs::rename(beside(file, RESCUED), file)?;
        sync(data_dir)?;
        newest_damaged(data_dir)
    })();
    repair.damaged_file = done.map_err(|error| unusable(data_dir, error))?;
    Ok(())
}

/// The damaged file that was kept last.
fn newest_damaged(data_dir: &Path) -> std::io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(data_dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        let kept_ms = name
            .strip_prefix(FILE_NAME)
            .and_then(|rest| rest.strip_prefix(DAMAGED))
            .and_then(|time_ms| time_ms.parse::<u64>().ok());
        newest = newest.max(kept_ms.map(|time_ms| (time_ms, path)));
    }
    Ok(newest.map(|(_, path)| path))
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Copies a table row by row; where it can't be read, goes on behind the damage. The position behind the last row.
fn copy(from: &Connection, to: &mut Connection, table: &str, repair: &mut Repair) -> rusqlite::Result<u64> {
    let mut after = 0;
    loop {
        match copy_some(from, to, table, after, repair)? {
            Copied::End => return Ok(after + 1),
            Copied::To(last) => after = last,
            Copied::Failed(last) => match readable_after(from, table, last) {
                Some(next) => {
                    // Behind it even when that is the one which just failed: every step leads on.
                    let end = next.saturating_sub(1).max(last + 1);
                    repair.unreadable.push((last + 1, end));
                    after = end;
                }
                None => {
                    repair.unreadable.push((last + 1, u64::MAX));
                    return Ok(last + 1);
                }
            },
        }
    }
}

enum Copied {
    /// There are no more.
    End,
    /// There may be more behind this position.
    To(u64),
    /// Behind this position nothing can be read.
    Failed(u64),
}

/// Rows in one transaction of a copy.
const COPIED_AT_ONCE: u32 = 500;

fn copy_some(
    from: &Connection,
    to: &mut Connection,
    table: &str,
    after: u64,
    repair: &mut Repair,
) -> rusqlite::Result<Copied> {
    let columns = if table == "items" { 10 } else { 12 };
    let marks: Vec<String> = (1..=columns).map(|n| format!("?{n}")).collect();
    let transaction = to.transaction()?;
    let (mut copied, mut refused) = (Copied::End, Vec::new());
    {
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {table} VALUES ({})", marks.join(", ")))?;
        let sql =
            format!("SELECT * FROM {table} WHERE position > ?1 ORDER BY position LIMIT {COPIED_AT_ONCE}");
        let mut last = after;
        let read = from.prepare(&sql).and_then(|mut statement| {
            let mut rows = statement.query([signed(after)])?;
            while let Some(row) = rows.next()? {
                let position = unsigned(row.get(0)?);
                if position <= last {
                    return Err(in_circles());
                }
                let values = (0..columns).map(|column| row.get_ref(column).map(ToSqlOutput::Borrowed));
                let values: Vec<_> = values.collect::<rusqlite::Result<_>>()?;
                if insert.execute(rusqlite::params_from_iter(values)).is_err() {
                    // Not what the table may hold: so much for its page.
                    refused.push((position, position));
                }
                copied = Copied::To(position);
                last = position;
            }
            Ok(())
        });
        if read.is_err() {
            copied = Copied::Failed(last);
        }
    }
    transaction.commit()?;
    repair.unreadable.extend(refused);
    Ok(copied)
}

/// The first position behind `after` that can be read again: steps that double, then halves.
fn readable_after(from: &Connection, table: &str, after: u64) -> Option<u64> {
    let sql = format!("SELECT * FROM {table} WHERE position >= ?1 ORDER BY position LIMIT 1");
    let first = |at: u64| -> Result<Option<u64>, rusqlite::Error> {
        let mut statement = from.prepare(&sql)?;
        let mut rows = statement.query([signed(at)])?;
        let found = rows.next()?.map(|row| {
            let row: StoredRow<'_> = stored(row)?;
            Ok(row.position)
        });
        found.transpose()
    };
    let (mut bad, mut step) = (after, 1_u64);
    let mut good = loop {
        let at = after.checked_add(step).filter(|at| i64::try_from(*at).is_ok())?;
        match first(at) {
            Ok(None) => return None,
            Ok(Some(_)) => break at,
            Err(_) => bad = at,
        }
        step = step.checked_mul(2)?;
    };
    while good - bad > 1 {
        let middle = bad + (good - bad) / 2;
        match first(middle) {
            Ok(Some(_)) => good = middle,
            Ok(None) | Err(_) => bad = middle,
        }
    }
    first(good).ok().flatten()
}
