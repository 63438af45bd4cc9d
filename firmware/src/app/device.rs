//! One device: its state, and the futures that drive it.

use core::cell::{Cell, RefCell};

use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_time::Instant;
use taraz_telemetry::ResetCause;

use super::backlog::Backlog;
use super::notify::Notify;
use super::records::Core;
use super::status::{LinkState, MeterState, TimeServerState};
use super::{MeterBus, Observer};
use crate::clock::{DeviceClock, SyncOutcome};
use crate::config::{DeviceSettings, Identity};
use crate::link::{Connector, Courier, Link};
use crate::poll::FailureRuns;
use crate::queue::Queue;
use crate::sntp::SntpFailure;

/// What a device is made of.
#[derive(Debug)]
pub struct DeviceParts<Q, O> {
    /// What it reads and how often; [checked](DeviceSettings::check) before.
    pub settings: DeviceSettings,
    /// Its records, opened for this boot.
    pub queue: Q,
    /// Is told what happens.
    pub observer: O,
    /// When it started.
    pub started: Instant,
    /// Why it started.
    pub reset_cause: ResetCause,
    /// For the jitter of its timing; devices must not share it.
    pub seed: u64,
    /// Whether what is appended from now on goes out at once. If not, everything waits its turn in full frames (records
    /// that are written in bulk).
    pub live: bool,
}

/// A device that runs.
pub struct Device<Q, O> {
    pub(super) settings: DeviceSettings,
    pub(super) reset_cause: ResetCause,
    pub(super) core: RefCell<Core<Q>>,
    pub(super) observer: O,
    pub(super) started: Instant,
    pub(super) link_wake: Notify,
    pub(super) poll_wake: Notify,
    clock_wake: Notify,
    pub(super) stopping: Cell<bool>,
}

impl<Q, O> core::fmt::Debug for Device<Q, O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Device")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<Q: Queue, O: Observer> Device<Q, O> {
    /// A device that has done nothing yet.
    #[must_use]
    pub fn new(parts: DeviceParts<Q, O>, identity: &Identity) -> Self {
        let boot = parts.queue.boot();
        let courier = Courier::new(
            identity.device().clone(),
            identity.key().clone(),
            parts.settings.courier,
            parts.seed,
            parts.live.then_some(boot),
        );
        let core = Core {
            queue: parts.queue,
            courier,
            clock: DeviceClock::new(boot),
            runs: FailureRuns::new(),
            backlog: Backlog::new(),
            dropped_records: 0,
            lost_more_from: None,
            retired_blocks: 0,
            link_connects: 0,
            meters: parts
                .settings
                .meters
                .iter()
                .copied()
                .map(MeterState::new)
                .collect(),
            polling: None,
            link: LinkState::Connecting,
            time_server: TimeServerState::NotAsked,
            stack_high_water_bytes: None,
        };
        Self {
            settings: parts.settings,
            reset_cause: parts.reset_cause,
            core: RefCell::new(core),
            observer: parts.observer,
            started: parts.started,
            link_wake: Notify::new(),
            poll_wake: Notify::new(),
            clock_wake: Notify::new(),
            stopping: Cell::new(false),
        }
    }

    /// Polls and publishes until [`Self::stop`], as one future. An executor with tasks (or wakers) to spare runs
    /// [`Self::poll_meters`] and [`Link::run`] apart, so that neither is polled for the other's events.
    pub async fn run<B: MeterBus, C: Connector>(&self, bus: &mut B, link: &mut Link<'_, C>) {
        join(self.poll_meters(bus), link.run(self)).await;
    }

    /// Writes the `Start` record, then polls the meters until [`Self::stop`].
    pub async fn poll_meters<B: MeterBus>(&self, bus: &mut B) {
        let now_ms = self.now_ms();
        let firmware = self.settings.firmware.clone();
        self.core
            .borrow_mut()
            .record_start(now_ms, self.reset_cause, firmware, &self.observer);
        self.poll_until_stopped(bus).await;
    }

    /// A sample of UTC: now it is `utc_ms`, off by at most `error_ms`. Says what the clock made of it.
    pub fn sync(&self, utc_ms: u64, error_ms: u32) -> SyncOutcome {
        self.sync_at(self.now_ms(), utc_ms, error_ms)
    }

    /// A sample of UTC as it was `now_ms` after the start.
    pub(crate) fn sync_at(&self, now_ms: u64, utc_ms: u64, error_ms: u32) -> SyncOutcome {
        let mut core = self.core.borrow_mut();
        let outcome = core.sync(now_ms, utc_ms, error_ms, &self.observer);
        drop(core);
        self.link_wake.notify();
        outcome
    }

    /// The time server is asked; what was known of it stays until the question has ended.
    pub(crate) fn time_server_asked(&self) {
        let mut core = self.core.borrow_mut();
        if core.time_server == TimeServerState::NotAsked {
            core.time_server = TimeServerState::Waiting;
        }
    }

    /// A question to the time server has ended.
    pub(crate) fn time_server_answered(&self, outcome: Result<(), SntpFailure>) {
        self.core.borrow_mut().time_server = match outcome {
            Ok(()) => TimeServerState::Answered,
            Err(failure) => TimeServerState::Failed(failure),
        };
    }

    /// Gives access to the queue for a moment; afterwards the link looks for new records.
    pub fn with_queue<T>(&self, access: impl FnOnce(&mut Q) -> T) -> T {
        let outcome = access(&mut self.core.borrow_mut().queue);
        self.link_wake.notify();
        outcome
    }

    /// The queue, when the device has ended.
    #[must_use]
    pub fn into_queue(self) -> Q {
        self.core.into_inner().queue
    }

    /// The most stack used so far, where a board can measure it.
    pub fn note_stack_high_water(&self, bytes: u32) {
        self.core.borrow_mut().stack_high_water_bytes = Some(bytes);
    }

    /// Ends [`Self::run`]: open failures are recorded, the broker is told, the session is closed.
    pub fn stop(&self) {
        self.stopping.set(true);
        self.poll_wake.notify();
        self.clock_wake.notify();
        self.link_wake.notify();
    }

    /// When it started.
    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    /// Who is told what happens.
    pub(crate) const fn observer(&self) -> &O {
        &self.observer
    }

    /// The outcome of the clock's future, unless the device is stopped first.
    pub(crate) async fn clock_until_stopped<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.until_stopped(&self.clock_wake, future).await
    }

    pub(super) fn since_start_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis()
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.since_start_ms(Instant::now())
    }

    /// The future's outcome, unless the device is stopped first, which `wake` tells.
    pub(super) async fn until_stopped<T>(&self, wake: &Notify, future: impl Future<Output = T>) -> Option<T> {
        let stopped = async {
            while !self.stopping.get() {
                wake.wait().await;
            }
        };
        match select(future, stopped).await {
            Either::First(done) => Some(done),
            Either::Second(()) => None,
        }
    }
}
