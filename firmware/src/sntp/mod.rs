//! UTC from a time server: an SNTP client (RFC 4330), with the checks of NTP version 4 (RFC 5905) on what comes back.
//!
//! In: a [`TimeSource`], which carries datagrams, and the instants at which they went and came. Out: samples of UTC with an
//! error that can be vouched for, handed to [`Device::sync`](crate::Device::sync). The packets ([`packet`]) and the schedule
//! ([`rounds`]) are state machines without IO; [`Sntp::run`] drives them, beside polls and link, which never wait for it.
//!
//! What it never does: believe an answer to something else than its last question, give up, set a clock by itself, ask more
//! often than it was told to (a kiss-o'-death slows it down for good).

mod packet;
mod rounds;
#[cfg(test)]
mod rounds_tests;
mod run;

use core::future::Future;

use crate::link::ReachError;

pub use packet::{KissCode, SNTP_LEN, SntpRefusal};
pub use rounds::{SNTP_INTERVAL_MS_MAX, SNTP_PAUSE_DENIED_MS, SNTP_SAMPLES};
pub use run::{SNTP_ANSWER_TIMEOUT_MS, Sntp, SntpFailure};

/// Carries datagrams to and from the one time server that is configured; server and port stand in the configuration page.
///
/// Both futures may be dropped at any await and must leave the source usable. Neither needs a time-out of its own.
pub trait TimeSource {
    /// Throws away what is still waiting from earlier, looks the server's name up (again), sends `request` and waits for a
    /// datagram from the server. Returns how many bytes of it are in `answer`; what is longer is cut.
    ///
    /// # Errors
    /// No address, no route, no socket; it is tried again later.
    fn exchange(
        &mut self,
        request: &[u8; SNTP_LEN],
        answer: &mut [u8; SNTP_LEN],
    ) -> impl Future<Output = Result<usize, ReachError>>;

    /// Waits for another datagram from the server, after one that answered something else.
    ///
    /// # Errors
    /// As [`Self::exchange`].
    fn receive(&mut self, answer: &mut [u8; SNTP_LEN]) -> impl Future<Output = Result<usize, ReachError>>;
}
