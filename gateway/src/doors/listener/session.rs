//! One connection: moves bytes between socket and engine, waits for commits, room and time.
//!
//! Reads only while there is room: with the spool's queue full or too many frames in flight, the socket is left alone,
//! and TCP tells the client. Nothing that was read is ever dropped unanswered while the connection stands.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use taraz_telemetry::RecordRange;

use crate::doors::Doorway;
use crate::doors::acks::AckRanges;
use crate::doors::pending::Pending;
use crate::metrics::{ConnectRejected, SessionEnd};
use crate::spool::{Committed, CommittedSender, Room, SpoolError, committed_channel};
use crate::time::now_ms;
use crate::validate::{Accepted, KnownDevice};

use super::engine::{Answer, Engine, Fast, Goodbye, Will};
use super::hub::{Hub, Seat};
use super::{CONNECT_TIMEOUT, IDLE_MAX, IN_FLIGHT_MAX, LAST_WRITE_TIMEOUT, OUTBOUND_LEN_MAX, SHUTDOWN_GRACE};

/// Bytes taken from the socket at once.
const READ_LEN: usize = 8 << 10;
/// Commits heard of at once.
const COMMITTED_MAX: usize = 256;

pub(super) struct Session<E> {
    pub(super) door: Doorway,
    pub(super) hub: Arc<Hub>,
    pub(super) peer: SocketAddr,
    pub(super) engine: E,
    pub(super) signed_in: Option<SignedIn>,
    pub(super) pending: Pending<Option<u16>, RecordRange, Answer>,
    pub(super) waiting: Option<Waiting>,
    pub(super) committed_sender: CommittedSender,
    committed: mpsc::UnboundedReceiver<Committed>,
    stream: TcpStream,
    /// Read, but not taken by the engine yet.
    input: Vec<u8>,
    heard_at: Instant,
    /// The device is above its rate: until then nothing more of it is read.
    held_until: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// What a session has once its CONNECT was accepted.
pub(super) struct SignedIn {
    pub(super) device: Arc<KnownDevice>,
    pub(super) seat: Seat,
    pub(super) will: Option<Will>,
    /// It has subscribed to its `/ack`.
    pub(super) wants_acks: bool,
    pub(super) commands: bool,
    /// Committed, and not in an `/ack` yet.
    pub(super) ranges: AckRanges,
    /// Ranges in one `/ack`; halved for a client that takes only small packets.
    pub(super) ack_ranges_max: usize,
}

/// A frame for which the spool's queue has no room yet.
pub(super) struct Waiting {
    pub(super) accepted: Accepted,
    pub(super) received_ms: u64,
    pub(super) number: u64,
    pub(super) room: Pin<Box<dyn Future<Output = Result<Room, SpoolError>> + Send>>,
}

/// Why a session ends.
#[derive(Debug)]
pub(super) enum Leave {
    /// The connection broke.
    Gone,
    /// The client said goodbye.
    Client { publish_will: bool },
    /// We say goodbye.
    Us(Goodbye),
    /// The CONNECT was refused, and answered.
    Refused,
    /// The client broke the protocol.
    Broken(String),
    /// The spool has ended.
    Closed,
}

impl Leave {
    const fn end(&self) -> SessionEnd {
        match self {
            Self::Gone => SessionEnd::Gone,
            Self::Client { .. } => SessionEnd::Goodbye,
            Self::Us(Goodbye::ShuttingDown) | Self::Closed => SessionEnd::Closing,
            Self::Us(Goodbye::TakenOver) => SessionEnd::TakenOver,
            Self::Us(Goodbye::KeepAlive) => SessionEnd::KeepAlive,
            Self::Us(Goodbye::TooSlow) => SessionEnd::TooSlow,
            Self::Us(Goodbye::QosNotSupported | Goodbye::TopicInvalid) | Self::Refused | Self::Broken(_) => {
                SessionEnd::Protocol
            }
        }
    }
}

impl<E: Engine> Session<E> {
    pub(super) fn new(door: Doorway, hub: Arc<Hub>, stream: TcpStream, peer: SocketAddr, engine: E) -> Self {
        let (committed_sender, committed) = committed_channel();
        let heard_at = Instant::now();
        Self {
            door,
            hub,
            peer,
            engine,
            signed_in: None,
            pending: Pending::default(),
            waiting: None,
            committed_sender,
            committed,
            stream,
            input: Vec::new(),
            heard_at,
            held_until: None,
            timer: Box::pin(sleep_until(heard_at + CONNECT_TIMEOUT)),
        }
    }

    pub(super) async fn run(mut self) {
        let leave = self.serve().await;
        let device = self
            .signed_in
            .as_ref()
            .map_or("nobody", |who| who.device.id.as_str());
        tracing::debug!(peer = %self.peer, device, ?leave, "an MQTT session ends");
        if let Leave::Broken(what) = &leave {
            tracing::info!(peer = %self.peer, device, what, "an MQTT client broke the protocol");
        }
        match self.signed_in {
            Some(_) => self.door.metrics.session_ended(leave.end()),
            None => self.count_rejected(&leave),
        }
        let publish_will = match &leave {
            Leave::Client { publish_will } => *publish_will,
            Leave::Refused | Leave::Us(Goodbye::ShuttingDown) => false,
            _ => true,
        };
        if publish_will {
            self.publish_will();
        }
        if let Leave::Us(goodbye) = leave {
            self.engine.goodbye(goodbye);
        }
        if !matches!(leave, Leave::Gone) {
            self.write_last().await;
        }
    }

    async fn serve(&mut self) -> Leave {
        let mut committed = Vec::new();
        loop {
            if let Err(leave) = self.write_some() {
                return leave;
            }
            let reading = self.may_take();
            let writing = !self.engine.output().is_empty();
            let interest = match (reading, writing) {
                (true, true) => Interest::READABLE | Interest::WRITABLE,
                (false, true) => Interest::WRITABLE,
                _ => Interest::READABLE,
            };
            let step = tokio::select! {
                biased;
                () = self.door.stop.cancelled() => {
                    self.drain().await;
                    return Leave::Us(Goodbye::ShuttingDown);
                }
                _ = self.committed.recv_many(&mut committed, COMMITTED_MAX) => {
                    self.on_committed(&mut committed);
                    self.resume()
                }
                other = other_range(&mut self.signed_in) => self.on_other_range(other),
                room = room(&mut self.waiting) => self.on_room(room).and_then(|()| self.resume()),
                ready = self.stream.ready(interest), if reading || writing => match ready {
                    Ok(ready) if reading && (ready.is_readable() || ready.is_read_closed()) => self.read_some(),
                    Ok(_) => Ok(()),
                    Err(_) => Err(Leave::Gone),
                },
                () = &mut self.timer => self.on_timer(reading),
            };
            if let Err(leave) = step {
                return leave;
            }
        }
    }

    /// Counts a frame against the device's rate.
    pub(super) fn spend(&mut self) {
        let Some(who) = &self.signed_in else { return };
        let now = Instant::now();
        if let Some(wait) = who.seat.allowance.take(1, now) {
            self.door.metrics.throttled.inc();
            let until = now + wait;
            self.held_until = Some(until);
            // Usually set to a far later keep-alive.
            let next = until.min(self.timer.deadline());
            self.timer.as_mut().reset(next);
        }
    }

    /// There is room for what the client sends next.
    fn may_take(&self) -> bool {
        self.held_until.is_none() && self.waiting.is_none() && self.pending.len() < usize::from(IN_FLIGHT_MAX)
    }

    fn read_some(&mut self) -> Result<(), Leave> {
        let mut buffer = [0; READ_LEN];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err(Leave::Gone),
            Ok(len) => {
                self.heard_at = Instant::now();
                if self.input.is_empty() {
                    self.take(&buffer[..len])
                } else {
                    // Behind the beginning of a packet.
                    self.input.extend_from_slice(&buffer[..len]);
                    self.resume()
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Leave::Gone),
        }
    }

    /// Gives bytes to the engine packet by packet, as long as there is room for what they bring.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), Leave> {
        while !bytes.is_empty() {
            if !self.may_take() {
                self.input.extend_from_slice(bytes);
                return Ok(());
            }
            match self.engine.frame(&mut bytes) {
                Fast::Frame { packet_id, payload } => self.on_frame(packet_id, payload)?,
                Fast::More => {
                    self.input.extend_from_slice(bytes);
                    return Ok(());
                }
                Fast::No => {
                    if let Some(event) = self.engine.receive(&mut bytes) {
                        self.on_event(event)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Leave> {
        if self.input.is_empty() || !self.may_take() {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        self.take(&input)
    }

    fn write_some(&mut self) -> Result<(), Leave> {
        let output = self.engine.output();
        while !output.is_empty() {
            match self.stream.try_write(output) {
                Ok(len) => {
                    output.drain(..len);
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Leave::Gone),
            }
        }
        if output.is_empty() && output.capacity() > READ_LEN {
            // A burst is over; thousands of connections at rest need no buffers.
            *output = Vec::new();
        }
        if output.len() > OUTBOUND_LEN_MAX {
            Err(Leave::Us(Goodbye::TooSlow))
        } else {
            Ok(())
        }
    }

    async fn write_last(&mut self) {
        let output = std::mem::take(self.engine.output());
        let last = async {
            self.stream.write_all(&output).await?;
            self.stream.shutdown().await
        };
        // It is gone, or does not read: nothing more can be done for it.
        let _ = timeout(LAST_WRITE_TIMEOUT, last).await;
    }

    fn on_room(&mut self, room: Result<Room, SpoolError>) -> Result<(), Leave> {
        let Some(waiting) = self.waiting.take() else {
            return Ok(());
        };
        let room = room.map_err(|_| Leave::Closed)?;
        let Waiting {
            accepted,
            received_ms,
            number,
            ..
        } = waiting;
        self.door
            .spool
            .submit(room, accepted, received_ms, self.committed_sender.clone(), number);
        Ok(())
    }

    fn on_committed(&mut self, committed: &mut Vec<Committed>) {
        let mut fresh = AckRanges::default();
        for number in committed.drain(..).flatten() {
            if let Some(range) = self.pending.committed(number, Answer::Success) {
                fresh.add(range);
            }
        }
        self.answer();
        if let Some(who) = &mut self.signed_in
            && !fresh.is_empty()
        {
            who.seat.tell_others(fresh.iter());
            if who.wants_acks {
                fresh.iter().for_each(|range| who.ranges.add(*range));
            }
        }
        self.send_acks();
    }

    fn on_other_range(&mut self, other: Option<RecordRange>) -> Result<(), Leave> {
        // The hub has dropped its end: another session has our seat.
        let range = other.ok_or(Leave::Us(Goodbye::TakenOver))?;
        if let Some(who) = self.signed_in.as_mut().filter(|who| who.wants_acks) {
            who.ranges.add(range);
        }
        self.send_acks();
        Ok(())
    }

    /// The timer is set to the earliest time at which something could be due; usually it only has to be set again.
    fn on_timer(&mut self, reading: bool) -> Result<(), Leave> {
        let now = Instant::now();
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            self.resume()?;
        }
        let silence = match (&self.signed_in, self.engine.keep_alive()) {
            (None, _) => return Err(Leave::Us(Goodbye::KeepAlive)),
            (Some(_), Some(keep_alive)) => keep_alive,
            (Some(_), None) => IDLE_MAX,
        };
        if !reading {
            // It is us who do not listen.
            self.heard_at = now;
        }
        if self.heard_at + silence <= now {
            return Err(Leave::Us(Goodbye::KeepAlive));
        }
        let next = self.heard_at + silence;
        let next = self.held_until.map_or(next, |until| until.min(next));
        self.timer.as_mut().reset(next);
        Ok(())
    }

    /// The client has signed in: from now on its keep-alive counts.
    pub(super) fn start_keep_alive(&mut self) {
        let silence = self.engine.keep_alive().unwrap_or(IDLE_MAX);
        self.timer.as_mut().reset(self.heard_at + silence);
    }

    /// The door closes: what is on its way into the spool is still acknowledged, nothing more is taken.
    async fn drain(&mut self) {
        if self.waiting.take().is_some() {
            self.pending.take_back_newest();
        }
        let all = async {
            let mut committed = Vec::new();
            while self.pending.len() > 0 {
                self.committed.recv_many(&mut committed, COMMITTED_MAX).await;
                self.on_committed(&mut committed);
            }
        };
        if timeout(SHUTDOWN_GRACE, all).await.is_err() {
            tracing::warn!(peer = %self.peer, frames = self.pending.len(), "closed before these frames were committed");
        }
    }

    fn publish_will(&mut self) {
        if let Some(who) = &mut self.signed_in
            && let Some(will) = who.will.take()
        {
            who.seat.set_state(&will.payload, now_ms());
        }
    }

    fn count_rejected(&self, leave: &Leave) {
        let reason = match leave {
            Leave::Us(Goodbye::KeepAlive) => ConnectRejected::Timeout,
            Leave::Broken(_) => ConnectRejected::Protocol,
            // A refusal was counted with its reason; who came and went has done nothing.
            _ => return,
        };
        self.door.metrics.connect_rejected(reason);
    }
}

async fn other_range(signed_in: &mut Option<SignedIn>) -> Option<RecordRange> {
    match signed_in {
        Some(who) => who.seat.ranges.recv().await,
        None => std::future::pending().await,
    }
}

async fn room(waiting: &mut Option<Waiting>) -> Result<Room, SpoolError> {
    match waiting {
        Some(waiting) => waiting.room.as_mut().await,
        None => std::future::pending().await,
    }
}
