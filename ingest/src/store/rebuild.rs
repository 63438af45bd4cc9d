//! Makes every cache again from the records. What comes out is what the running store has, row by row.

use std::collections::BTreeMap;

use rusqlite::Connection;
use taraz_analytics::energy::Meter;
use taraz_telemetry::{MeterAddress, Record};

use super::account::{self, Credit};
use super::anchors::Anchors;
use super::facts::{registers, unstated};
use super::runs::day_of;
use super::state::{BootKey, SeriesKey, State};
use super::{history, rows, unsynced_rows};
use crate::analytics::quarter_of;
use crate::counters::RecordKind;

/// Inside one transaction of the caller's. A store that has given up readings keeps its caches: they are all that is left of those.
pub(super) fn rebuild(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let forgotten: i64 = connection.query_row("SELECT count(*) FROM forgotten", (), |row| row.get(0))?;
    if forgotten > 0 {
        tracing::warn!(
            "intervals and totals stay as they are: readings behind them were given up by store.keep_readings_days"
        );
        return Ok(());
    }
    connection.execute_batch("DELETE FROM anchor; DELETE FROM held; DELETE FROM unstated;")?;
    account::reset_rows(connection)?;
    state.reset_accounts();
    anchors(connection)?;
    times(connection)?;
    held(connection)?;
    registers_of_all(connection, state)
}

/// The anchors of every boot, device by device.
pub(super) fn anchors(connection: &Connection) -> rusqlite::Result<()> {
    const { assert!(RecordKind::Anchor as u8 == 4) }
    let mut statement = connection.prepare(
        "SELECT device, incarnation, bytes FROM record INDEXED BY record_anchor WHERE kind = 4 AND hold IS NULL
         ORDER BY device, incarnation",
    )?;
    let mut rows = statement.query(())?;
    let mut found: BTreeMap<BootKey, Anchors> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let Ok((Record::Anchor(anchor), _)) = Record::decode(row.get_ref(2)?.as_blob()?) else {
            continue;
        };
        let key = BootKey {
            device: row.get(0)?,
            incarnation: row.get(1)?,
            boot: anchor.boot,
        };
        if found
            .keys()
            .next()
            .is_some_and(|first| first.device != key.device)
        {
            write_anchors(connection, &mut found)?;
        }
        found.entry(key).or_default().insert(anchor);
    }
    write_anchors(connection, &mut found)
}

fn write_anchors(connection: &Connection, found: &mut BTreeMap<BootKey, Anchors>) -> rusqlite::Result<()> {
    for (key, anchors) in std::mem::take(found) {
        unsynced_rows::write_anchors(connection, key, &anchors)?;
    }
    Ok(())
}

fn times(connection: &Connection) -> rusqlite::Result<()> {
    let mut update =
        connection.prepare("UPDATE record SET time_ms = ? WHERE id = ? AND time_ms IS NOT ?1")?;
    for (boot, _) in unsynced_rows::boots_with_unsynced(connection)? {
        let anchors = unsynced_rows::anchors(connection, boot)?;
        for stored in rows::unsynced(connection, boot)? {
            if let Ok((record, _)) = Record::decode(&stored.bytes) {
                update.execute((anchors.place(record.stamp().ms), stored.id))?;
            }
        }
    }
    Ok(())
}

fn held(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT device, meter, time_ms FROM record
         WHERE hold IS NOT NULL AND hold <> 'dropped' AND time_ms IS NOT NULL AND meter IS NOT NULL",
    )?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        if let Some(meter) = MeterAddress::new(row.get(1)?) {
            rows::count_held(connection, row.get(0)?, meter, quarter_of(row.get(2)?), 1)?;
        }
    }
    Ok(())
}

/// Marks every day of every device that has readings, and makes the accounts.
fn registers_of_all(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    history::each_reading(connection, |device, time_ms, reading| {
        let mut rated_w = 0;
        for (register, _) in registers(reading) {
            let key = SeriesKey {
                device,
                meter: reading.meter.get(),
                register,
            };
            // Every series of a stored register has been made; nothing bounds one that was not.
            let series = state.series(connection, key, || Meter::new(0))?;
            rated_w = state
                .accounts
                .get(&series)
                .map_or(0, |account| account.meter.rated_w());
            state.late.insert((device, day_of(time_ms)));
        }
        if let Some(register) = unstated(reading, rated_w) {
            let quarter = quarter_of(time_ms);
            rows::count_unstated(connection, device, reading.meter, register, quarter, 1)?;
        }
        Ok(())
    })?;
    account::catch_up(connection, state, &mut Credit(usize::MAX))
}
