//! What the tests share: a gateway in a temporary folder, devices that write frames, an ingest that records.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::{Registry, TextEncoder};
use taraz_fleet::Fleet;
use taraz_gateway::{Config, Gateway, RunningGateway, Uplink, UplinkError};
use taraz_telemetry::{
    Ack, Batch, Channel, Clock, DeviceId, DeviceKey, FRAME_LEN_MAX, FrameWriter, Hold, MasterKey,
    MeterAddress, Outcome, Quantities, Reading, Record, RecordRange, Stamp,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// How long a test looks for something that must not happen.
pub(crate) const NOTHING: Duration = Duration::from_millis(400);

const PLANT: &str = r#"
[[district]]
id = "sari"
name = "Sari"
name_fa = "ساری"
[[owner]]
id = "town"
name = "Town"
name_fa = "شهر"
kind = "municipality"
"#;

pub(crate) fn fleet(devices: usize) -> Arc<Fleet> {
    let mut text = PLANT.to_owned();
    for n in 1..=devices {
        text += &format!(
            r#"
[[plant]]
id = "plant-{n}"
name = "Plant"
name_fa = "نیروگاه"
owner = "town"
district = "sari"
latitude_deg = 36.5
longitude_deg = 53.0
altitude_m = 20.0
inverter_ac_w = 27600
commissioned = "2024-03-20"
arrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 30000 }}]
[[plant.device]]
id = "dev-{n}"
[[plant.device.meter]]
address = 1
role = "inverter"
rated_w = 27600
"#
        );
    }
    Arc::new(Fleet::parse(&text).unwrap())
}

pub(crate) fn master() -> MasterKey {
    MasterKey::new([7; 32])
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A device that writes frames.
#[derive(Clone)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    pub(crate) key: DeviceKey,
    pub(crate) next: u32,
}

impl Device {
    pub(crate) fn new(n: usize) -> Self {
        let id: DeviceId = format!("dev-{n}").parse().unwrap();
        let key = master().device_key(&id, 1);
        Self { id, key, next: 0 }
    }

    pub(crate) fn password(&self) -> String {
        self.key.mqtt_password().as_str().to_owned()
    }

    pub(crate) fn topic(&self, channel: Channel) -> String {
        channel.topic(&self.id).as_str().to_owned()
    }

    pub(crate) fn up(&self) -> String {
        self.topic(Channel::Up)
    }

    pub(crate) fn reading(&self, sequence: u32, power_w: i32) -> Record {
        let stamp = Stamp {
            ms: now_ms() - 60_000 + u64::from(sequence),
            clock: Clock::Synced,
        };
        let values = Quantities {
            ac_power_w: Some(power_w),
            energy_wh: Some(1_000),
            ..Quantities::default()
        };
        Record::Reading(Reading {
            meter: MeterAddress::new(1).unwrap(),
            stamp,
            outcome: Outcome::Values(values),
        })
    }

    /// A frame of the next `count` readings.
    pub(crate) fn frame(&mut self, count: u32) -> Vec<u8> {
        let records: Vec<_> = (0..count).map(|n| self.reading(self.next + n, 1_000)).collect();
        let frame = self.frame_of(self.next, &records);
        self.next += count;
        frame
    }

    pub(crate) fn frame_of(&self, first: u32, records: &[Record]) -> Vec<u8> {
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, self.key.generation(), 99, 1, first).unwrap();
        for record in records {
            writer.push(record).unwrap();
        }
        writer.finish(&self.key, &self.id).to_vec()
    }

    pub(crate) fn range(&self, first: u32, last: u32) -> RecordRange {
        RecordRange {
            incarnation: 99,
            boot: 1,
            first,
            last,
        }
    }

    pub(crate) fn ranges(&self, ack: &[u8]) -> Vec<RecordRange> {
        Ack::decode(ack, &self.key, &self.id)
            .unwrap()
            .ranges
            .into_iter()
            .collect()
    }
}

/// Device and sequence → hold, and how often it came.
type Got = BTreeMap<(String, u32), (Option<Hold>, u32)>;

/// What ingest got.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    pub(crate) got: Arc<Mutex<Got>>,
    pub(crate) away: Arc<AtomicBool>,
}

impl Recorder {
    pub(crate) fn records(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    pub(crate) fn times(&self, device: &Device, sequence: u32) -> u32 {
        let got = self.got.lock().unwrap();
        got.get(&(device.id.to_string(), sequence))
            .map_or(0, |(_, times)| *times)
    }

    pub(crate) fn hold(&self, device: &Device, sequence: u32) -> Option<Hold> {
        self.got.lock().unwrap()[&(device.id.to_string(), sequence)].0
    }
}

impl Uplink for Recorder {
    async fn deliver(&self, batch: Vec<u8>) -> Result<(), UplinkError> {
        if self.away.load(Ordering::Relaxed) {
            return Err(UplinkError::Unavailable {
                reason: "away".to_owned(),
                retry_after: None,
            });
        }
        let mut got = self.got.lock().unwrap();
        for item in Batch::decode(&batch).unwrap().items() {
            for (sequence, record) in (item.first..).zip(item.records()) {
                record.unwrap();
                got.entry((item.device.to_owned(), sequence))
                    .or_insert((item.hold, 0))
                    .1 += 1;
            }
        }
        Ok(())
    }
}

/// A gateway at work.
pub(crate) struct Rig {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) registry: Registry,
    pub(crate) recorder: Recorder,
    pub(crate) stop: CancellationToken,
    pub(crate) gateway: RunningGateway,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::with(
            Arc::new(tempfile::tempdir().unwrap()),
            Recorder::default(),
            |_| {},
        )
        .await
    }

    pub(crate) async fn with(
        folder: Arc<TempDir>,
        recorder: Recorder,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let uplink = recorder.clone();
        let (registry, stop) = (Registry::new(), CancellationToken::new());
        let gateway = start(folder.path(), uplink, &registry, &stop, change).await;
        Self {
            folder,
            registry,
            recorder,
            stop,
            gateway,
        }
    }

    pub(crate) fn mqtt(&self) -> SocketAddr {
        self.gateway.mqtt_addr.unwrap()
    }

    /// The value of one line of the metrics.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        metric(&self.registry, line)
    }

    pub(crate) async fn stop(self) -> (Arc<TempDir>, Recorder) {
        self.stop.cancel();
        self.gateway.stopped().await.unwrap();
        (self.folder, self.recorder)
    }

    /// Keeps the spool from committing until it is dropped.
    pub(crate) fn hold_commits(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(spool_file(self.folder.path())).unwrap();
        connection.busy_timeout(DEADLINE).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        connection
    }
}

pub(crate) async fn start(
    folder: &Path,
    uplink: impl Uplink,
    registry: &Registry,
    stop: &CancellationToken,
    change: impl FnOnce(&mut Config),
) -> RunningGateway {
    let mut config = Config::new(folder.to_owned(), "127.0.0.1:0".parse().unwrap());
    change(&mut config);
    Gateway::start(config, fleet(40), master(), uplink, registry, stop.clone())
        .await
        .unwrap()
}

pub(crate) fn spool_file(folder: &Path) -> PathBuf {
    folder.join("spool.sqlite")
}

pub(crate) fn metric(registry: &Registry, line: &str) -> u64 {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    let found = text
        .lines()
        .find_map(|each| each.strip_prefix(line)?.strip_prefix(' '));
    found
        .unwrap_or_else(|| panic!("{line} is missing in\n{text}"))
        .parse()
        .unwrap()
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Fails a test that waits for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
