//! Once per identity: repeated, contradicted, refused, and after a crash.

use std::path::Path;

use taraz_telemetry::{Hold, Record, ResetCause, Stamp, Start};

use super::super::group::RANGES_MAX;
use super::super::notes::NOTES_PERIOD_MS;
use super::super::testing::*;
use crate::receive::ReceiveError;
use crate::view::Step;

fn ten_minutes() -> Vec<Record> {
    (0..10)
        .map(|minute| {
            inverter(
                NOON_MS + minute * MINUTE_MS,
                6_000,
                1_000 + minute.unsigned_abs() * 100,
            )
        })
        .collect()
}

#[tokio::test]
async fn a_batch_that_comes_again_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let runs = [Run::new("a-01", 1, 0, &ten_minutes())];
    let verdict = deliver(&store, &runs).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 0));
    let once = caches(folder.path());
    let verdict = deliver(&store, &runs).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 0));
    assert_eq!(caches(folder.path()), once);
    assert_eq!(
        (readings(&store, "stored"), readings(&store, "duplicate")),
        (10, 10)
    );
}

#[tokio::test]
async fn another_record_of_the_same_identity_is_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 1_000)])],
    )
    .await;
    let once = caches(folder.path());
    let other = Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 999_999)]);
    deliver(&store, &[other.clone(), other.clone()]).await;
    deliver(&store, std::slice::from_ref(&other)).await;
    assert_eq!(caches(folder.path()), once);
    assert_eq!(readings(&store, "conflict"), 3);
    let kept = rows(
        &raw(folder.path()),
        "SELECT boot, sequence, hex(bytes) FROM conflict",
    );
    assert_eq!(kept.len(), 1, "{kept:?}");
}

#[tokio::test]
async fn an_item_that_can_never_be_taken_spoils_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let good = Run::new("a-01", 1, 0, &ten_minutes());
    let stranger = Run::new("ZZ 99", 1, 0, &ten_minutes());
    let mut torn = Run::new("b-01", 1, 0, &ten_minutes());
    torn.bytes.pop();
    let empty = Run::new("b-01", 1, 50, &[]);
    let beyond = Run::new("b-01", 1, u32::MAX - 3, &ten_minutes());
    let last = Run::new("c-01", 1, 0, &ten_minutes());
    let verdict = deliver(&store, &[good, stranger, torn, empty, beyond, last]).await;
    assert_eq!(verdict.accepted, 2);
    let refused: Vec<_> = verdict
        .rejected
        .iter()
        .map(|item| (item.position, item.reason.as_str()))
        .collect();
    assert_eq!(refused.len(), 4, "{refused:?}");
    for (at, (position, part)) in [
        (2, "\"ZZ 99\" is no device id"),
        (3, "record 9"),
        (4, "no record"),
        (5, "32 bits"),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(
            refused[at].0 == position && refused[at].1.contains(part),
            "{refused:?}"
        );
    }
    assert_eq!(readings(&store, "stored"), 20);
}

#[tokio::test]
async fn bytes_that_are_no_batch_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    for bytes in [vec![], vec![9], vec![1, 2, 3]] {
        let error = store.receiver().receive(bytes).await.unwrap_err();
        assert!(matches!(error, ReceiveError::Malformed(_)), "{error}");
    }
    assert_eq!(count(&store.counters().snapshot().batches, "rejected"), 3);
}

#[tokio::test]
async fn held_records_stay_out_until_they_come_again_unheld() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 1_000)])],
    )
    .await;
    let late = Run::new("a-01", 1, 1, &[inverter(NOON_MS + 10 * MINUTE_MS, 6_000, 2_000)]);
    deliver(&store, &[late.clone().held(Hold::ImplausibleValue)]).await;
    let interval = || {
        store
            .intervals("a", NOON_MS, NOON_MS + 1, Step::Quarter)
            .unwrap()
            .remove(0)
    };
    assert_eq!((interval().generated_wh, interval().flags.held), (None, true));
    assert_eq!(
        (
            readings(&store, "held"),
            store.readings_after(0, 10).unwrap().len()
        ),
        (1, 1)
    );
    // The feed ends behind the released reading, so a sink that was at the old end gets it.
    let cursor = store.readings_after(0, 10).unwrap()[0].rowid;
    deliver(&store, &[late]).await;
    assert_eq!(
        (interval().generated_wh, interval().flags.held),
        (Some(1_000), false)
    );
    assert_eq!(store.readings_after(cursor, 10).unwrap().len(), 1);
    let after = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), after);
}

#[tokio::test]
async fn ingest_holds_back_what_no_gateway_should_have_let_through() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let nobodys = grid(9, NOON_MS, 1, 2, 3);
    let early = inverter(1_000_000_000_000, 1, 2);
    let broken = inverter(NOON_MS, 1, u64::MAX);
    deliver(&store, &[Run::new("a-01", 1, 0, &[nobodys, early, broken])]).await;
    let held = rows(&raw(folder.path()), "SELECT sequence, hold FROM record");
    let expected = [
        (0, "unknown_meter"),
        (1, "implausible_time"),
        (2, "implausible_value"),
    ];
    assert_eq!(held.len(), 3);
    for (row, (sequence, hold)) in held.iter().zip(expected) {
        assert_eq!(*row, format!("[Integer({sequence}), Text(\"{hold}\")]"));
    }
}

#[tokio::test]
async fn every_kind_of_record_is_stored_as_it_came() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let start = Record::Start(Start {
        stamp: Stamp {
            ms: 12,
            clock: taraz_telemetry::Clock::Unsynced,
        },
        reset_cause: ResetCause::PowerOn,
        recovered: None,
        firmware: "1.2.3".try_into().unwrap(),
    });
    let records = [start, anchor(1, 5, NOON_MS, 100), inverter(NOON_MS, 1, 2)];
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    let mut sent: Vec<_> = records
        .iter()
        .map(|record| encode(std::slice::from_ref(record)))
        .map(|bytes| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>())
        .collect();
    let kept = super::super::testing::records(folder.path());
    assert_eq!(kept.len(), 3);
    sent.retain(|hex| !kept.iter().any(|row| row.contains(&format!("Text(\"{hex}\")"))));
    assert_eq!(sent, [""; 0], "every one with its own bytes");
    let counted = store.counters().snapshot().records;
    assert_eq!(
        (
            count(&counted, "start"),
            count(&counted, "anchor"),
            count(&counted, "reading")
        ),
        (1, 1, 1)
    );
}

/// What a power cut would leave: the files as they are now, without the writer's goodbye.
fn crash_image(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // The shared-memory file is no data; it is made again.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_crash_and_is_still_known_as_received() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    for minute in 0..20_u32 {
        let time_ms = NOON_MS + i64::from(minute) * MINUTE_MS;
        let run = Run::new(
            "a-01",
            1,
            minute,
            &[inverter(time_ms, 6_000, 1_000 + u64::from(minute) * 100)],
        );
        deliver(&store, &[run]).await;
        store.set_cursor("s", i64::from(minute)).await.unwrap();
        let after = tempfile::tempdir().unwrap();
        crash_image(folder.path(), after.path());
        let reopened = open(after.path(), &clock);
        assert_eq!(caches(after.path()), caches(folder.path()));
        assert_eq!(reopened.cursor("s").unwrap(), i64::from(minute));
        let again = Run::new(
            "a-01",
            1,
            minute,
            &[inverter(time_ms, 6_000, 1_000 + u64::from(minute) * 100)],
        );
        deliver(&reopened, &[again]).await;
        assert_eq!(
            (readings(&reopened, "stored"), readings(&reopened, "duplicate")),
            (0, 1)
        );
        reopened.close().await;
    }
}

#[tokio::test]
async fn two_stores_never_share_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let error = crate::store::Store::open(folder.path(), fleet(), clock.now()).unwrap_err();
    assert!(
        error.to_string().contains(&folder.path().display().to_string()),
        "{error}"
    );
    store.close().await;
    open(folder.path(), &clock).close().await;
}

#[tokio::test]
async fn after_closing_nothing_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let runs = [Run::new("a-01", 1, 0, &ten_minutes())];
    deliver(&store, &runs).await;
    store.close().await;
    let error = store.receiver().receive(batch(&runs)).await.unwrap_err();
    assert!(matches!(error, ReceiveError::Unavailable(_)), "{error}");
    let store = open(folder.path(), &clock);
    assert_eq!(store.readings_after(0, 100).unwrap().len(), 10);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_behind_in_tables_or_memory() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[Run::new("a-01", 1, 0, &ten_minutes())]).await;
    let before = caches(folder.path());
    // A trigger stands for a full disk: the last write of the transaction fails.
    let other = raw(folder.path());
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON received BEGIN SELECT raise(ABORT, 'disk is full'); END",
        )
        .unwrap();
    let runs = [Run::new("b-01", 1, 0, &ten_minutes())];
    let error = store.receiver().receive(batch(&runs)).await.unwrap_err();
    assert!(error.to_string().contains("disk is full"), "{error}");
    assert_eq!(caches(folder.path()), before);
    assert_eq!(readings(&store, "stored"), 10);
    other.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(deliver(&store, &runs).await.accepted, 1);
    assert_eq!(
        (readings(&store, "stored"), readings(&store, "duplicate")),
        (20, 0)
    );
    assert_eq!(count(&store.counters().snapshot().batches, "failed"), 1);
}

#[tokio::test]
async fn the_present_is_noted_now_and_then_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let noted = || rows(&raw(folder.path()), "SELECT time_ms FROM newest");
    let deliver_at = async |minute: i64| {
        let first = u32::try_from(minute).unwrap();
        let time_ms = NOON_MS + minute * MINUTE_MS;
        deliver(&store, &[Run::new("a-01", 1, first, &[inverter(time_ms, 1, 1)])]).await;
    };
    let integer = |minute: i64| [format!("[Integer({})]", NOON_MS + minute * MINUTE_MS)];
    deliver_at(0).await;
    assert_eq!(noted(), integer(0));
    deliver_at(1).await;
    assert_eq!(noted(), integer(0), "not with every commit");
    clock.set(NOON_MS + NOTES_PERIOD_MS);
    deliver_at(2).await;
    assert_eq!(noted(), integer(2));
    deliver_at(3).await;
    store.close().await;
    assert_eq!(noted(), integer(3));
    let heard = "SELECT last_reading_ms, last_received_ms FROM device";
    let (newest_ms, heard_ms) = (NOON_MS + NOTES_PERIOD_MS, NOON_MS + NOTES_PERIOD_MS);
    assert_eq!(
        rows(&raw(folder.path()), heard),
        [format!("[Integer({newest_ms}), Integer({heard_ms})]")]
    );
}

#[tokio::test]
async fn a_failed_commit_loses_no_note_of_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let one = |device| Run::new(device, 1, 0, &[inverter(NOON_MS, 1_000, 5)]);
    deliver(&store, &[one("a-01")]).await;
    clock.set(NOON_MS + 1_000);
    deliver(&store, &[one("b-01")]).await;
    let noted = || {
        rows(
            &raw(folder.path()),
            "SELECT last_received_ms FROM device JOIN newest ON device = device.id WHERE name = 'b-01'",
        )
    };
    assert_eq!(noted(), [""; 0], "it is not written with every commit");
    // Due, and the transaction fails behind it or before it.
    raw(folder.path())
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON newest BEGIN SELECT raise(ABORT, 'the disk is full'); END;",
        )
        .unwrap();
    clock.set(NOON_MS + 60_000);
    let refused = store.receiver().receive(batch(&[one("c-01")])).await;
    assert!(refused.is_err());
    raw(folder.path()).execute_batch("DROP TRIGGER full").unwrap();
    store.close().await;
    assert_eq!(noted(), [format!("[Integer({})]", NOON_MS + 1_000)]);
    let strange = "SELECT device FROM newest WHERE device NOT IN (SELECT id FROM device)";
    assert_eq!(
        rows(&raw(folder.path()), strange),
        [""; 0],
        "of what failed nothing is noted"
    );
}

#[tokio::test]
async fn a_device_with_too_many_ranges_gets_no_further_one() {
    let folder = tempfile::tempdir().unwrap();
    let one = |boot, first| Run::new("a-01", boot, first, &[inverter(NOON_MS, 1, 1)]);
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &[one(1, 0)]).await;
    store.close().await;
    let many = format!(
        "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {RANGES_MAX} - 1)
         INSERT INTO received SELECT 1, 77, 1, 2 * n, 2 * n FROM n"
    );
    raw(folder.path()).execute(&many, ()).unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let other = Run::new("b-01", 1, 0, &[inverter(NOON_MS, 1, 1)]);
    let verdict = deliver(&store, &[one(2, 0), one(1, 900_000), one(1, 0), other]).await;
    assert_eq!(verdict.accepted, 2);
    let rejected: Vec<_> = verdict.rejected.iter().map(|item| item.position).collect();
    assert_eq!(rejected, [1, 2]);
    let reason = &verdict.rejected[0].reason;
    assert!(
        reason.contains("separate ranges of records of \"a-01\""),
        "{reason}"
    );
    // What joins two of them is taken, and makes room.
    assert_eq!(deliver(&store, &[one(1, 1), one(2, 0)]).await.accepted, 2);
    let kept = rows(
        &raw(folder.path()),
        "SELECT first, last FROM received WHERE device = 1 AND boot = 1 AND first < 4",
    );
    assert_eq!(kept, ["[Integer(0), Integer(2)]"]);
    assert_eq!(deliver(&store, &[one(3, 0)]).await.accepted, 0);
}

#[tokio::test]
async fn a_store_that_cannot_commit_says_so_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let full = "CREATE TRIGGER no_room BEFORE INSERT ON run BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    raw(folder.path()).execute(full, ()).unwrap();
    let run = Run::new("a-01", 1, 0, &ten_minutes());
    for _ in 0..2 {
        let error = store
            .receiver()
            .receive(batch(std::slice::from_ref(&run)))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, ReceiveError::Unavailable(reason) if reason.contains("disk is full")),
            "{error}"
        );
        assert!(store.counters().snapshot().store_is_blocked);
    }
    raw(folder.path()).execute("DROP TRIGGER no_room", ()).unwrap();
    assert_eq!(deliver(&store, &[run]).await.accepted, 1);
    assert!(!store.counters().snapshot().store_is_blocked);
    assert_eq!(readings(&store, "stored"), 10);
}
