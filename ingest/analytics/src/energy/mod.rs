//! Energy from raw registers, so that every Wh can be accounted for.
//!
//! In: what a meter's register read and when, its rated power and width, the records of its replacements. Out: a [`Ledger`] of
//! [`Segment`]s that tile the time from the first to the last reading, each with its energy and the [`Cause`] of it, and the
//! readings that were ignored, with the reason. Integers only; the result depends on the set of readings alone, never on the
//! order in which they came.
//!
//! What is never done: energy is not invented. A register that was silent or stood still and then caught up gives a known total of
//! unknown shape; a rise that the meter's power can't explain, or a fall without a record, gives an unknown, which is not zero.

mod account;
#[cfg(test)]
mod batch;
mod checkpoint;
mod daily;
mod explain;
mod intervals;
mod ledger;
mod register;
mod ring;
mod running;
#[cfg(test)]
mod running_tests;
mod series;
mod unstated;

pub use account::account;
pub use checkpoint::{CHECKPOINT_LEN_MAX, CheckpointError};
pub use daily::DayEnergy;
pub use explain::{Explanation, Line};
pub use intervals::{Entries, Entry, Position, RunningIntervals, quarter_of};
pub use ledger::{Cause, Flags, INTERVAL_MS, Ignored, Ledger, PeriodEnergy, SHAPE_MS_MAX, Segment, Why};
pub use register::{
    ACC32_COUNTS, Meter, Point, RATED_POWER_PERCENT_MAX, RegisterError, Replacement, modulus_of_digits,
};
pub use running::{GLITCH_POINTS_MAX, NotLater, OPEN_POINTS_MAX, RunningAccount, Settled};
pub use series::{Arrival, Series};
pub use unstated::before_first;
