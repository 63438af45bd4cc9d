//! The client's loop: waits, asks, tells the device.

use embassy_time::{Duration, Instant, Timer, with_deadline};

use super::TimeSource;
use super::packet::{self, SNTP_LEN, SntpRefusal, TimeSample};
use super::rounds::Rounds;
use crate::app::{ClockEvent, Device, DeviceEvent, Observer};
use crate::link::{Jitter, ReachError};
use crate::queue::Queue;

/// How long an answer may take, in ms; one that took longer would say little.
pub const SNTP_ANSWER_TIMEOUT_MS: u64 = 5_000;
/// Datagrams that answer something else, before a question is given up: a flood must not hold up the others.
const FOREIGN_MAX: u32 = 8;

/// Why a question brought no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SntpFailure {
    /// This device has no network address.
    #[error("the time server can't be asked: this device has no network address yet; `net` says more")]
    NoNetwork,
    /// The server's name has no address.
    #[error(
        "no DNS server knows the time server's name; check the name and the DNS server, or set its address"
    )]
    NoName,
    /// Nothing could be sent or received.
    #[error("the time server can't be reached; check its address and the network")]
    Unreachable,
    /// Nothing came, or nothing that was for us.
    #[error("the time server did not answer within {SNTP_ANSWER_TIMEOUT_MS} ms; check its address and port")]
    NoAnswer,
    /// What came can't be believed.
    #[error(transparent)]
    Refused(#[from] SntpRefusal),
}

impl From<ReachError> for SntpFailure {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::NoNetwork => Self::NoNetwork,
            ReachError::NoName => Self::NoName,
            ReachError::NoWay => Self::Unreachable,
        }
    }
}

/// The client of one time server.
#[derive(Debug)]
pub struct Sntp<S> {
    source: S,
    rounds: Rounds,
    cookies: Jitter,
}

impl<S: TimeSource> Sntp<S> {
    /// A client that has not asked yet. `seed` makes its questions unpredictable to whoever can't see them: it should be
    /// random, and devices must not share it.
    #[must_use]
    pub const fn new(source: S, seed: u64) -> Self {
        Self {
            source,
            rounds: Rounds::new(seed.rotate_left(32)),
            cookies: Jitter::new(seed),
        }
    }

    /// Keeps the device's clock until the device stops. Polls and link go on meanwhile.
    pub async fn run<Q: Queue, O: Observer>(&mut self, device: &Device<Q, O>) {
        loop {
            let due = device.started() + Duration::from_millis(self.rounds.due_ms());
            if device.clock_until_stopped(Timer::at(due)).await.is_none() {
                return;
            }
            device.time_server_asked();
            let Some(answer) = device.clock_until_stopped(self.ask(device.started())).await else {
                return;
            };
            device.time_server_answered(answer.map(|_| ()));
            let now = Instant::now();
            let now_ms = now.saturating_duration_since(device.started()).as_millis();
            let told = match answer {
                Ok(sample) => self.rounds.answered(now_ms, sample),
                Err(failure) => self.rounds.failed(now_ms, failure),
            };
            if let Some(sample) = told {
                let outcome = device.sync_at(now_ms, sample.utc_ms, sample.error_ms);
                self.rounds.told(now_ms, outcome);
            }
            if let Err(failure) = answer {
                let retry_ms = self.rounds.due_ms().saturating_sub(now_ms);
                device
                    .observer()
                    .event(&DeviceEvent::Clock(ClockEvent::Failed { failure, retry_ms }));
            }
        }
    }

    /// One question and its answer.
    async fn ask(&mut self, started: Instant) -> Result<TimeSample, SntpFailure> {
        let cookie = self.cookies.bits();
        let request = packet::request(cookie);
        let mut answer = [0; SNTP_LEN];
        let since_start_ms = |now: Instant| now.saturating_duration_since(started).as_millis();
        let sent = Instant::now();
        let deadline = sent + Duration::from_millis(SNTP_ANSWER_TIMEOUT_MS);
        let mut received = with_deadline(deadline, self.source.exchange(&request, &mut answer)).await;
        let mut silence = SntpFailure::NoAnswer;
        for _ in 0..FOREIGN_MAX {
            let len = received.map_err(|_| silence)?.map_err(SntpFailure::from)?;
            let datagram = answer.get(..len).unwrap_or(&answer);
            let now_ms = since_start_ms(Instant::now());
            match packet::check(datagram, cookie, since_start_ms(sent), now_ms) {
                Err(SntpRefusal::Foreign) => {}
                // May be anybody's: the right answer may still come.
                Err(SntpRefusal::Malformed) => silence = SntpFailure::Refused(SntpRefusal::Malformed),
                checked => return Ok(checked?),
            }
            received = with_deadline(deadline, self.source.receive(&mut answer)).await;
        }
        Err(silence)
    }
}
