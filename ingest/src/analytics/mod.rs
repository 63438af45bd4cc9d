//! What follows from readings: intervals, balances, yields, the sun. Pure functions: no clock, no IO.
//!
//! In: register values, times, places. Out: energies with their completeness. Never: a guessed value; what isn't known is
//! `None`.

mod balance;
mod contribution;
mod days;
mod expected;
mod model;
mod peers;
mod periods;
mod phases;
mod strings;
mod sun;
mod weather;

pub(crate) use balance::{Balance, SiteEnergies, plant_energy, site_balance, whole_wh};
pub(crate) use contribution::Contribution;
pub(crate) use days::{date_start_ms, day_end_ms, day_start_ms};
pub(crate) use expected::{Neighbour, QUARTER_H, QuarterExpectation, QuarterSky, neighbours_index};
pub(crate) use model::{PlantModel, place_of, system_of};
pub(crate) use peers::{PeerPlant, peer_ratios};
pub(crate) use periods::{PeriodStep, periods, quarters_of};
pub(crate) use phases::phase_imbalance;
pub(crate) use strings::{InverterInputs, input_power_w, string_imbalances};
pub(crate) use sun::{elevation_deg, is_sun_below};
pub(crate) use taraz_analytics::energy::{INTERVAL_MS as QUARTER_MS, RATED_POWER_PERCENT_MAX, quarter_of};
pub(crate) use taraz_analytics::solar::Place;
pub(crate) use weather::{InverterQuarters, Measured, SensorQuarters};
