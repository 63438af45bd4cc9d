//! The server as its clients see it: over a socket, with a store of its own and a clock that the test sets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use taraz_telemetry::{
    BATCH_LEN_MAX, BatchItem, BatchVerdict, BatchWriter, Clock, MeterAddress, Outcome, Quantities,
    RECORD_LEN_MAX, Reading, Record, Stamp,
};
use tempfile::TempDir;

use super::*;
use crate::metrics::{Sources, register};

const TOKEN: &str = "0123456789abcdef-token";
/// 2026-11-23 12:00 in Tehran.
const NOON_MS: i64 = 1_795_422_600_000;

struct Running {
    url: String,
    now: Arc<AtomicI64>,
    store: Store,
    client: reqwest::Client,
    cancel: CancellationToken,
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Running {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
        let clock = Arc::new(AtomicI64::new(NOON_MS));
        let read = Arc::clone(&clock);
        let now: Now = Arc::new(move || read.load(Ordering::SeqCst));
        let store = Store::open(folder.path(), fleet, Arc::clone(&now)).unwrap();
        let registry = Registry::new();
        let sources = Sources {
            store: store.clone(),
            sinks: Vec::new(),
            now: Arc::clone(&now),
        };
        register(&registry, sources).unwrap();
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cancel = CancellationToken::new();
        let parts = Parts {
            store: store.clone(),
            registry,
            sinks: Vec::new(),
            now,
            token: TOKEN.into(),
        };
        tokio::spawn(serve(listener, parts, cancel.clone()));
        Self {
            url,
            now: clock,
            store,
            client: reqwest::Client::new(),
            cancel,
            _folder: folder,
        }
    }

    fn set_now(&self, now_ms: i64) {
        self.now.store(now_ms, Ordering::SeqCst);
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    async fn text(&self, path: &str) -> String {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    async fn post(&self, authorization: Option<&str>, body: Vec<u8>) -> reqwest::Response {
        let mut request = self
            .client
            .post(format!("{}/api/v1/batches", self.url))
            .body(body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.send().await.unwrap()
    }

    async fn deliver(&self, body: Vec<u8>) -> reqwest::Response {
        self.post(Some(&format!("Bearer {TOKEN}")), body).await
    }

    /// Delivers readings of the example's inverter (1) and grid meter (2), then computes today's figures.
    async fn deliver_readings(&self, first: u32, readings: &[(u8, i64, Quantities)]) {
        let answer = self.deliver(batch(1, first, readings)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let (store, now_ms) = (self.store.clone(), self.now.load(Ordering::SeqCst));
        tokio::task::spawn_blocking(move || store.live().refresh(&store, now_ms))
            .await
            .unwrap()
            .unwrap();
    }
}

fn batch(position: u64, first: u32, readings: &[(u8, i64, Quantities)]) -> Vec<u8> {
    let mut records = Vec::new();
    for (meter, time_ms, quantities) in readings {
        let reading = Reading {
            meter: MeterAddress::new(*meter).unwrap(),
            stamp: Stamp {
                ms: u64::try_from(*time_ms).unwrap(),
                clock: Clock::Synced,
            },
            outcome: Outcome::Values(quantities.clone()),
        };
        let mut buffer = [0; RECORD_LEN_MAX];
        records.extend_from_slice(Record::Reading(reading).encode(&mut buffer).unwrap());
    }
    item(position, first, &records)
}

fn item(position: u64, first: u32, records: &[u8]) -> Vec<u8> {
    let mut writer = BatchWriter::new();
    let received_ms = u64::try_from(NOON_MS).unwrap();
    let item = BatchItem {
        position,
        received_ms,
        device: "sari-01",
        incarnation: 7,
        boot: 1,
        first,
        hold: None,
        records,
    };
    assert!(writer.push(&item));
    writer.finish()
}

fn inverter(power_w: i32, energy_wh: u64) -> Quantities {
    Quantities {
        ac_power_w: Some(power_w),
        energy_wh: Some(energy_wh),
        state: Some(4),
        ..Quantities::default()
    }
}

fn grid(power_w: i32, import_wh: u64, export_wh: u64) -> Quantities {
    Quantities {
        ac_power_w: Some(power_w),
        import_wh: Some(import_wh),
        export_wh: Some(export_wh),
        ..Quantities::default()
    }
}

/// The half hour before noon: 4 kWh generated, 1 kWh of it given to the grid.
fn half_hour() -> Vec<(u8, i64, Quantities)> {
    let minute = |n: i64| NOON_MS - (30 - n) * 60_000;
    let readings = (0..=30_u32).flat_map(|n| {
        let step = u64::from(n);
        let at = minute(i64::from(n));
        [
            (1, at, inverter(8_000, 50_000 + step * 4_000 / 30)),
            (2, at, grid(-2_000, 900, 100 + step * 1_000 / 30)),
        ]
    });
    readings.collect()
}

fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[tokio::test]
async fn a_batch_is_stored_once_and_shown_everywhere() {
    let running = Running::start().await;
    running.deliver_readings(0, &half_hour()).await;
    running.deliver_readings(0, &half_hour()).await;
    let metrics = running.text("/metrics").await;
    let expected = [
        ("ingest_readings_total{result=\"stored\"}", 62.0),
        ("ingest_readings_total{result=\"duplicate\"}", 62.0),
        ("ingest_batches_total{result=\"accepted\"}", 2.0),
        (
            "solar_ac_power_watts{device=\"sari-01\",meter=\"1\",plant=\"sari-roof-1\"}",
            8_000.0,
        ),
        ("solar_energy_imbalance_watts{site=\"sari-town-hall\"}", -2_000.0),
        ("solar_consumed_power_watts{site=\"sari-town-hall\"}", 6_000.0),
        (
            "solar_generated_energy_today_joules{plant=\"sari-roof-1\"}",
            4_000.0 * 3_600.0,
        ),
    ];
    for (name, value) in expected {
        assert_eq!(sample(&metrics, name), Some(value), "{name} in:\n{metrics}");
    }
    assert!(metrics.contains("process_cpu_seconds_total"));

    let (status, plants) = running.get("/api/v1/plants").await;
    assert_eq!(status, 200);
    let plant = &plants["plants"][0];
    assert_eq!(plant["id"], "sari-roof-1");
    assert!(!plant["name_fa"].as_str().unwrap().is_empty() && plant["owner"]["kind"] == "municipality");
    assert_eq!(
        (plant["ac_power_w"].as_i64(), plant["generated_today_wh"].as_i64()),
        (Some(8_000), Some(4_000))
    );
    assert_eq!(
        (
            plant["imbalance_w"].as_i64(),
            plant["last_reading_age_s"].as_i64()
        ),
        (Some(-2_000), Some(0))
    );
    assert_eq!(
        (plant["state"].as_str(), plant["stale"].as_bool()),
        (Some("producing"), Some(false))
    );
    let quarters = plant["generated_quarters_wh"].as_array().unwrap();
    let known: Vec<_> = quarters.iter().filter_map(Value::as_i64).collect();
    assert_eq!(
        (quarters.len(), known.iter().sum::<i64>()),
        (48, 4_000),
        "{quarters:?}"
    );
    assert_eq!(plants["totals"]["ac_power_w"], 8_000);

    let (_, sites) = running.get("/api/v1/sites").await;
    let site = sites["sites"]
        .as_array()
        .unwrap()
        .iter()
        .find(|site| site["id"] == "sari-town-hall")
        .unwrap();
    assert_eq!(
        (site["consumed_w"].as_i64(), site["grid_w"].as_i64()),
        (Some(6_000), Some(-2_000))
    );
    assert_eq!(site["plants"][0], "sari-roof-1");
}

#[tokio::test]
async fn after_three_missed_polls_the_gauges_are_gone_and_the_page_says_so() {
    let running = Running::start().await;
    let (before, last) = (half_hour(), half_hour().split_off(60));
    running.deliver_readings(0, &before[..60]).await;
    running.deliver_readings(60, &last).await;
    // Polled once a minute: at 2 min it is still the present, at 4 it is not.
    running.set_now(NOON_MS + 120_000);
    let power = "solar_ac_power_watts{device=\"sari-01\",meter=\"1\"";
    assert_eq!(sample(&running.text("/metrics").await, power), Some(8_000.0));
    running.set_now(NOON_MS + 240_000);
    let metrics = running.text("/metrics").await;
    for gone in [
        power,
        "solar_generation_power_watts{",
        "solar_energy_imbalance_watts{",
        "solar_inverter_state{",
    ] {
        assert_eq!(sample(&metrics, gone), None, "{gone}");
    }
    assert_eq!(
        sample(
            &metrics,
            "solar_last_reading_timestamp_seconds{device=\"sari-01\"}"
        ),
        Some(1_795_422_600.0)
    );
    let (_, plants) = running.get("/api/v1/plants").await;
    let plant = &plants["plants"][0];
    assert!(plant["ac_power_w"].is_null() && plant["stale"] == true, "{plant}");
    assert_eq!(
        (plant["last_reading_age_s"].as_i64(), plant["needs"][0].as_str()),
        (Some(240), Some("silent"))
    );
    assert_eq!(plants["totals"]["plants_live"], 0);
    assert!(plants["totals"]["ac_power_w"].is_null(), "unknown is not zero");
}

#[tokio::test]
async fn the_newest_time_is_shown_whatever_comes_last() {
    let running = Running::start().await;
    running
        .deliver_readings(0, &[(1, NOON_MS - 10_000, inverter(9_000, 60_000))])
        .await;
    running
        .deliver_readings(1, &[(1, NOON_MS - 20_000, inverter(1_000, 59_990))])
        .await;
    assert_eq!(
        sample(&running.text("/metrics").await, "solar_ac_power_watts{"),
        Some(9_000.0)
    );
    // A backlog: the counter is absent while it drains, and comes back not below what it was.
    running
        .deliver_readings(2, &[(1, NOON_MS - 7_200_000, inverter(500, 55_000))])
        .await;
    let metrics = running.text("/metrics").await;
    assert_eq!(sample(&metrics, "solar_ac_power_watts{"), Some(9_000.0));
    assert_eq!(sample(&metrics, "solar_backlog_draining{"), Some(1.0));
    assert_eq!(sample(&metrics, "solar_generated_energy_joules_total{"), None);
    assert_eq!(
        running.get("/api/v1/plants").await.1["backlog"]["plants_draining"],
        1
    );
    running.set_now(NOON_MS + 60_000);
    running
        .deliver_readings(3, &[(1, NOON_MS + 60_000, inverter(9_000, 60_100))])
        .await;
    let metrics = running.text("/metrics").await;
    assert_eq!(sample(&metrics, "solar_backlog_draining{"), Some(0.0));
    assert_eq!(
        sample(&metrics, "solar_generated_energy_joules_total{"),
        Some(5_100.0 * 3_600.0)
    );
}

#[tokio::test]
async fn who_has_no_token_is_turned_away_before_anything_is_read() {
    let running = Running::start().await;
    let longer = format!("Bearer {TOKEN}x");
    let shorter = format!("Bearer {}", &TOKEN[1..]);
    for authorization in [
        None,
        Some(""),
        Some("Bearer "),
        Some(TOKEN),
        Some(&longer),
        Some(&shorter),
    ] {
        let answer = running.post(authorization, batch(1, 0, &half_hour())).await;
        assert_eq!(answer.status(), 401, "{authorization:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["code"], "unauthorised");
    }
    let metrics = running.text("/metrics").await;
    assert_eq!(
        sample(&metrics, "ingest_batches_total{result=\"unauthorised\"}"),
        Some(6.0)
    );
    assert_eq!(
        sample(&metrics, "ingest_readings_total{result=\"stored\"}"),
        Some(0.0)
    );
    let answer = running
        .post(Some(&format!("bearer {TOKEN}")), batch(1, 0, &half_hour()))
        .await;
    assert_eq!(answer.status(), 200, "the scheme is written in any case");
}

#[tokio::test]
async fn what_can_never_be_taken_is_told_apart() {
    let running = Running::start().await;
    let answer = running.deliver(vec![1; BATCH_LEN_MAX + 1]).await;
    assert_eq!(answer.status(), 413);
    assert_eq!(
        answer.json::<Value>().await.unwrap()["error"]["code"],
        "too_large"
    );
    for body in [Vec::new(), vec![99], b"\x01nonsense".to_vec()] {
        assert_eq!(running.deliver(body.clone()).await.status(), 400, "{body:?}");
    }
    let answer = running.deliver(item(42, 0, &[250, 250, 250])).await;
    assert_eq!(answer.status(), 422);
    let verdict: BatchVerdict = answer.json().await.unwrap();
    assert_eq!((verdict.accepted, verdict.rejected[0].position), (0, 42));
    let metrics = running.text("/metrics").await;
    assert_eq!(
        sample(&metrics, "ingest_batches_total{result=\"rejected\"}"),
        Some(5.0)
    );
}

#[tokio::test]
async fn a_store_that_does_not_commit_is_503_and_not_ready() {
    let running = Running::start().await;
    assert_eq!(running.get("/readyz").await.0, 200);
    running.store.close().await;
    running.set_now(NOON_MS + 10_000);
    let answer = running.deliver(batch(1, 0, &half_hour())).await;
    assert_eq!(
        (
            answer.status().as_u16(),
            answer.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "1")
    );
    let (status, body) = running.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("not ready: "),
        "{body}"
    );
    let (status, body) = running.get("/healthz").await;
    assert_eq!(
        (status, body["status"].as_str()),
        (200, Some("ok")),
        "the process itself is alive"
    );
}

#[tokio::test]
async fn intervals_state_units_and_leave_the_unknown_null() {
    let running = Running::start().await;
    running.deliver_readings(0, &half_hour()).await;
    let (status, day) = running.get("/api/v1/plants/sari-roof-1/intervals").await;
    assert_eq!(
        (status, day["step"].as_str(), day["time_zone"].as_str()),
        (200, Some("15m"), Some("Asia/Tehran"))
    );
    let rows = day["intervals"].as_array().unwrap();
    assert_eq!(rows.len(), 96);
    assert!(rows[0]["generated_wh"].is_null() && rows[0]["imbalance_wh"].is_null());
    let row = rows.iter().find(|row| !row["generated_wh"].is_null()).unwrap();
    assert_eq!(row["start_ms"].as_i64(), Some(NOON_MS - 1_800_000));
    assert_eq!(
        (row["generated_wh"].as_i64(), row["export_wh"].as_i64()),
        (Some(2_000), Some(500))
    );
    assert_eq!(
        (row["consumed_wh"].as_i64(), row["imbalance_wh"].as_i64()),
        (Some(1_500), Some(-500))
    );
    let (_, days) = running
        .get("/api/v1/plants/sari-roof-1/intervals?from=2026-11-22&to=2026-11-24&step=1d")
        .await;
    let generated: Vec<_> = days["intervals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["generated_wh"].as_i64())
        .collect();
    assert_eq!(generated, [None, Some(4_000)]);
    let (status, error) = running.get("/api/v1/plants/sari-roof-1/intervals?step=1h").await;
    assert_eq!(
        (
            status,
            error["error"]["key"].as_str(),
            error["error"]["value"].as_str()
        ),
        (400, Some("step"), Some("1h"))
    );
    assert_eq!(error["error"]["allowed"], "15m or 1d");
    assert_eq!(running.get("/api/v1/plants/nowhere/intervals").await.0, 404);
}

#[tokio::test]
async fn the_page_comes_whole_from_here_and_is_fetched_once() {
    let running = Running::start().await;
    for asset in crate::page::ASSETS {
        let answer = running
            .client
            .get(format!("{}{}", running.url, asset.path))
            .send()
            .await
            .unwrap();
        let headers = answer.headers().clone();
        assert_eq!(
            (
                answer.status().as_u16(),
                headers["content-type"].to_str().unwrap()
            ),
            (200, asset.mime),
            "{}",
            asset.path
        );
        assert!(
            headers["content-security-policy"]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'")
        );
        assert_eq!(answer.bytes().await.unwrap(), asset.bytes);
        let again = running
            .client
            .get(format!("{}{}", running.url, asset.path))
            .header("if-none-match", &headers["etag"]);
        assert_eq!(again.send().await.unwrap().status(), 304, "{}", asset.path);
    }
    let (status, error) = running.get("/api/v2/plants").await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (404, Some("not_found"))
    );
    let (status, error) = running.get("/api/v1/batches").await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (405, Some("method_not_allowed"))
    );
}
