//! Sealed days: everything is there as before, for whoever reads, repeats, contradicts or comes late.

use std::collections::BTreeSet;
use std::path::Path;

use taraz_telemetry::Hold;

use super::super::runs::{DAY_MS, day_of};
use super::super::sealing;
use super::super::testing::*;
use super::super::{Archive, Sealing, Store, compact, verify};
use crate::view::Step;

const HOUR_MS: i64 = 3_600_000;
/// Days are sealed two days after their end.
const SEAL_AFTER_DAYS: u32 = 2;

/// A reading every ten minutes of an inverter, from so many hours after noon.
fn readings_from(hours: i64, count: i64) -> Vec<taraz_telemetry::Record> {
    (0..count)
        .map(|n| {
            let time_ms = NOON_MS + hours * HOUR_MS + n * 10 * MINUTE_MS;
            inverter(
                time_ms,
                3_000,
                ((time_ms - NOON_MS) / 10_000 + 1_000_000).unsigned_abs(),
            )
        })
        .collect()
}

/// Five days of one device and one of another, something held, a boot without a clock.
fn told() -> Vec<Run> {
    vec![
        Run::new("a-01", 1, 0, &readings_from(-96, 700)),
        Run::new("c-01", 1, 0, &readings_from(-96, 100)),
        Run::new("a-01", 1, 700, &[grid(2, NOON_MS, 1, 2, 3)]).held(Hold::UnknownMeter),
        Run::new(
            "b-01",
            2,
            0,
            &[anchor(2, 0, NOON_MS - 90 * HOUR_MS, 10), unsynced(1_000, 100)],
        ),
    ]
}

async fn keep(store: &Store) -> Sealing {
    store
        .keep(NOON_MS + 24 * HOUR_MS, SEAL_AFTER_DAYS, None)
        .await
        .unwrap()
}

fn count_of(folder: &Path, sql: &str) -> i64 {
    raw(folder).query_row(sql, (), |row| row.get(0)).unwrap()
}

/// Time and register of every reading of `a-01` that the history has.
fn history(folder: &Path) -> Vec<(i64, u32)> {
    let archive = Archive::open(folder).unwrap();
    let mut found = Vec::new();
    let device = taraz_telemetry::DeviceId::new("a-01").unwrap();
    archive
        .readings_between(&device, 0, i64::MAX, |reading| {
            found.push((reading.time_ms, reading.sequence));
            Ok(())
        })
        .unwrap();
    found
}

/// Device, time of every reading behind a cursor.
fn feed(store: &Store, mut cursor: i64, limit: usize) -> Vec<(String, i64)> {
    let mut found = Vec::new();
    loop {
        let some = store.readings_after(cursor, limit).unwrap();
        let Some(last) = some.last() else { return found };
        assert!(last.rowid > cursor);
        cursor = last.rowid;
        found.extend(
            some.iter()
                .map(|reading| (reading.device.to_string(), reading.time_ms)),
        );
    }
}

#[tokio::test]
async fn nothing_changes_but_the_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &told()).await;
    let (before, past) = (caches(folder.path()), history(folder.path()));
    let all: BTreeSet<_> = feed(&store, 0, 100).into_iter().collect();
    let sealing = keep(&store).await;
    // From −96 h to +20 h after 08:00 UTC, of which the days before yesterday are over.
    assert_eq!(
        (sealing.device_days, sealing.raw_readings, sealing.unsealable),
        (5, 0, 0)
    );
    assert!(sealing.chunk_bytes * 3 < sealing.records_bytes, "{sealing:?}");
    assert_eq!(count_of(folder.path(), "SELECT count(*) FROM chunk"), 5);
    let left = count_of(folder.path(), "SELECT sum(count) FROM run");
    assert_eq!(left + i64::try_from(sealing.readings).unwrap(), 800);

    assert_eq!(caches(folder.path()), before);
    assert_eq!(history(folder.path()), past);
    let sealed_feed = feed(&store, 0, 100);
    assert_eq!(sealed_feed.len(), all.len(), "each once");
    assert_eq!(sealed_feed.into_iter().collect::<BTreeSet<_>>(), all);
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
    let counted = store.counters().snapshot().store;
    assert_eq!(
        (count(&counted, "sealed"), count(&counted, "sealed_raw")),
        (sealing.readings, 0)
    );
    assert_eq!(
        keep(&store).await,
        Sealing::default(),
        "there is nothing left to do"
    );
    let verified = verify(folder.path()).unwrap();
    assert_eq!(verified.wrong, [""; 0]);
    assert_eq!(verified.chunk_readings, sealing.readings);

    // The same again after a restart, out of the tables alone.
    store.close().await;
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    assert_eq!(caches(folder.path()), before);
    deliver(&store, &told()).await;
    assert_eq!(
        (readings(&store, "duplicate"), readings(&store, "conflict")),
        (803, 0)
    );
}

#[tokio::test]
async fn what_is_sealed_is_known_when_it_comes_again_and_contradicted_when_it_comes_otherwise() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &told()).await;
    keep(&store).await;
    deliver(&store, &told()[..2]).await;
    assert_eq!(
        (readings(&store, "duplicate"), readings(&store, "conflict")),
        (800, 0)
    );
    // At its own time, on another day, and at no time.
    let others = [
        Run::new("a-01", 1, 5, &[inverter(NOON_MS - 96 * HOUR_MS, 1, 1)]),
        Run::new("a-01", 1, 6, &[inverter(NOON_MS, 1, 1)]),
        Run::new("a-01", 1, 7, &[unsynced(5, 1)]),
    ];
    deliver(&store, &others).await;
    assert_eq!(
        (readings(&store, "duplicate"), readings(&store, "conflict")),
        (800, 3)
    );
}

#[tokio::test]
async fn what_comes_late_is_sealed_with_its_day() {
    let (late, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = TestClock::new(NOON_MS);
    let (store, at_once) = (open(late.path(), &clock), open(whole.path(), &clock));
    let all = readings_from(-96, 700);
    let part = |range: std::ops::Range<u32>| {
        Run::new(
            "a-01",
            1,
            range.start,
            &all[range.start as usize..range.end as usize],
        )
    };
    deliver(&at_once, &[part(0..700)]).await;
    deliver(&store, &[part(100..300), part(500..700)]).await;
    keep(&store).await;
    let cursor = store.readings_after(0, 10_000).unwrap().last().unwrap().rowid;
    deliver(&store, &[part(300..500)]).await;
    deliver(&store, &[part(0..100)]).await;
    assert_eq!(
        feed(&store, cursor, 50).len(),
        300,
        "a sink gets what is new, once"
    );
    let cursor = store
        .readings_after(cursor, 10_000)
        .unwrap()
        .last()
        .unwrap()
        .rowid;
    keep(&store).await;
    keep(&at_once).await;
    assert_eq!(
        feed(&store, cursor, 50),
        [],
        "and nothing again when it is sealed"
    );
    assert_eq!(caches(late.path()), caches(whole.path()));
    assert_eq!(history(late.path()), history(whole.path()));
    let bytes = "SELECT hex(identities), hex(bytes), crc, day FROM chunk";
    assert_eq!(rows(&raw(late.path()), bytes), rows(&raw(whole.path()), bytes));
}

#[tokio::test]
async fn a_sink_that_is_behind_loses_nothing_to_sealing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    // Two devices in turns, so that their days interleave in the feed.
    let (a, c) = (readings_from(-96, 300), readings_from(-96, 300));
    for at in (0..300_usize).step_by(20) {
        let first = u32::try_from(at).unwrap();
        deliver(&store, &[Run::new("a-01", 1, first, &a[at..at + 20])]).await;
        deliver(&store, &[Run::new("c-01", 1, first, &c[at..at + 20])]).await;
    }
    let all = store.readings_after(0, 10_000).unwrap();
    keep(&store).await;
    for got in (0..all.len()).step_by(37) {
        let cursor = all[got].rowid;
        let rest: BTreeSet<_> = feed(&store, cursor, 64).into_iter().collect();
        let expected = all[got + 1..].iter();
        let missing: Vec<_> = expected
            .map(|reading| (reading.device.to_string(), reading.time_ms))
            .filter(|reading| !rest.contains(reading))
            .collect();
        assert_eq!(missing, [], "a sink that had taken {got}");
    }
}

#[tokio::test]
async fn what_a_policy_gives_up_is_counted_and_its_intervals_stay() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &told()).await;
    let day = |store: &Store, days: i64| {
        let from_ms = NOON_MS - days * DAY_MS;
        store
            .intervals("a", from_ms, from_ms + 1, Step::Day)
            .unwrap()
            .remove(0)
    };
    let (old, new) = (day(&store, 3), day(&store, 0));
    assert!(old.generated_wh.is_some());
    store.keep(NOON_MS, 1, Some(2)).await.unwrap();
    let kept = count_of(
        folder.path(),
        "SELECT (SELECT coalesce(sum(readings), 0) FROM chunk) + (SELECT sum(count) FROM run)",
    );
    let forgotten = count(&store.counters().snapshot().store, "forgotten");
    assert!(forgotten > 0);
    assert_eq!(
        kept + i64::try_from(forgotten).unwrap(),
        800,
        "nothing goes uncounted"
    );
    assert_eq!(verify(folder.path()).unwrap().forgotten, forgotten);
    let oldest = history(folder.path())[0].0;
    assert_eq!(oldest / DAY_MS, NOON_MS / DAY_MS - 2);
    // What can be made again is; what can't be is kept.
    let before = caches(folder.path());
    let lost = format!(
        "DELETE FROM interval WHERE quarter >= {}",
        (NOON_MS / DAY_MS - 1) * 96
    );
    assert!(raw(folder.path()).execute(&lost, ()).unwrap() > 0);
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
    assert_eq!((day(&store, 3), day(&store, 0)), (old.clone(), new));
    deliver(&store, &told()).await;
    assert_eq!(
        (readings(&store, "duplicate"), readings(&store, "conflict")),
        (803, 0),
        "what was here once is not new"
    );
    // A rating that has changed since can't be applied to what is gone.
    store.close().await;
    let fleet = fleet_of(&fleet_text().replace("rated_w = 10000", "rated_w = 100000"));
    let store = Store::open(folder.path(), fleet, clock.now()).unwrap();
    assert_eq!(day(&store, 3).generated_wh, old.generated_wh);
    assert_eq!(verify(folder.path()).unwrap().wrong, [""; 0]);
    store.close().await;
    // All of it is given up, and the registry is corrected once more.
    let store = open(folder.path(), &clock);
    let later_ms = NOON_MS + 9 * DAY_MS;
    clock.set(later_ms);
    deliver(&store, &[Run::new("b-01", 3, 0, &[inverter(later_ms, 1, 200)])]).await;
    store.keep(later_ms, 1, Some(2)).await.unwrap();
    assert!(history(folder.path()).is_empty());
    store.close().await;
    raw(folder.path())
        .execute("UPDATE series SET total_wh = total_wh + 1", ())
        .unwrap();
    let fleet = fleet_of(&fleet_text().replace("rated_w = 10000", "rated_w = 100000"));
    let store = Store::open(folder.path(), fleet, clock.now()).unwrap();
    assert_eq!(day(&store, 3).generated_wh, old.generated_wh);
    assert_eq!(verify(folder.path()).unwrap().wrong, [""; 0]);
}

#[tokio::test]
async fn what_comes_after_its_day_was_given_up_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &told()).await;
    store.keep(NOON_MS, 1, Some(2)).await.unwrap();
    let too_late = || count(&store.counters().snapshot().store, "too_late");
    // A day that is there still can be made again with it.
    let recent = inverter(NOON_MS - DAY_MS / 2 + 7, 1, 1);
    deliver(&store, &[Run::new("a-01", 2, 0, &[recent])]).await;
    assert_eq!(too_late(), 0);
    let before = store
        .intervals("a", NOON_MS - 3 * DAY_MS, NOON_MS, Step::Day)
        .unwrap();
    let old = [3, 4].map(|days| inverter(NOON_MS - days * DAY_MS + 7, 1, 1));
    deliver(&store, &[Run::new("a-01", 2, 1, &old)]).await;
    assert_eq!(too_late(), 2);
    let after = store
        .intervals("a", NOON_MS - 3 * DAY_MS, NOON_MS, Step::Day)
        .unwrap();
    assert_eq!(before[0].generated_wh, after[0].generated_wh);
}

#[tokio::test]
async fn compacting_beside_an_ingest_at_work_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(&store, &told()).await;
    let path = folder.path().to_owned();
    let by_hand = std::thread::spawn(move || {
        let mut steps = 0;
        let compacted = compact(&path, SEAL_AFTER_DAYS, NOON_MS + 24 * HOUR_MS, |_| steps += 1).unwrap();
        (compacted, steps)
    });
    let more = readings_from(-96, 300);
    for (first, some) in (0..).step_by(3).zip(more.chunks(3)) {
        deliver(&store, &[Run::new("d-01", 1, first, some)]).await;
    }
    let (compacted, steps) = by_hand.join().unwrap();
    assert!(compacted.sealing.device_days >= 5 && steps > 0, "{compacted:?}");
    assert!(!compacted.is_stuck);
    keep(&store).await;
    let found = history(folder.path());
    assert_eq!(found.len(), 700);
    let verified = verify(folder.path()).unwrap();
    assert_eq!(verified.wrong, [""; 0]);
    assert_eq!(verified.chunk_readings + verified.run_readings, 1_100);
    let before = caches(folder.path());
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder.path()), before);
}

#[tokio::test]
async fn compacting_shortens_the_file_in_few_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    store.close().await;
    raw(folder.path())
        .execute_batch(
            "CREATE TABLE filler (bytes BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
             INSERT INTO filler SELECT zeroblob(409600) FROM n;
             DROP TABLE filler;",
        )
        .unwrap();
    let mut steps = 0;
    let compacted = compact(folder.path(), SEAL_AFTER_DAYS, NOON_MS, |_| steps += 1).unwrap();
    assert!(!compacted.is_stuck);
    assert!(
        compacted.bytes_before - compacted.bytes_after > 20_000_000,
        "{compacted:?}"
    );
    assert!(steps <= 4, "{steps} transactions for 5,000 pages");
    let free: i64 = raw(folder.path())
        .pragma_query_value(None, "freelist_count", |row| row.get(0))
        .unwrap();
    assert_eq!(free, 0);
}

#[tokio::test]
async fn a_clock_that_is_years_ahead_gives_nothing_up() {
    const YEARS_MS: i64 = 4 * 365 * DAY_MS;
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + 24 * HOUR_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &told()).await;
    let ahead_ms = NOON_MS + 24 * HOUR_MS + YEARS_MS;
    clock.set(ahead_ms);
    let past = history(folder.path());
    store.keep(ahead_ms, SEAL_AFTER_DAYS, Some(10)).await.unwrap();
    assert_eq!(history(folder.path()), past);
    assert!(store.counters().snapshot().clock_is_ahead);
    // What is due by the readings' own time goes all the same.
    store.keep(ahead_ms, SEAL_AFTER_DAYS, Some(3)).await.unwrap();
    let left = history(folder.path());
    assert!(!left.is_empty() && left.len() < past.len(), "{}", left.len());
    // The devices say so as well: it was not the clock.
    let now = inverter(ahead_ms - MINUTE_MS, 3_000, 9_000_000);
    deliver(&store, &[Run::new("a-01", 1, 701, &[now])]).await;
    store.keep(ahead_ms, SEAL_AFTER_DAYS, Some(10)).await.unwrap();
    assert!(!store.counters().snapshot().clock_is_ahead);
    assert_eq!(history(folder.path()).len(), 1);
}

#[tokio::test]
async fn a_day_of_very_many_runs_is_sealed_slice_by_slice() {
    const RUNS: u32 = 4_100;
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let from_ms = NOON_MS - 4 * DAY_MS;
    // Every second sequence, so that each has a run of its own.
    let records: Vec<_> = (0..RUNS)
        .map(|n| {
            let record = inverter(from_ms + i64::from(n) * 1_000, 3_000, u64::from(n) + 1_000);
            Run::new("a-01", 1, n * 2, &[record])
        })
        .collect();
    deliver(&store, &records).await;
    let past = history(folder.path());
    let open_day = day_of(NOON_MS);
    let first = store
        .snapshot(|snapshot| sealing::prepare(snapshot.connection, open_day, None))
        .unwrap();
    assert_eq!((first.sealing.readings, first.sealing.device_days), (4_000, 0));
    let sealing = store.keep(NOON_MS, 0, None).await.unwrap();
    assert_eq!((sealing.device_days, sealing.unsealable), (1, 0));
    assert_eq!(count_of(folder.path(), "SELECT count(*) FROM run"), 0);
    assert_eq!(
        count_of(folder.path(), "SELECT count(*) FROM chunk"),
        1,
        "merged in the end"
    );
    assert_eq!(history(folder.path()), past);
    store.close().await;
    assert_eq!(verify(folder.path()).unwrap().wrong, [""; 0]);
}
