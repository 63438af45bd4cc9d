//! Readings of a clock that was never set: placed by anchors, and never guessed.

use super::super::testing::*;
use crate::view::Step;

#[tokio::test]
async fn without_an_anchor_a_reading_is_in_no_interval() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new("a-01", 2, 0, &[unsynced(0, 100), unsynced(60_000, 200)])],
    )
    .await;
    assert_eq!((readings(&store, "unplaced"), readings(&store, "stored")), (2, 0));
    assert!(store.readings_after(0, 10).unwrap().is_empty());
    assert!(rows(&raw(folder.path()), "SELECT * FROM interval").is_empty());
    assert_eq!(store.live().view(NOON_MS).plants[0].last_reading_ms, None);
}

#[tokio::test]
async fn an_anchor_places_what_came_before_and_after_it_at_the_end_of_the_feed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    deliver(
        &store,
        &[Run::new(
            "a-01",
            2,
            0,
            &[unsynced(1_000, 100), unsynced(61_000, 200)],
        )],
    )
    .await;
    let other_boot = Run::new("a-01", 3, 0, &[unsynced(1_000, 900)]);
    deliver(
        &store,
        &[
            other_boot,
            Run::new("a-01", 1, 0, &[inverter(NOON_MS - MINUTE_MS, 1, 50)]),
        ],
    )
    .await;
    let cursor = store.readings_after(0, 10).unwrap()[0].rowid;
    deliver(
        &store,
        &[Run::new(
            "a-01",
            2,
            2,
            &[
                anchor(2, 121_000, NOON_MS + 2 * MINUTE_MS, 500),
                unsynced(121_000, 300),
                anchor(2, 181_000, NOON_MS + 3 * MINUTE_MS, 500),
            ],
        )],
    )
    .await;
    let placed: Vec<_> = store
        .readings_after(cursor, 10)
        .unwrap()
        .iter()
        .map(|r| (r.time_ms, r.quantities.energy_wh))
        .collect();
    let expected =
        [(0, 100), (1, 200), (2, 300)].map(|(minute, wh)| (NOON_MS + minute * MINUTE_MS, Some(wh)));
    assert_eq!(placed, expected);
    assert_eq!((readings(&store, "unplaced"), readings(&store, "stored")), (3, 4));
    let interval = store
        .intervals("a", NOON_MS, NOON_MS + 1, Step::Quarter)
        .unwrap()
        .remove(0);
    assert_eq!(interval.generated_wh, Some(200));
}

#[tokio::test]
async fn a_better_anchor_moves_the_boot_whichever_comes_first() {
    let rough = Run::new("a-01", 2, 2, &[anchor(2, 0, NOON_MS + 5 * MINUTE_MS, 30_000)]);
    let good = Run::new("a-01", 2, 3, &[anchor(2, 0, NOON_MS, 200)]);
    let data = Run::new("a-01", 2, 0, &[unsynced(0, 100), unsynced(600_000, 700)]);
    let mut dumps = Vec::new();
    for runs in [
        [&rough, &good, &data],
        [&data, &rough, &good],
        [&good, &data, &rough],
        [&rough, &data, &good],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path(), &TestClock::new(NOON_MS));
        for run in runs {
            deliver(&store, std::slice::from_ref(run)).await;
        }
        assert_eq!(readings(&store, "stored"), 2);
        let interval = store
            .intervals("a", NOON_MS, NOON_MS + 1, Step::Quarter)
            .unwrap()
            .remove(0);
        assert_eq!(
            (interval.generated_wh, interval.completeness),
            (Some(600), 600.0 / 900.0)
        );
        dumps.push(caches(folder.path()));
        store.rebuild().await.unwrap();
        dumps.push(caches(folder.path()));
    }
    assert!(dumps.windows(2).all(|pair| pair[0] == pair[1]));
}

#[tokio::test]
async fn a_placement_before_the_plant_was_there_is_held_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let data = Run::new("a-01", 2, 1, &[unsynced(0, 100)]);
    deliver(
        &store,
        &[
            Run::new("a-01", 2, 0, &[anchor(2, 0, 1_000_000_000_000, 1_000)]),
            data,
        ],
    )
    .await;
    assert_eq!(
        (
            readings(&store, "held"),
            store.readings_after(0, 10).unwrap().len()
        ),
        (1, 0)
    );
    deliver(&store, &[Run::new("a-01", 2, 2, &[anchor(2, 0, NOON_MS, 10)])]).await;
    assert_eq!(store.readings_after(0, 10).unwrap()[0].time_ms, NOON_MS);
}
