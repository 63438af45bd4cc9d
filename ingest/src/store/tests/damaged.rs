//! Damage of one device's day: it is told and counted, and everything else goes on.

use std::path::Path;

use taraz_telemetry::Hold;

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
        // They may be the only good copies, and are kept beside; once.
        let beside = "SELECT sequence FROM conflict WHERE device = 1";
        assert_eq!(rows(&raw(folder.path()), beside).len(), 10, "{damage}");
        deliver(&store, &[part("a-01", BROKEN_FROM, BROKEN_FROM + 10)]).await;
        assert_eq!(rows(&raw(folder.path()), "SELECT id FROM conflict").len(), 10);
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

/// What one flipped bit makes of a column, behind which the row's other columns are what they were.
const OTHER_TYPES: [&str; 5] = [
    "received_ms = CAST('x' AS BLOB)",
    "from_ms = x'00'",
    "bytes = CAST('text' AS TEXT)",
    "crc = -1",
    "to_ms = 'x'",
];

#[tokio::test]
async fn a_run_with_a_column_of_another_type_stops_nobody() {
    let more = ["count = 4294967296", "first = -1"];
    for damage in OTHER_TYPES.into_iter().chain(more) {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &TestClock::new(NOON_MS));
        deliver(&store, &[part("a-01", 0, 580), part("b-01", 0, 580)]).await;
        let before = accounts(folder.path());
        let sql = format!("UPDATE run SET {damage} WHERE device = 1 AND day = {BROKEN_DAY}");
        assert_eq!(raw(folder.path()).execute(&sql, ()).unwrap(), 1);
        // It comes again, and others with it.
        let again = part("a-01", BROKEN_FROM, BROKEN_FROM + 10);
        let verdict = deliver(&store, &[again, part("b-01", 580, 590)]).await;
        assert_eq!(verdict.accepted, 2, "{damage}");
        let given = store.readings_after(0, 10_000).unwrap();
        assert_eq!(given.len(), 1_170 - 144, "{damage}");
        let sealing = store.keep(NOON_MS, 0, None).await.unwrap();
        assert_eq!((sealing.unsealable, sealing.device_days), (1, 7), "{damage}");
        store.rebuild().await.unwrap();
        let of_a = |found: Vec<String>| found.into_iter().filter(|row| row.starts_with("[Integer(1)"));
        assert!(of_a(before).eq(of_a(accounts(folder.path()))), "{damage}");
        store.close().await;
        let wrong = verify(folder.path()).unwrap().wrong;
        assert!(wrong[0].contains("another type or is out of range"), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_chunk_with_a_column_of_another_type_stops_nobody() {
    let more = ["identities = 'text'", "format = 300", "readings = 4294967296"];
    for damage in OTHER_TYPES.into_iter().chain(more) {
        let folder = tempfile::tempdir().unwrap();
        let store = damaged(folder.path(), 0..0, damage).await;
        let before = accounts(folder.path());
        let again = part("a-01", BROKEN_FROM, BROKEN_FROM + 10);
        let verdict = deliver(&store, &[again, part("b-01", 0, 580)]).await;
        assert_eq!(verdict.accepted, 2, "{damage}");
        let given = store.readings_after(0, 10_000).unwrap();
        assert_eq!(given.len(), 1_160 - 144, "{damage}");
        store.rebuild().await.unwrap();
        assert_eq!(accounts(folder.path()), before, "{damage}");
        // Days are given up behind it as well.
        store.keep(NOON_MS, 0, Some(1)).await.unwrap();
        assert!(
            !rows(&raw(folder.path()), "SELECT day FROM forgotten").is_empty(),
            "{damage}"
        );
        store.close().await;
    }
}

#[tokio::test]
async fn a_row_that_does_not_say_whose_it_is_keeps_nothing_from_being_sealed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[part("a-01", 0, 580), part("b-01", 0, 580)]).await;
    let sql = format!("UPDATE run SET device = x'01' WHERE device = 1 AND day = {BROKEN_DAY}");
    raw(folder.path()).execute(&sql, ()).unwrap();
    let sealing = store.keep(NOON_MS, 0, Some(1)).await.unwrap();
    assert_eq!(sealing.device_days, 7);
    assert!(!rows(&raw(folder.path()), "SELECT day FROM forgotten").is_empty());
    store.close().await;
    let wrong = verify(folder.path()).unwrap().wrong;
    assert!(
        wrong.iter().any(|what| what.contains("another type")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_sink_goes_on_behind_a_record_with_a_column_of_another_type() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let placed = [
        anchor(1, 0, NOON_MS - 3_600_000, 10),
        unsynced(1_000, 100),
        unsynced(2_000, 200),
    ];
    deliver(&store, &[Run::new("a-01", 1, 0, &placed), part("b-01", 0, 10)]).await;
    let connection = raw(folder.path());
    connection
        .execute(
            "UPDATE record SET waiting_ms = NULL, bytes = 'text' WHERE sequence = 1",
            (),
        )
        .unwrap();
    connection
        .execute("UPDATE record SET waiting_ms = NULL WHERE sequence = 2", ())
        .unwrap();
    assert_eq!(store.readings_after(0, 100).unwrap().len(), 11);
    assert_eq!(passed(&store), 1);
    store.close().await;
    let wrong = verify(folder.path()).unwrap().wrong;
    assert!(
        wrong.iter().any(|what| what.contains("another type")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_record_with_a_column_of_another_type_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let waiting = [unsynced(1_000, 100), unsynced(2_000, 200)];
    deliver(&store, &[Run::new("a-01", 1, 0, &waiting)]).await;
    let ahead = [inverter(NOON_MS + DAY_MS, 1_000, 1)];
    deliver(
        &store,
        &[Run::new("b-01", 1, 0, &ahead).held(Hold::ImplausibleTime)],
    )
    .await;
    let connection = raw(folder.path());
    for damage in [
        "UPDATE record SET bytes = 'text' WHERE sequence = 0",
        "UPDATE record SET hold = x'00' WHERE hold IS NOT NULL",
    ] {
        connection.execute(damage, ()).unwrap();
    }
    // A repeat of it, and an anchor that would move it.
    deliver(&store, &[Run::new("a-01", 1, 0, &waiting[..1])]).await;
    let more = [anchor(1, 0, NOON_MS - 3_600_000, 10)];
    deliver(&store, &[Run::new("a-01", 1, 2, &more)]).await;
    assert_eq!(
        rows(&connection, "SELECT * FROM conflict").len(),
        1,
        "the good copy"
    );
    assert_eq!(
        rows(
            &connection,
            "SELECT sequence FROM record WHERE time_ms IS NULL AND clock = 2"
        )
        .len(),
        1,
        "only what can be read is placed"
    );
    store.close().await;
    // The start judges what is held.
    open(folder.path(), &clock).close().await;
}

#[tokio::test]
async fn an_anchor_gives_no_damaged_record_a_good_check_sum() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[Run::new("a-01", 1, 0, &[unsynced(1_000, 100)])]).await;
    // The record of another energy, whole as a record.
    let other = encode(&[unsynced(1_000, 228)]);
    raw(folder.path())
        .execute("UPDATE record SET bytes = ?", [other])
        .unwrap();
    let more = [anchor(1, 0, NOON_MS - 3_600_000, 10)];
    deliver(&store, &[Run::new("a-01", 1, 1, &more)]).await;
    assert_eq!(passed(&store), 1);
    store.close().await;
    let wrong = verify(folder.path()).unwrap().wrong;
    assert!(
        wrong.iter().any(|what| what.contains("another check sum")),
        "{wrong:?}"
    );
}
