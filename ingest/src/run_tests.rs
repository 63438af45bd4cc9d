//! Ingest as a whole, over its own HTTP.

use taraz_telemetry::BatchVerdict;

use super::*;
use crate::live::FIGURES_AGE_MS_MAX;
use crate::store::testing::{NOON_MS, Run, batch, fleet, inverter};

const TOKEN: &str = "a-token-of-a-test-that-is-long";

async fn start(data: &std::path::Path, cancel: &CancellationToken) -> RunningIngest {
    let text = format!("data = {data:?}\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n");
    let config = Config::parse("ingest.toml", &text).unwrap();
    Ingest::start(config, fleet(), prometheus::Registry::new(), cancel.clone())
        .await
        .unwrap()
}

async fn post(running: &RunningIngest, token: &str, batch: Vec<u8>) -> reqwest::Response {
    let url = format!("http://{}/api/v1/batches", running.http_addr);
    reqwest::Client::new()
        .post(url)
        .bearer_auth(token)
        .body(batch)
        .send()
        .await
        .unwrap()
}

#[test]
fn figures_are_followed_by_new_ones_before_they_are_unknown() {
    for took in (0..=14).map(Duration::from_secs) {
        let (rest, idle) = figures_waits(took);
        // They are as old as the beginning of their computation; the next ones take as long again.
        let age = took + rest + idle + took;
        assert!(
            age < Duration::from_millis(FIGURES_AGE_MS_MAX.unsigned_abs()),
            "{took:?}: {age:?}"
        );
    }
}

#[tokio::test]
async fn what_comes_over_http_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("made/by/ingest");
    let runs = [Run::new(
        "a-01",
        1,
        0,
        &[
            inverter(NOON_MS, 5_000, 100),
            inverter(NOON_MS + 60_000, 5_000, 200),
        ],
    )];
    let cancel = CancellationToken::new();
    let running = start(&data, &cancel).await;
    assert_eq!(post(&running, "wrong", batch(&runs)).await.status(), 401);
    let verdict: BatchVerdict = post(&running, TOKEN, batch(&runs)).await.json().await.unwrap();
    assert_eq!((verdict.accepted, verdict.rejected.len()), (1, 0));
    cancel.cancel();
    running.stopped().await.unwrap();

    let cancel = CancellationToken::new();
    let running = start(&data, &cancel).await;
    // In the same process, without HTTP, it is the same door.
    assert_eq!(
        running.receiver().receive(batch(&runs)).await.unwrap().accepted,
        1
    );
    assert_eq!(running.store().readings_after(0, 10).unwrap().len(), 2);
    let metrics = reqwest::get(format!("http://{}/metrics", running.http_addr))
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("ingest_readings_total{result=\"duplicate\"} 2"),
        "{metrics}"
    );
    cancel.cancel();
    running.stopped().await.unwrap();
}

#[tokio::test]
async fn a_writer_that_panics_ends_everything() {
    let folder = tempfile::tempdir().unwrap();
    let broken = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_broken = Arc::clone(&broken);
    let now: Now = Arc::new(move || {
        assert!(
            !is_broken.load(std::sync::atomic::Ordering::SeqCst),
            "the clock of a test that breaks"
        );
        NOON_MS
    });
    let store = Store::open(folder.path(), fleet(), now).unwrap();
    let cancel = CancellationToken::new();
    let why = Why::default();
    let watching = watch_writer(store.commits(), cancel.clone(), Arc::clone(&why));
    let mut tasks = JoinSet::new();
    tasks.spawn(watching);
    let ended = tokio::spawn(end(tasks, store.clone(), cancel.clone(), Arc::clone(&why)));
    let running = RunningIngest {
        http_addr: ([127, 0, 0, 1], 0).into(),
        store: store.clone(),
        beside: BesideSlot::default(),
        ended,
        why,
    };
    let runs = [Run::new("a-01", 1, 0, &[inverter(NOON_MS, 1, 1)])];
    store.receiver().receive(batch(&runs)).await.unwrap();
    assert!(!cancel.is_cancelled());
    broken.store(true, std::sync::atomic::Ordering::SeqCst);
    store.receiver().receive(batch(&runs)).await.unwrap_err();
    // Whoever waits for its end hears that it was no good one.
    assert_eq!(running.stopped().await, Err(RunError::Writer));
    assert!(cancel.is_cancelled());
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listen = taken.local_addr().unwrap();
    let text = format!(
        "data = {:?}\nlisten = \"{listen}\"\ntoken = \"{TOKEN}\"\n",
        folder.path()
    );
    let config = Config::parse("ingest.toml", &text).unwrap();
    let cancel = CancellationToken::new();
    let error = Ingest::start(config, fleet(), prometheus::Registry::new(), cancel)
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&listen.to_string()), "{error}");
    // Nothing was opened before the door was.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
