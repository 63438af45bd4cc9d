//! How a session ends: why, what is said and counted, and its last bytes.

use std::net::Shutdown;

use crate::metrics::{ConnectRejected, SessionEnd};

use super::LAST_WRITE_TIMEOUT;
use super::engine::{Engine, Goodbye};
use super::session::{Session, Stage};
use super::turn::Turn;

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
    /// It has not signed in, and others want its place.
    Displaced,
    /// The spool has ended.
    Closed,
}

impl Leave {
    pub(super) const fn taken_over() -> Self {
        Self::Us(Goodbye::TakenOver)
    }

    const fn end(&self) -> SessionEnd {
        match self {
            Self::Gone => SessionEnd::Gone,
            Self::Client { .. } => SessionEnd::Goodbye,
            Self::Us(Goodbye::ShuttingDown) | Self::Closed => SessionEnd::Closing,
            Self::Us(Goodbye::TakenOver) => SessionEnd::TakenOver,
            Self::Us(Goodbye::KeepAlive) => SessionEnd::KeepAlive,
            Self::Us(Goodbye::TooSlow) => SessionEnd::TooSlow,
            Self::Us(Goodbye::QosNotSupported | Goodbye::TopicInvalid)
            | Self::Refused
            | Self::Broken(_)
            | Self::Displaced => SessionEnd::Protocol,
        }
    }
}

impl<E: Engine> Session<E> {
    /// The door closes.
    pub(super) fn drain(&mut self) -> Result<(), Leave> {
        if self.stage != Stage::Open {
            return Ok(());
        }
        self.stage = Stage::Draining;
        if self.waiting.take().is_some() {
            self.pending.take_back_newest();
        }
        if self.is_drained() {
            return Err(Leave::Us(Goodbye::ShuttingDown));
        }
        Ok(())
    }

    pub(super) fn is_drained(&self) -> bool {
        self.stage == Stage::Draining && self.pending.len() == 0
    }

    /// The door has waited long enough for its commits.
    pub(super) fn give_up(&self) -> Leave {
        if self.stage == Stage::Draining {
            let frames = self.pending.len();
            tracing::warn!(peer = %self.peer, frames, "closed before these frames were committed");
        }
        Leave::Us(Goodbye::ShuttingDown)
    }

    /// Says goodbye. True when it is over; otherwise its last packet is on its way until the socket takes it or it is due.
    pub(super) fn end(&mut self, leave: Leave, turn: &mut Turn) -> bool {
        if matches!(self.stage, Stage::Ending(_)) {
            return true;
        }
        self.stage = Stage::Ending(turn.now + LAST_WRITE_TIMEOUT);
        self.waiting = None;
        let is_gone = matches!(leave, Leave::Gone | Leave::Displaced);
        self.part(leave, turn);
        is_gone || self.is_over()
    }

    /// It has ended and its last packet has left, or can't.
    pub(super) fn is_over(&mut self) -> bool {
        let is_ending = matches!(self.stage, Stage::Ending(_));
        if !is_ending {
            return false;
        }
        if self.write().is_ok() && !self.engine.output().is_empty() {
            return false;
        }
        // It is gone, or has everything: nothing more can be done for it.
        let _ = self.stream().shutdown(Shutdown::Write);
        true
    }

    fn part(&mut self, leave: Leave, turn: &mut Turn) {
        let signed_in = self.signed_in.take();
        let device = signed_in.as_ref().map_or("nobody", |who| who.device.id.as_str());
        tracing::debug!(peer = %self.peer, device, ?leave, "an MQTT session ends");
        if let Leave::Broken(what) = &leave
            && turn.rebuffs.tell(self.peer.ip(), device, turn.now).is_some()
        {
            tracing::info!(peer = %self.peer, device, what, "an MQTT client broke the protocol");
        }
        match &signed_in {
            Some(_) => self.shared.door.metrics.session_ended(leave.end()),
            None => self.count_rejected(&leave),
        }
        let publish_will = match &leave {
            Leave::Client { publish_will } => *publish_will,
            Leave::Refused | Leave::Us(Goodbye::ShuttingDown) => false,
            _ => true,
        };
        if let Some(mut who) = signed_in
            && let Some(will) = who.will.take().filter(|_| publish_will)
        {
            who.seat.set_state(&will.payload, turn.now_ms);
        }
        if let Leave::Us(goodbye) = leave {
            self.engine.goodbye(goodbye);
        }
    }

    fn count_rejected(&self, leave: &Leave) {
        let reason = match leave {
            Leave::Us(Goodbye::KeepAlive) => ConnectRejected::Timeout,
            Leave::Broken(_) => ConnectRejected::Protocol,
            Leave::Displaced => ConnectRejected::Displaced,
            // A refusal was counted with its reason; who came and went has done nothing.
            _ => return,
        };
        self.shared.door.metrics.connect_rejected(reason);
    }
}
