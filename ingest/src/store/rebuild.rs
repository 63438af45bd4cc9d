//! Makes every cache again from the records. What comes out is what the running store has, row by row. What stands in the caches of
//! readings that are gone is kept.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use taraz_analytics::energy::Meter;
use taraz_telemetry::{MeterAddress, Record};

use super::account::{self, Credit};
use super::anchors::Anchors;
use super::facts::{registers, unstated};
use super::runs::{DAY_MS, day_of};
use super::state::{BootKey, SeriesKey, State};
use super::{history, rows, unsynced_rows};
use crate::analytics::{QUARTER_MS, quarter_of};
use crate::counters::RecordKind;

/// Quarter-hours of a UTC day.
const DAY_QUARTERS: i64 = DAY_MS / QUARTER_MS;

/// Inside one transaction of the caller's. What can't be made again stays as it is: the registers of days whose readings a policy has
/// given up, and those of damaged days.
pub(super) fn rebuild(connection: &Connection, state: &mut State) -> rusqlite::Result<()> {
    let reopened: BTreeSet<i64> = state.late.iter().map(|&(device, _)| device).collect();
    connection.execute_batch("DELETE FROM anchor; DELETE FROM held;")?;
    anchors(connection)?;
    times(connection)?;
    held(connection)?;
    let forgotten_until = account::forgotten_until(connection)?;
    let days = unstated_again(connection, state, forgotten_until)?;
    if forgotten_until == i64::MIN && days.broken.is_empty() {
        account::reset_rows(connection)?;
        state.reset_accounts();
    } else {
        tracing::warn!(
            given_up_until_day = forgotten_until,
            damaged_days = days.broken.len(),
            "intervals of readings that were given up or are damaged stay as they are; the others are made again"
        );
        for (series, sum_wh) in account::sums_wh(connection)? {
            if let Some(account) = state.accounts.get_mut(&series) {
                account.handed_wh = sum_wh;
            }
        }
        // What no pass comes by agrees with what is known of its meter now, all the same.
        account::save(connection, state)?;
    }
    state.late.extend(days.whole);
    account::catch_up(connection, state, &mut Credit(usize::MAX))?;
    // The numbers are as they were, but where late readings were waiting; a registry that says something else has its sites sent anew.
    state.changes.keep_of(|device| reopened.contains(&device));
    Ok(())
}

/// Days of devices: which have readings of registers, and which can't be read.
#[derive(Default)]
struct Days {
    whole: BTreeSet<(i64, i64)>,
    broken: BTreeSet<(i64, i64)>,
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
        // A column of another type is damage, as bytes that are no record: an anchor less.
        let bytes = row.get_ref(2)?.as_blob().unwrap_or_default();
        let Ok((Record::Anchor(anchor), _)) = Record::decode(bytes) else {
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
            let record = Record::decode(&stored.bytes);
            if let (Ok((record, _)), None) = (record, &stored.damaged) {
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

/// Counts anew what is not stated, but for days that can't be read any more; and tells which days there are.
fn unstated_again(
    connection: &Connection,
    state: &mut State,
    forgotten_until: i64,
) -> rusqlite::Result<Days> {
    let first_quarter = forgotten_until.saturating_add(1).saturating_mul(DAY_QUARTERS);
    connection.execute_batch("CREATE TEMP TABLE unstated_before AS SELECT * FROM unstated")?;
    connection.execute("DELETE FROM unstated WHERE quarter >= ?", [first_quarter])?;
    let (mut days, mut passed) = (Days::default(), std::mem::take(&mut state.passed));
    let Days { whole, broken } = &mut days;
    history::each_reading(
        connection,
        |device, time_ms, reading| {
            if day_of(time_ms) <= forgotten_until {
                return Ok(());
            }
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
                whole.insert((device, day_of(time_ms)));
            }
            if let Some(register) = unstated(reading, rated_w) {
                let quarter = quarter_of(time_ms);
                rows::count_unstated(connection, device, reading.meter, register, quarter, 1)?;
            }
            Ok(())
        },
        |device, day, damaged| {
            passed.row(damaged);
            broken.insert((device, day));
        },
    )?;
    for &(device, day) in &days.broken {
        let quarters = (device, day * DAY_QUARTERS, (day + 1) * DAY_QUARTERS);
        connection
            .prepare_cached("DELETE FROM unstated WHERE device = ? AND quarter >= ? AND quarter < ?")?
            .execute(quarters)?;
        connection
            .prepare_cached(
                "INSERT INTO unstated SELECT * FROM unstated_before WHERE device = ? AND quarter >= ? AND quarter < ?",
            )?
            .execute(quarters)?;
    }
    state.passed = passed;
    connection.execute_batch("DROP TABLE unstated_before")?;
    Ok(days)
}
