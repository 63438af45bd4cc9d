//! Held records, judged again when the store is opened.

use taraz_telemetry::Hold;

use super::super::Store;
use super::super::testing::*;
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
