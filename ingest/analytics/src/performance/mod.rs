//! How well a plant turned irradiation into energy: IEC 61724-1:2021.
//!
//! In: equal intervals with irradiance, module temperature, DC and AC energy and whether the inverter was up. Out: yields,
//! losses, performance ratios, capacity factors, availability, completeness. An interval that lacks one of the quantities
//! that the plant measures leaves **every** sum, so that `Yr = Yf + Lc + LBOS` always holds; what a plant never measures only
//! leaves the figures empty that need it.

mod report;

pub use report::{Interval, Plant, Report, report};
