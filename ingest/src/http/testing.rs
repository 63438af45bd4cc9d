//! What tests of the server share: a server on a socket, with a store of its own and a clock that the test sets; readings
//! and batches of the example's device.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::Value;
use taraz_telemetry::{
    BatchItem, BatchWriter, Clock, MeterAddress, Outcome, Quantities, RECORD_LEN_MAX, Reading, Record, Stamp,
};
use tempfile::TempDir;

use super::*;

pub(super) const TOKEN: &str = "0123456789abcdef-token";
/// 2026-11-23 12:00 in Tehran.
pub(super) const NOON_MS: i64 = 1_795_422_600_000;

pub(super) struct Running {
    pub(super) url: String,
    now: Arc<AtomicI64>,
    pub(super) store: Store,
    pub(super) client: reqwest::Client,
    cancel: CancellationToken,
    _folder: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

impl Running {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
        let clock = Arc::new(AtomicI64::new(NOON_MS));
        let read = Arc::clone(&clock);
        let now: Now = Arc::new(move || read.load(Ordering::SeqCst));
        let store = Store::open(folder.path(), fleet, Arc::clone(&now)).unwrap();
        let registry = Registry::new();
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
            beside: super::BesideSlot::default(),
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

    pub(super) fn set_now(&self, now_ms: i64) {
        self.now.store(now_ms, Ordering::SeqCst);
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self
            .client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(super) async fn text(&self, path: &str) -> String {
        self.client
            .get(format!("{}{path}", self.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    pub(super) async fn post(&self, authorization: Option<&str>, body: Vec<u8>) -> reqwest::Response {
        let mut request = self
            .client
            .post(format!("{}/api/v1/batches", self.url))
            .body(body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        request.send().await.unwrap()
    }

    pub(super) async fn deliver(&self, body: Vec<u8>) -> reqwest::Response {
        self.post(Some(&format!("Bearer {TOKEN}")), body).await
    }

    /// Delivers readings of the example's inverter (1) and grid meter (2), then computes today's figures.
    pub(super) async fn deliver_readings(&self, first: u32, readings: &[(u8, i64, Quantities)]) {
        let answer = self.deliver(batch(1, first, readings)).await;
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
        let (store, now_ms) = (self.store.clone(), self.now.load(Ordering::SeqCst));
        tokio::task::spawn_blocking(move || store.live().refresh(&store, now_ms))
            .await
            .unwrap()
            .unwrap();
    }
}

pub(super) fn batch(position: u64, first: u32, readings: &[(u8, i64, Quantities)]) -> Vec<u8> {
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

pub(super) fn item(position: u64, first: u32, records: &[u8]) -> Vec<u8> {
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

pub(super) fn inverter(power_w: i32, energy_wh: u64) -> Quantities {
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
pub(super) fn half_hour() -> Vec<(u8, i64, Quantities)> {
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

pub(super) fn sample(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find(|line| line.starts_with(name))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
