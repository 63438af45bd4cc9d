//! Meters: what to read of each kind, and what its registers mean in our units.
//!
//! A [`Meter`] is a state machine: it says what to read next, is given the answer, and ends in [`MeterStep::Done`].
//! [`poll_meter`] runs it on a bus, [`poll_blocking`] through a closure. What it learnt about the meter (where SunSpec
//! models stand) is kept between polls.
//!
//! What it never does: open or time anything, judge whether a value is plausible, keep a value from an earlier poll.

mod advice;
mod growatt;
mod map;
mod meter;
mod sdm630;
mod si_rs485;

#[cfg(test)]
mod tests;

pub use advice::{exception_advice, poll_advice};
pub use meter::{Meter, MeterMemory, MeterStep, READS_PER_POLL_MAX, poll_blocking, poll_meter};
