//! What the targets with servers share: a registry, keys, a runtime, a gateway, and records that follow from their identity.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use prometheus::Registry;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use taraz_fleet::Fleet;
use taraz_gateway::{Config, Gateway, RunningGateway, Uplink, UplinkError};
use taraz_telemetry::{Batch, DeviceId, DeviceKey, FRAME_LEN_MAX, FrameWriter, RECORD_LEN_MAX, Record};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::door::Identities;
use crate::records;

/// How long an ingest may take to empty a spool.
const EMPTY_LIMIT: Duration = Duration::from_secs(60);

/// A registry of so many devices with one meter each, and its own text.
pub(super) fn fleet(folder: &Path, devices: usize) -> Result<(Arc<Fleet>, String)> {
    taraz_load::lay_out(folder, devices, 1)?;
    let text = std::fs::read_to_string(folder.join("fleet.toml")).context("the registry just written")?;
    Ok((Arc::new(Fleet::parse(&text)?), text))
}

/// A device of that registry, and its key.
pub(super) fn device(index: usize) -> Result<(DeviceId, DeviceKey)> {
    let device = taraz_load::device_id(index)?;
    let key = taraz_load::master_key().device_key(&device, 1);
    Ok((device, key))
}

pub(super) fn runtime() -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("a runtime")
}

/// A gateway with a door on a free port.
pub(super) fn gateway(
    runtime: &Runtime,
    folder: &Path,
    fleet: Arc<Fleet>,
    uplink: impl Uplink,
    stop: &CancellationToken,
) -> Result<RunningGateway> {
    gateway_on(runtime, folder, fleet, uplink, &Registry::new(), stop)
}

/// As [`gateway`], with its metrics on `registry`.
pub(super) fn gateway_on(
    runtime: &Runtime,
    folder: &Path,
    fleet: Arc<Fleet>,
    uplink: impl Uplink,
    registry: &Registry,
    stop: &CancellationToken,
) -> Result<RunningGateway> {
    let config = Config::new(folder.to_owned(), ([127, 0, 0, 1], 0).into());
    let started = Gateway::start(
        config,
        fleet,
        taraz_load::master_key(),
        uplink,
        registry,
        stop.clone(),
    );
    Ok(runtime.block_on(started)?)
}

/// The one record that has this identity: whoever holds another one of it holds what nobody wrote.
pub(super) fn record_of(incarnation: u32, boot: u32, sequence: u32) -> Record {
    let seed = u64::from(incarnation) << 32 ^ u64::from(boot) << 24 ^ u64::from(sequence);
    records::record(&mut StdRng::seed_from_u64(seed))
}

/// A frame of those records; fewer than `count` when it is full.
pub(super) fn frame(
    key: &DeviceKey,
    device: &DeviceId,
    incarnation: u32,
    boot: u32,
    first: u32,
    count: u32,
) -> Vec<u8> {
    let mut buffer = [0; FRAME_LEN_MAX];
    let Ok(mut writer) = FrameWriter::new(&mut buffer, key.generation(), incarnation, boot, first) else {
        return Vec::new();
    };
    for sequence in first..first + count {
        if writer.push(&record_of(incarnation, boot, sequence)).is_err() {
            break;
        }
    }
    writer.finish(key, device).to_vec()
}

/// The bytes of records from `first` on are those that their identities have; an error says which is not.
pub(super) fn check_records(incarnation: u32, boot: u32, first: u32, bytes: &[u8]) -> Result<u32, String> {
    let (mut rest, mut sequence) = (taraz_telemetry::Records::new(bytes), first);
    while let Some(next) = rest.next_with_bytes() {
        let at = || format!("incarnation {incarnation}, boot {boot}, sequence {sequence}");
        let (_, bytes) = next.map_err(|error| format!("{}: {error}", at()))?;
        let mut buffer = [0; RECORD_LEN_MAX];
        let expected = record_of(incarnation, boot, sequence);
        let expected = expected.encode(&mut buffer).map_err(|error| error.to_string())?;
        if expected != bytes {
            return Err(format!("{}: a record that no device wrote", at()));
        }
        sequence += 1;
    }
    Ok(sequence - first)
}

/// An ingest that takes everything and looks whether a device wrote it.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    identities: Identities,
    wrong: Option<String>,
}

impl Recorder {
    pub(super) fn has(&self, device: &str, incarnation: u32, boot: u32, sequence: u32) -> bool {
        let identity = (device.to_owned(), incarnation, boot, sequence);
        self.lock().identities.contains(&identity)
    }

    /// What came that no device wrote.
    pub(super) fn wrong(&self) -> Option<String> {
        self.lock().wrong.take()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uplink for Recorder {
    async fn deliver(&self, batch: Vec<u8>) -> Result<(), UplinkError> {
        let mut seen = self.lock();
        let batch = match Batch::decode(&batch) {
            Ok(batch) => batch,
            Err(error) => {
                seen.wrong = Some(format!("the gateway sent what is no batch: {error}"));
                return Ok(());
            }
        };
        for item in batch.items() {
            match check_records(item.incarnation, item.boot, item.first, item.records) {
                Ok(count) => {
                    for sequence in item.first..item.first + count {
                        let device = item.device.to_owned();
                        seen.identities
                            .insert((device, item.incarnation, item.boot, sequence));
                    }
                }
                Err(wrong) => seen.wrong = Some(wrong),
            }
        }
        Ok(())
    }
}

/// An ingest that is away.
pub(super) struct Away;

impl Uplink for Away {
    async fn deliver(&self, _batch: Vec<u8>) -> Result<(), UplinkError> {
        Err(UplinkError::Unavailable {
            reason: "away".to_owned(),
            retry_after: None,
        })
    }
}

/// An ingest that is away but for a while.
#[derive(Clone, Default)]
pub(super) struct Sometimes(Arc<AtomicBool>);

impl Sometimes {
    /// Is there until the spool is empty.
    pub(super) fn take_all(&self, registry: &Registry) -> Result<()> {
        self.0.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + EMPTY_LIMIT;
        while gauge(registry, "gateway_backlog_frames") > 0.0 {
            ensure!(Instant::now() < deadline, "the spool is not empty");
            std::thread::sleep(Duration::from_millis(10));
        }
        self.0.store(false, Ordering::Relaxed);
        Ok(())
    }
}

impl Uplink for Sometimes {
    async fn deliver(&self, batch: Vec<u8>) -> Result<(), UplinkError> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Away.deliver(batch).await
        }
    }
}

/// What a gauge without labels says.
pub(super) fn gauge(registry: &Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name);
    family.map_or(f64::NAN, |family| family.get_metric()[0].get_gauge().get_value())
}
