//! SunSpec Modbus: a device describes itself as a chain of models; this finds them and reads the ones we know.
//!
//! In: answers to reads of holding registers. Out: [`Quantities`](taraz_telemetry::Quantities). Values and their scale
//! factors come from one read; a model longer than one read has its scale factors read again after the values, and a
//! change discards the poll. What a device does not implement is absent.
//!
//! What it never does: write, keep a value, follow a chain past [`MODELS_MAX`] models or the end of the addresses.
//!
//! Sources: *SunSpec Device Information Model Specification* V1.1 and *SunSpec Information Model Reference* (sunspec.org),
//! model definitions as published in github.com/sunspec/models (Apache-2.0).

mod chain;
mod driver;
mod models;
mod mppt;
mod value;

#[cfg(test)]
mod image;

pub use chain::{BASES, MODELS_MAX};
pub(crate) use chain::{Next, Survey};
pub use driver::UNSTABLE_RETRIES_MAX;
pub(crate) use driver::{Sunspec, SunspecMemory};
#[cfg(test)]
mod definitions;
#[cfg(test)]
mod poll_tests;
#[cfg(test)]
mod walk_tests;
