//! The gateway from outside: real sockets, real clients, a real broker, and peers that misbehave.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod broker;
mod conformance;
mod exchange;
mod forward;
mod http;
mod listener;
mod mosquitto;
mod overload;
mod raw;
mod rig;
mod session;
mod start;
mod throughput;
