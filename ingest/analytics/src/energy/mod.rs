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
mod daily;
mod explain;
mod ledger;
mod register;
mod series;

pub use account::{GLITCH_POINTS_MAX, account};
pub use daily::DayEnergy;
pub use explain::{Explanation, Line};
pub use ledger::{Cause, Flags, INTERVAL_MS, Ignored, Ledger, PeriodEnergy, SHAPE_MS_MAX, Segment, Why};
pub use register::{
    ACC32_COUNTS, Meter, Point, RATED_POWER_PERCENT_MAX, RegisterError, Replacement, modulus_of_digits,
};
pub use series::{Arrival, Series};
