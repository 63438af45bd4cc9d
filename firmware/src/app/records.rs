//! What the device shares between its futures, and how something becomes a record.

use heapless::Vec;
use taraz_telemetry::{
    Boot, Diagnostics, Dropped, FirmwareVersion, PollStatus, Quantities, RECORD_LEN_MAX, Record, ResetCause,
    Stamp, Start,
};

use super::backlog::Backlog;
use super::status::{LinkState, MeterState, TimeServerState};
use super::{ClockEvent, DeviceEvent, Observer};
use crate::clock::{DeviceClock, SyncOutcome, Synced};
use crate::config::MeterSettings;
use crate::link::Courier;
use crate::poll::{FailureRuns, METERS_MAX};
use crate::queue::{DroppedRanges, Queue, StoreError, store_encoded};

/// The state behind a device's futures; borrowed for a moment at a time, never across an await.
pub(super) struct Core<Q> {
    pub(super) queue: Q,
    pub(super) courier: Courier,
    pub(super) clock: DeviceClock,
    pub(super) runs: FailureRuns,
    /// What the queue's memory did not take.
    pub(super) backlog: Backlog,
    /// Records that were dropped, by a full queue or for want of memory.
    pub(super) dropped_records: u32,
    /// Losses of this boot and later ones, found at the start, are not named yet.
    pub(super) lost_more_from: Option<Boot>,
    /// Blocks of the queue's memory that failed, as far as that was said.
    pub(super) retired_blocks: u32,
    pub(super) link_connects: u32,
    /// Those of the settings, then those that the bus found.
    pub(super) meters: Vec<MeterState, METERS_MAX>,
    /// The meter of this index is being polled.
    pub(super) polling: Option<usize>,
    pub(super) link: LinkState,
    pub(super) time_server: TimeServerState,
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
        self.lost_more_from = recovery.lost_more_from;
        self.record_lost(recovery.lost, stamp, observer);
    }

    /// Names what was found lost at the start, as far as it was told; the queue is told when that is all.
    fn record_lost(&mut self, lost: DroppedRanges, stamp: Stamp, observer: &impl Observer) {
        if !lost.is_empty() {
            let dropped = Dropped {
                stamp,
                ranges: lost.into_inner(),
            };
            self.record(&Record::Dropped(dropped), stamp, observer);
        }
        self.lost_is_named();
    }

    fn lost_is_named(&mut self) {
        if self.lost_more_from.is_none() && self.backlog.is_settled() {
            self.queue.lost_is_named();
        }
    }

    /// Names some more of what was found lost at the start, where one `Dropped` does not hold all of it.
    fn record_more_lost(&mut self, from: Boot, stamp: Stamp, observer: &impl Observer) {
        match self.queue.lost_from(from) {
            Ok((lost, more_from)) => {
                self.lost_more_from = more_from;
                self.record_lost(lost, stamp, observer);
            }
            Err(error) => observer.event(&DeviceEvent::QueueFailed {
                error: format_args!("{error}"),
            }),
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

    /// Tries again to write what the memory did not take, and says what of the losses was not said yet.
    pub(super) fn retry(&mut self, now_ms: u64, observer: &impl Observer) {
        let stamp = self.clock.stamp(now_ms);
        if !self.backlog.is_settled() {
            self.settle(stamp, observer);
            self.lost_is_named();
        }
        // Asked for once only: what can't wait then would never be named.
        if let Some(from) = self.lost_more_from
            && self.backlog.is_settled()
        {
            self.record_more_lost(from, stamp, observer);
        }
    }

    /// Writes a record behind those that wait; if the memory fails, it waits too.
    fn record(&mut self, record: &Record, stamp: Stamp, observer: &impl Observer) {
        let mut buffer = [0; RECORD_LEN_MAX];
        let bytes = match record.encode(&mut buffer) {
            Ok(bytes) => bytes,
            Err(error) => {
                return observer.event(&DeviceEvent::QueueFailed {
                    error: format_args!("{}", StoreError::<Q::Error>::Record(error)),
                });
            }
        };
        let is_stored = self.settle(stamp, observer) && self.put(bytes, stamp, observer);
        if !is_stored && !self.backlog.keep(bytes) {
            self.dropped_records = self.dropped_records.saturating_add(1);
        }
    }

    /// Writes what waits, oldest first, then names what was lost behind it. False when the memory fails again.
    fn settle(&mut self, stamp: Stamp, observer: &impl Observer) -> bool {
        if !self.name_lost(stamp, observer) {
            return false;
        }
        let mut buffer = [0; RECORD_LEN_MAX];
        while let Some(waiting) = self.backlog.first() {
            let bytes = &mut buffer[..waiting.len()];
            bytes.copy_from_slice(waiting);
            if !self.put(bytes, stamp, observer) {
                return false;
            }
            self.backlog.remove_first();
        }
        let count = self.backlog.lost_records;
        if count > 0 {
            match self.queue.skip(count) {
                Ok(first) => self.backlog.unnamed = Some((first, first.saturating_add(count - 1))),
                Err(error) => {
                    observer.event(&DeviceEvent::QueueFailed {
                        error: format_args!("{error}"),
                    });
                    return false;
                }
            }
            self.backlog.lost_records = 0;
        }
        self.name_lost(stamp, observer)
    }

    /// Names the numbers of lost records in a `Dropped`. False when the memory does not take it.
    fn name_lost(&mut self, stamp: Stamp, observer: &impl Observer) -> bool {
        let Some((first, last)) = self.backlog.unnamed else {
            return true;
        };
        let mut ranges = DroppedRanges::new();
        // An empty list has room.
        let _ = ranges.add(self.queue.boot(), first, last);
        let dropped = Record::Dropped(Dropped {
            stamp,
            ranges: ranges.into_inner(),
        });
        let mut buffer = [0; RECORD_LEN_MAX];
        // One range can always be encoded.
        let is_named = dropped
            .encode(&mut buffer)
            .is_ok_and(|bytes| self.put(bytes, stamp, observer));
        if is_named {
            self.backlog.unnamed = None;
            observer.event(&DeviceEvent::Dropped {
                records: (last - first).saturating_add(1),
            });
        }
        is_named
    }

    /// Appends an encoded record, dropping what is oldest if there is no room. False when the memory fails.
    fn put(&mut self, record: &[u8], stamp: Stamp, observer: &impl Observer) -> bool {
        let mut dropped_records = 0;
        let outcome = store_encoded(&mut self.queue, record, stamp, &mut dropped_records);
        if dropped_records > 0 {
            self.dropped_records = self.dropped_records.saturating_add(dropped_records);
            observer.event(&DeviceEvent::Dropped {
                records: dropped_records,
            });
        }
        if let Err(error) = &outcome {
            observer.event(&DeviceEvent::QueueFailed {
                error: format_args!("{error}"),
            });
        }
        let retired_blocks = self.queue.retired_blocks();
        if core::mem::replace(&mut self.retired_blocks, retired_blocks) < retired_blocks {
            observer.event(&DeviceEvent::QueueWorn { retired_blocks });
        }
        outcome.is_ok()
    }
}
