//! Unsynced readings and the sinks: given away once, where they stay.

use rusqlite::Connection;

use super::super::Store;
use super::super::placing::SETTLE_MS_MAX;
use super::super::testing::*;
use crate::view::Step;

const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Boot 2 began at noon. An anchor after an hour is 2 s late, another after three hours 4 s.
fn first_anchor() -> Run {
    Run::new(
        "a-01",
        2,
        2,
        &[anchor(2, 3_600_000, NOON_MS + HOUR_MS + 2_000, 20)],
    )
}

fn second_anchor() -> Run {
    let at_ms = NOON_MS + 3 * HOUR_MS + 4_000;
    Run::new("a-01", 2, 5, &[anchor(2, 10_800_000, at_ms, 20)])
}

fn early() -> Run {
    Run::new("a-01", 2, 0, &[unsynced(0, 100), unsynced(60_000, 200)])
}

fn late() -> Run {
    let minutes = [75, 165].map(|minute| unsynced(minute * MINUTE_MS, 1_000 + minute.unsigned_abs()));
    Run::new("a-01", 2, 3, &minutes)
}

/// What a sink has got behind its cursor, as minutes after noon and ms; moves the cursor.
fn given(store: &Store, cursor: &mut i64) -> Vec<(i64, i64)> {
    let readings = store.readings_after(*cursor, 100).unwrap();
    *cursor = readings.last().map_or(*cursor, |last| last.rowid);
    readings
        .iter()
        .map(|reading| {
            (
                (reading.time_ms - NOON_MS) / MINUTE_MS,
                (reading.time_ms - NOON_MS) % MINUTE_MS,
            )
        })
        .collect()
}

#[tokio::test]
async fn each_reading_follows_the_anchor_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[early(), first_anchor(), late(), second_anchor()]).await;
    assert_eq!(
        given(&store, &mut 0),
        [(0, 2_000), (1, 2_000), (75, 2_000), (165, 4_000)]
    );
}

#[tokio::test]
async fn a_sink_gets_a_reading_when_nothing_can_move_it_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let mut cursor = 0;
    // What is newest comes first, as a device sends it after an outage.
    deliver(&store, &[second_anchor()]).await;
    deliver(&store, &[late()]).await;
    assert_eq!(given(&store, &mut cursor), []);
    let waiting = || {
        store.live().refresh(&store, NOON_MS).unwrap();
        store.live().settling_records(NOON_MS)
    };
    assert_eq!(waiting(), Some(2));
    assert_eq!(
        store.live().settling_records(NOON_MS + 61_000),
        None,
        "too old to say"
    );
    // Intervals have them meanwhile.
    let quarter = |minute| {
        let at_ms = NOON_MS + minute * MINUTE_MS;
        store
            .intervals("a", at_ms, at_ms + 1, Step::Quarter)
            .unwrap()
            .remove(0)
            .generated_wh
    };
    let roughly = quarter(90);
    assert!(roughly.is_some());
    deliver(&store, &[first_anchor()]).await;
    assert_eq!(given(&store, &mut cursor), [(75, 2_000), (165, 4_000)]);
    deliver(&store, &[early()]).await;
    assert_eq!(given(&store, &mut cursor), [(0, 2_000), (1, 2_000)]);
    assert_eq!(readings(&store, "moved"), 0);
    let again = [second_anchor(), late(), first_anchor(), early()];
    deliver(&store, &again).await;
    store.rebuild().await.unwrap();
    assert_eq!(given(&store, &mut cursor), [], "nothing is given twice");
    assert_eq!(waiting(), Some(0));
}

#[tokio::test]
async fn what_never_settles_is_given_away_after_a_day_and_counted_if_it_moves_then() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let mut cursor = 0;
    deliver(&store, &[second_anchor(), late()]).await;
    clock.set(NOON_MS + SETTLE_MS_MAX - 1);
    let elsewhere = |n: u32| Run::new("b-01", 1, n, &[inverter(NOON_MS, 1, 1)]);
    deliver(&store, &[elsewhere(0)]).await;
    assert_eq!(given(&store, &mut cursor), [(0, 0)], "the other device's alone");
    clock.set(NOON_MS + SETTLE_MS_MAX);
    deliver(&store, &[elsewhere(1)]).await;
    assert_eq!(given(&store, &mut cursor), [(0, 0), (75, 4_000), (165, 4_000)]);
    deliver(&store, &[first_anchor()]).await;
    assert_eq!(given(&store, &mut cursor), [(75, 2_000)]);
    assert_eq!(readings(&store, "moved"), 1);
    assert_eq!(readings(&store, "stored"), 4);
}

/// The registers go on counting while nobody knows the time: what they rose by is in the totals once, and in no interval.
#[tokio::test]
async fn a_boot_without_an_anchor_is_in_the_totals_and_in_no_interval() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 0, &[inverter(NOON_MS, 1, 1_000)]),
            Run::new("a-01", 2, 0, &[unsynced(0, 1_400), unsynced(60_000, 3_000)]),
            Run::new("a-01", 3, 0, &[inverter(NOON_MS + 8 * HOUR_MS, 1, 6_000)]),
        ],
    )
    .await;
    let fleet = store.fleet().clone();
    let total_wh = store
        .snapshot(|snapshot| snapshot.total_wh(&fleet.plants[0]))
        .unwrap();
    assert_eq!((total_wh, readings(&store, "unplaced")), (Some(5_000), 2));
    let connection = raw(folder.path());
    assert!(rows(&connection, "SELECT * FROM interval").is_empty());
}

/// Puts the third version's tables in the place of the later ones'.
fn downgrade(connection: &Connection, anchored: &Run) {
    let third = "
        DROP TABLE changed;
        DROP TABLE export;
        DROP TABLE exported_site;
        DROP TABLE exported_day;
        DROP TABLE run;
        DROP TABLE chunk;
        DROP TABLE forgotten;
        DROP TABLE runs_due;
        DROP TABLE segment;
        DROP TABLE ignored;
        DROP TABLE checkpoint;
        DROP TABLE late;
        CREATE TABLE point (series INTEGER, time_ms INTEGER, value_wh INTEGER, readings INTEGER);
        CREATE TABLE span (series INTEGER, from_ms INTEGER);
        ALTER TABLE series DROP COLUMN meter_known;
        ALTER TABLE series DROP COLUMN state;
        ALTER TABLE series DROP COLUMN handed_wh;
        ALTER TABLE series DROP COLUMN first_ms;
        ALTER TABLE series DROP COLUMN first_wh;
        DROP INDEX record_waiting;
        DROP INDEX record_waiting_ms;
        DROP INDEX record_anchor;
        DROP INDEX record_time;
        ALTER TABLE record DROP COLUMN waiting_ms;
        ALTER TABLE record DROP COLUMN crc;
        DROP TABLE places_due;
        DROP TABLE caches_due;
        DROP TABLE unstated;
        CREATE TABLE best AS SELECT device, incarnation, boot, monotonic_ms, utc_ms, error_ms FROM anchor;
        DROP TABLE anchor;
        CREATE TABLE anchor (
            device INTEGER NOT NULL, incarnation INTEGER NOT NULL, boot INTEGER NOT NULL,
            monotonic_ms INTEGER NOT NULL, utc_ms INTEGER NOT NULL, error_ms INTEGER NOT NULL,
            PRIMARY KEY (device, incarnation, boot)
        ) WITHOUT ROWID;
        INSERT INTO anchor SELECT * FROM best;
        DROP TABLE best;
        DELETE FROM migration WHERE version >= 4;
        UPDATE received SET last = 5;";
    connection.execute_batch(third).unwrap();
    let insert =
        "INSERT INTO record (device, incarnation, boot, sequence, kind, clock, time_ms, received_ms, bytes)
                  VALUES (1, 77, 2, ?, 4, 0, ?, ?, ?)";
    let time_ms = NOON_MS + 3 * HOUR_MS + 4_000;
    connection
        .execute(insert, (anchored.first, time_ms, NOON_MS, &anchored.bytes))
        .unwrap();
}

/// The third version kept one anchor of a boot: the most certain one, and here the first.
#[tokio::test]
async fn a_store_of_the_third_version_is_placed_by_the_new_rule() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = TestClock::new(NOON_MS);
    let store = open(old.path(), &clock);
    deliver(&store, &[early(), first_anchor(), late()]).await;
    let mut cursor = 0;
    clock.set(NOON_MS + SETTLE_MS_MAX);
    deliver(&store, &[early()]).await;
    assert_eq!(given(&store, &mut cursor).len(), 4);
    store.close().await;
    downgrade(&raw(old.path()), &second_anchor());

    let fresh = open(new.path(), &clock);
    deliver(&fresh, &[early(), first_anchor(), late(), second_anchor()]).await;
    let store = open(old.path(), &clock);
    assert_eq!(caches(old.path()), caches(new.path()));
    assert_eq!(
        given(&store, &mut cursor),
        [(165, 4_000)],
        "only what has moved is given again"
    );
    assert_eq!(readings(&store, "moved"), 1);
    store.rebuild().await.unwrap();
    assert_eq!(caches(old.path()), caches(new.path()));
}
