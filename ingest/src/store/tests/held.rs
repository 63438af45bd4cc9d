//! Held records, judged again when the store is opened.

use taraz_telemetry::Hold;

use super::super::testing::*;
use super::super::{HeldFilter, Store, StoreError, drop_held, held_groups, held_records};
use crate::view::Step;

const HOUR_MS: i64 = 3_600_000;

/// The holds that are left, by sequence.
fn holds(folder: &std::path::Path) -> Vec<String> {
    rows(
        &raw(folder),
        "SELECT sequence, hold FROM record WHERE hold IS NOT NULL",
    )
}

async fn is_rebuilt_equal(store: &Store, folder: &std::path::Path) {
    let before = caches(folder);
    store.rebuild().await.unwrap();
    assert_eq!(caches(folder), before);
}

#[tokio::test]
async fn a_corrected_registry_releases_what_it_explains() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + HOUR_MS);
    let store = open(folder.path(), &clock);
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 0, &[inverter(NOON_MS, 9_000, 100)]),
            // Above 15 kW, and above 150 kW.
            Run::new("a-01", 1, 1, &[inverter(NOON_MS + MINUTE_MS, 90_000, 1_600)])
                .held(Hold::ImplausibleValue),
            Run::new("a-01", 1, 2, &[inverter(NOON_MS + 2 * MINUTE_MS, 900_000, 3_100)])
                .held(Hold::ImplausibleValue),
            Run::new("a-01", 1, 3, &[grid(2, NOON_MS, 1, 2, 3)]).held(Hold::UnknownMeter),
        ],
    )
    .await;
    store.close().await;
    // The same registry explains nothing.
    let store = open(folder.path(), &clock);
    assert_eq!(holds(folder.path()).len(), 3);
    let cursor = store.readings_after(0, 10).unwrap()[0].rowid;
    store.close().await;

    let text = fleet_text()
        .replace("rated_w = 10000", "rated_w = 100000")
        .replacen(
            "[[plant.device.meter]]",
            "[[plant.device.meter]]\naddress = 2\nrole = \"grid\"\ndriver = \"sunspec\"\nrated_w = 100000\n\
         [[plant.device.meter]]",
            1,
        );
    let store = Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    assert_eq!(
        holds(folder.path()),
        ["[Integer(2), Text(\"implausible_value\")]"]
    );
    assert_eq!(readings(&store, "stored"), 2);
    // Sinks get them, and intervals count them.
    assert_eq!(store.readings_after(cursor, 10).unwrap().len(), 2);
    let row = store
        .intervals("a", NOON_MS, NOON_MS + 1, Step::Quarter)
        .unwrap()
        .remove(0);
    assert_eq!((row.generated_wh, row.flags.held), (Some(1_500), true));
    is_rebuilt_equal(&store, folder.path()).await;
}

#[tokio::test]
async fn a_time_in_the_future_is_believed_when_it_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let ahead = [
        inverter(NOON_MS + HOUR_MS, 1, 100),
        inverter(NOON_MS + 3 * HOUR_MS, 1, 200),
        inverter(1_000_000_000_000, 1, 50),
    ];
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &ahead).held(Hold::ImplausibleTime)],
    )
    .await;
    store.close().await;
    clock.set(NOON_MS + 2 * HOUR_MS);
    let store = open(folder.path(), &clock);
    let left = [1, 2].map(|n| format!("[Integer({n}), Text(\"implausible_time\")]"));
    assert_eq!(holds(folder.path()), left);
    assert_eq!(readings(&store, "stored"), 1);
    is_rebuilt_equal(&store, folder.path()).await;
    // Once released, it is not released again.
    store.close().await;
    let store = open(folder.path(), &clock);
    assert_eq!(readings(&store, "stored"), 0);
    // What comes again, held or not, is a duplicate.
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &ahead[..1]).held(Hold::ImplausibleTime)],
    )
    .await;
    assert_eq!(readings(&store, "duplicate"), 1);
}

#[tokio::test]
async fn a_time_that_has_passed_is_believed_without_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    // The gateway's clock is four hours behind ours: what it takes for the future is past here, but for the last one.
    let ahead = [
        inverter(NOON_MS - 2 * HOUR_MS, 1, 100),
        inverter(NOON_MS - HOUR_MS, 900_000, 150),
        inverter(NOON_MS + HOUR_MS, 1, 200),
    ];
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &ahead).held(Hold::ImplausibleTime)],
    )
    .await;
    assert_eq!(store.judge_times().await.unwrap(), 1);
    let left = |sequences: &[u32]| {
        let row = |n| format!("[Integer({n}), Text(\"implausible_time\")]");
        sequences.iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(holds(folder.path()), left(&[1, 2]));
    assert_eq!(store.judge_times().await.unwrap(), 0);
    clock.set(NOON_MS + HOUR_MS);
    assert_eq!(store.judge_times().await.unwrap(), 1);
    assert_eq!(holds(folder.path()), left(&[1]));
    assert_eq!((readings(&store, "stored"), readings(&store, "held")), (2, 3));
    // They have reached the present and the sinks.
    let view = store.live().view(NOON_MS + HOUR_MS);
    let plant = view.plants.iter().find(|plant| plant.id == "a").unwrap();
    assert_eq!(plant.power_w, Some(1));
    assert_eq!(store.readings_after(0, 10).unwrap().len(), 2);
    is_rebuilt_equal(&store, folder.path()).await;
}

#[tokio::test]
async fn a_device_that_the_registry_does_not_know_yet_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + HOUR_MS);
    let store = open(folder.path(), &clock);
    let records = [
        inverter(NOON_MS, 1, 100),
        unsynced(1_000, 150),
        inverter(NOON_MS + MINUTE_MS, 1, 200),
        anchor(1, 0, NOON_MS, 10),
    ];
    let verdict = deliver(&store, &[Run::new("n-01", 1, 0, &records)]).await;
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 0));
    assert_eq!((readings(&store, "held"), holds(folder.path()).len()), (3, 4));
    assert!(store.readings_after(0, 10).unwrap().is_empty());
    is_rebuilt_equal(&store, folder.path()).await;
    store.close().await;

    let known = fleet_text().replace("id = \"b-01\"", "id = \"n-01\"");
    let store = Store::open(folder.path(), fleet_of(&known), clock.now()).unwrap();
    assert!(holds(folder.path()).is_empty());
    assert_eq!(store.readings_after(0, 10).unwrap().len(), 3);
    let row = store
        .intervals("b", NOON_MS, NOON_MS + 1, Step::Quarter)
        .unwrap()
        .remove(0);
    assert_eq!((row.generated_wh, row.flags.held), (Some(100), false));
    is_rebuilt_equal(&store, folder.path()).await;
}

#[tokio::test]
async fn the_eve_of_the_commissioning_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    // 2024-03-20T00:00:00Z, the commissioning date of every plant here, as the gateway reckons it.
    let midnight_ms = 1_710_892_800_000;
    let records = [
        inverter(midnight_ms - 24 * HOUR_MS, 1, 1),
        inverter(midnight_ms - 28 * HOUR_MS, 1, 1),
    ];
    deliver(&store, &[Run::new("a-01", 1, 0, &records)]).await;
    assert_eq!(holds(folder.path()), ["[Integer(1), Text(\"implausible_time\")]"]);
}

/// What the quarantine lists: device, meter, reason, how many.
fn groups(folder: &std::path::Path) -> Vec<(String, Option<u8>, String, u64)> {
    let groups = held_groups(folder, &HeldFilter::default()).unwrap();
    groups
        .into_iter()
        .map(|group| (group.device, group.meter, group.reason, group.records))
        .collect()
}

#[tokio::test]
async fn what_is_dropped_counts_no_more_and_never_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + HOUR_MS);
    let store = open(folder.path(), &clock);
    assert_eq!(groups(folder.path()), []);
    let high = [
        inverter(NOON_MS + MINUTE_MS, 900_000, 1_600),
        inverter(NOON_MS + 2 * MINUTE_MS, 900_000, 3_100),
    ];
    let runs = [
        Run::new("a-01", 1, 0, &[inverter(NOON_MS, 9_000, 100)]),
        Run::new("a-01", 1, 1, &high).held(Hold::ImplausibleValue),
        Run::new("a-01", 1, 3, &[grid(2, NOON_MS, 1, 2, 3)]).held(Hold::UnknownMeter),
    ];
    deliver(&store, &runs).await;
    let value = ("a-01".to_owned(), Some(1), "implausible_value".to_owned(), 2);
    let meter = ("a-01".to_owned(), Some(2), "unknown_meter".to_owned(), 1);
    assert_eq!(groups(folder.path()), [value.clone(), meter.clone()]);
    let by_reason = HeldFilter {
        reason: Some(Hold::ImplausibleValue),
        ..HeldFilter::default()
    };
    let records = held_records(folder.path(), &by_reason, 10).unwrap();
    assert_eq!(
        records.iter().map(|record| record.sequence).collect::<Vec<_>>(),
        [1, 2]
    );
    assert_eq!(records[0].time_ms, Some(NOON_MS + MINUTE_MS));
    assert_eq!(held_records(folder.path(), &by_reason, 1).unwrap().len(), 1);
    // Looking is allowed while ingest runs, deciding is not.
    assert!(matches!(
        drop_held(folder.path(), &by_reason, 0),
        Err(StoreError::InUse(_))
    ));
    store.close().await;

    let one = HeldFilter {
        id: Some(records[0].id),
        ..HeldFilter::default()
    };
    assert_eq!(drop_held(folder.path(), &one, 0).unwrap(), 1);
    assert_eq!(groups(folder.path())[0].3, 1);
    assert_eq!(drop_held(folder.path(), &by_reason, 0).unwrap(), 1);
    assert_eq!(drop_held(folder.path(), &by_reason, 0).unwrap(), 0);
    assert_eq!(groups(folder.path()), [meter]);

    // A registry that would explain it now, the same delivery again, a rebuild: it stays dropped, and in the store.
    let text = fleet_text().replace("rated_w = 10000", "rated_w = 1000000");
    let store = Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    deliver(&store, &[Run::new("a-01", 1, 1, &high)]).await;
    assert_eq!(readings(&store, "duplicate"), 2);
    let row = store
        .intervals("a", NOON_MS, NOON_MS + 1, Step::Quarter)
        .unwrap()
        .remove(0);
    assert_eq!(
        (row.generated_wh, row.flags.held),
        (None, true),
        "held by the unknown meter alone"
    );
    is_rebuilt_equal(&store, folder.path()).await;
    let kept = rows(
        &raw(folder.path()),
        "SELECT sequence FROM record WHERE hold = 'dropped'",
    );
    assert_eq!(kept, ["[Integer(1)]", "[Integer(2)]"]);
    assert_eq!(store.readings_after(0, 10).unwrap().len(), 1, "no sink gets it");
}
