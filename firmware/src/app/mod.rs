//! The device as a whole: polls, queue, courier and link, as futures of one task.
//!
//! [`Device`] holds what they share. [`Device::run`] polls the meters over a [`MeterBus`] and keeps the session of a
//! [`Link`](crate::Link); neither waits for the other. Whoever knows UTC tells [`Device::sync`]; [`Device::stop`] ends it.
//!
//! What it never does: open anything, read UTC, log. What happens is told to an [`Observer`].

mod backlog;
mod device;
mod notify;
mod polling;
mod post;
mod records;
#[cfg(test)]
mod records_tests;
mod status;

use core::future::Future;

use taraz_telemetry::{PollStatus, Quantities};

pub use device::{Device, DeviceParts};
pub use notify::Notify;
pub use polling::DIAGNOSTICS_INTERVAL_MS;
pub use status::{DeviceStatus, LastPoll, LinkState, MeterStatus, PollGlance, TimeServerState};

use crate::config::MeterSettings;
use crate::link::LinkEvent;
use crate::modbus::BusCounters;
use crate::sntp::SntpFailure;

/// The meters, ready to be polled by their index in the settings.
pub trait MeterBus {
    /// Polls one meter; it ends within the bus's time-outs. Dropping it must leave the bus usable.
    fn poll(&mut self, index: usize) -> impl Future<Output = Result<Quantities, PollStatus>>;

    /// Whether the meters can be polled: not while the line's setting is still searched for the first time. No poll begins
    /// before, so that nobody takes a meter that was not asked for a silent one.
    fn can_poll(&self) -> bool {
        true
    }

    /// What became of the requests to one meter so far.
    fn counters(&self, index: usize) -> BusCounters;

    /// The meters on it, where the bus finds them by itself: the device polls what the settings do not have, too. A meter
    /// keeps its index; new ones come behind.
    fn meters(&self) -> &[MeterSettings] {
        &[]
    }

    /// Waits until there is something to do besides polls. Dropping it loses nothing.
    fn wanted(&mut self) -> impl Future<Output = ()> {
        core::future::pending()
    }

    /// Does a little of what is [wanted](Self::wanted), at most one request.
    fn work(&mut self) -> impl Future<Output = ()> {
        core::future::ready(())
    }
}

/// What happens in a device.
#[derive(Clone, Copy, Debug)]
pub enum DeviceEvent<'e> {
    /// A meter was polled.
    Polled {
        /// Its index in the settings.
        index: usize,
        /// What came of it.
        result: &'e Result<Quantities, PollStatus>,
    },
    /// The bus found a meter that the settings do not have; it is polled from now on.
    MeterFound(MeterSettings),
    /// The session with the broker.
    Link(LinkEvent),
    /// Records were acknowledged and freed.
    Released {
        /// How many.
        records: u32,
        /// How many are still pending.
        pending_records: u32,
    },
    /// Records were dropped because the queue was full, or its memory failed for too long; a `Dropped` record names them.
    Dropped {
        /// How many.
        records: u32,
    },
    /// The device's clock.
    Clock(ClockEvent),
    /// Something that is no acknowledgement for this device came on its channel.
    AckRefused(taraz_telemetry::AckError),
    /// The queue has given up more blocks of its memory, which failed; it goes on with the others.
    QueueWorn {
        /// How many are not used any more.
        retired_blocks: u32,
    },
    /// The queue's memory failed: what should have been written waits, or nothing can be read.
    QueueFailed {
        /// What the memory said.
        error: core::fmt::Arguments<'e>,
    },
}

/// What becomes of the device's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockEvent {
    /// It took a sample of UTC.
    Synced {
        /// By how much the sample may be off, in ms.
        error_ms: u32,
    },
    /// A sample contradicts it and waits for a second one.
    Doubted,
    /// The time server brought no time.
    Failed {
        /// Why.
        failure: SntpFailure,
        /// When it is asked again, in ms.
        retry_ms: u64,
    },
}

/// Is told what happens.
pub trait Observer {
    /// Called from within; must not call back into the device.
    fn event(&self, event: &DeviceEvent<'_>);
}

impl Observer for () {
    fn event(&self, _: &DeviceEvent<'_>) {}
}
