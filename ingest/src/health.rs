//! How a device is, out of the records in which it says so.

use taraz_telemetry::{Boot, Diagnostics, ResetCause, Start};

use crate::view::{DeviceHealth, MeterHealth};

/// Diagnostics older than this say nothing about the present: three of those that the contract asks for once an hour.
const HEALTH_AGE_MS_MAX: i64 = 3 * 3_600_000;

impl DeviceHealth {
    /// What `diagnostics` of this boot said at `time_ms` (UTC ms), with the record of the boot's start if it is here.
    pub(crate) fn new(time_ms: i64, boot: Boot, diagnostics: &Diagnostics, start: Option<&Start>) -> Self {
        let meters = diagnostics.meters.iter().map(|meter| MeterHealth {
            meter: meter.meter,
            requests: meter.requests,
            crc_errors: meter.crc_errors,
            timeouts: meter.timeouts,
            exceptions: meter.exceptions,
        });
        Self {
            time_ms,
            boot,
            reset_cause: start.map(|start| word(start.reset_cause)),
            firmware: start.map(|start| start.firmware.as_str().to_owned()),
            uptime_s: diagnostics.uptime_s,
            queue_records: diagnostics.queue_records,
            queue_capacity_records: diagnostics.queue_capacity_records,
            dropped_records: diagnostics.dropped_records,
            link_connects: diagnostics.link_connects,
            stack_high_water_bytes: diagnostics.stack_high_water_bytes,
            meters: meters.collect(),
        }
    }

    /// It says something about `now_ms`.
    pub(crate) const fn is_fresh(&self, now_ms: i64) -> bool {
        now_ms - self.time_ms <= HEALTH_AGE_MS_MAX
    }
}

/// The words of `docs/protocol.md`.
const fn word(cause: ResetCause) -> &'static str {
    match cause {
        ResetCause::Unknown => "unknown",
        ResetCause::PowerOn => "power_on",
        ResetCause::Watchdog => "watchdog",
        ResetCause::Panic => "panic",
        ResetCause::Requested => "requested",
        ResetCause::BrownOut => "brown_out",
    }
}
