//! The gap ledger: of every record that a device has written, what became of it.
//!
//! In: what devices say about their records (`Start`, `Dropped`, `Diagnostics`) and which identities are stored. Out: per device and
//! boot how many were written, and that sum again as stored, held, pending, dropped and unknown. It goes by identities alone, never
//! by the time between readings, guesses no identity and changes nothing.

mod book;
mod ledger;
mod observed;
mod view;

pub(crate) use book::Book;
pub use book::Gaps;
pub(crate) use ledger::Here;
pub(crate) use observed::Observed;
pub use view::{BootGaps, BootPeriod, DeviceGaps, Fate, Gap, GapCounts, GapSpan, Unplaced};

#[cfg(test)]
mod tests;
