//! The fleet registry: owners, sites, plants, devices and meters as `fleet.toml` states them, checked whole.
//!
//! In: the text of `fleet.toml`. Out: a [`Fleet`] whose references all resolve. It never holds a secret and never
//! changes while a program runs.

mod check;
mod keys;
mod model;
mod register;

pub use model::{
    Array, CellModel, Device, DeviceRef, District, DutyShare, Fleet, ID_LEN_MAX, METERS_MAX, Meter,
    MpptInput, NAME_CHARS_MAX, Owner, OwnerKind, PLANTS_MAX, Plant, Site,
};
pub use register::{EnergyRegister, REPLACEMENTS_MAX, Replacement};
pub use taraz_settings::Mistake;

/// A complete, commented example of `fleet.toml`; a test holds it parseable.
pub const EXAMPLE: &str = include_str!("example.toml");
