//! Inverters and meters to talk to over Modbus, replaying real measured plants, with a journal of what was answered.
//!
//! In: `simulation.toml` (which units stand on which bus), perhaps `fleet.toml` and a fault list. Out: Modbus RTU over
//! TCP, RTU over a pseudo-terminal, or Modbus TCP. Every register is a pure function of (unit, instant, fault list):
//! power is the recorded sample, scaled; energy is its exact integral since commissioning, in the meter's resolution.
//!
//! What this crate never does: use the device's Modbus or SunSpec code (a shared mistake would hide), read its own
//! registers back to find out what they state, or know anything of gateway and ingest.

mod check;
mod config;
mod curve;
pub mod demo;
mod device;
mod faults;
mod journal;
mod keys;
mod maps;
mod oracle;
mod physics;
mod points;
mod quantity;
mod recording;
mod server;
mod signal;
mod simulation;
mod solar;
mod timeline;

pub use check::{CLOCK_ADDRESS, DEVICES_MAX};
pub use faults::FAULTS_MAX;
pub use recording::SourceName;
pub use server::{CONNECTIONS_MAX, Options, RunningSimulator, Simulator, StartError, Transport};
pub use simulation::Simulation;

/// A complete, commented example of `simulation.toml`; a test holds it parseable.
pub const EXAMPLE: &str = include_str!("../demo/example.toml");
/// A complete, commented example of a fault list; a test holds it parseable.
pub const FAULTS_EXAMPLE: &str = include_str!("../demo/faults-example.toml");
