//! A world for tests of the whole device: simulated time, a network in memory, a broker and a gateway behind it that fail
//! when told to. Hours pass in a moment, and the same way every time.

mod broker;
mod bus_tests;
mod link_tests;
mod mqtt;
mod net;
mod sntp_tests;
mod time;

pub(crate) use broker::{Broker, Mode};
pub(crate) use time::{World, now_ms};
