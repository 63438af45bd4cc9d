//! The lanes, their bounds, and what leaves on them.

use taraz_telemetry::RecordRange;

/// The most frames of the live lane in flight.
pub const LIVE_IN_FLIGHT_MAX: usize = 8;
/// The most frames of the backfill lane in flight.
pub const BACKFILL_IN_FLIGHT_MAX: usize = 20;
/// The most frames of the parked lane in flight.
pub const PARKED_IN_FLIGHT_MAX: usize = 4;
/// When the live lane is this many records behind, it leaves all but the newest to the backfill lane.
pub const LIVE_LAG_RECORDS_MAX: u32 = 32;
/// How many of the newest records it then keeps.
pub const LIVE_KEPT_RECORDS: u32 = 8;

/// Live or backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The newest readings.
    Live,
    /// What waited in the queue, oldest first.
    Backfill,
    /// What was refused, again.
    Parked,
}

impl Lane {
    pub(super) const fn in_flight_max(self) -> usize {
        match self {
            Self::Live => LIVE_IN_FLIGHT_MAX,
            Self::Backfill => BACKFILL_IN_FLIGHT_MAX,
            Self::Parked => PARKED_IN_FLIGHT_MAX,
        }
    }
}

/// How patient the courier is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CourierSettings {
    /// A frame without an acknowledgement is published again after this long, in ms.
    pub ack_timeout_ms: u64,
    /// The wait doubles with every attempt up to this, in ms.
    pub ack_timeout_ms_max: u64,
}

impl Default for CourierSettings {
    fn default() -> Self {
        Self {
            ack_timeout_ms: 30_000,
            ack_timeout_ms_max: 240_000,
        }
    }
}

/// A frame to be published now. It counts as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'b> {
    /// Its bytes, signed.
    pub frame: &'b [u8],
    /// What it carries.
    pub range: RecordRange,
    /// On which lane it goes.
    pub lane: Lane,
    /// 1 the first time, then counting up.
    pub attempt: u32,
}
