//! Readings of an older store, which have a row each, into runs: once, in steps that a kill in between does not undo.
//!
//! Whatever reads the store reads rows and runs alike, so a store that is half through is whole all the same.

use rusqlite::{Connection, OptionalExtension as _};

use super::damage::Columns;
use super::record_sum::{self, Summed};
use super::rows;
use super::runs::{self, Run, day_of};
use super::state::BootKey;
use crate::counters::RecordKind;

/// How many rows one transaction takes.
const STEP_ROWS: usize = 20_000;

/// Puts every plain reading that has a row of its own into a run, at the places where the rows stood.
pub(super) fn rows_to_runs(connection: &mut Connection) -> rusqlite::Result<()> {
    let due: i64 = connection.query_row("SELECT count(*) FROM runs_due", (), |row| row.get(0))?;
    if due == 0 {
        return Ok(());
    }
    let (mut after, mut moved) = (0, 0);
    while let Some((last, rows)) = step(connection, after, STEP_ROWS)? {
        after = last;
        moved += rows;
        tracing::info!(moved, "readings are put into runs, once after the upgrade");
    }
    connection.execute("DELETE FROM runs_due", ())?;
    Ok(())
}

/// Moves the next rows behind a place; the last place of them and how many, `None` when there are none.
pub(super) fn step(
    connection: &mut Connection,
    after: i64,
    rows_max: usize,
) -> rusqlite::Result<Option<(i64, usize)>> {
    const { assert!(RecordKind::Reading as u8 == 0 && RecordKind::Failure as u8 == 1) }
    let transaction = connection.transaction()?;
    let found: Vec<Run> = transaction
        .prepare_cached(
            "SELECT id, device, incarnation, boot, sequence, time_ms, received_ms, bytes FROM record
             WHERE id > ? AND kind <= 1 AND clock < 2 AND hold IS NULL AND time_ms IS NOT NULL ORDER BY id LIMIT ?",
        )?
        .query_map((after, i64::try_from(rows_max).unwrap_or(i64::MAX)), single)?
        .collect::<rusqlite::Result<_>>()?;
    let Some(last) = found.last().map(|run| run.id) else {
        return Ok(None);
    };
    let count = found.len();
    // What can't be read stays as it is: in a run it would make its neighbours unreadable.
    let (whole, broken): (Vec<_>, Vec<_>) = found.into_iter().partition(|run| run.check().is_ok());
    if !broken.is_empty() {
        let rows = broken.len();
        tracing::error!(
            rows,
            "records can't be read and stay as they are: `taraz store verify` names them"
        );
    }
    for run in &whole {
        rows::delete(&transaction, run.id)?;
    }
    let mut inserting = Run::inserting(&transaction)?;
    for run in joined(whole) {
        run.insert(&mut inserting)?;
    }
    drop(inserting);
    transaction.commit()?;
    Ok(Some((last, count)))
}

/// Gives runs that were written without a check sum the one of what stands in them now, in the caller's transaction.
pub(super) fn sum_runs(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT {} FROM run WHERE id > ? ORDER BY id LIMIT 1",
        runs::COLUMNS
    );
    let mut next = connection.prepare(&sql)?;
    let mut set = connection.prepare("UPDATE run SET crc = ? WHERE id = ?")?;
    let mut after = i64::MIN;
    while let Some(run) = next.query_row([after], Run::read).optional()? {
        set.execute((run.sum(), run.id))?;
        after = run.id;
    }
    Ok(())
}

/// Gives records that were written without a check sum the one of what stands in them now, in the caller's transaction. One whose
/// columns can't be read keeps none, and is found by a verification.
pub(super) fn sum_records(connection: &Connection) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT record.id, {} FROM record WHERE id > ? ORDER BY id LIMIT 1",
        record_sum::COLUMNS
    );
    let mut next = connection.prepare(&sql)?;
    let mut set = connection.prepare("UPDATE record SET crc = ? WHERE id = ?")?;
    let mut after = i64::MIN;
    let mut sum_behind = |after| {
        next.query_row([after], |row| {
            Ok((
                row.get(0)?,
                Summed::read(row, 1).ok().map(|(summed, _)| summed.sum()),
            ))
        })
        .optional()
    };
    while let Some((id, sum)) = sum_behind(after)? {
        if let Some(sum) = sum {
            set.execute((sum, id))?;
        }
        after = id;
    }
    Ok(())
}

/// A row as a run of one record.
fn single(row: &rusqlite::Row<'_>) -> rusqlite::Result<Run> {
    let mut columns = Columns::new(row);
    let time_ms = columns.get(5)?;
    let run = Run {
        id: row.get(0)?,
        boot: BootKey {
            device: columns.get(1)?,
            incarnation: columns.get(2)?,
            boot: columns.get(3)?,
        },
        first: columns.get(4)?,
        count: 1,
        day: day_of(time_ms),
        from_ms: time_ms,
        to_ms: time_ms,
        received_ms: columns.get(6)?,
        bytes: columns.get(7)?,
        crc: None,
        is_damaged: false,
    };
    Ok(Run {
        is_damaged: columns.is_damaged(),
        ..run
    })
}

/// Joins what stands on consecutive places and continues each other.
fn joined(singles: Vec<Run>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for single in singles {
        if !runs.last_mut().is_some_and(|last| last.join(&single)) {
            runs.push(single);
        }
    }
    runs
}
