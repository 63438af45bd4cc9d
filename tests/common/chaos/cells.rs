//! The matrix: every part, every fault, and why some of them make no sense together.

use std::fmt;

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    Gateway,
    Ingest,
    Broker,
    Device,
    /// The road between a device and its gateway or broker.
    Link,
    /// The road between gateway and ingest.
    Hop,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fault {
    /// kill -9, and started again.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Stop,
    /// SIGTERM, and started again.
    Restart,
    Cut,
    HalfOpen,
    Slow,
    Corrupt,
    Duplicate,
    Reorder,
    DiskFull,
    /// Killed, and started on a disk that is read-only.
    ReadOnly,
    ClockForward,
    ClockBack,
}

/// One of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Cell {
    pub(crate) target: Target,
    pub(crate) fault: Fault,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}×{:?}", self.target, self.fault)
    }
}

impl Target {
    pub(crate) const ALL: [Self; 6] = [
        Self::Gateway,
        Self::Ingest,
        Self::Broker,
        Self::Device,
        Self::Link,
        Self::Hop,
    ];
}

impl Fault {
    pub(crate) const ALL: [Self; 13] = [
        Self::Kill,
        Self::Stop,
        Self::Restart,
        Self::Cut,
        Self::HalfOpen,
        Self::Slow,
        Self::Corrupt,
        Self::Duplicate,
        Self::Reorder,
        Self::DiskFull,
        Self::ReadOnly,
        Self::ClockForward,
        Self::ClockBack,
    ];

    /// It happens on a wire.
    const fn is_of_a_link(self) -> bool {
        matches!(
            self,
            Self::Cut | Self::HalfOpen | Self::Slow | Self::Corrupt | Self::Duplicate | Self::Reorder
        )
    }

    /// The part's data folder is a small disk of its own.
    pub(crate) const fn needs_disk(self) -> bool {
        matches!(self, Self::DiskFull | Self::ReadOnly)
    }

    /// The part's clock is one that can be stepped.
    pub(crate) const fn needs_clock(self) -> bool {
        matches!(self, Self::ClockForward | Self::ClockBack)
    }
}

/// Every cell that makes sense.
pub(crate) fn cells() -> Vec<Cell> {
    all().filter(|cell| why_not(*cell).is_none()).collect()
}

/// The others, with the reason.
pub(crate) fn excluded() -> Vec<(Cell, &'static str)> {
    all().filter_map(|cell| Some((cell, why_not(cell)?))).collect()
}

fn all() -> impl Iterator<Item = Cell> {
    Target::ALL
        .into_iter()
        .flat_map(|target| Fault::ALL.into_iter().map(move |fault| Cell { target, fault }))
}

const fn why_not(cell: Cell) -> Option<&'static str> {
    match (cell.target, cell.fault) {
        (Target::Hop, Fault::Duplicate | Fault::Reorder) => Some(
            "TCP repeats and exchanges nothing, and a request is sent after the last one's answer; a batch that comes twice is what Cut and HalfOpen bring",
        ),
        (Target::Link | Target::Hop, fault) if fault.is_of_a_link() => None,
        (Target::Link | Target::Hop, _) => Some("a road has no process, no disk and no clock"),
        (_, fault) if fault.is_of_a_link() => {
            Some("happens on the road to a part, not in it: see Link and Hop")
        }
        (Target::Broker, Fault::DiskFull | Fault::ReadOnly) => {
            Some("Mosquitto acknowledges before it writes: it forgets then what it forgets by kill -9")
        }
        (Target::Broker, Fault::ClockForward | Fault::ClockBack) => {
            Some("nothing that passes through it expires, so it asks no wall clock")
        }
        _ => None,
    }
}
