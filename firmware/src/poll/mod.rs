//! When which meter is polled, and what is recorded of it.
//!
//! In: the time, and what came of each poll. Out: whose turn it is ([`Schedule`]) and the readings to record
//! ([`FailureRuns`]). Pure: it neither talks to the bus nor reads a clock.

mod failures;
mod schedule;

pub use failures::{FAILURE_RUN_MS_MAX, FailureRuns, READINGS_PER_POLL_MAX};
pub use schedule::{METERS_MAX, POLL_INTERVAL_MS_MAX, POLL_INTERVAL_MS_MIN, Schedule, Turn};
