//! What a meter said in each quarter-hour beside its registers: polls, and the means of its quantities over time.
//!
//! In: polls of one meter in time order. Out: a [`MeterInterval`] per quarter-hour, once nothing can add to it any more. Between two
//! answers of at most [`LINK_MS_MAX`] a quantity is taken as linear; over a longer silence, or beside an answer that lacks it, it is
//! unknown for that time: never 0, never the last value. Integers only, so sums are exact and parts add up to the whole.

mod interval;
mod running;

pub use interval::{MeterInterval, PackedError, QUANTITIES, Quantity};
pub use running::{Failures, LINK_MS_MAX, RunningMeans, Sample};
