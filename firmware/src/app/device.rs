//! One device: its state, and the futures that drive it.

use core::cell::{Cell, RefCell};

use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer};
use heapless::Vec;
use taraz_telemetry::{Boot, PollStatus, Quantities, ResetCause};

use super::notify::Notify;
use super::records::Core;
use super::{DeviceEvent, MeterBus, Observer};
use crate::clock::{ClockStatus, DeviceClock, SyncOutcome};
use crate::config::{DeviceSettings, Identity};
use crate::link::{Connector, Courier, Link};
use crate::poll::{FailureRuns, Schedule, Turn};
use crate::queue::Queue;

/// How often the device reports how it is, in ms.
pub const DIAGNOSTICS_INTERVAL_MS: u64 = 15 * 60 * 1_000;

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

/// How a device is right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Which start this is.
    pub boot: Boot,
    /// Records not acknowledged yet.
    pub pending_records: u32,
    /// Records there is room for.
    pub capacity_records: u32,
    /// Records dropped since the start.
    pub dropped_records: u32,
    /// Frames in flight.
    pub frames_in_flight: usize,
    /// Frames published more than once.
    pub repeated_frames: u32,
    /// Sessions with the broker since the start.
    pub link_connects: u32,
    /// Its clock.
    pub clock: ClockStatus,
}

/// A device that runs.
pub struct Device<Q, O> {
    settings: DeviceSettings,
    reset_cause: ResetCause,
    pub(super) core: RefCell<Core<Q>>,
    pub(super) observer: O,
    pub(super) started: Instant,
    pub(super) link_wake: Notify,
    poll_wake: Notify,
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
            dropped_records: 0,
            link_connects: 0,
            bus: Vec::new(),
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

    /// How it is right now.
    #[must_use]
    pub fn status(&self) -> DeviceStatus {
        let core = self.core.borrow();
        DeviceStatus {
            boot: core.queue.boot(),
            pending_records: core.queue.pending_records(),
            capacity_records: core.queue.capacity_records(),
            dropped_records: core.dropped_records,
            frames_in_flight: core.courier.in_flight(),
            repeated_frames: core.courier.repeated_frames(),
            link_connects: core.link_connects,
            clock: core.clock.status(self.now_ms()),
        }
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

    fn now_ms(&self) -> u64 {
        self.since_start_ms(Instant::now())
    }

    async fn poll_until_stopped<B: MeterBus>(&self, bus: &mut B) {
        let mut schedule = Schedule::new(self.settings.meters.len(), self.settings.poll_interval_ms);
        let mut diagnostics_ms = 0;
        while !self.stopping.get() {
            let now_ms = self.now_ms();
            self.housekeep(now_ms, bus, &mut diagnostics_ms);
            match schedule.next(now_ms) {
                Turn::Poll(index) => {
                    let Some(result) = self.until_stopped(&self.poll_wake, bus.poll(index)).await else {
                        break;
                    };
                    self.polled(&mut schedule, index, now_ms, result);
                }
                Turn::Wait { until_ms } => {
                    let overdue_ms = self.core.borrow().runs.next_overdue_ms().unwrap_or(u64::MAX);
                    let until_ms = until_ms.min(diagnostics_ms).min(overdue_ms);
                    let until = self.started + Duration::from_millis(until_ms);
                    select(Timer::at(until), self.poll_wake.wait()).await;
                }
            }
        }
        self.core.borrow_mut().record_open_runs(&self.observer);
        self.link_wake.notify();
    }

    fn polled(
        &self,
        schedule: &mut Schedule,
        index: usize,
        began_ms: u64,
        result: Result<Quantities, PollStatus>,
    ) {
        let Some(meter) = self.settings.meters.get(index).copied() else {
            return;
        };
        let now_ms = self.now_ms();
        self.observer.event(&DeviceEvent::Polled {
            index,
            result: &result,
        });
        let core = &mut *self.core.borrow_mut();
        schedule.polled(index, began_ms, now_ms, core.clock.utc_ms(now_ms), result.is_ok());
        core.record_poll(index, meter, now_ms, result, &self.observer);
        self.link_wake.notify();
    }

    fn housekeep(&self, now_ms: u64, bus: &impl MeterBus, diagnostics_ms: &mut u64) {
        let core = &mut *self.core.borrow_mut();
        core.record_overdue(now_ms, &self.observer);
        if now_ms >= *diagnostics_ms {
            *diagnostics_ms = now_ms + DIAGNOSTICS_INTERVAL_MS;
            let meters = self.settings.meters.iter().enumerate();
            core.bus = meters
                .map(|(index, meter)| bus.counters(index).diagnostics(meter.address))
                .collect();
            core.record_diagnostics(now_ms, &self.observer);
            self.link_wake.notify();
        }
    }

    /// The future's outcome, unless the device is stopped first, which `wake` tells.
    async fn until_stopped<T>(&self, wake: &Notify, future: impl Future<Output = T>) -> Option<T> {
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
