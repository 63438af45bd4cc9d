//! The whole way: readings that the store took, through the worker, into VictoriaMetrics, over restarts of both.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading, Record, Stamp,
};

use super::testing::{Server, Told, config, eventually};
use super::*;

/// 2026-11-23T08:30:00Z.
const NOON_MS: i64 = 1_795_422_600_000;

fn open(folder: &std::path::Path) -> Store {
    let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
    Store::open(folder, fleet, Arc::new(|| NOON_MS)).unwrap()
}

/// Stores `count` readings of the example's inverter, numbered from `first`; each states its number as its power.
async fn store_readings(store: &Store, first: u32, count: u32) {
    let mut records = Vec::new();
    for number in first..first + count {
        let quantities = Quantities {
            ac_power_w: Some(i32::try_from(number).unwrap()),
            ..Quantities::default()
        };
        let reading = Reading {
            meter: MeterAddress::new(1).unwrap(),
            stamp: Stamp {
                ms: u64::try_from(time_ms(number)).unwrap(),
                clock: Clock::Synced,
            },
            outcome: Outcome::Values(quantities),
        };
        let mut buffer = vec![0; RECORD_LEN_MAX];
        records.extend_from_slice(Record::Reading(reading).encode(&mut buffer).unwrap());
    }
    let mut batch = BatchWriter::new();
    assert!(batch.push(&BatchItem {
        position: 1,
        received_ms: 1,
        device: "sari-01",
        incarnation: 1,
        boot: 1,
        first,
        hold: None,
        records: &records,
    }));
    let verdict = store.receiver().receive(batch.finish()).await.unwrap();
    assert!(verdict.rejected.is_empty(), "{verdict:?}");
}

fn time_ms(number: u32) -> i64 {
    NOON_MS - 86_400_000 + i64::from(number) * 1_000
}

/// Starts a worker; the returned guard stops it.
fn spawn(url: &str, store: &Store) -> (Arc<SinkStatus>, CancellationToken, tokio::task::JoinHandle<()>) {
    let mut sink = Sink::new(&config(url), store.clone()).unwrap();
    sink.lag_period = Duration::from_millis(20);
    let (status, cancel) = (sink.status(), CancellationToken::new());
    let task = tokio::spawn(sink.run(cancel.clone()));
    (status, cancel, task)
}

async fn written(status: &SinkStatus, readings: u64) {
    eventually("the sink has everything", || async {
        let shown = status.snapshot();
        (shown.written_readings >= readings && shown.lag_readings == 0).then_some(())
    })
    .await;
}

async fn points(server: &Server) -> Vec<(i64, i64)> {
    server.get("/internal/force_flush", &[]).await;
    let query = [
        (
            "match[]",
            "reading_ac_power_w{plant=\"sari-roof-1\",device=\"sari-01\"}",
        ),
        ("start", "1795000000"),
    ];
    let text = server.get("/api/v1/export", &query).await;
    let Ok(series) = serde_json::from_str::<Value>(&text) else {
        return Vec::new();
    };
    let numbers = |key: &str| {
        series[key]
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    numbers("timestamps").into_iter().zip(numbers("values")).collect()
}

#[tokio::test]
async fn every_reading_arrives_once_over_a_restart_and_a_lost_cursor() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::victoria_metrics().await);
    let store = open(folder.path());
    // More than one write: the worker goes on without waiting for the next commit.
    store_readings(&store, 0, 6_000).await;
    let (status, cancel, task) = spawn(&server.url, &store);
    written(&status, 6_000).await;
    store_readings(&store, 6_000, 500).await;
    written(&status, 6_500).await;
    cancel.cancel();
    task.await.unwrap();
    store.close().await;
    drop(store);

    let store = open(folder.path());
    store_readings(&store, 6_500, 100).await;
    let (status, cancel, task) = spawn(&server.url, &store);
    written(&status, 100).await;
    assert_eq!(
        status.snapshot().written_readings,
        100,
        "the cursor outlived the restart"
    );
    cancel.cancel();
    task.await.unwrap();

    // As if the power had failed between a write and its cursor.
    store.set_cursor("test", 0).await.unwrap();
    let (status, _cancel, _task) = spawn(&server.url, &store);
    written(&status, 6_600).await;
    let expected: Vec<_> = (0..6_600_u32).map(|n| (time_ms(n), i64::from(n))).collect();
    let found = eventually("all points are shown", || async {
        let found = points(&server).await;
        (found.len() >= expected.len()).then_some(found)
    })
    .await;
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_day_that_is_sealed_under_a_sink_arrives_once() {
    let (folder, server) = (tempfile::tempdir().unwrap(), Server::victoria_metrics().await);
    let store = open(folder.path());
    store_readings(&store, 0, 300).await;
    let (status, cancel, task) = spawn(&server.url, &store);
    written(&status, 300).await;
    cancel.cancel();
    task.await.unwrap();
    // The sink stops in the middle of the day, and more than two days later the day is one chunk.
    store_readings(&store, 300, 300).await;
    let kept = store.keep(NOON_MS + 4 * 86_400_000, 2, None).await.unwrap();
    assert_eq!(kept.readings, 600);
    let (status, _cancel, _task) = spawn(&server.url, &store);
    written(&status, 600).await;
    let expected: Vec<_> = (0..600_u32).map(|n| (time_ms(n), i64::from(n))).collect();
    let found = eventually("all points are shown", || async {
        let found = points(&server).await;
        (found.len() >= expected.len()).then_some(found)
    })
    .await;
    assert_eq!(found, expected, "half of it came twice, and counts once");
}

#[tokio::test]
async fn an_outage_of_the_server_delays_and_shows_as_lag() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store_readings(&store, 0, 50).await;
    let up = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&up);
    let server = Told::start(move |_, _| {
        (
            if asked.load(Ordering::SeqCst) == 0 {
                503
            } else {
                204
            },
            "starting".to_owned(),
        )
    })
    .await;
    let (status, cancel, task) = spawn(&server.url, &store);
    let shown = eventually("the failure shows", || async {
        Some(status.snapshot()).filter(|shown| shown.failed_writes > 0)
    })
    .await;
    assert_eq!((shown.lag_readings, shown.written_readings), (50, 0));
    assert!(
        shown.last_error.as_deref().unwrap().contains("503"),
        "{:?}",
        shown.last_error
    );
    store_readings(&store, 50, 30).await;
    eventually("the lag grows while the server is away", || async {
        (status.snapshot().lag_readings == 80).then_some(())
    })
    .await;
    up.store(1, Ordering::SeqCst);
    written(&status, 80).await;
    assert_eq!(status.snapshot().last_error, None);
    cancel.cancel();
    task.await.unwrap();
}
