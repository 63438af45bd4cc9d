//! The four imbalances, which are never one word.
//!
//! - **energy**: consumption − generation, > 0 is a deficit; kWh ([`energy_balance`], [`netting`]).
//! - **settlement**: actual − scheduled generation, > 0 is over-delivery; kWh ([`deviation`]).
//! - **phase**: how unequal the three phases are, 0 or more; percent ([`PhaseVoltages`], [`current_unbalance_pct`]).
//! - **string**: a string or MPPT against the median of its orientation, < 0 is too little; percent ([`string_imbalance`]).

mod energy;
mod phase;
mod settlement;
mod strings;

pub use energy::{EnergyBalance, EnergyInterval, Netting, Obligation, energy_balance, netting, obligation};
pub use phase::{
    LineVoltages, PhaseVoltages, Unbalance, current_unbalance_pct, iec_unbalance_pct, lines_of_phasors,
    mean_deviation_pct, neutral_current_a, symmetrical_pct,
};
pub use settlement::{Deviation, clear_sky_schedule, deviation, persistence_schedule, settlement_periods};
pub use strings::{PEERS_MIN, StringPower, string_imbalance};
