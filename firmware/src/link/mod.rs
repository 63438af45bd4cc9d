//! From the queue to the gateway and back: which records go next, and the MQTT 5 session that carries them.
//!
//! [`Courier`] is the state machine: lanes, frames, what is in flight, what has to be sent again. It alone frees records, and
//! only on an acknowledgement that the gateway signed. [`Link`] is the session: it opens connections through a
//! [`Connector`], signs in, publishes what its [`Post`] hands it and hands back what arrives; it knows nothing of records.
//!
//! What neither ever does: free a record because the broker acknowledged it, block the polls, give up.

mod backoff;
mod courier;
#[cfg(test)]
mod courier_tests;
mod flights;
mod jitter;
mod lanes;
mod port;
mod run;
mod session;

pub use backoff::Backoff;
pub use courier::Courier;
pub use jitter::Jitter;
pub use lanes::{
    BACKFILL_IN_FLIGHT_MAX, CourierSettings, LIVE_IN_FLIGHT_MAX, LIVE_KEPT_RECORDS, LIVE_LAG_RECORDS_MAX,
    Lane, Outgoing, PARKED_IN_FLIGHT_MAX,
};
pub use port::{Connector, LinkError, LinkEvent, LinkSettings, Post, ReachError};
pub use session::{LINK_RX_LEN, LINK_TX_LEN_MIN, Link, link_tx_len};
