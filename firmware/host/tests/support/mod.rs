//! What the tests run a device against: a real Mosquitto, a gateway that acknowledges what it got, meters of our own.
//!
//! Nothing here uses the code under test but the contract crate; the meters encode Modbus by hand.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    dead_code,
    unreachable_pub,
    missing_docs
)]

mod gateway;
mod meters;
mod mosquitto;
mod proxy;

pub use gateway::{Gateway, master_key};
pub use meters::Meters;
pub use mosquitto::Mosquitto;
pub use proxy::Proxy;

use std::time::{Duration, Instant};

/// Waits for a condition; fails with `what` when it does not come true in time.
pub async fn eventually(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < deadline, "not within {deadline:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
