//! The delivery path with real processes and a client made of bytes: what was acknowledged is durable, on disks that are full,
//! fail or can't be written, through restarts under load, and to the last fsync.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod client;
mod damaged;
mod disk;
mod durable;
mod herd;
mod restart;
mod spool;
