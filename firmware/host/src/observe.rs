//! What happens, for people: a log that says what changed, once, and progress for whoever asked.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use taraz_firmware::{ClockEvent, DeviceEvent, LinkError, LinkEvent, MeterSettings, Observer, poll_advice};
use taraz_telemetry::{DeviceId, PollStatus};

/// A failure that goes on is said again this often.
const REPEAT: Duration = Duration::from_secs(600);

/// How far a device has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The past is read: so many of so many rounds.
    History {
        /// Rounds read and durable.
        done: u32,
        /// Rounds from the beginning to now.
        total: u32,
    },
    /// The past is read; the device polls live from now on.
    HistoryDone,
    /// Signed in at the broker.
    Online,
    /// The session ended or can't be had; it is tried again.
    Offline {
        /// Why.
        error: LinkError,
    },
    /// A meter answered.
    Reading {
        /// Its index in the configuration.
        meter: usize,
    },
    /// A poll of a meter failed.
    Failed {
        /// Its index in the configuration.
        meter: usize,
        /// Why.
        status: PollStatus,
    },
    /// Records were acknowledged.
    Acknowledged {
        /// How many.
        records: u32,
        /// How many still wait.
        pending_records: u32,
    },
}

/// Tells log and caller.
pub(crate) struct Narrator<'p> {
    device: DeviceId,
    meters: Vec<MeterSettings>,
    progress: &'p dyn Fn(Progress),
    said: RefCell<Said>,
}

#[derive(Default)]
struct Said {
    polls: Vec<Option<PollStatus>>,
    link: Option<(LinkError, Instant)>,
    queue: Option<Instant>,
    refused: Option<Instant>,
    dropped: Option<Instant>,
    clock: Option<Instant>,
}

impl<'p> Narrator<'p> {
    pub(crate) fn new(device: DeviceId, meters: &[MeterSettings], progress: &'p dyn Fn(Progress)) -> Self {
        let said = Said {
            polls: vec![None; meters.len()],
            ..Said::default()
        };
        Self {
            device,
            meters: meters.to_vec(),
            progress,
            said: RefCell::new(said),
        }
    }

    pub(crate) fn progress(&self, progress: Progress) {
        (self.progress)(progress);
    }

    fn polled(&self, index: usize, status: Option<PollStatus>) {
        self.progress(
            status.map_or(Progress::Reading { meter: index }, |status| Progress::Failed {
                meter: index,
                status,
            }),
        );
        let mut said = self.said.borrow_mut();
        let (Some(before), Some(meter)) = (said.polls.get_mut(index), self.meters.get(index)) else {
            return;
        };
        let (device, meter) = (&self.device, meter.address);
        match (std::mem::replace(before, status), status) {
            (before, Some(now)) if before != Some(now) => {
                tracing::warn!(%device, %meter, status = now.as_str(), advice = poll_advice(now), "the meter gives no values");
            }
            (Some(_), None) => tracing::info!(%device, %meter, "the meter answers again"),
            _ => {}
        }
    }

    fn clock(&self, event: ClockEvent) {
        let device = &self.device;
        match event {
            ClockEvent::Synced { error_ms } => tracing::trace!(%device, error_ms, "clock compared"),
            ClockEvent::Doubted => {
                if due(&mut self.said.borrow_mut().clock) {
                    tracing::warn!(%device, "the computer's clock jumped; waiting for a second look");
                }
            }
            ClockEvent::Failed { failure, retry_ms } => {
                if due(&mut self.said.borrow_mut().clock) {
                    tracing::warn!(%device, %failure, retry_ms, "no time from the time server");
                }
            }
        }
    }

    fn link(&self, event: LinkEvent) {
        let device = &self.device;
        let mut said = self.said.borrow_mut();
        match event {
            LinkEvent::Connected => {
                said.link = None;
                tracing::info!(%device, "online");
                self.progress(Progress::Online);
            }
            LinkEvent::Failed { error, retry_ms } => {
                let known = said
                    .link
                    .is_some_and(|(before, at)| before == error && at.elapsed() < REPEAT);
                if known {
                    tracing::debug!(%device, %error, retry_ms, "offline");
                } else {
                    said.link = Some((error, Instant::now()));
                    tracing::warn!(%device, %error, retry_ms, "offline; trying again");
                }
                self.progress(Progress::Offline { error });
            }
            LinkEvent::PublishRefused { reason_code } => {
                if due(&mut said.refused) {
                    tracing::warn!(%device, reason_code, "the broker refuses what the device publishes");
                }
            }
            LinkEvent::Stopped => tracing::debug!(%device, "link stopped"),
        }
    }
}

impl Observer for Narrator<'_> {
    fn event(&self, event: &DeviceEvent<'_>) {
        let device = &self.device;
        match *event {
            DeviceEvent::Polled { index, result } => self.polled(index, result.as_ref().err().copied()),
            DeviceEvent::MeterFound(meter) => {
                tracing::info!(%device, meter = %meter.address, driver = meter.driver.as_str(), "found a meter");
            }
            DeviceEvent::Link(event) => self.link(event),
            DeviceEvent::Released {
                records,
                pending_records,
            } => {
                self.progress(Progress::Acknowledged {
                    records,
                    pending_records,
                });
            }
            DeviceEvent::Dropped { records } => {
                if due(&mut self.said.borrow_mut().dropped) {
                    tracing::warn!(%device, records, "the queue is full; the oldest records are dropped");
                }
            }
            DeviceEvent::Clock(event) => self.clock(event),
            DeviceEvent::AckRefused(error) => {
                if due(&mut self.said.borrow_mut().refused) {
                    tracing::warn!(%device, %error, "what came is no acknowledgement for this device");
                }
            }
            DeviceEvent::QueueWorn { retired_blocks } => {
                tracing::warn!(retired_blocks, "the queue gave up blocks that failed");
            }
            DeviceEvent::QueueFailed { error } => {
                if due(&mut self.said.borrow_mut().queue) {
                    tracing::error!(%device, %error, "the queue failed");
                }
            }
        }
    }
}

/// It was not said lately; now it is.
fn due(said: &mut Option<Instant>) -> bool {
    let due = said.is_none_or(|at| at.elapsed() >= REPEAT);
    if due {
        *said = Some(Instant::now());
    }
    due
}
