//! What end-to-end tests share: real servers on loopback, processes with their output, conditions with a deadline.
//!
//! Every server gets a folder and a port of its own and is killed when its guard is dropped; nothing else is ever
//! killed. Every wait has a deadline and names what it waits for. Nothing is skipped: a program that is missing fails the
//! test with the command that installs it. All functions panic instead of returning errors, with the last output of
//! the process concerned: they are for tests only.

mod disk;
mod emulator;
mod fake_clock;
mod http;
mod packets;
mod ports;
mod process;
mod programs;
mod road;
mod servers;
mod service;
mod time_server;
mod wait;
mod webhook;

pub use disk::SmallDisk;
pub use emulator::{Emulator, HOST_IN_EMULATOR, Machine};
pub use fake_clock::FakeClock;
pub use http::{Response, get, request};
pub use ports::{free_port, free_ports};
pub use process::{Process, Signal};
pub use programs::{python, require};
pub use road::{Road, Traffic};
pub use servers::{Alertmanager, Influxd, Mosquitto, MosquittoOptions, Prometheus, Sample, VictoriaMetrics};
pub use time_server::TimeServer;
pub use wait::{wait_for, wait_until};
pub use webhook::Webhook;
