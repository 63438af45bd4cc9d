//! Who is on the bus, at which speed: for a device that nobody told, and for the technician's `scan`.
//!
//! In: what came of each read. Out: the next read to be made, and at the end the units that answered: address, how they
//! are read, what they call themselves ([`Detect`]). A pure state machine: it knows neither bus nor clock, and it ends, as
//! every list it goes through does.
//!
//! First the line: each setting of [`DETECT_LINES`], the likeliest first, is asked for by two small reads at every likely
//! address. Any sealed answer, a refusal too, is a unit; noise is counted, for it means that somebody speaks another
//! speed or parity. Then each unit that answered is looked at: SunSpec's marker, then the signature of each register map.
//!
//! What it never does: write a register, guess between two meters (a unit without a signature is named as unknown).

mod identify;
mod line;
mod scan;
mod signature;
mod unit;

#[cfg(test)]
mod signature_tests;
#[cfg(test)]
mod tests;

pub use line::{DETECT_LINES, LineSettings, Parity};
pub use scan::{DETECT_TIMEOUT_MS, Detect, DetectAsk, DetectPlan, DetectScope, DetectStep, LIKELY_ADDRESSES};
pub use unit::{DetectSummary, DetectedUnit, UNIT_TEXT_LEN_MAX, UnitKind, UnitText};
