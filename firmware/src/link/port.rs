//! What the link needs from outside, and what it tells.

use core::future::Future;

use embassy_time::Instant;
use embedded_io_async::{Read, Write};
use taraz_telemetry::{Channel, FRAME_LEN_MAX};

/// Opens connections to the broker: the one thing in which boards and computers differ.
pub trait Connector {
    /// An open byte stream. Dropping a read or write that has not finished must lose nothing.
    type Io: Read + Write;
    /// Opens one.
    ///
    /// # Errors
    /// [`ReachError`]: it will be tried again.
    fn connect(&mut self) -> impl Future<Output = Result<Self::Io, ReachError>>;
}

/// Why a server can't be reached: each has another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReachError {
    /// This device has no network address.
    NoNetwork,
    /// The server is given by name, and nobody says its address.
    NoName,
    /// There is no way to it, or it does not listen.
    NoWay,
}

/// What the link carries: the device behind it.
pub trait Post {
    /// The next frame to publish, if there is one; it counts as published.
    fn next_frame<'b>(&self, now: Instant, buffer: &'b mut [u8; FRAME_LEN_MAX]) -> Option<&'b [u8]>;
    /// When `next_frame` has something again even if nothing changes.
    fn next_due(&self) -> Option<Instant>;
    /// Resolves when there may be something new to publish, or a stop.
    fn changed(&self) -> impl Future<Output = ()>;
    /// A message came on this channel.
    fn received(&self, now: Instant, channel: Channel, payload: &[u8]);
    /// How the session is.
    fn event(&self, now: Instant, event: LinkEvent);
    /// The link shall end.
    fn is_stopping(&self) -> bool;
}

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// Signed in and subscribed.
    Connected,
    /// The broker refused a publication with this reason code; the frame will be published again.
    PublishRefused {
        /// MQTT 5 reason code, 0x80 or above.
        reason_code: u8,
    },
    /// The connection failed or ended; the next follows after a wait.
    Failed {
        /// Why.
        error: LinkError,
        /// How long the wait is.
        retry_ms: u64,
    },
    /// Ended because it was told to.
    Stopped,
}

/// Why a connection failed or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// This device has no network address.
    #[error("this device has no network address yet; `net` says more")]
    NoNetwork,
    /// The broker's name has no address.
    #[error(
        "no DNS server knows the broker's name; check the name and the DNS server, or set the broker's address"
    )]
    NoName,
    /// No connection could be opened.
    #[error("the broker can't be reached; check its address, its port, and that it runs")]
    Unreachable,
    /// The broker answered CONNECT with a reason code of 0x80 or above.
    #[error("the broker refused the sign-in (reason {reason_code:#04x}); check device id and key")]
    SignInRefused {
        /// MQTT 5 reason code.
        reason_code: u8,
    },
    /// The broker does not let the device listen to its own acknowledgements.
    #[error("the broker refused the subscription (reason {reason_code:#04x}); check its access rules")]
    SubscriptionRefused {
        /// MQTT 5 reason code.
        reason_code: u8,
    },
    /// Connecting, signing in or writing took too long.
    #[error("the broker did not answer in time; check its address and port, and the firewall")]
    TimedOut,
    /// Publications stayed without PUBACK.
    #[error("the broker accepts publications and does not acknowledge them")]
    NoPuback,
    /// The connection broke or was closed.
    #[error("the connection to the broker was lost")]
    Lost,
    /// What came is not MQTT 5, or does not fit our buffers.
    #[error("the broker sent what is not MQTT 5 or is too long")]
    Malformed,
}

impl From<ReachError> for LinkError {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::NoNetwork => Self::NoNetwork,
            ReachError::NoName => Self::NoName,
            ReachError::NoWay => Self::Unreachable,
        }
    }
}

/// How the link behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// MQTT keep-alive in s, 10 to 3600.
    pub keep_alive_s: u16,
    /// The first wait before connecting again, in ms.
    pub backoff_min_ms: u64,
    /// The longest wait before connecting again, in ms.
    pub backoff_max_ms: u64,
    /// The shortest wait after the broker refused the sign-in, in ms (`docs/protocol.md`, 4: "at least 10 s").
    pub refused_wait_ms: u64,
    /// How long the broker may leave a publication without PUBACK before the connection is given up, in ms.
    pub puback_timeout_ms: u64,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            keep_alive_s: 60,
            backoff_min_ms: 1_000,
            backoff_max_ms: 60_000,
            refused_wait_ms: 10_000,
            puback_timeout_ms: 30_000,
        }
    }
}
