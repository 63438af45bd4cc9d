//! What is kept for a sink until it has it: changes that are joined while it is away, means over failed polls.

use taraz_telemetry::Quantities;

use super::super::testing::*;
use super::super::{Done, Store};
use super::changes::{assert_means_covered, means, stated, take, with_sensor};
use crate::analytics::quarter_of;

const HOUR_MS: i64 = 60 * MINUTE_MS;

#[tokio::test]
async fn what_is_joined_behind_a_batch_that_is_under_way_is_still_to_come() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let (away, live) = ("away".to_owned(), "live".to_owned());
    let store = open(folder.path(), &clock);
    store
        .set_figure_sinks(vec![away.clone(), live.clone()], 0)
        .await
        .unwrap();
    deliver(&store, &[Run::new("a-01", 1, 0, &[inverter(NOON_MS, 1, 1)])]).await;
    store.close().await;
    let first = quarter_of(NOON_MS);
    raw(folder.path())
        .execute_batch(&format!(
            "WITH RECURSIVE n (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < 200100)
             INSERT INTO changed SELECT n, (SELECT id FROM device), {first} + n / 100, {first} + n / 100 FROM n"
        ))
        .unwrap();
    let store = open(folder.path(), &clock);
    let behind = |after| store.snapshot(|snapshot| snapshot.changes_after(after, 200_100, 20_000));
    let under_way = behind(0).unwrap();
    assert_eq!(under_way.revision, 20_000);
    let done = |sink: &str, revision| Done {
        sink: sink.to_owned(),
        revision: Some(revision),
        ..Done::default()
    };
    store.exported(done("live", 200_100)).await.unwrap();
    assert_eq!(
        rows(&raw(folder.path()), "SELECT count(*) FROM changed"),
        ["[Integer(1)]"],
        "they are joined"
    );
    store.exported(done("away", under_way.revision)).await.unwrap();
    let rest = behind(under_way.revision).unwrap();
    let last = rest.changes.iter().map(|(_, quarters)| quarters.last).max();
    assert_eq!(last, Some(first + 2_001));
    assert!(
        rest.changes
            .iter()
            .any(|(_, quarters)| quarters.first <= first + 200)
    );
    assert_eq!(rest.revision, 200_100);
}

#[tokio::test]
async fn a_mean_over_a_failed_poll_changes_the_quarter_before() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), with_sensor(), TestClock::new(NOON_MS).now()).unwrap();
    store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
    let sun = |minute: i64, dwm2| {
        let values = Quantities {
            irradiance_dwm2: Some(dwm2),
            ..Quantities::default()
        };
        stated(4, NOON_MS + minute * MINUTE_MS, Some(values))
    };
    let mut cursor = 0;
    let early: Vec<_> = (-15..-1).map(|minute| sun(minute, 8_000)).collect();
    deliver(&store, &[Run::new("c-01", 1, 0, &early)]).await;
    // The last one before the edge is not whole enough; what comes behind a failed poll and a reading without the field is.
    let failed = stated(4, NOON_MS + MINUTE_MS, None);
    let warm = Quantities {
        module_temperature_dc: Some(300),
        ..Quantities::default()
    };
    let without = stated(4, NOON_MS + 2 * MINUTE_MS, Some(warm));
    deliver(&store, &[Run::new("c-01", 1, 14, &[failed, without])]).await;
    take(&store, &mut cursor).await;
    let before = means(&store);
    deliver(&store, &[Run::new("c-01", 1, 16, &[sun(7, 2_000)])]).await;
    let taken = take(&store, &mut cursor).await;
    let after = means(&store);
    assert_ne!(before, after);
    assert_means_covered(&before, &after, &taken);
}

#[tokio::test]
async fn a_late_reading_before_one_of_an_earlier_start_changes_the_quarter_behind() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + HOUR_MS);
    let open = || Store::open(folder.path(), with_sensor(), clock.now()).unwrap();
    let store = open();
    store.set_figure_sinks(vec!["s".to_owned()], 0).await.unwrap();
    let sun = |minute: i64| {
        let values = Quantities {
            irradiance_dwm2: Some(8_000 + i32::try_from(minute * minute).unwrap()),
            ..Quantities::default()
        };
        stated(4, NOON_MS + minute * MINUTE_MS, Some(values))
    };
    let stored: Vec<_> = (1..17).map(sun).collect();
    deliver(&store, &[Run::new("c-01", 1, 2, &stored)]).await;
    store.close().await;
    let store = open();
    deliver(&store, &[Run::new("c-01", 1, 0, &[sun(-14)])]).await;
    let mut cursor = 0;
    take(&store, &mut cursor).await;
    let before = means(&store);
    deliver(&store, &[Run::new("c-01", 1, 1, &[sun(-1)])]).await;
    let taken = take(&store, &mut cursor).await;
    let after = means(&store);
    assert_ne!(before, after);
    assert_means_covered(&before, &after, &taken);
}
