//! What follows from readings: intervals, balances, yields, the sun. Pure functions: no clock, no IO.
//!
//! In: register values, times, places. Out: energies with their completeness. Never: a guessed value; what isn't known is
//! `None`.

mod balance;
mod days;
mod peers;
mod span;
mod sun;

pub(crate) use balance::{Balance, SiteEnergies, plant_energy, site_balance};
pub(crate) use days::{date_start_ms, day_end_ms, day_start_ms};
pub(crate) use peers::{PeerPlant, peer_ratios};
pub(crate) use span::{Contribution, Point, QUARTER_MS, RATED_POWER_PERCENT_MAX, Span, quarter_of};
pub(crate) use sun::{Place, elevation_deg};
