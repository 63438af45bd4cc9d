//! Serving a simulation: a TCP listener per bus, RTU over TCP or Modbus TCP, and a pty beside it.

mod connection;
mod pty;
mod start;

pub use start::{CONNECTIONS_MAX, Options, RunningSimulator, Simulator, StartError, Transport};
