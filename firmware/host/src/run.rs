//! One device from its start to its stop.
//!
//! A device is one thread with one single-threaded runtime: its futures share state without locks, and its disk never
//! holds up another device.

use std::time::Duration;

use taraz_firmware::{BusLine, Device, DeviceParts, Identity, LINK_RX_LEN, Link, Queue, link_tx_len};
use taraz_settings::Wrong;
use taraz_telemetry::{RecordError, ResetCause};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::apart::apart;
use crate::bus::HostBus;
use crate::config::{DeviceConfig, History};
use crate::history::{is_unfinished, read_past, utc_ms};
use crate::observe::{Narrator, Progress};
use crate::queue::{FileQueue, FileQueueError};
use crate::transport::{BrokerConnector, line as transport_line};

/// Publications without PUBACK at a time.
const PUBLICATIONS_MAX: usize = 7;
/// How often the device's clock is compared with the computer's.
const SYNC_INTERVAL: Duration = Duration::from_secs(10);

/// A device could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The configuration can't work.
    #[error("device configuration: {0}")]
    Config(#[from] Wrong),
    /// The state folder can't be used.
    #[error(transparent)]
    Queue(#[from] FileQueueError),
    /// A reading breaks the contract.
    #[error("a reading can't be encoded: {0}")]
    Record(RecordError),
    /// A history was asked for, but the bus does not follow the clock.
    #[error(
        "history: unit {unit} of the bus does not take the time; only a simulated bus started with its follow clock can \
         give a history",
        unit = crate::history::FOLLOW_CLOCK_UNIT
    )]
    NoFollowClock,
    /// The session could not be set up.
    #[error("the MQTT session can't be set up: {0}")]
    Link(String),
    /// No thread or runtime for the device.
    #[error("no thread for the device: {0}")]
    Thread(std::io::Error),
    /// The device's thread ended without a word.
    #[error("the device's thread panicked")]
    Panicked,
}

/// Runs a device until `cancel`. What it has not delivered stays in its state folder.
///
/// Many devices may run in one process.
///
/// A bus or a broker that is down is no error: both are tried again for ever. `progress` is called on the device's thread
/// and must return at once. Dropping the future stops the device, too.
///
/// # Errors
/// [`RunError`]: configuration or state folder can't be used, or a history was asked for that the bus can't give.
pub async fn run(
    config: DeviceConfig,
    cancel: CancellationToken,
    progress: impl Fn(Progress) + Send + 'static,
) -> Result<(), RunError> {
    config.check()?;
    let identity = Identity::new(config.device.clone(), config.key.load(config.key_generation)?);
    let (done, outcome) = oneshot::channel();
    let cancel = cancel.child_token();
    let _stop_when_dropped = cancel.clone().drop_guard();
    let thread = std::thread::Builder::new().name(config.device.to_string());
    let body = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let result = match runtime {
            Ok(runtime) => runtime.block_on(live(&config, &identity, &cancel, &progress)),
            Err(error) => Err(RunError::Thread(error)),
        };
        let _ = done.send(result);
    };
    thread.spawn(body).map_err(RunError::Thread)?;
    outcome.await.map_err(|_| RunError::Panicked)?
}

/// The device's life: the past first if it is asked for, then the present.
async fn live(
    config: &DeviceConfig,
    identity: &Identity,
    cancel: &CancellationToken,
    progress: &dyn Fn(Progress),
) -> Result<(), RunError> {
    let mut queue = FileQueue::open(&config.state.join("queue"), config.queue_records)?;
    let (mut rx, mut tx) = (vec![0; LINK_RX_LEN], vec![0; link_tx_len(PUBLICATIONS_MAX)]);
    let connector = BrokerConnector::new(config.broker.clone());
    let mut link = Link::new(connector, identity, config.link, seed(), &mut rx, &mut tx)
        .map_err(|error| RunError::Link(error.to_string()))?;
    if let Some(history) = config
        .history
        .filter(|history| is_unfinished(&queue, Some(*history)))
    {
        queue = past(config, history, identity, queue, &mut link, cancel, progress).await?;
        if cancel.is_cancelled() {
            return Ok(());
        }
        progress(Progress::HistoryDone);
    }
    queue.begin_boot()?;
    present(config, identity, queue, &mut link, cancel, progress).await;
    Ok(())
}

type HostLink<'l> = Link<'l, BrokerConnector>;

/// Reads the past and delivers it meanwhile.
async fn past(
    config: &DeviceConfig,
    history: History,
    identity: &Identity,
    mut queue: FileQueue,
    link: &mut HostLink<'_>,
    cancel: &CancellationToken,
    progress: &dyn Fn(Progress),
) -> Result<FileQueue, RunError> {
    if queue.boot() == 0 {
        queue.begin_boot()?;
    }
    let narrator = Narrator::new(config.device.clone(), &config.meters, progress);
    let device = Device::new(parts(config, queue, progress, false), identity);
    let mut result = Ok(());
    let reading = async {
        result = read_past(config, history, &device, &narrator, cancel).await;
        device.stop();
    };
    apart([Box::pin(reading), Box::pin(link.run(&device))]).await;
    result.map(|()| device.into_queue())
}

/// Polls and delivers until the stop.
async fn present(
    config: &DeviceConfig,
    identity: &Identity,
    queue: FileQueue,
    link: &mut HostLink<'_>,
    cancel: &CancellationToken,
    progress: &dyn Fn(Progress),
) {
    let device = Device::new(parts(config, queue, progress, true), identity);
    // In front of the first record, so that the boot begins with a known time.
    device.sync(utc_ms(), config.clock_error_ms);
    let mut bus = HostBus::new(config.bus.clone(), line(config), &config.meters);
    let clock = async {
        while !cancel.is_cancelled() {
            tokio::select! {
                () = tokio::time::sleep(SYNC_INTERVAL) => drop(device.sync(utc_ms(), config.clock_error_ms)),
                () = cancel.cancelled() => {}
            }
        }
        device.stop();
    };
    apart([
        Box::pin(clock),
        Box::pin(device.poll_meters(&mut bus)),
        Box::pin(link.run(&device)),
    ])
    .await;
}

fn parts<'p>(
    config: &DeviceConfig,
    queue: FileQueue,
    progress: &'p dyn Fn(Progress),
    live: bool,
) -> DeviceParts<FileQueue, Narrator<'p>> {
    let known_before = queue.recovery().recovered.is_some() || queue.boot() > 1;
    DeviceParts {
        settings: config.settings(),
        queue,
        observer: Narrator::new(config.device.clone(), &config.meters, progress),
        started: embassy_time::Instant::now(),
        // A process can't tell a crash from a kill; after the first start it does not know.
        reset_cause: if known_before {
            ResetCause::Unknown
        } else {
            ResetCause::PowerOn
        },
        seed: seed(),
        live,
    }
}

/// The line as configured.
pub(crate) fn line(config: &DeviceConfig) -> BusLine {
    transport_line(&config.bus, config.response_timeout_ms, config.retries)
}

fn seed() -> u64 {
    rand::random()
}
