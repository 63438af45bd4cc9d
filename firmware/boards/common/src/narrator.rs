//! What happens in the device, on the console and for the watchdog.
//!
//! What goes on as before is not said again: a technician wants to see what changed.

use core::cell::RefCell;

use embassy_time::Instant;
use heapless::Vec;
use taraz_firmware::{
    ClockEvent, DeviceEvent, DeviceSettings, LinkError, LinkEvent, METERS_MAX, MeterSettings, Observer,
};
use taraz_telemetry::PollStatus;

use crate::say;
use crate::tasks::{BoardHealth, LINK_TASK, METERS_TASK};

/// Polls may stay away for this many intervals,
const POLLS_MISSED_MAX: u64 = 3;
/// and this much longer, in ms: eight meters that don't answer, a search in between.
const POLLS_LATE_MS_MAX: u64 = 600_000;
/// After its wait a connection attempt may take this long, in ms: every step of it has a time-out below.
const CONNECT_MS_MAX: u64 = 120_000;

/// Says what changes.
pub struct Narrator {
    health: &'static BoardHealth,
    polls_ms_max: u64,
    said: RefCell<Said>,
}

struct Said {
    meters: Vec<(MeterSettings, Option<Result<(), PollStatus>>), METERS_MAX>,
    link: Option<LinkError>,
    clock_failed: bool,
    clock_synced: bool,
    dropping: bool,
    queue_failed: bool,
}

impl core::fmt::Debug for Narrator {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Narrator").finish_non_exhaustive()
    }
}

impl Narrator {
    /// For a device with these settings.
    #[must_use]
    pub fn new(settings: &DeviceSettings, health: &'static BoardHealth) -> Self {
        Self {
            health,
            polls_ms_max: u64::from(settings.poll_interval_ms) * POLLS_MISSED_MAX + POLLS_LATE_MS_MAX,
            said: RefCell::new(Said {
                meters: settings.meters.iter().map(|&meter| (meter, None)).collect(),
                link: None,
                clock_failed: false,
                clock_synced: false,
                dropping: false,
                queue_failed: false,
            }),
        }
    }

    fn polled(&self, index: usize, result: Result<(), PollStatus>) {
        let now_ms = Instant::now().as_millis();
        self.health.expect(METERS_TASK, now_ms, self.polls_ms_max);
        let mut said = self.said.borrow_mut();
        let Some((meter, before)) = said.meters.get_mut(index) else {
            return;
        };
        if before.replace(result) != Some(result) {
            match result {
                Ok(()) => say!("meter {}: answers", meter.address),
                Err(status) => say!("meter {}: no values, {}", meter.address, status.as_str()),
            }
        }
    }

    fn link(&self, event: LinkEvent) {
        let mut said = self.said.borrow_mut();
        match event {
            LinkEvent::Connected => {
                said.link = None;
                self.health.trust(LINK_TASK);
                say!("link: connected");
            }
            LinkEvent::Failed { error, retry_ms } => {
                let now_ms = Instant::now().as_millis();
                self.health
                    .expect(LINK_TASK, now_ms, retry_ms.saturating_add(CONNECT_MS_MAX));
                if said.link.replace(error) != Some(error) {
                    say!("link: {error}; again in {retry_ms} ms");
                }
            }
            LinkEvent::PublishRefused { reason_code } => {
                say!("link: the broker refused a frame (reason {reason_code:#04x})");
            }
            LinkEvent::Stopped => say!("link: stopped"),
        }
    }

    fn clock(&self, event: ClockEvent) {
        let mut said = self.said.borrow_mut();
        match event {
            ClockEvent::Synced { error_ms } => {
                if !core::mem::replace(&mut said.clock_synced, true) {
                    say!("clock: UTC known within {error_ms} ms");
                }
                said.clock_failed = false;
            }
            ClockEvent::Doubted => say!("clock: a sample contradicts the clock and waits for a second one"),
            ClockEvent::Failed { failure, retry_ms } => {
                said.clock_synced = false;
                if !core::mem::replace(&mut said.clock_failed, true) {
                    say!("clock: {failure}; again in {retry_ms} ms");
                }
            }
        }
    }
}

impl Observer for Narrator {
    fn event(&self, event: &DeviceEvent<'_>) {
        match *event {
            DeviceEvent::Polled { index, result } => {
                self.polled(index, result.as_ref().map(|_| ()).map_err(|status| *status));
            }
            DeviceEvent::MeterFound(meter) => {
                say!("meter {}: found, {}", meter.address, meter.driver.as_str());
                // The device has as many places as this list.
                let _ = self.said.borrow_mut().meters.push((meter, None));
            }
            DeviceEvent::Link(event) => self.link(event),
            DeviceEvent::Clock(event) => self.clock(event),
            DeviceEvent::Released { pending_records, .. } => {
                if pending_records == 0 {
                    self.said.borrow_mut().dropping = false;
                }
            }
            DeviceEvent::Dropped { records } => {
                if !core::mem::replace(&mut self.said.borrow_mut().dropping, true) {
                    say!("queue: full, {records} of the oldest records dropped; more are not said");
                }
            }
            DeviceEvent::AckRefused(error) => say!("link: no acknowledgement for this device: {error}"),
            DeviceEvent::QueueWorn { retired_blocks } => {
                say!("queue: {retired_blocks} blocks of the flash failed and are not used any more");
            }
            DeviceEvent::QueueFailed { error } => {
                if !core::mem::replace(&mut self.said.borrow_mut().queue_failed, true) {
                    say!("queue: {error}");
                }
            }
        }
    }
}
