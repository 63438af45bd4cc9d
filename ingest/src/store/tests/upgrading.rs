//! Stores of every earlier version, with records in them, become what the same deliveries make today.

use std::path::Path;

use rusqlite::Connection;
use taraz_telemetry::{Clock, Hold, Record};

use super::super::runs::day_of;
use super::super::schema;
use super::super::testing::*;
use super::super::{FILE_NAME, Store, sealing, upgrade, verify};
use crate::sinks::tests::lines_of;

/// What was delivered: a day's readings, a hole, a held one, an unsynced boot with its anchor.
fn delivered() -> Vec<Run> {
    let minutes = |from: i64, to: i64| -> Vec<_> {
        (from..to)
            .map(|minute| {
                inverter(
                    NOON_MS + minute * MINUTE_MS,
                    6_000,
                    1_000 + minute.unsigned_abs() * 100,
                )
            })
            .collect()
    };
    vec![
        Run::new("a-01", 1, 0, &minutes(0, 300)),
        Run::new(
            "c-01",
            1,
            0,
            &[
                grid(2, NOON_MS, 5, 10, 20),
                grid(2, NOON_MS + MINUTE_MS, 5, 11, 20),
            ],
        ),
        Run::new("a-01", 1, 310, &minutes(310, 1_000)),
        Run::new("a-01", 1, 1_000, &[inverter(NOON_MS, 90_000, 5)]).held(Hold::ImplausibleValue),
        Run::new(
            "b-01",
            2,
            0,
            &[
                anchor(2, 0, NOON_MS, 10),
                unsynced(1_000, 100),
                unsynced(61_000, 200),
            ],
        ),
    ]
}

/// Writes the deliveries as a store of this version stood, by the SQL of that time.
fn write_old(folder: &Path, version: usize) {
    let mut connection = Connection::open(folder.join(FILE_NAME)).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    schema::migrate_to(&mut connection, version, 0).unwrap();
    let transaction = connection.transaction().unwrap();
    for run in delivered() {
        let name = run.device;
        transaction
            .execute("INSERT OR IGNORE INTO device (name) VALUES (?)", [name])
            .unwrap();
        let device: i64 = transaction
            .query_row("SELECT id FROM device WHERE name = ?", [name], |row| row.get(0))
            .unwrap();
        let (mut rest, mut sequence) = (run.bytes.as_slice(), run.first);
        while !rest.is_empty() {
            let (record, after) = Record::decode(rest).unwrap();
            let bytes = &rest[..rest.len() - after.len()];
            let stamp = record.stamp();
            let (kind, meter) = match &record {
                Record::Reading(reading) => (0, Some(reading.meter.get())),
                _ => (4, None),
            };
            let time_ms = match stamp.clock {
                // By the anchor at 0.
                Clock::Unsynced => NOON_MS + i64::try_from(stamp.ms).unwrap(),
                _ => i64::try_from(stamp.ms).unwrap(),
            };
            transaction
                .execute(
                    "INSERT INTO record (device, incarnation, boot, sequence, kind, meter, clock, time_ms, hold, received_ms, bytes)
                     VALUES (?, 77, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (device, run.boot, sequence, kind, meter, stamp.clock as u8, time_ms, run.hold.map(Hold::as_str), NOON_MS, bytes),
                )
                .unwrap();
            (rest, sequence) = (after, sequence + 1);
        }
        transaction
            .execute(
                "INSERT INTO received VALUES (?, 77, ?, ?, ?) ON CONFLICT DO UPDATE SET last = excluded.last",
                (device, run.boot, run.first, sequence - 1),
            )
            .unwrap();
    }
    transaction
        .execute_batch(
            "UPDATE received SET last = 1000 WHERE first = 310; DELETE FROM received WHERE first = 1000;
             INSERT INTO cursor VALUES ('sink', 150);",
        )
        .unwrap();
    transaction.commit().unwrap();
    if version >= 9 {
        upgrade::rows_to_runs(&mut connection).unwrap();
    } else if version >= 6 {
        with_sums(&mut connection, |connection| {
            upgrade::rows_to_runs(connection).unwrap()
        });
    }
}

/// Does something with runs of a version that had no check sums yet.
fn with_sums(connection: &mut Connection, work: impl FnOnce(&mut Connection)) {
    connection
        .execute_batch("ALTER TABLE run ADD COLUMN crc INTEGER NOT NULL DEFAULT 0")
        .unwrap();
    upgrade::sum_runs(connection).unwrap();
    work(connection);
    connection
        .execute_batch("ALTER TABLE run DROP COLUMN crc")
        .unwrap();
}

/// A store of version 6 whose days are sealed.
fn write_sealed(folder: &Path) {
    write_old(folder, 6);
    let mut connection = raw(folder);
    let open_day = day_of(NOON_MS) + 1;
    with_sums(&mut connection, |connection| {
        let swap = sealing::prepare(connection, open_day, None).unwrap();
        assert!(!swap.is_empty());
        let transaction = connection.transaction().unwrap();
        swap.apply(&transaction).unwrap();
        transaction.commit().unwrap();
    });
}

/// The caches that the deliveries make today.
async fn expected(clock: &TestClock) -> Vec<String> {
    let fresh = tempfile::tempdir().unwrap();
    let store = open(fresh.path(), clock);
    deliver(&store, &delivered()).await;
    // Earlier versions gave placed readings away at once, and knew no waiting.
    raw(fresh.path())
        .execute("UPDATE record SET waiting_ms = NULL", ())
        .unwrap();
    store.rebuild().await.unwrap();
    caches(fresh.path())
}

/// The lines of all figures that a sink gets of the deliveries today.
async fn figures(clock: &TestClock) -> Vec<String> {
    let fresh = tempfile::tempdir().unwrap();
    let store = open(fresh.path(), clock);
    deliver(&store, &delivered()).await;
    let lines = lines_of(&store, clock).await;
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("plant_interval,plant=a "))
    );
    assert!(lines.iter().any(|line| line.starts_with("plant_day,plant=a ")));
    lines
}

#[tokio::test]
async fn sealed_readings_of_an_earlier_version_are_accounted_for_anew() {
    let clock = TestClock::new(NOON_MS);
    let folder = tempfile::tempdir().unwrap();
    write_sealed(folder.path());
    let store = open(folder.path(), &clock);
    assert_eq!(caches(folder.path()), expected(&clock).await);
    store.close().await;
}

#[tokio::test]
async fn what_was_given_up_keeps_an_upgrade_from_destroying_its_energy() {
    let clock = TestClock::new(NOON_MS);
    let folder = tempfile::tempdir().unwrap();
    write_sealed(folder.path());
    raw(folder.path())
        .execute_batch(
            "INSERT INTO forgotten VALUES (20000, 96); INSERT INTO interval VALUES (1, 5, 700, 1, 1, 0);",
        )
        .unwrap();
    let error = Store::open(folder.path(), fleet(), clock.now())
        .unwrap_err()
        .to_string();
    assert!(error.contains("96 readings behind them were given up"), "{error}");
    let connection = raw(folder.path());
    assert_eq!(schema::check(&connection).unwrap(), 6);
    assert_eq!(
        rows(&connection, "SELECT energy_wh FROM interval WHERE quarter = 5"),
        ["[Integer(700)]"]
    );
}

#[tokio::test]
async fn every_earlier_version_keeps_every_record_and_every_place() {
    let clock = TestClock::new(NOON_MS + 2 * 86_400_000);
    let expected = expected(&clock).await;
    let figures = figures(&clock).await;
    for version in 1..schema::SCHEMA_VERSION.unsigned_abs() {
        let version = usize::try_from(version).unwrap();
        let folder = tempfile::tempdir().unwrap();
        write_old(folder.path(), version);
        let store = open(folder.path(), &clock);
        let found = caches(folder.path());
        let is_elsewhere = |here: &[String], row: &String| !here.contains(row);
        let missing: Vec<_> = expected.iter().filter(|row| is_elsewhere(&found, row)).collect();
        let strange: Vec<_> = found.iter().filter(|row| is_elsewhere(&expected, row)).collect();
        assert!(
            missing.is_empty() && strange.is_empty(),
            "from version {version}: {missing:?} {strange:?}"
        );
        let connection = raw(folder.path());
        let wrong = verify(folder.path()).unwrap().wrong;
        assert!(wrong.is_empty(), "from version {version}: {wrong:?}");
        // One of them goes on past midnight.
        assert_eq!(rows(&connection, "SELECT count(*) FROM run"), ["[Integer(4)]"]);
        assert_eq!(rows(&connection, "SELECT count(*) FROM record"), ["[Integer(4)]"]);
        assert_eq!(lines_of(&store, &clock).await, figures, "a sink gets all figures");
        // A sink goes on where it was, by the places of that time.
        let behind = store
            .readings_after(store.cursor("sink").unwrap(), 10_000)
            .unwrap();
        assert_eq!(behind.len(), 300 - 150 + 2 + 690 + 2, "from version {version}");
        assert_eq!(behind[0].time_ms, NOON_MS + 150 * MINUTE_MS);
        deliver(&store, &delivered()).await;
        assert_eq!(
            (
                readings(&store, "duplicate"),
                readings(&store, "conflict"),
                readings(&store, "stored")
            ),
            (996, 0, 0),
            "every identity is known, with its bytes"
        );
        store.close().await;
    }
}

#[tokio::test]
async fn an_upgrade_that_is_killed_half_way_goes_on() {
    let clock = TestClock::new(NOON_MS);
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [&whole, &killed] {
        write_old(folder.path(), 5);
    }
    let mut connection = raw(killed.path());
    schema::migrate(&mut connection, 1).unwrap();
    let (mut after, mut steps) = (0, 0);
    while let Some((last, rows)) = upgrade::step(&mut connection, after, 70).unwrap() {
        assert!(rows <= 70);
        (after, steps) = (last, steps + 1);
        if steps == 5 {
            break;
        }
    }
    // Half in rows, half in runs: nothing is missing meanwhile.
    let count = |sql: &str| connection.query_row(sql, (), |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(
        (
            count("SELECT count(*) FROM record"),
            count("SELECT sum(count) FROM run")
        ),
        (996 - 350, 350)
    );
    drop(connection);
    let (one, other) = (open(whole.path(), &clock), open(killed.path(), &clock));
    one.rebuild().await.unwrap();
    other.rebuild().await.unwrap();
    assert_eq!(caches(killed.path()), caches(whole.path()));
    assert_eq!(
        one.readings_after(0, 10_000).unwrap(),
        other.readings_after(0, 10_000).unwrap()
    );
}

#[tokio::test]
async fn one_unreadable_record_of_an_earlier_version_takes_none_with_it() {
    for damage in ["bytes = x'FF'", "bytes = 'text'"] {
        let folder = tempfile::tempdir().unwrap();
        write_old(folder.path(), 5);
        let sql = format!("UPDATE record SET {damage} WHERE device = 1 AND boot = 1 AND sequence = 100");
        assert_eq!(raw(folder.path()).execute(&sql, ()).unwrap(), 1);
        let store = open(folder.path(), &TestClock::new(NOON_MS + 86_400_000));
        let of_boot = "SELECT sum(count) FROM run WHERE device = 1 AND boot = 1";
        assert_eq!(rows(&raw(folder.path()), of_boot), ["[Integer(989)]"], "{damage}");
        store.close().await;
        let wrong = verify(folder.path()).unwrap().wrong;
        assert!(
            wrong.len() == 1 && wrong[0].starts_with("record "),
            "{damage}: {wrong:?}"
        );
    }
}
