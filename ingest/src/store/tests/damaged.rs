//! Damage of one device's day: it is told and counted, and everything else goes on.

use std::path::Path;

use super::super::runs::{DAY_MS, day_of};
use super::super::testing::*;
use super::super::{Store, verify};

/// A reading every ten minutes, `first..last` of them counted from four days before noon.
fn part(device: &'static str, first: u32, last: u32) -> Run {
    let records: Vec<_> = (i64::from(first)..i64::from(last))
        .map(|n| {
            inverter(
                NOON_MS - 4 * DAY_MS + n * 10 * MINUTE_MS,
                3_000,
                (n * 60 + 1_000_000).unsigned_abs(),
            )
        })
        .collect();
    Run::new(device, 1, first, &records)
}

/// The day before the day before noon.
const BROKEN_DAY: i64 = day_of(NOON_MS) - 2;
/// The first reading of that day: 16 hours of the first day and a whole one are before it.
const BROKEN_FROM: u32 = 6 * 16 + 144;

/// Everything but some readings, sealed up to noon's day; then a day of `a-01` is damaged.
async fn damaged(folder: &Path, missing: std::ops::Range<u32>, damage: &str) -> Store {
    let store = open(folder, &TestClock::new(NOON_MS));
    let parts = [
        part("a-01", 0, missing.start),
        part("a-01", missing.end, 580),
        part("b-01", 0, 580),
    ];
    deliver(&store, &parts).await;
    store.keep(NOON_MS, 0, None).await.unwrap();
    let sql = format!(
        "UPDATE chunk SET {damage} WHERE day = {BROKEN_DAY} AND device = (SELECT id FROM device WHERE name = 'a-01')"
    );
    assert_eq!(raw(folder).execute(&sql, ()).unwrap(), 1);
    store
}

const CHECK_SUM: &str = "crc = crc + 1";

fn accounts(folder: &Path) -> Vec<String> {
    let connection = raw(folder);
    let mut found = rows(
        &connection,
        "SELECT series, quarter, energy_wh, known_ms, covered_ms, flags FROM interval",
    );
    found.extend(rows(
        &connection,
        "SELECT series, from_ms, to_ms, energy_wh FROM segment",
    ));
    found.extend(rows(
        &connection,
        "SELECT id, total_wh, handed_wh, hex(state), first_ms FROM series",
    ));
    found.extend(rows(
        &connection,
        "SELECT series, day, hex(state) FROM checkpoint",
    ));
    found
}

fn passed(store: &Store) -> u64 {
    count(&store.counters().snapshot().store, "damaged")
}

/// Only the chunk itself is wrong.
fn names_the_chunk_alone(folder: &Path) {
    let wrong = verify(folder).unwrap().wrong;
    assert!(wrong.len() == 1 && wrong[0].starts_with("chunk "), "{wrong:?}");
}

#[tokio::test]
async fn a_repeat_of_a_damaged_day_holds_nobody_up() {
    for damage in [CHECK_SUM, "identities = x'FF'"] {
        let folder = tempfile::tempdir().unwrap();
        let store = damaged(folder.path(), 0..0, damage).await;
        let again = part("a-01", BROKEN_FROM, BROKEN_FROM + 10);
        let verdict = deliver(&store, &[again, part("b-01", 0, 590)]).await;
        assert_eq!((verdict.accepted, verdict.rejected.len()), (2, 0));
        assert_eq!(
            (
                readings(&store, "duplicate"),
                readings(&store, "conflict"),
                readings(&store, "stored")
            ),
            (590, 0, 1_170),
            "{damage}"
        );
        assert!(passed(&store) >= 10, "{damage}: {}", passed(&store));
    }
}

#[tokio::test]
async fn a_late_reading_of_a_damaged_day_leaves_its_account_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = BROKEN_FROM + 20..BROKEN_FROM + 30;
    let store = damaged(folder.path(), missing.clone(), CHECK_SUM).await;
    let before = accounts(folder.path());
    deliver(&store, &[part("a-01", missing.start, missing.end)]).await;
    assert_eq!(accounts(folder.path()), before);
    assert!(passed(&store) > 0);
    assert_eq!(rows(&raw(folder.path()), "SELECT * FROM late"), [""; 0]);
    names_the_chunk_alone(folder.path());
    // At the start as well.
    store.close().await;
    let mark = format!("INSERT INTO late SELECT id, {BROKEN_DAY} FROM device WHERE name = 'a-01'");
    raw(folder.path()).execute(&mark, ()).unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    assert_eq!(accounts(folder.path()), before);
    assert!(passed(&store) > 0);
}

#[tokio::test]
async fn late_readings_in_front_of_a_damaged_day_count_no_energy_twice() {
    // The last hours of the day before it: what the damaged day's account begins with spans them already.
    let folder = tempfile::tempdir().unwrap();
    let missing = BROKEN_FROM - 20..BROKEN_FROM;
    let store = damaged(folder.path(), missing.clone(), CHECK_SUM).await;
    let before = accounts(folder.path());
    deliver(&store, &[part("a-01", missing.start, missing.end)]).await;
    assert_eq!(accounts(folder.path()), before);
    assert_eq!(rows(&raw(folder.path()), "SELECT * FROM late"), [""; 0]);
    names_the_chunk_alone(folder.path());
    assert_eq!(readings(&store, "stored"), 1_160, "the readings are kept");
}

#[tokio::test]
async fn a_rebuild_keeps_what_it_cannot_make_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = damaged(folder.path(), 0..0, CHECK_SUM).await;
    let before = accounts(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(accounts(folder.path()), before);
    names_the_chunk_alone(folder.path());
    assert!(passed(&store) > 0);
    store.close().await;
    let lost = format!(
        "INSERT INTO caches_due VALUES (7); DELETE FROM interval WHERE quarter >= {}",
        96 * day_of(NOON_MS)
    );
    raw(folder.path()).execute_batch(&lost).unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    assert_eq!(
        accounts(folder.path()),
        before,
        "days that can be read are made again"
    );
    store.close().await;
}

#[tokio::test]
async fn a_damaged_run_takes_no_energy_away() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[part("a-01", 0, 580), part("b-01", 0, 580)]).await;
    let before = accounts(folder.path());
    let cut = format!("UPDATE run SET bytes = substr(bytes, 1, 300) WHERE day = {BROKEN_DAY}");
    raw(folder.path()).execute(&cut, ()).unwrap();
    store.rebuild().await.unwrap();
    assert_eq!(accounts(folder.path()), before);
    assert!(passed(&store) > 0);
    // Its day can't be sealed, which is counted.
    let sealing = store.keep(NOON_MS, 0, None).await.unwrap();
    assert_eq!((sealing.unsealable, sealing.unsealable_readings), (2, 288));
    let counted = store.counters().snapshot().store;
    assert_eq!(count(&counted, "unsealable"), 288);
}

#[tokio::test]
async fn a_run_with_another_check_sum_is_kept_out_and_never_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[part("a-01", 0, 580), part("b-01", 0, 580)]).await;
    let before = accounts(folder.path());
    let other = format!(
        "UPDATE run SET bytes = (SELECT bytes FROM run WHERE device = 1 AND day = {BROKEN_DAY} + 1)
         WHERE device = 1 AND day = {BROKEN_DAY}"
    );
    assert_eq!(raw(folder.path()).execute(&other, ()).unwrap(), 1);
    store.rebuild().await.unwrap();
    assert_eq!(accounts(folder.path()), before);
    let passed_before = passed(&store);
    let given = store.readings_after(0, 10_000).unwrap();
    assert_eq!((given.len(), passed(&store) - passed_before), (1_160 - 144, 144));
    let sealing = store.keep(NOON_MS, 0, None).await.unwrap();
    assert_eq!((sealing.unsealable, sealing.unsealable_readings), (1, 144));
    store.close().await;
    let wrong = verify(folder.path()).unwrap().wrong;
    assert!(
        wrong.iter().any(|what| what.contains("another check sum")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_sink_goes_on_behind_a_damaged_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let store = damaged(folder.path(), 0..0, CHECK_SUM).await;
    let (mut cursor, mut got) = (0, 0);
    loop {
        let some = store.readings_after(cursor, 100).unwrap();
        let Some(last) = some.last() else { break };
        (cursor, got) = (last.rowid, got + some.len());
    }
    assert_eq!(got, 1_160 - 144);
    assert!(passed(&store) >= 144);
}

#[tokio::test]
async fn a_repeat_that_has_a_row_reads_no_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let store = damaged(folder.path(), 0..0, "identities = x'FF'").await;
    let without_clock = Run::new("a-01", 2, 0, &[unsynced(1_000, 100)]);
    deliver(&store, std::slice::from_ref(&without_clock)).await;
    deliver(&store, &[without_clock]).await;
    assert_eq!((readings(&store, "duplicate"), passed(&store)), (1, 0));
}
