//! In which order a sink gets what there is, and that nothing waits for ever.

use super::super::testing::{Told, eventually};
use std::collections::BTreeMap;

use super::tests::{DAY_MS, HOUR_MS, night, run, sink, with_a_hole};
use super::*;
use crate::store::testing::{MINUTE_MS, Run, TestClock, deliver, fleet_of, fleet_text, inverter, open};

#[tokio::test]
async fn a_backlog_holds_up_neither_days_nor_sites() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::start(|_, _| (204, String::new())).await;
    let clock = TestClock::new(DAY_MS + 12 * HOUR_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &[run(0, 300, 302)]).await;
    let sink = sink(&store, &clock, &told.url, true).await;
    clock.set(DAY_MS + 26 * HOUR_MS);
    let (followers, facts) = (Followers::of(store.fleet()), facts_of(store.fleet()));
    let cancel = CancellationToken::new();
    // Something waits in every round.
    for (minute, sequence) in (302..).zip(2..30) {
        deliver(&store, &[run(sequence, minute, minute + 1)]).await;
        assert!(sink.round(&followers, &facts, &cancel).await.is_ok());
    }
    let name = sink.status.name();
    let (progress, sites) = store
        .snapshot(|snapshot| Ok((snapshot.progress(name)?.unwrap(), snapshot.exported_sites(name)?)))
        .unwrap();
    assert_eq!(progress.closed_ms, DAY_MS + 24 * HOUR_MS);
    assert_eq!(sites.len(), store.fleet().sites.len());
    let sent = told.bodies.lock().unwrap().concat();
    let late = format!(" {}\n", DAY_MS + 315 * MINUTE_MS);
    let is_late =
        |line: &str| line.starts_with("plant_interval,plant=a ") && format!("{line}\n").ends_with(&late);
    assert!(sent.lines().any(is_late), "the backlog comes too");
}

#[tokio::test]
async fn the_lag_grows_while_the_server_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let away = Told::start(|_, _| (503, "away".to_owned())).await;
    let clock = TestClock::new(DAY_MS + 12 * HOUR_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &[run(0, 300, 302)]).await;
    let mut sink = sink(&store, &clock, &away.url, true).await;
    sink.lag_period = Duration::from_millis(20);
    let (status, cancel) = (Arc::clone(&sink.status), CancellationToken::new());
    let task = tokio::spawn(sink.run(cancel.clone()));
    eventually("it tries", || async {
        (status.snapshot().failed_writes > 0).then_some(())
    })
    .await;
    let sites = store.fleet().sites.len() as u64;
    assert_eq!(status.snapshot().lag_changes, sites);
    deliver(&store, &[run(2, 302, 304)]).await;
    clock.set(DAY_MS + 50 * HOUR_MS);
    // A change and two days more.
    eventually("the lag is counted", || async {
        (status.snapshot().lag_changes == sites + 3).then_some(())
    })
    .await;
    cancel.cancel();
    task.await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_failure_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(DAY_MS));
    let panics = |_: &Store| -> Result<(), StoreError> { panic!("a figure that can't be computed") };
    let done = super::super::blocking(&store, panics).await;
    assert!(matches!(done, Err(Interrupted::Store(StoreError::Failed(_)))));
}

/// The last point of each period of plant `a`, and of its meters: series with the begin of the quarter-hour → time in UTC ms.
fn last_points(told: &Told) -> BTreeMap<(String, i64), i64> {
    let sent = std::mem::take(&mut *told.bodies.lock().unwrap()).concat();
    let mut last = BTreeMap::new();
    for line in sent.lines().filter(|line| line.contains("plant=a")) {
        let (series, rest) = line.split_once(' ').unwrap();
        let time_ms: i64 = rest.rsplit(' ').next().unwrap().parse().unwrap();
        let newest_ms = last
            .entry((series.to_owned(), quarter_of(time_ms)))
            .or_insert(time_ms);
        *newest_ms = time_ms.max(*newest_ms);
    }
    last
}

#[tokio::test]
async fn a_plant_that_gets_another_site_goes_on_behind_its_last_points() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), night());
    let told = Told::start(|_, _| (204, String::new())).await;
    let store = with_a_hole(folder.path(), &clock).await;
    let first = sink(&store, &clock, &told.url, false).await;
    // Sent a few times.
    for minute in 600..605 {
        deliver(
            &store,
            &[run(u32::try_from(minute - 300).unwrap(), minute, minute + 1)],
        )
        .await;
        first.drain().await;
    }
    drop(first);
    store.close().await;
    let before = last_points(&told);
    let site = "[[site]]\nid = \"other\"\nname = \"other\"\nname_fa = \"other\"\n";
    let text = fleet_text().replacen("id = \"a\"\n", "id = \"a\"\nsite = \"other\"\n", 1) + site;
    let store = Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    sink(&store, &clock, &told.url, false).await.drain().await;
    let after = last_points(&told);
    assert!(before.len() > 20);
    for (key, before_ms) in before {
        assert!(
            after[&key] > before_ms,
            "{key:?}: {before_ms}, then {}",
            after[&key]
        );
    }
}

#[tokio::test]
async fn what_follows_from_readings_that_were_given_up_is_not_sent_again() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), night());
    let told = Told::start(|_, _| (204, String::new())).await;
    let store = with_a_hole(folder.path(), &clock).await;
    sink(&store, &clock, &told.url, true).await.drain().await;
    let sent = || std::mem::take(&mut *told.bodies.lock().unwrap()).concat();
    assert!(sent().contains("valid_quarters="));
    let later_ms = DAY_MS + 30 * 24 * HOUR_MS;
    clock.set(later_ms);
    deliver(&store, &[Run::new("d-01", 9, 0, &[inverter(later_ms, 1, 1)])]).await;
    store.keep(later_ms, 2, Some(10)).await.unwrap();
    store.close().await;
    let text = fleet_text().replacen("peak_w = 10000", "peak_w = 20000", 1);
    let store = Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    sink(&store, &clock, &told.url, true).await.drain().await;
    let sent = sent();
    let of = |measurement: &str, time_ms: i64| -> String {
        let (begin, end) = (format!("{measurement},plant=a "), format!(" {time_ms}"));
        let found = sent
            .lines()
            .find(|line| line.starts_with(&begin) && line.ends_with(&end));
        found.unwrap().to_owned()
    };
    for line in [
        of("plant_interval", DAY_MS + 315 * MINUTE_MS),
        of("plant_day", DAY_MS),
    ] {
        assert!(
            line.contains("generated_wh=") && line.contains("expected_wh"),
            "{line}"
        );
        assert!(
            !line.contains("quarters") && !line.contains("irradiation"),
            "{line}"
        );
    }
    // Where nothing was given up everything is said.
    assert!(of("plant_day", DAY_MS + 25 * 24 * HOUR_MS).contains("valid_quarters="));
}
