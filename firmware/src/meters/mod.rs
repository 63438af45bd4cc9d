//! Meters: what to read of each kind, and what its registers mean in our units.
//!
//! A [`Meter`] is a state machine: it says what to read next, is given the answer, and ends in [`MeterStep::Done`].
//! [`poll_meter`] runs it on a bus. What it learnt about the meter (where SunSpec models stand) is kept between polls.
//!
//! What it never does: open or time anything, judge whether a value is plausible, keep a value from an earlier poll.

mod meter;

pub use meter::{Meter, MeterStep, poll_meter};
