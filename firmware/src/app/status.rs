//! How a device and its meters are, for people who look at it.

use embassy_time::Instant;
use heapless::Vec;
use taraz_telemetry::{Boot, DeviceId, PollStatus, ResetCause};

use super::{Device, Observer};
use crate::clock::ClockStatus;
use crate::config::{DeviceSettings, MeterSettings};
use crate::link::LinkError;
use crate::modbus::BusCounters;
use crate::poll::METERS_MAX;
use crate::queue::{Found, Queue};
use crate::sntp::SntpFailure;

/// How a device is right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// Since the start, in ms.
    pub uptime_ms: u64,
    /// Which start this is.
    pub boot: Boot,
    /// Why it started.
    pub reset_cause: ResetCause,
    /// Records not acknowledged yet.
    pub pending_records: u32,
    /// Records there is room for.
    pub capacity_records: u32,
    /// Records dropped since the start.
    pub dropped_records: u32,
    /// Blocks of the queue's memory that are not used any more because they failed.
    pub retired_blocks: u32,
    /// What the queue found in its memory at the start.
    pub found: Found,
    /// Frames in flight.
    pub frames_in_flight: usize,
    /// Frames published more than once.
    pub repeated_frames: u32,
    /// Sessions with the broker since the start.
    pub link_connects: u32,
    /// The session now.
    pub link: LinkState,
    /// Its clock.
    pub clock: ClockStatus,
    /// What came of asking the time server.
    pub time_server: TimeServerState,
    /// The most stack used so far in bytes, where a board measures it.
    pub stack_high_water_bytes: Option<u32>,
}

/// The session with the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// No attempt has ended yet.
    Connecting,
    /// Signed in.
    Online,
    /// The last attempt failed, or the session ended; it is tried again.
    Offline(LinkError),
}

/// What came of asking the time server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeServerState {
    /// It has not been asked.
    NotAsked,
    /// It has been asked for the first time, and its answer is waited for.
    Waiting,
    /// The last question that has ended was answered.
    Answered,
    /// The last question that has ended brought no time; it is asked again.
    Failed(SntpFailure),
}

/// One meter as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterStatus {
    /// Where it answers and how it is read.
    pub settings: MeterSettings,
    /// What became of the requests of its polls.
    pub counters: BusCounters,
    /// Its last poll that has ended; `None` before the first.
    pub last: Option<LastPoll>,
    /// A poll is under way.
    pub is_being_polled: bool,
}

/// What came of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPoll {
    /// How long ago it ended, in ms.
    pub age_ms: u64,
    /// What a person wants to see of the values, or why there are none.
    pub result: Result<PollGlance, PollStatus>,
}

/// A glance at the values of a poll, what of them the meter stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PollGlance {
    /// Active power in W.
    pub ac_power_w: Option<i32>,
    /// Irradiance in 0.1 W/m².
    pub irradiance_dwm2: Option<i32>,
}

/// What is remembered of one meter.
#[derive(Clone, Copy, Debug)]
pub(super) struct MeterState {
    pub(super) settings: MeterSettings,
    pub(super) counters: BusCounters,
    /// When its last poll ended, in ms since the start, and what came of it.
    pub(super) last: Option<(u64, Result<PollGlance, PollStatus>)>,
}

impl MeterState {
    pub(super) fn new(settings: MeterSettings) -> Self {
        Self {
            settings,
            counters: BusCounters::default(),
            last: None,
        }
    }
}

impl<Q: Queue, O: Observer> Device<Q, O> {
    /// Who it is.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        self.core.borrow().courier.device().clone()
    }

    /// What it was told.
    #[must_use]
    pub const fn settings(&self) -> &DeviceSettings {
        &self.settings
    }

    /// How it is right now.
    #[must_use]
    pub fn status(&self) -> DeviceStatus {
        let core = self.core.borrow();
        let uptime_ms = self.since_start_ms(Instant::now());
        DeviceStatus {
            uptime_ms,
            boot: core.queue.boot(),
            reset_cause: self.reset_cause,
            pending_records: core.queue.pending_records(),
            capacity_records: core.queue.capacity_records(),
            dropped_records: core.dropped_records,
            retired_blocks: core.queue.retired_blocks(),
            found: core.queue.recovery().found,
            frames_in_flight: core.courier.in_flight(),
            repeated_frames: core.courier.repeated_frames(),
            link_connects: core.link_connects,
            link: core.link,
            clock: core.clock.status(uptime_ms),
            time_server: core.time_server,
            stack_high_water_bytes: core.stack_high_water_bytes,
        }
    }

    /// Its meters in the order they are polled, those that the bus found by itself included.
    #[must_use]
    pub fn meters(&self) -> Vec<MeterStatus, METERS_MAX> {
        let now_ms = self.since_start_ms(Instant::now());
        let core = self.core.borrow();
        let status = |(index, meter): (usize, &MeterState)| MeterStatus {
            is_being_polled: core.polling == Some(index),
            settings: meter.settings,
            counters: meter.counters,
            last: meter.last.map(|(at_ms, result)| LastPoll {
                age_ms: now_ms.saturating_sub(at_ms),
                result,
            }),
        };
        core.meters.iter().enumerate().map(status).collect()
    }
}
