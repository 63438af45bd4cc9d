//! The arithmetic of energy, as an auditor would check it: registers, sun, expectation, yields, imbalances, calendar, duty.
//!
//! In: register values, weather, instants, tables. Out: energies and figures with what is known of them. Never: a clock, a
//! file, a socket, a guess. What is not known is `None`; what is bridged says so. Nothing here can do IO, because nothing
//! that this crate depends on can.

pub mod calendar;
pub mod duty;
pub mod energy;
pub mod imbalance;
mod median;
pub mod performance;
pub mod sampling;
pub mod solar;
mod varint;

pub use median::median;
