//! Plain readings, several in a row: they are in the feed, in identities and in time as if each stood alone.

use taraz_telemetry::{Clock, Hold, Outcome, PollFailure, PollStatus, Reading, Record, Stamp};

use super::super::runs::DAY_MS;
use super::super::testing::*;
use super::super::{Archive, PlacedReading};
use crate::store::Store;

/// Readings of an inverter, one a minute.
fn minutes(from: i64, count: i64) -> Vec<Record> {
    (from..from + count)
        .map(|minute| inverter(NOON_MS + minute * MINUTE_MS, 6_000, minute.unsigned_abs() * 100))
        .collect()
}

/// How many records each run has, in the order of the feed.
fn counts(folder: &std::path::Path) -> Vec<i64> {
    let connection = raw(folder);
    let mut query = connection.prepare("SELECT count FROM run ORDER BY id").unwrap();
    let counts = query.query_map((), |row| row.get(0)).unwrap();
    counts.map(Result::unwrap).collect()
}

fn minutes_of(store: &Store, cursor: i64, limit: usize) -> Vec<(i64, i64)> {
    let readings = store.readings_after(cursor, limit).unwrap();
    readings
        .iter()
        .map(|reading| (reading.rowid, (reading.time_ms - NOON_MS) / MINUTE_MS))
        .collect()
}

#[tokio::test]
async fn items_of_a_commit_that_continue_each_other_are_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let all = minutes(0, 20);
    let runs = [
        Run::new("a-01", 1, 0, &all[..5]),
        Run::new("b-01", 1, 0, &all[..3]),
        Run::new("a-01", 1, 5, &all[5..10]),
        // A hole, then what fills it.
        Run::new("a-01", 1, 15, &all[15..]),
        Run::new("a-01", 1, 10, &all[10..15]),
    ];
    deliver(&store, &runs).await;
    assert_eq!(counts(folder.path()), [10, 3, 5, 5]);
    deliver(&store, &[Run::new("a-01", 1, 20, &minutes(20, 2))]).await;
    assert_eq!(
        counts(folder.path()),
        [10, 3, 5, 5, 2],
        "a later commit has its own"
    );
    assert_eq!(store.behind(0).unwrap(), 25);
}

#[tokio::test]
async fn a_cursor_stands_between_any_two_readings() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let held = Run::new("a-01", 1, 10, &minutes(10, 1)).held(Hold::ImplausibleValue);
    deliver(&store, &[Run::new("a-01", 1, 0, &minutes(0, 10)), held.clone()]).await;
    deliver(&store, &[Run::new("b-01", 1, 0, &minutes(0, 4))]).await;
    // It stands behind the others once it is released.
    deliver(&store, &[Run { hold: None, ..held }]).await;
    let whole = minutes_of(&store, 0, 100);
    let expected: Vec<_> = (0..10).chain(0..4).chain([10]).collect();
    assert_eq!(
        whole.iter().map(|reading| reading.1).collect::<Vec<_>>(),
        expected
    );
    assert!(whole.windows(2).all(|pair| pair[0].0 < pair[1].0), "{whole:?}");
    for limit in 1..=whole.len() {
        let (mut cursor, mut walked) = (0, Vec::new());
        loop {
            let some = minutes_of(&store, cursor, limit);
            assert!(some.len() <= limit);
            let Some(last) = some.last() else { break };
            cursor = last.0;
            walked.extend(some);
        }
        assert_eq!(walked, whole, "{limit} at once");
        assert_eq!(store.behind(cursor).unwrap(), 0);
    }
}

#[tokio::test]
async fn places_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &[Run::new("a-01", 1, 0, &minutes(0, 10))]).await;
    let cursor = minutes_of(&store, 0, 100).last().unwrap().0;
    store.set_cursor("sink", cursor).await.unwrap();
    store.close().await;
    // As after a policy that has forgotten everything.
    raw(folder.path()).execute("DELETE FROM run", ()).unwrap();
    let store = open(folder.path(), &clock);
    deliver(&store, &[Run::new("a-01", 1, 10, &minutes(10, 1))]).await;
    assert_eq!(minutes_of(&store, cursor, 100).len(), 1, "behind the cursor");
}

#[tokio::test]
async fn a_run_ends_with_its_day_and_at_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let midnight = (NOON_MS / DAY_MS + 1) * DAY_MS;
    let around: Vec<_> = (-2..3).map(|n| inverter(midnight + n * 1_000, 1, 1)).collect();
    deliver(&store, &[Run::new("a-01", 1, 0, &around)]).await;
    assert_eq!(counts(folder.path()), [2, 3]);
    let many: Vec<_> = (0..2_500).map(|n| inverter(NOON_MS + n, 1, 1)).collect();
    deliver(&store, &[Run::new("b-01", 1, 0, &many)]).await;
    assert_eq!(counts(folder.path()), [2, 3, 1_024, 1_024, 452]);
    assert_eq!(records(folder.path()).len(), 2_505);
}

#[tokio::test]
async fn what_comes_again_is_known_wherever_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let first = Run::new("a-01", 1, 0, &minutes(0, 10));
    // In one commit, with itself and with something else.
    let other = Run::new("a-01", 1, 4, &minutes(50, 1));
    deliver(&store, &[first.clone(), first.clone(), other.clone()]).await;
    assert_eq!(
        (readings(&store, "duplicate"), readings(&store, "conflict")),
        (10, 1)
    );
    // Later: the same, then the identity with a time of another day, of no day, and as another kind of record.
    let next_day = Run::new("a-01", 1, 5, &[inverter(NOON_MS + DAY_MS, 6_000, 500)]);
    let failed = Record::Reading(Reading {
        meter: meter(1),
        stamp: Stamp {
            ms: u64::try_from(NOON_MS).unwrap(),
            clock: Clock::Synced,
        },
        outcome: Outcome::Failed(PollFailure {
            status: PollStatus::Timeout,
            count: 1,
            span_ms: 0,
        }),
    });
    let others = [
        next_day,
        Run::new("a-01", 1, 6, &[unsynced(5, 500)]),
        Run::new("a-01", 1, 7, &[anchor(1, 5, NOON_MS, 10)]),
        Run::new("a-01", 1, 8, &[failed]),
    ];
    let once = caches(folder.path());
    for again in 1..3 {
        deliver(&store, &[&others[..], std::slice::from_ref(&first)].concat()).await;
        let conflicts = 1 + 4 * again;
        assert_eq!(
            (readings(&store, "duplicate"), readings(&store, "conflict")),
            (10 + 10 * again, conflicts)
        );
    }
    assert_eq!(caches(folder.path()), once);
    assert_eq!(rows(&raw(folder.path()), "SELECT * FROM conflict").len(), 5);
}

#[tokio::test]
async fn the_past_is_read_in_the_order_of_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let days = |n: i64| inverter(NOON_MS + n * DAY_MS, 1, 100 + n.unsigned_abs());
    let anchored = [
        anchor(2, 0, NOON_MS - 2 * DAY_MS + 1, 10),
        unsynced(0, 5),
        unsynced(5_000, 6),
    ];
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 0, &[days(1), days(-3), days(0)]),
            Run::new("a-01", 2, 0, &anchored),
            Run::new("a-01", 1, 3, &[days(-2), days(5)]),
            Run::new("a-01", 1, 5, &[days(2)]).held(Hold::ImplausibleValue),
            Run::new("b-01", 1, 0, &[days(0)]),
        ],
    )
    .await;
    let archive = Archive::open(folder.path()).unwrap();
    let between = |from_ms, to_ms| {
        let mut found: Vec<PlacedReading> = Vec::new();
        let device = &store.fleet().plants[0].devices[0].id;
        archive
            .readings_between(device, from_ms, to_ms, |reading| {
                found.push(reading);
                Ok(())
            })
            .unwrap();
        found
            .iter()
            .map(|reading| (reading.boot, reading.sequence, reading.time_ms - NOON_MS))
            .collect::<Vec<_>>()
    };
    let all = [
        (1, 1, -3 * DAY_MS),
        (1, 3, -2 * DAY_MS),
        (2, 1, -2 * DAY_MS + 1),
        (2, 2, -2 * DAY_MS + 5_001),
        (1, 2, 0),
        (1, 0, DAY_MS),
        (1, 4, 5 * DAY_MS),
    ];
    assert_eq!(between(0, i64::MAX), all);
    assert_eq!(between(NOON_MS - 2 * DAY_MS + 1, NOON_MS + DAY_MS), all[2..5]);
    assert_eq!(between(NOON_MS, NOON_MS), []);
}
