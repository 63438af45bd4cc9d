//! The ledger as plain data. Every record that is known to have been written is in exactly one of five states.

use serde::Serialize;
use taraz_telemetry::{Boot, Incarnation, Sequence};

/// How many records are in which state. They add up to `written`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapCounts {
    /// Known to have been written on the device: the sum of the others.
    pub written: u64,
    /// Here.
    pub stored: u64,
    /// Here, and held back from analytics (`taraz quarantine`).
    pub held: u64,
    /// Not here, and the device may still have it (or a gateway, on the way).
    pub pending: u64,
    /// Not here, and named as lost by the device.
    pub dropped: u64,
    /// Not here, not named as lost, and no longer on the device.
    pub unknown: u64,
}

impl GapCounts {
    /// State and count, `written` left out.
    #[must_use]
    pub const fn states(&self) -> [(&'static str, u64); 5] {
        [
            ("stored", self.stored),
            ("held", self.held),
            ("pending", self.pending),
            ("dropped", self.dropped),
            ("unknown", self.unknown),
        ]
    }

    /// Everything that is not here.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.pending + self.dropped + self.unknown
    }

    /// Adds another part's counts.
    pub const fn add(&mut self, other: &Self) {
        self.written += other.written;
        self.stored += other.stored;
        self.held += other.held;
        self.pending += other.pending;
        self.dropped += other.dropped;
        self.unknown += other.unknown;
    }
}

/// What became of a record that is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// The device may still have it.
    Pending,
    /// The device named it as lost.
    Dropped,
    /// The device no longer has it and did not name it.
    Unknown,
}

/// A run of sequences that are not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The first sequence.
    pub first: Sequence,
    /// The last one, included.
    pub last: Sequence,
    /// What became of it.
    pub fate: Fate,
}

/// First and last instant that the boot's own `Start`, `Dropped` and `Diagnostics` records name, UTC ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BootPeriod {
    /// The first.
    pub first_ms: i64,
    /// The last.
    pub last_ms: i64,
}

/// One start of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BootGaps {
    /// Which formatting of the device's queue.
    pub incarnation: Incarnation,
    /// Which start since then.
    pub boot: Boot,
    /// Its records.
    #[serde(flatten)]
    pub counts: GapCounts,
    /// A later boot, or a later formatting, is known.
    pub ended: bool,
    /// `None` when none of those records is here and placed in time.
    pub period: Option<BootPeriod>,
    /// What is not here, in the order of sequences.
    pub gaps: Vec<Gap>,
}

/// One device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceGaps {
    /// The device's id.
    pub device: String,
    /// The sum over its boots.
    #[serde(flatten)]
    pub counts: GapCounts,
    /// Held records by reason.
    pub held_by_reason: Vec<(String, u64)>,
    /// Records that came under the identity of a stored one and say something else; they are kept beside it, and in no count above.
    pub conflicts: u64,
    /// Its boots, by incarnation as they were first heard of, then by boot.
    pub boots: Vec<BootGaps>,
}

impl DeviceGaps {
    /// Only the boots whose period touches `from_ms..to_ms`, and those of no known period: unknown is not outside. Reasons are not
    /// known by boot and left out.
    #[must_use]
    pub fn within(mut self, from_ms: i64, to_ms: i64) -> Self {
        let touches = |period: &BootPeriod| period.first_ms < to_ms && period.last_ms >= from_ms;
        self.boots.retain(|boot| boot.period.as_ref().is_none_or(touches));
        self.counts = sum(&self.boots);
        self.held_by_reason.clear();
        self
    }
}

/// The sum over boots.
pub(crate) fn sum(boots: &[BootGaps]) -> GapCounts {
    let mut counts = GapCounts::default();
    for boot in boots {
        counts.add(&boot.counts);
    }
    counts
}
