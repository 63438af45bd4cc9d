//! Where frames come in: our own MQTT listener, and a session with an external broker.
//!
//! Both do the same with a message: validate, reserve room in the spool, submit, and when the commit has returned
//! acknowledge it at the MQTT level, in order of receipt, and to the device with its signed `/ack`.

mod acks;
mod broker;
mod listener;
mod pending;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::spool::Spool;
use crate::validate::{Refusals, Validator};

pub(crate) use broker::Broker;
pub use broker::IN_FLIGHT_MAX as BROKER_IN_FLIGHT_MAX;
pub use listener::{
    CONNECT_TIMEOUT, CONNECTS_MAX, IN_FLIGHT_DEFAULT, KEEP_ALIVE_MAX_S, OUTBOUND_LEN_MAX, PACKET_LEN_MAX,
    SESSIONS_PER_DEVICE_MAX, STATE_LEN_MAX,
};
pub(crate) use listener::{DeviceState, Hub, Listener};

/// What every door needs.
#[derive(Clone, Debug)]
pub(crate) struct Doorway {
    pub(crate) validator: Arc<Validator>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) metrics: Metrics,
    /// Frames of one connection to the listener that may wait for their commit.
    pub(crate) in_flight_max: u16,
    /// Cancelled when the doors close.
    pub(crate) stop: CancellationToken,
}
