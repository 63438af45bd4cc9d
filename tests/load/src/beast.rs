//! One device of a herd without its socket: it keeps every frame until the gateway's `/ack`, whatever becomes of its connections.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use taraz_telemetry::{Ack, Channel, Topic};

use crate::client::KEEP_ALIVE_S;
use crate::mad::Mad;
use crate::packets::{self, DeviceLogin, Incoming, Login, Version};
use crate::payload::{Author, BOOT, Format, Written};

const VERSION: Version = Version::V5;
/// How the message of a refused sign-in begins.
pub(crate) const REFUSED: &str = "refused";
/// Frames of a mad device that wait for their `/ack` at a time; its other messages are not new.
const MAD_WINDOW: usize = 40;
/// Readings in a frame of the backlog.
const READINGS_PER_FRAME: u64 = 10;
const LIVE_INTERVAL_US: u64 = 1_000_000;
const SUBSCRIBE_ID: u16 = 65_534;
/// A frame without `/ack` is sent again on the same connection after so long.
const ACK_TIMEOUT_US: u64 = 30_000_000;
/// From the first packet of TCP to the SUBACK: a device's link gives up after this.
const CONNECT_TIMEOUT_US: u64 = 10_000_000;

/// What a device was told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// From when a frame was due to its PUBACK.
    pub(crate) puback_us: Vec<u64>,
    pub(crate) ack_us: Vec<u64>,
    /// Readings that `/ack` named for the first time.
    pub(crate) acknowledged: u64,
    /// Frames of a mad device that were refused.
    pub(crate) refused: u64,
}

#[derive(Debug)]
struct Kept {
    written: Written,
    bytes: Vec<u8>,
    readings: u64,
    due_us: u64,
    /// On the present connection: its packet identifier, and when it was sent.
    sent: Option<(u16, u64)>,
    was_sent: bool,
    has_puback: bool,
}

/// One device.
#[derive(Debug)]
pub(crate) struct Beast {
    author: Author,
    topic: String,
    kept: VecDeque<Kept>,
    /// Readings of the backlog that are in no frame yet.
    backlog: u64,
    /// When the next live reading is due.
    live_us: Option<u64>,
    window: usize,
    mad: Option<Mad>,
    opened_us: u64,
    has_spoken: bool,
    is_ready: bool,
    backoff_us: u64,
    next_id: u16,
    out: Vec<u8>,
    rest: Vec<u8>,
    repeated: u64,
}

impl Beast {
    /// A device that is not connected; a live one has its first reading at `begin_us`.
    pub(crate) fn new(author: Author, is_live: bool, backlog: u64, begin_us: u64, window: usize) -> Self {
        Self {
            topic: Channel::Up.topic(author.device()).as_str().to_owned(),
            author,
            kept: VecDeque::new(),
            backlog,
            live_us: is_live.then_some(begin_us),
            window,
            mad: None,
            opened_us: 0,
            has_spoken: false,
            is_ready: false,
            backoff_us: 0,
            next_id: 0,
            out: Vec::new(),
            rest: Vec::new(),
            repeated: 0,
        }
    }

    /// The same device, gone mad: it floods.
    pub(crate) fn gone_mad(self) -> Self {
        Self {
            mad: Some(Mad::default()),
            window: MAD_WINDOW,
            ..self
        }
    }

    /// A connection is being made.
    pub(crate) const fn opening(&mut self, now_us: u64) {
        self.opened_us = now_us;
    }

    /// It waits for its SUBACK for longer than a device does.
    pub(crate) const fn is_stuck(&self, now_us: u64) -> bool {
        !self.is_ready && now_us > self.opened_us + CONNECT_TIMEOUT_US
    }

    /// It has said CONNECT on the present connection.
    pub(crate) const fn has_spoken(&self) -> bool {
        self.has_spoken
    }

    /// Signed in and subscribed.
    pub(crate) const fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Frames that wait for their `/ack`.
    pub(crate) fn waiting(&self) -> usize {
        self.kept.len()
    }

    /// Frames that were sent again.
    pub(crate) const fn repeated(&self) -> u64 {
        self.repeated
    }

    /// Bytes for the socket.
    pub(crate) fn output(&self) -> &[u8] {
        &self.out
    }

    /// The socket took so many of them.
    pub(crate) fn took(&mut self, count: usize) {
        self.out.drain(..count);
    }

    /// The TCP connection is made: says CONNECT.
    pub(crate) fn connect(&mut self) {
        self.has_spoken = true;
        let device = self.author.device().clone();
        let password = self.author.key().mqtt_password();
        let will_topic: Topic = Channel::State.topic(&device);
        let login = Login {
            client_id: device.as_str(),
            keep_alive_s: KEEP_ALIVE_S,
            device: Some(DeviceLogin {
                user: device.as_str(),
                password: &password,
                will_topic: &will_topic,
                will: b"offline",
            }),
        };
        packets::connect(&mut self.out, VERSION, &login);
    }

    /// The connection is over; gives how long to wait before the next, in µs, without the jitter.
    pub(crate) fn lost(&mut self, backoff_us: std::ops::RangeInclusive<u64>) -> u64 {
        (self.has_spoken, self.is_ready) = (false, false);
        self.out.clear();
        self.rest.clear();
        self.kept.iter_mut().for_each(|kept| kept.sent = None);
        self.mad.iter_mut().for_each(Mad::lost);
        let wait_us = self.backoff_us.clamp(*backoff_us.start(), *backoff_us.end());
        self.backoff_us = wait_us * 2;
        wait_us
    }

    /// What has waited for its `/ack` too long is sent again.
    pub(crate) fn repeat_late(&mut self, now_us: u64) {
        for kept in &mut self.kept {
            kept.sent = kept.sent.filter(|(_, sent_us)| now_us < sent_us + ACK_TIMEOUT_US);
        }
    }

    /// Sends what it kept and was not sent on this connection, then, if it may, what is new and has room; gives the readings that
    /// are new.
    ///
    /// # Errors
    /// When readings do not fit a frame.
    pub(crate) fn fill(&mut self, now_us: u64, now_ms: u64, may_begin: bool) -> Result<u64> {
        let mut new = 0;
        while may_begin && self.kept.len() < self.window && self.is_ready {
            let (readings, due_us) = match self.live_us {
                Some(live_us) if live_us <= now_us => {
                    self.live_us = Some(live_us + LIVE_INTERVAL_US);
                    (1, live_us)
                }
                // One after the other, without end.
                None if self.mad.is_some() => (1, now_us),
                None if self.backlog > 0 => (self.backlog.min(READINGS_PER_FRAME), now_us),
                _ => break,
            };
            if self.live_us.is_none() && self.mad.is_none() {
                self.backlog -= readings;
            }
            let mut bytes = Vec::new();
            let count = usize::try_from(readings)?;
            // A live reading is taken when it is due, also while nobody is connected.
            let taken_ms = now_ms - now_us.saturating_sub(due_us) / 1_000;
            let written = self.author.write(&mut bytes, Format::Frames, count, taken_ms)?;
            new += readings;
            self.kept.push_back(Kept {
                written,
                bytes,
                readings,
                due_us,
                sent: None,
                was_sent: false,
                has_puback: false,
            });
        }
        if self.is_ready {
            self.send(now_us);
        }
        Ok(new)
    }

    fn send(&mut self, now_us: u64) {
        for kept in self.kept.iter_mut().filter(|kept| kept.sent.is_none()) {
            self.next_id = self.next_id % (SUBSCRIBE_ID - 1) + 1;
            self.repeated += u64::from(std::mem::replace(&mut kept.was_sent, true));
            packets::publish(
                &mut self.out,
                VERSION,
                self.next_id,
                &self.topic,
                &kept.bytes,
                false,
            );
            kept.sent = Some((self.next_id, now_us));
            self.mad.iter_mut().for_each(Mad::sent);
        }
        if let Some(mad) = &mut self.mad {
            let mut id = || {
                self.next_id = self.next_id % (SUBSCRIBE_ID - 1) + 1;
                self.next_id
            };
            let known = self.kept.front().map(|kept| &kept.bytes[..]);
            mad.flood(&mut self.out, VERSION, &self.topic, &mut id, known);
        }
    }

    /// Takes what the server sent.
    ///
    /// # Errors
    /// When it refuses the device, closes, or says something that is not MQTT.
    pub(crate) fn receive(&mut self, bytes: &[u8], now_us: u64) -> Result<Heard> {
        let mut all = std::mem::take(&mut self.rest);
        all.extend_from_slice(bytes);
        let (mut from, mut heard) = (0, Heard::default());
        while let Some((incoming, length)) = packets::take(&all[from..], VERSION)? {
            from += length;
            match incoming {
                Incoming::Connack { code: 0, .. } => {
                    let topic = Channel::Ack.topic(self.author.device());
                    packets::subscribe(&mut self.out, VERSION, SUBSCRIBE_ID, &topic, 1);
                }
                Incoming::Connack { code, .. } => bail!("{REFUSED} with {code:#04x}"),
                Incoming::Suback { code: 0..=2 } => self.is_ready = true,
                Incoming::Suback { code } => bail!("subscription refused with {code:#04x}"),
                Incoming::Puback { id, code } => self.published(id, code, now_us, &mut heard)?,
                Incoming::Publish { id, payload } => {
                    if let Some(id) = id {
                        packets::puback(&mut self.out, id);
                    }
                    self.acknowledged(payload, now_us, &mut heard);
                }
                Incoming::Pingresp => {}
                Incoming::Disconnect { code } => bail!("disconnected with {code:#04x}"),
            }
        }
        all.drain(..from);
        self.rest = all;
        Ok(heard)
    }

    fn published(&mut self, id: u16, code: u8, now_us: u64, heard: &mut Heard) -> Result<()> {
        // MQTT 5.0, 3.4.2.1.
        if code >= 0x80 && self.mad.is_none() {
            bail!("a frame was refused with {code:#04x}");
        }
        self.mad.iter_mut().for_each(Mad::answered);
        heard.refused += u64::from(code >= 0x80);
        let of_this = |kept: &&mut Kept| kept.sent.is_some_and(|(sent, _)| sent == id);
        if let Some(kept) = self.kept.iter_mut().find(of_this)
            && !std::mem::replace(&mut kept.has_puback, true)
        {
            heard.puback_us.push(now_us.saturating_sub(kept.due_us));
        }
        Ok(())
    }

    fn acknowledged(&mut self, payload: &[u8], now_us: u64, heard: &mut Heard) {
        // Another's, or damaged: the frame will be sent again.
        let Ok(ack) = Ack::decode(payload, self.author.key(), self.author.device()) else {
            return;
        };
        let incarnation = self.author.incarnation();
        for range in ack
            .ranges
            .iter()
            .filter(|range| range.incarnation == incarnation && range.boot == BOOT)
        {
            self.kept.retain(|kept| {
                let is_covered = range.first <= kept.written.first && kept.written.last <= range.last;
                if is_covered {
                    heard.acknowledged += kept.readings;
                    heard.ack_us.push(now_us.saturating_sub(kept.due_us));
                }
                !is_covered
            });
            // A frame got through: the road is good.
            self.backoff_us = 0;
        }
    }
}

#[cfg(test)]
mod tests;
