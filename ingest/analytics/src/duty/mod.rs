//! The duty: the share of its own consumption that a public owner must generate from renewables over the Jalali year.
//!
//! In: a dated table of shares, the days of the year so far, what the clear sky offers until its end. Out: what is covered, what is
//! missing in kWh, where the year will end and how surely, and the power that is still to be built.

mod projection;
mod share;

pub use projection::{BLOCK_DAYS, DutyDay, Estimate, Projection, missing_kwp, project};
pub use share::{Coverage, DutyRow, DutyTable, DutyTableError, SHARE_PER_MYRIAD_MAX, coverage};
