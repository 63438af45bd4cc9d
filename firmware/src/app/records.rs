//! What the device shares between its futures, and how something becomes a record.

use heapless::Vec;
use taraz_telemetry::{
    Diagnostics, Dropped, FirmwareVersion, PollStatus, Quantities, Record, ResetCause, Stamp, Start,
};

use super::status::{LinkState, MeterState};
use super::{ClockEvent, DeviceEvent, Observer};
use crate::clock::{DeviceClock, SyncOutcome, Synced};
use crate::config::MeterSettings;
use crate::link::Courier;
use crate::poll::{FailureRuns, METERS_MAX};
use crate::queue::{Queue, store};

/// The state behind a device's futures; borrowed for a moment at a time, never across an await.
pub(super) struct Core<Q> {
    pub(super) queue: Q,
    pub(super) courier: Courier,
    pub(super) clock: DeviceClock,
    pub(super) runs: FailureRuns,
    pub(super) dropped_records: u32,
    pub(super) link_connects: u32,
    /// Those of the settings, then those that the bus found.
    pub(super) meters: Vec<MeterState, METERS_MAX>,
    pub(super) link: LinkState,
    pub(super) stack_high_water_bytes: Option<u32>,
}

impl<Q: Queue> Core<Q> {
    /// The first record of the boot, and what the recovery could not read.
    pub(super) fn record_start(
        &mut self,
        now_ms: u64,
        reset_cause: ResetCause,
        firmware: FirmwareVersion,
        observer: &impl Observer,
    ) {
        let stamp = self.clock.stamp(now_ms);
        let recovery = self.queue.recovery().clone();
        let start = Start {
            stamp,
            reset_cause,
            recovered: recovery.recovered,
            firmware,
        };
        self.record(&Record::Start(start), stamp, observer);
        if !recovery.lost.is_empty() {
            let dropped = Dropped {
                stamp,
                ranges: recovery.lost.into_inner(),
            };
            self.record(&Record::Dropped(dropped), stamp, observer);
        }
    }

    /// What came of a poll that is over now.
    pub(super) fn record_poll(
        &mut self,
        index: usize,
        meter: MeterSettings,
        now_ms: u64,
        result: Result<Quantities, PollStatus>,
        observer: &impl Observer,
    ) {
        let stamp = self.clock.stamp(now_ms);
        for reading in self.runs.polled(index, meter.address, stamp, now_ms, result) {
            self.record(&Record::Reading(reading), stamp, observer);
        }
    }

    /// Runs of failures that are open for too long.
    pub(super) fn record_overdue(&mut self, now_ms: u64, observer: &impl Observer) {
        while let Some(reading) = self.runs.overdue(now_ms) {
            let stamp = reading.stamp;
            self.record(&Record::Reading(reading), stamp, observer);
        }
    }

    /// Runs of failures that are open at the stop.
    pub(super) fn record_open_runs(&mut self, observer: &impl Observer) {
        while let Some(reading) = self.runs.close() {
            let stamp = reading.stamp;
            self.record(&Record::Reading(reading), stamp, observer);
        }
    }

    pub(super) fn record_diagnostics(&mut self, now_ms: u64, observer: &impl Observer) {
        let stamp = self.clock.stamp(now_ms);
        let diagnostics = Diagnostics {
            stamp,
            uptime_s: u32::try_from(now_ms / 1_000).unwrap_or(u32::MAX),
            queue_records: self.queue.pending_records(),
            queue_capacity_records: self.queue.capacity_records(),
            dropped_records: self.dropped_records,
            link_connects: self.link_connects,
            stack_high_water_bytes: self.stack_high_water_bytes,
            meters: self
                .meters
                .iter()
                .map(|meter| meter.counters.diagnostics(meter.settings.address))
                .collect(),
        };
        self.record(&Record::Diagnostics(diagnostics), stamp, observer);
    }

    /// A sample of UTC, and the anchor it may call for.
    pub(super) fn sync(
        &mut self,
        now_ms: u64,
        utc_ms: u64,
        error_ms: u32,
        observer: &impl Observer,
    ) -> SyncOutcome {
        let Synced { outcome, anchor } = self.clock.sync(now_ms, utc_ms, error_ms);
        match outcome {
            SyncOutcome::Taken => observer.event(&DeviceEvent::Clock(ClockEvent::Synced { error_ms })),
            SyncOutcome::Doubted => observer.event(&DeviceEvent::Clock(ClockEvent::Doubted)),
            SyncOutcome::TooVague => {}
        }
        if let Some(anchor) = anchor {
            let stamp = self.clock.stamp(now_ms);
            self.record(&Record::Anchor(anchor), stamp, observer);
        }
        outcome
    }

    fn record(&mut self, record: &Record, stamp: Stamp, observer: &impl Observer) {
        match store(&mut self.queue, record, stamp) {
            Ok(stored) if stored.dropped_records > 0 => {
                self.dropped_records = self.dropped_records.saturating_add(stored.dropped_records);
                observer.event(&DeviceEvent::Dropped {
                    records: stored.dropped_records,
                });
            }
            Ok(_) => {}
            Err(error) => observer.event(&DeviceEvent::QueueFailed {
                error: format_args!("{error}"),
            }),
        }
    }
}
