//! What all boards share: everything between a board's drivers and the device library.
//!
//! A board brings a network driver, a UART for the bus and one for the console, a flash and a [`Watchdog`]. This crate
//! brings the rest: the console's output and the log ([`say!`]), the network's configuration, connections for MQTT
//! ([`Broker`]) and SNTP ([`TimeServer`]), the record of a panic, the stack's high-water mark, and [`guard`], which feeds the
//! watchdog only while every task is alive.
//!
//! What it never does: allocate, know a pin, hold logic that a test on a computer should see (that is in
//! `taraz_firmware`).
#![no_std]

mod broker;
mod console;
mod device_tasks;
#[allow(unsafe_code, reason = "a fault handler begins in assembly")]
mod fault;
mod flash;
mod guard;
mod host;
mod log;
mod narrator;
mod network;
mod peer;
mod retained;
mod setup;
mod stack;
mod tasks;
mod time_server;
#[cfg(feature = "w5500")]
mod w5500;
mod wiring;

pub use broker::{Broker, BrokerIo};
pub use console::serve_console;
pub use flash::SharedFlash;
pub use guard::{GUARD_INTERVAL_MS, Watchdog};
pub use host::BoardHost;
pub use log::{ConsoleWriter, pump_console, say, wait_until_said};
pub use narrator::Narrator;
pub use retained::restart;
pub use setup::{Begun, Failed, SetupError, begin, wait_for_help};
pub use tasks::{BoardHealth, BoardLink, CLOCK_TASK, LINK_TASK, METERS_TASK};
pub use time_server::TimeServer;
#[cfg(feature = "w5500")]
pub use w5500::{EthernetSocket, LateEthernet, W5500_SPI_HZ_MAX, W5500Lines};
pub use wiring::{
    Base, BoardBus, BoardDevice, BoardNetwork, Room, Started, StartedNetwork, Wired, run_network, start,
    watch,
};
