//! What `verify` finds, and backups.

use taraz_telemetry::Hold;

use super::super::testing::*;
use super::super::{StoreError, backup, verify};
use crate::store::Store;

async fn sealed_store(folder: &std::path::Path) -> Store {
    let store = open(folder, &TestClock::new(NOON_MS));
    let day = |days: i64| -> Vec<_> {
        (0..50)
            .map(|minute| {
                inverter(
                    NOON_MS + days * 86_400_000 + minute * MINUTE_MS,
                    6_000,
                    (minute * 100 + days * 5_000 + 50_000).unsigned_abs(),
                )
            })
            .collect()
    };
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 0, &day(-5)),
            Run::new("a-01", 1, 50, &day(0)),
            Run::new("a-01", 2, 0, &[anchor(2, 0, NOON_MS, 10)]),
        ],
    )
    .await;
    store.keep(NOON_MS, 2, None).await.unwrap();
    store
}

#[tokio::test]
async fn a_whole_store_is_found_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = sealed_store(folder.path()).await;
    let verified = verify(folder.path()).unwrap();
    assert_eq!(verified.wrong, [""; 0]);
    assert_eq!(
        (
            verified.rows,
            verified.run_readings,
            verified.chunk_readings,
            verified.chunks
        ),
        (1, 50, 50, 1)
    );
    store.close().await;
    assert!(matches!(
        verify(&folder.path().join("elsewhere")),
        Err(StoreError::Missing(_))
    ));
}

/// The last byte of a run becomes another one.
const CHANGED: &str = "UPDATE run SET bytes = CAST(substr(bytes, 1, length(bytes) - 1)
    || unhex(CASE hex(substr(bytes, -1)) WHEN '00' THEN '01' ELSE '00' END) AS BLOB)";

#[tokio::test]
async fn every_damage_is_found() {
    let cases = [
        ("UPDATE chunk SET crc = crc + 1", "another check sum"),
        ("UPDATE chunk SET bytes = substr(bytes, 1, 40)", "can't be read"),
        ("UPDATE chunk SET format = 9", "not known to this version"),
        ("UPDATE chunk SET readings = readings + 1", "than identities"),
        ("UPDATE chunk SET from_ms = from_ms - 1", "at other times"),
        ("UPDATE chunk SET day = day + 1", "of another day"),
        (
            "UPDATE run SET bytes = substr(bytes, 1, 300)",
            "of its 50 readings can be read",
        ),
        (CHANGED, "another check sum"),
        (
            "UPDATE run SET received_ms = received_ms + 1",
            "another check sum",
        ),
        ("UPDATE run SET count = 49", "of its 49 readings"),
        ("UPDATE run SET to_ms = to_ms + 1", "at other times"),
        ("UPDATE run SET day = day + 1", "of another day"),
        ("UPDATE run SET first = 20", "sequence 20 is kept twice"),
        ("UPDATE run SET boot = 9", "not known as received"),
        ("UPDATE record SET bytes = x'FF'", "its bytes are no record"),
        (
            "UPDATE record SET received_ms = received_ms + 1",
            "another check sum",
        ),
        ("UPDATE record SET kind = 5", "another check sum"),
        (
            "UPDATE interval SET energy_wh = energy_wh + 1",
            "its account says",
        ),
        ("UPDATE series SET total_wh = total_wh + 1", "its total is"),
        ("UPDATE series SET state = x'09'", "its account can't be read"),
    ];
    for (damage, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        sealed_store(folder.path()).await.close().await;
        raw(folder.path()).execute(damage, ()).unwrap();
        let wrong = verify(folder.path()).unwrap().wrong;
        assert!(
            wrong.iter().any(|what| what.contains(expected)),
            "{damage}: {wrong:?}"
        );
    }
}

#[tokio::test]
async fn a_column_of_another_type_names_its_row_and_ends_nothing() {
    let cases = [
        ("UPDATE record SET boot = 'x'", "record 1: its columns"),
        ("UPDATE record SET crc = 'x'", "record 1: its columns"),
        (
            "UPDATE run SET count = 'x'",
            "run 101 (device a-01, 2026-06-21 UTC): a column",
        ),
        (
            "UPDATE run SET bytes = 'x'",
            "run 101 (device a-01, 2026-06-21 UTC): a column",
        ),
        (
            "UPDATE chunk SET day = x'00'",
            "chunk 51 (device a-01, 1970-01-01 UTC): a column",
        ),
        (
            "UPDATE received SET last = 'x' WHERE boot = 2",
            "received 1 77 2 0 \"x\": its columns",
        ),
        ("UPDATE series SET total_wh = 'x'", "register 1: its account"),
        (
            "INSERT INTO forgotten VALUES (20000, 'x')",
            "forgotten 20000: its columns",
        ),
    ];
    for (damage, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        sealed_store(folder.path()).await.close().await;
        let connection = raw(folder.path());
        connection.execute(damage, ()).unwrap();
        // Something else is wrong that is looked at last.
        connection
            .execute("UPDATE series SET handed_wh = handed_wh + 1", ())
            .unwrap();
        let wrong = verify(folder.path()).unwrap().wrong;
        assert!(
            wrong.iter().any(|what| what.starts_with(expected)),
            "{damage}: {wrong:?}"
        );
        assert!(wrong.iter().any(|what| what.contains("register 1")), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_held_record_with_another_check_sum_is_named_and_never_released() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let ahead = |hours: i64| inverter(NOON_MS + hours * 3_600_000, 6_000, 1_000);
    let held = Run::new("a-01", 1, 0, &[ahead(48), ahead(49)]).held(Hold::ImplausibleTime);
    deliver(&store, &[held]).await;
    store.close().await;
    // The first of them says something else that can be read as well.
    let other = "UPDATE record SET bytes = (SELECT bytes FROM record WHERE sequence = 1) WHERE sequence = 0";
    raw(folder.path()).execute(other, ()).unwrap();
    let wrong = verify(folder.path()).unwrap().wrong;
    assert_eq!(wrong, ["record 1: it has another check sum"]);
    clock.set(NOON_MS + 72 * 3_600_000);
    let store = open(folder.path(), &clock);
    let left = rows(&raw(folder.path()), "SELECT sequence FROM record");
    assert_eq!(left, ["[Integer(0)]"], "the other one is released");
    let snapshot = store.counters().snapshot().store;
    assert!(
        snapshot
            .iter()
            .any(|&(event, count)| event == "damaged" && count == 1),
        "{snapshot:?}"
    );
    store.close().await;
}

#[tokio::test]
async fn a_backup_is_a_store_and_nothing_is_overwritten_by_one() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = sealed_store(folder.path()).await;
    let to = other.path().join("store.sqlite");
    let verified = backup(folder.path(), &to).unwrap();
    assert_eq!((verified.run_readings, verified.chunk_readings), (50, 50));
    let before = caches(folder.path());
    // What comes afterwards is not in it.
    deliver(&store, &[Run::new("b-01", 1, 0, &[inverter(NOON_MS, 1, 1)])]).await;
    assert_eq!(caches(other.path()), before);
    let copy = open(other.path(), &TestClock::new(NOON_MS));
    assert_eq!(copy.readings_after(0, 1_000).unwrap().len(), 100);
    copy.close().await;
    let error = backup(folder.path(), &to).unwrap_err().to_string();
    assert!(error.contains("it exists already"), "{error}");
    assert_eq!(
        std::fs::read_dir(other.path())
            .unwrap()
            .filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().contains("partial")
            })
            .count(),
        0
    );
    // A damaged store gives no backup.
    store.close().await;
    raw(folder.path())
        .execute("UPDATE chunk SET crc = crc + 1", ())
        .unwrap();
    let third = other.path().join("third.sqlite");
    let error = backup(folder.path(), &third).unwrap_err().to_string();
    assert!(error.contains("the copy is wrong") && !third.exists(), "{error}");
    assert!(!other.path().join("third.sqlite.partial").exists());
}

#[tokio::test]
async fn a_finding_names_device_and_day() {
    let folder = tempfile::tempdir().unwrap();
    sealed_store(folder.path()).await.close().await;
    raw(folder.path())
        .execute_batch("UPDATE run SET crc = crc + 1; UPDATE chunk SET crc = crc + 1")
        .unwrap();
    let wrong = verify(folder.path()).unwrap().wrong;
    assert!(
        wrong[0].contains("(device a-01, 2026-06-21 UTC): it has another"),
        "{wrong:?}"
    );
    assert!(
        wrong[1].contains("(device a-01, 2026-06-16 UTC): its records"),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_a_finding_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    sealed_store(folder.path()).await.close().await;
    let (root, page): (i64, i64) = raw(folder.path())
        .query_row(
            "SELECT rootpage, page_size FROM sqlite_schema, pragma_page_size WHERE name = 'run'",
            (),
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    let path = folder.path().join(crate::store::FILE_NAME);
    let mut bytes = std::fs::read(&path).unwrap();
    let at = usize::try_from((root - 1) * page).unwrap();
    bytes[at..at + 100].fill(0xFF);
    std::fs::write(&path, bytes).unwrap();
    let verified = verify(folder.path()).unwrap();
    let found = |what: &str| verified.wrong.iter().any(|wrong| wrong.contains(what));
    assert!(
        found("malformed") && found("go on with the newest backup"),
        "{:?}",
        verified.wrong
    );
    assert_eq!(verified.chunk_readings, 50, "the other tables are looked at");
}
