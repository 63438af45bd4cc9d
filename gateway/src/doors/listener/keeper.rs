//! The listener's thread: all sockets, and whose turn it is.
//!
//! One thread, because what a message costs is waking and telling: it reads whoever has something, hands all of their frames to
//! the committer at once, and answers whoever had something committed with one write each. A session that panics ends alone.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::doors::Doorway;
use crate::metrics::ConnectRejected;
use crate::spool::Receipt;

use super::farewell::Leave;
use super::hub::Hub;
use super::inbox::Inbox;
use super::line::{Lane, Line};
use super::protocol::ProtocolCore;
use super::session::Session;
use super::sessions::Sessions;
use super::strangers::Strangers;
use super::timers::Timers;
use super::turn::{SessionId, Shared, Turn};
use super::{ACCEPT_RETRY, SHUTDOWN_GRACE};

/// The tokens of the listening socket and of the inbox; no session has these numbers.
const LISTENER: Token = Token(usize::MAX);
pub(super) const INBOX: Token = Token(usize::MAX - 1);
/// Sockets that are looked at in one turn.
const EVENTS_MAX: usize = 1_024;

type Step = Result<(), Leave>;

pub(super) struct Keeper {
    poll: Poll,
    socket: TcpListener,
    connections_max: usize,
    shared: Rc<Shared>,
    sessions: Sessions<ProtocolCore>,
    strangers: Strangers,
    timers: Timers,
    turn: Turn,
    /// Sessions that may have more to read.
    again: VecDeque<SessionId>,
    /// Sessions with a frame that waits for room in the spool's queue.
    waiting: Line,
    room: Waker,
    /// After accept has failed.
    accept_at: Option<Instant>,
    /// The door closes; until then commits are waited for.
    closes_at: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(
        poll: Poll,
        mut socket: TcpListener,
        connections_max: usize,
        door: Doorway,
        hub: Arc<Hub>,
        inbox: Arc<Inbox>,
    ) -> std::io::Result<Self> {
        poll.registry()
            .register(&mut socket, LISTENER, Interest::READABLE)?;
        let room = Waker::from(Arc::clone(&inbox));
        let shared = Rc::new(Shared {
            door,
            hub,
            done: inbox.clone(),
            inbox,
        });
        Ok(Self {
            poll,
            socket,
            connections_max,
            shared,
            sessions: Sessions::default(),
            strangers: Strangers::default(),
            timers: Timers::default(),
            turn: Turn::new(),
            again: VecDeque::new(),
            waiting: Line::default(),
            room,
            accept_at: None,
            closes_at: None,
        })
    }

    /// Until the door has closed and the last session has ended.
    pub(super) fn run(mut self) -> std::io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        while self.closes_at.is_none() || !self.sessions.is_empty() {
            let wait = self.wait();
            self.take_turn(&mut events, wait)?;
        }
        Ok(())
    }

    /// Waits until there is something to do, and does it.
    fn take_turn(&mut self, events: &mut Events, wait: Option<Duration>) -> std::io::Result<()> {
        match self.poll.poll(events, wait) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            polled => polled?,
        }
        self.turn.begin();
        self.give_room();
        let again = self.again.len();
        for event in &*events {
            self.on_event(event);
        }
        for _ in 0..again {
            let Some(id) = self.again.pop_front() else { break };
            self.step(id, |session, turn| {
                session.is_queued = false;
                session.read(turn)
            });
        }
        self.on_inbox();
        self.on_time();
        // Those who have begun to wait in this turn are told of room from now on.
        self.give_room();
        self.end_of_turn();
        Ok(())
    }

    fn wait(&self) -> Option<Duration> {
        if !self.again.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = Instant::now();
        let times = [self.accept_at, self.closes_at, self.turn.rebuffs.due()];
        let times = times.into_iter().flatten();
        let times = times.map(|at| at.saturating_duration_since(now));
        times.chain(self.timers.wait(now)).min()
    }

    fn on_event(&mut self, event: &Event) {
        match event.token() {
            LISTENER => self.accept(),
            INBOX => {}
            Token(number) => {
                let id = SessionId::from_number(number as u64);
                let (is_read, is_closed) = (event.is_readable(), event.is_read_closed() || event.is_error());
                self.step(id, |session, turn| {
                    if is_read || is_closed {
                        session.readable(is_closed);
                    }
                    session.read(turn)
                });
            }
        }
    }

    fn accept(&mut self) {
        while self.closes_at.is_none() {
            match self.socket.accept() {
                Ok((stream, peer)) => self.admit(stream, peer),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    self.accept_at = Some(self.turn.now + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: std::net::SocketAddr) {
        if self.sessions.len() >= self.connections_max
            && let Some(stranger) = self.strangers.first_to_go()
        {
            self.step(stranger, |_, _| Err(Leave::Displaced));
        }
        if self.sessions.len() >= self.connections_max {
            self.shared
                .door
                .metrics
                .connect_rejected(ConnectRejected::TooMany);
            return;
        }
        // Acknowledgements are small and awaited; without this they would wait for each other.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, %peer, "can't set TCP_NODELAY");
        }
        let (shared, now) = (Rc::clone(&self.shared), self.turn.now);
        let id = self
            .sessions
            .add(|id| Box::new(Session::new(shared, id, stream, peer, ProtocolCore::new(), now)));
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        // A session's number fits: it is only used on machines of 64 bits.
        let token = Token(usize::try_from(id.number()).unwrap_or(usize::MAX));
        if let Err(error) = self.poll.registry().register(session.stream(), token, interest) {
            tracing::warn!(%error, %peer, "can't watch a connection");
            self.sessions.remove(id);
            return;
        }
        self.strangers.add(peer.ip(), id);
        self.step(id, |_, _| Ok(()));
    }

    /// Lets a session do something, writes what it has to say, and sees when it is due again.
    fn step(&mut self, id: SessionId, what: impl FnOnce(&mut Session<ProtocolCore>, &mut Turn) -> Step) {
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let turn = &mut self.turn;
        turn.others_wait = !self.waiting.is_empty();
        let (was_waiting, was_stranger) = (session.waiting.is_some(), session.signed_in.is_none());
        let is_over = unless_panicked(turn, |turn| {
            let step = what(session, turn).and_then(|()| session.write());
            step.is_err_and(|leave| session.end(leave, turn)) || session.is_over()
        })
        .unwrap_or_else(|| {
            tracing::error!(peer = %session.peer, "an MQTT session has panicked and is closed; the others go on");
            true
        });
        if was_stranger && (is_over || session.signed_in.is_some()) {
            self.strangers.forget(session.peer.ip(), id);
        }
        if is_over {
            if let Some(due) = session.due {
                self.timers.forget(id, due);
            }
            self.sessions.remove(id);
            return;
        }
        if session.wants_turn() && !std::mem::replace(&mut session.is_queued, true) {
            self.again.push_back(id);
        }
        if let Some(waiting) = session.waiting.as_ref().filter(|_| !was_waiting) {
            self.waiting.lane(waiting.lane()).push_back(id);
        }
        let next = session.next_due();
        if session.due.is_none_or(|due| next < due) {
            self.timers.set(id, session.due, next);
            session.due = Some(next);
        }
    }

    fn on_inbox(&mut self) {
        let told = self.shared.inbox.take();
        self.on_receipts(&told.receipts);
        if told.stop && self.closes_at.is_none() {
            self.close();
        }
    }

    fn on_receipts(&mut self, receipts: &[Receipt]) {
        let mut touched = Vec::new();
        for receipt in receipts {
            let id = SessionId::from_number(receipt.session);
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            session.committed(receipt.number, &mut self.turn);
            if !std::mem::replace(&mut session.is_touched, true) {
                touched.push(id);
            }
        }
        for (id, range) in std::mem::take(&mut self.turn.mail) {
            let Some(session) = self.sessions.get(id) else {
                continue;
            };
            session.add_other_range(range);
            if !std::mem::replace(&mut session.is_touched, true) {
                touched.push(id);
            }
        }
        for id in touched {
            self.step(id, Session::settle);
        }
    }

    /// Asks for room for either lane. The backlog's turn comes also when nothing is left for live frames: what the first of it has asked
    /// for before may have been given to it.
    fn give_room(&mut self) {
        Lane::ALL.into_iter().for_each(|lane| self.give_room_to(lane));
    }

    /// Asks in the order of waiting, until somebody gets none. Who got it and has another frame waits behind the others.
    fn give_room_to(&mut self, lane: Lane) {
        while let Some(id) = self.waiting.lane(lane).pop_front() {
            let (mut has_room, room) = (true, self.room.clone());
            self.step(id, |session, turn| {
                has_room = session.ask_for_room(&room, turn)?;
                Ok(())
            });
            if !has_room {
                self.waiting.lane(lane).push_front(id);
                return;
            }
            let session = self.sessions.get(id);
            if let Some(waiting) = session.and_then(|session| session.waiting.as_ref()) {
                self.waiting.lane(waiting.lane()).push_back(id);
            }
        }
    }

    fn on_time(&mut self) {
        let now = self.turn.now;
        while let Some(id) = self.timers.pop(now) {
            if let Some(session) = self.sessions.get(id) {
                session.due = None;
            }
            self.step(id, Session::on_time);
        }
        if self.accept_at.is_some_and(|at| at <= now) {
            self.accept_at = None;
            self.accept();
        }
        if let Some(connections) = self.turn.rebuffs.over(now) {
            tracing::info!(
                connections,
                "more were refused within this minute, of peers and names that were told, or of too many; \
                 gateway_connects_rejected_total counts all"
            );
        }
        if self.closes_at.is_some_and(|at| at <= now) {
            for id in self.sessions.ids() {
                self.step(id, |session, _| Err(session.give_up()));
            }
            self.closes_at = Some(now + SHUTDOWN_GRACE);
        }
    }

    /// Who has lost its seat, and what the sessions have for the committer.
    fn end_of_turn(&mut self) {
        for id in std::mem::take(&mut self.turn.unseated) {
            self.step(id, |_, _| Err(Leave::taken_over()));
        }
        if !self.turn.submissions.is_empty() {
            self.shared.door.spool.submit(self.turn.submissions.drain(..));
        }
    }

    fn close(&mut self) {
        self.closes_at = Some(self.turn.now + SHUTDOWN_GRACE);
        for id in self.sessions.ids() {
            self.step(id, |session, _| session.drain());
        }
    }
}

/// What it gives, or `None` when it has panicked; the turn is as good as before.
fn unless_panicked<T>(turn: &mut Turn, step: impl FnOnce(&mut Turn) -> T) -> Option<T> {
    let stepped = catch_unwind(AssertUnwindSafe(|| step(&mut *turn)));
    if stepped.is_err() {
        turn.mend();
    }
    stepped.ok()
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod tests;
