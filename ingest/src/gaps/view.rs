//! The ledger as plain data. Every record that is known to have been written is in exactly one of five states.

use serde::{Serialize, Serializer};
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
    /// When the device wrote it; `None` before anybody has looked.
    pub span: Option<GapSpan>,
}

/// When the records of a gap were written: between records around it that are here and placed in time, by the device's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GapSpan {
    /// Not before this, UTC ms; `None` when nothing in front of it is placed in time.
    pub after_ms: Option<i64>,
    /// Not after this, UTC ms; `None` when nothing behind it is here and placed in time.
    pub before_ms: Option<i64>,
}

impl GapSpan {
    /// Nothing around it is placed in time.
    #[must_use]
    pub const fn is_unplaced(&self) -> bool {
        self.after_ms.is_none() && self.before_ms.is_none()
    }

    /// It may lie in `from_ms..to_ms`; an open side bounds nothing.
    #[must_use]
    pub fn touches(&self, from_ms: i64, to_ms: i64) -> bool {
        self.after_ms.is_none_or(|after_ms| after_ms < to_ms)
            && self.before_ms.is_none_or(|before_ms| before_ms >= from_ms)
    }
}

/// Gaps that no record around them places in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unplaced {
    /// How many runs of sequences.
    pub gaps: u64,
    /// How many records.
    pub records: u64,
}

impl Gap {
    /// How many records.
    #[must_use]
    pub const fn records(&self) -> u64 {
        // Both are 32 bits wide.
        self.last as u64 - self.first as u64 + 1
    }

    /// Nothing around it is placed in time.
    #[must_use]
    pub fn is_unplaced(&self) -> bool {
        self.span.is_some_and(|span| span.is_unplaced())
    }
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
    /// Held records by reason; in JSON an object, as in the API.
    #[serde(serialize_with = "as_object")]
    pub held_by_reason: Vec<(String, u64)>,
    /// Records that came under the identity of a stored one and say something else; they are kept beside it, and in no count above.
    pub conflicts: u64,
    /// Its boots, by incarnation as they were first heard of, then by boot.
    pub boots: Vec<BootGaps>,
}

impl DeviceGaps {
    /// The gaps that no record around them places in time.
    #[must_use]
    pub fn unplaced(&self) -> Unplaced {
        let mut unplaced = Unplaced::default();
        let gaps = self.boots.iter().flat_map(|boot| &boot.gaps);
        for gap in gaps.filter(|gap| gap.is_unplaced()) {
            unplaced.gaps += 1;
            unplaced.records += gap.records();
        }
        unplaced
    }

    /// Leaves only the gaps that may lie in `from_ms..to_ms`, and their boots. Those that nothing places in time are in no period: they
    /// are left out as well. The counts stay those of the whole device, so that they add up.
    pub fn retain_within(&mut self, from_ms: i64, to_ms: i64) {
        for boot in &mut self.boots {
            let may_lie_there =
                |gap: &Gap| !gap.is_unplaced() && gap.span.is_none_or(|span| span.touches(from_ms, to_ms));
            boot.gaps.retain(may_lie_there);
        }
        self.boots.retain(|boot| !boot.gaps.is_empty());
    }
}

fn as_object<S: Serializer>(counts: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|(name, count)| (name, count)))
}

/// The sum over boots.
pub(crate) fn sum(boots: &[BootGaps]) -> GapCounts {
    let mut counts = GapCounts::default();
    for boot in boots {
        counts.add(&boot.counts);
    }
    counts
}
