//! Makes every cache again from the records. What comes out is what the running store has, row by row.

use rusqlite::Connection;
use taraz_telemetry::{Anchor, MeterAddress, Record};

use super::facts::{is_usable, placed_ms, rank, registers};
use super::points::{Changes, Gathered};
use super::rows;
use super::state::{BootKey, SeriesKey, State};
use crate::analytics::{Point, quarter_of};
use crate::counters::RecordKind;

/// Values are inserted when so many are gathered: memory stays bounded.
const GATHERED_MAX: usize = 100_000;

/// Inside one transaction of the caller's.
pub(super) fn rebuild(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    connection.execute_batch(
        "DELETE FROM anchor; DELETE FROM point; DELETE FROM interval; DELETE FROM span; DELETE FROM held;
         UPDATE series SET total_wh = 0;",
    )?;
    anchors(connection, state)?;
    times(connection, state)?;
    held(connection)?;
    registers_of_all(connection, state)
}

fn anchors(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut statement = connection
        .prepare("SELECT device, incarnation, bytes FROM record WHERE kind = ? AND hold IS NULL")?;
    let mut rows = statement.query([RecordKind::Anchor as u8])?;
    state.anchors.clear();
    while let Some(row) = rows.next()? {
        let Ok((Record::Anchor(anchor), _)) = Record::decode(row.get_ref(2)?.as_blob()?) else {
            continue;
        };
        let key = BootKey {
            device: row.get(0)?,
            incarnation: row.get(1)?,
            boot: anchor.boot,
        };
        if is_better(&anchor, state.anchors.get(&key)) {
            state.anchors.insert(key, anchor);
        }
    }
    for (&key, anchor) in &state.anchors {
        rows::write_anchor(connection, key, anchor)?;
    }
    Ok(())
}

fn is_better(anchor: &Anchor, best: Option<&Anchor>) -> bool {
    is_usable(anchor) && best.is_none_or(|best| rank(anchor) < rank(best))
}

fn times(connection: &Connection, state: &State) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare("UPDATE record SET time_ms = ? WHERE id = ? AND time_ms IS NOT ?1")?;
    for (&key, anchor) in &state.anchors {
        for stored in rows::unsynced(connection, key)? {
            let Ok((record, _)) = Record::decode(&stored.bytes) else {
                continue;
            };
            update.execute((placed_ms(anchor, record.stamp().ms), stored.id))?;
        }
    }
    Ok(())
}

fn held(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT device, meter, time_ms FROM record WHERE hold IS NOT NULL AND time_ms IS NOT NULL AND meter IS NOT NULL",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(meter) = MeterAddress::new(row.get(1)?) {
            rows::count_held(connection, row.get(0)?, meter, quarter_of(row.get(2)?), 1)?;
        }
    }
    Ok(())
}

fn registers_of_all(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT device, time_ms, bytes FROM record WHERE kind = ? AND hold IS NULL AND time_ms IS NOT NULL",
    )?;
    let mut rows = statement.query([RecordKind::Reading as u8])?;
    let (mut gathered, mut changes, mut count) = (Gathered::default(), Changes::default(), 0);
    while let Some(row) = rows.next()? {
        let Ok((Record::Reading(reading), _)) = Record::decode(row.get_ref(2)?.as_blob()?) else {
            continue;
        };
        for (register, value_wh) in registers(&reading) {
            let key = SeriesKey {
                device: row.get(0)?,
                meter: reading.meter.get(),
                register,
            };
            // Every series of a stored register has been made; nothing bounds one that was not.
            let series = state.series(connection, key, 0)?;
            gathered.push(
                series,
                Point {
                    time_ms: row.get(1)?,
                    value_wh,
                },
            );
            count += 1;
        }
        if count >= GATHERED_MAX {
            gathered.insert(connection, &mut changes)?;
            count = 0;
        }
    }
    gathered.insert(connection, &mut changes)?;
    changes.write(connection)
}
