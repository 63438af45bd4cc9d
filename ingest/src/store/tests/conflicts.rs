//! Conflicts: each beside the record that is stored, wherever that stands.

use std::path::Path;

use taraz_telemetry::{DeviceId, Hold};

use super::super::testing::*;
use super::super::{Archive, Stated, Store};

/// Both records are shown, wherever the stored one stands, and after a restart.
fn shows_both(store: &Store, folder: &Path) {
    let found = Archive::open(folder).unwrap().conflicts(None, 10).unwrap();
    assert_eq!((found.kept, found.kept_max, found.is_full), (1, 100_000, false));
    let conflict = &found.conflicts[0];
    assert_eq!(
        (
            conflict.device.as_str(),
            conflict.incarnation,
            conflict.boot,
            conflict.sequence
        ),
        ("a-01", 77, 1, 0)
    );
    let energy_wh = |stated: &Stated| stated.fields["energy_wh"].as_u64();
    assert_eq!(conflict.stored.as_ref().and_then(energy_wh), Some(1_000));
    assert_eq!(energy_wh(&conflict.came), Some(999_999));
    assert_eq!(conflict.missing, None);
    let other = DeviceId::new("b-01").unwrap();
    let archive = Archive::open(folder).unwrap();
    assert_eq!(archive.conflicts(Some(&other), 10).unwrap().conflicts, []);
    let ledger = store.live().gaps().refresh(store).unwrap();
    assert_eq!((ledger[0].conflicts, ledger[0].counts.stored), (1, 1));
}

#[tokio::test]
async fn a_conflict_is_shown_beside_what_is_stored_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 1_000)])],
    )
    .await;
    let other = Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 999_999)]);
    deliver(&store, &[other.clone(), other]).await;
    shows_both(&store, folder.path());
    store.close().await;
    // What is kept outlives the counters.
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    shows_both(&store, folder.path());
}

#[tokio::test]
async fn a_conflict_with_a_held_record_shows_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let held = Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 1_000)]).held(Hold::ImplausibleValue);
    let other = Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 999_999)]);
    deliver(&store, &[held, other]).await;
    let found = Archive::open(folder.path()).unwrap().conflicts(None, 10).unwrap();
    let stored = found.conflicts[0].stored.as_ref().unwrap();
    assert_eq!(stored.fields["energy_wh"], 1_000);
}

#[tokio::test]
async fn a_conflict_with_a_sealed_record_shows_that_or_why_it_cannot_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new("a-01", 1, 0, &[inverter(NOON_MS, 6_000, 1_000)])],
    )
    .await;
    store.keep(NOON_MS + 5 * 86_400_000, 2, None).await.unwrap();
    // It states another day as well.
    let other = inverter(NOON_MS + 86_400_000, 6_000, 999_999);
    deliver(&store, &[Run::new("a-01", 1, 0, &[other])]).await;
    shows_both(&store, folder.path());
    let broken = raw(folder.path())
        .execute("UPDATE chunk SET crc = crc + 1", ())
        .unwrap();
    assert_eq!(broken, 1);
    let found = Archive::open(folder.path()).unwrap().conflicts(None, 10).unwrap();
    let missing = found.conflicts[0].missing.as_deref().unwrap();
    assert!(missing.contains("another check sum"), "{missing}");
    assert_eq!(found.conflicts[0].stored, None);
}
