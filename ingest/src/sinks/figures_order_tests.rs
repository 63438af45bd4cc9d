//! In which order a sink gets what there is, and that nothing waits for ever.

use super::super::testing::{Told, eventually};
use super::tests::{DAY_MS, HOUR_MS, run, sink};
use super::*;
use crate::store::testing::{MINUTE_MS, TestClock, deliver, open};

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
