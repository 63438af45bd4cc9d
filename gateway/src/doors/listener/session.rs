//! One connection: its bytes → engine → dialogue → bytes, without waiting for anything.
//!
//! Whoever owns it says when its socket is ready, what was committed, when its time has come; what it has for the others leaves
//! by the turn. It reads only while there is room for what it would bring: fewer than `in_flight_max` frames wait for their
//! commit, none waits for room in the spool, and the device keeps to its rate. Otherwise TCP stops the client. Nothing that was
//! read is ever dropped unanswered while the connection stands.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use mio::net::TcpStream;
use taraz_telemetry::RecordRange;

use crate::doors::acks::AckRanges;
use crate::doors::pending::Pending;
use crate::spool::{Room, SpoolError};
use crate::validate::{Accepted, KnownDevice};

use super::engine::{Answer, Engine, Fast, Goodbye, Will};
use super::farewell::Leave;
use super::hub::Seat;
use super::line::Lane;
use super::turn::{SessionId, Shared, Turn};
use super::{CONNECT_TIMEOUT, IDLE_MAX, OUTBOUND_LEN_MAX, READ_LEN};

/// An empty buffer that is larger than this is given back: thousands of connections at rest need none.
const KEPT_LEN_MAX: usize = 256;

pub(super) struct Session<E> {
    pub(super) shared: Rc<Shared>,
    pub(super) id: SessionId,
    pub(super) peer: SocketAddr,
    pub(super) engine: E,
    pub(super) signed_in: Option<Box<SignedIn>>,
    pub(super) pending: Pending<Option<u16>, RecordRange, Answer>,
    pub(super) waiting: Option<Box<Waiting>>,
    /// Something of it, or of another session of its device, was committed in this turn.
    pub(super) is_touched: bool,
    /// It is among those that may have more to read.
    pub(super) is_queued: bool,
    /// When it is looked at, as the timers have it.
    pub(super) due: Option<Instant>,
    stream: TcpStream,
    /// Read, but not taken by the engine yet.
    input: Vec<u8>,
    heard_at: Instant,
    /// The device is above its rate: until then nothing more of it is read.
    held_until: Option<Instant>,
    /// The socket may have more.
    is_readable: bool,
    /// The client has closed its side: nothing tells of the end again once everything before it was read.
    is_read_closed: bool,
    pub(super) stage: Stage,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// The door closes: what is on its way into the spool is still acknowledged, nothing more is taken.
    Draining,
    /// Its last packet is on its way; until then it may be.
    Ending(Instant),
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

impl Waiting {
    pub(super) const fn lane(&self) -> Lane {
        Lane::of(self.accepted.is_live)
    }
}

impl<E: Engine> Session<E> {
    pub(super) fn new(
        shared: Rc<Shared>,
        id: SessionId,
        stream: TcpStream,
        peer: SocketAddr,
        engine: E,
        now: Instant,
    ) -> Self {
        Self {
            shared,
            id,
            peer,
            engine,
            signed_in: None,
            pending: Pending::default(),
            waiting: None,
            is_touched: false,
            is_queued: false,
            due: None,
            stream,
            input: Vec::new(),
            heard_at: now,
            held_until: None,
            is_readable: false,
            is_read_closed: false,
            stage: Stage::Open,
        }
    }

    pub(super) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The socket has something, or the end of everything.
    pub(super) const fn readable(&mut self, is_closed: bool) {
        self.is_readable = true;
        self.is_read_closed |= is_closed;
    }

    /// There is more to read, and room for it.
    pub(super) fn wants_turn(&self) -> bool {
        self.is_readable && self.may_take()
    }

    /// Counts a frame against the device's rate.
    pub(super) fn spend(&mut self, turn: &Turn) {
        let Some(who) = &self.signed_in else { return };
        if let Some(wait) = who.seat.allowance.take(1, turn.now) {
            self.shared.door.metrics.throttled.inc();
            self.held_until = Some(turn.now + wait);
        }
    }

    /// There is room for what the client sends next.
    fn may_take(&self) -> bool {
        self.stage == Stage::Open
            && self.held_until.is_none()
            && self.waiting.is_none()
            && self.pending.len() < usize::from(self.shared.door.in_flight_max)
    }

    /// Reads once.
    pub(super) fn read(&mut self, turn: &mut Turn) -> Result<(), Leave> {
        if !self.wants_turn() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut turn.buffer);
        let read = self.stream.read(&mut buffer);
        let has_come = read.is_ok();
        let step = match read {
            Ok(0) => Err(Leave::Gone),
            Ok(len) => {
                // epoll(7): less than was asked for means that the socket is empty, and that more of it will be told.
                self.is_readable = len == READ_LEN || self.is_read_closed;
                if self.input.is_empty() {
                    self.take(&buffer[..len], turn)
                } else {
                    // Behind the beginning of a packet.
                    self.input.extend_from_slice(&buffer[..len]);
                    self.resume(turn)
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(_) => Err(Leave::Gone),
        };
        turn.buffer = buffer;
        if has_come && self.signed_in.is_some() {
            // Until then its time counts from the start, however slowly it sends its CONNECT.
            self.heard_at = turn.now;
        }
        step
    }

    /// Gives bytes to the engine packet by packet, as long as there is room for what they bring.
    fn take(&mut self, mut bytes: &[u8], turn: &mut Turn) -> Result<(), Leave> {
        while !bytes.is_empty() {
            if !self.may_take() {
                self.input.extend_from_slice(bytes);
                return Ok(());
            }
            match self.engine.frame(&mut bytes) {
                Fast::Frame { packet_id, payload } => self.on_frame(packet_id, payload, turn)?,
                Fast::More => {
                    self.input.extend_from_slice(bytes);
                    return Ok(());
                }
                Fast::No => {
                    if let Some(event) = self.engine.receive(&mut bytes) {
                        self.on_event(event, turn)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Goes on with what was read.
    pub(super) fn resume(&mut self, turn: &mut Turn) -> Result<(), Leave> {
        if self.input.is_empty() || !self.may_take() {
            return Ok(());
        }
        let input = std::mem::take(&mut self.input);
        self.take(&input, turn)
    }

    /// Writes what the socket takes; it tells when it takes more.
    pub(super) fn write(&mut self) -> Result<(), Leave> {
        let output = self.engine.output();
        while !output.is_empty() {
            match self.stream.write(output) {
                Ok(len) => {
                    output.drain(..len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Leave::Gone),
            }
        }
        if output.is_empty() && output.capacity() > KEPT_LEN_MAX {
            *output = Vec::new();
        }
        if output.len() > OUTBOUND_LEN_MAX {
            Err(Leave::Us(Goodbye::TooSlow))
        } else {
            Ok(())
        }
    }

    /// Asks for the room that a frame waits for. False when there is none yet; `waker` is told.
    pub(super) fn ask_for_room(&mut self, waker: &Waker, turn: &mut Turn) -> Result<bool, Leave> {
        let Some(waiting) = &mut self.waiting else {
            return Ok(true);
        };
        let Poll::Ready(room) = waiting.room.as_mut().poll(&mut Context::from_waker(waker)) else {
            return Ok(false);
        };
        let room = room.map_err(|_| Leave::Closed)?;
        if let Some(waiting) = self.waiting.take() {
            self.put(room, waiting.accepted, waiting.received_ms, waiting.number, turn);
        }
        self.resume(turn)?;
        Ok(true)
    }

    /// A frame of this number is durable.
    pub(super) fn committed(&mut self, number: u64, turn: &mut Turn) {
        let Some(range) = self.pending.committed(number, Answer::Success) else {
            return;
        };
        if let Some(who) = &mut self.signed_in {
            who.seat.tell_others(range, &mut turn.mail);
            if who.wants_acks {
                who.ranges.add(range);
            }
        }
    }

    /// After everything that a turn has committed of it.
    pub(super) fn settle(&mut self, turn: &mut Turn) -> Result<(), Leave> {
        self.is_touched = false;
        self.answer();
        self.send_acks()?;
        if self.is_drained() {
            return Err(Leave::Us(Goodbye::ShuttingDown));
        }
        self.resume(turn)
    }

    /// Another session of the device had this committed.
    pub(super) fn add_other_range(&mut self, range: RecordRange) {
        if let Some(who) = self.signed_in.as_mut().filter(|who| who.wants_acks) {
            who.ranges.add(range);
        }
    }

    /// Its time has come: usually it only has to be set again.
    pub(super) fn on_time(&mut self, turn: &mut Turn) -> Result<(), Leave> {
        let now = turn.now;
        if matches!(self.stage, Stage::Ending(until) if until <= now) {
            return Err(Leave::Gone);
        }
        if self.held_until.is_some_and(|until| until <= now) {
            self.held_until = None;
            self.resume(turn)?;
        }
        if self.signed_in.is_some() && (!self.may_take() || self.is_readable) {
            // It is us who do not listen, or have not listened until now.
            self.heard_at = now;
        }
        if self.stage == Stage::Open && self.silent_at() <= now {
            return Err(Leave::Us(Goodbye::KeepAlive));
        }
        Ok(())
    }

    /// When it has to be looked at next.
    pub(super) fn next_due(&self) -> Instant {
        match self.stage {
            Stage::Ending(until) => until,
            _ => self
                .held_until
                .unwrap_or_else(|| self.silent_at())
                .min(self.silent_at()),
        }
    }

    /// Without another packet it has been silent for too long then.
    fn silent_at(&self) -> Instant {
        let silence = match (&self.signed_in, self.engine.keep_alive()) {
            (None, _) => CONNECT_TIMEOUT,
            (Some(_), Some(keep_alive)) => keep_alive,
            (Some(_), None) => IDLE_MAX,
        };
        self.heard_at + silence
    }
}
