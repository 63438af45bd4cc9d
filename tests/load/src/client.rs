//! One MQTT client without its socket: bytes in, bytes out, and what it waits for.

use std::collections::VecDeque;

use anyhow::{Context, Result, bail};
use taraz_telemetry::{Ack, Channel, RecordRange, Topic};

use crate::histogram::Histogram;
use crate::packets::{self, DeviceLogin, Incoming, Login, Version};
use crate::payload::{Author, BOOT, Format, Written};

/// Packet identifiers from here on are not those of messages.
pub(crate) const WINDOW_MAX: usize = 60_000;
const SUBSCRIBE_ID: u16 = 65_534;
const STATE_ID: u16 = 65_535;
/// Allowed by `docs/protocol.md`, section 4; a run is shorter, so no client ever has to ping.
pub(crate) const KEEP_ALIVE_S: u16 = 600;

/// What all clients of a run have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) version: Version,
    pub(crate) format: Format,
    pub(crate) window: usize,
    pub(crate) readings: usize,
    pub(crate) ack_qos: u8,
}

/// What a phase has heard and still waits for; one for all clients.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) puback: Histogram,
    pub(crate) ack: Histogram,
    pub(crate) readings: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// Messages without their PUBACK.
    pub(crate) in_flight: u64,
    /// Messages without their `/ack`; only counted for frames.
    pub(crate) unacknowledged: u64,
    /// PUBACKs with a reason of 0x80 or above.
    pub(crate) refused: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Subscribing,
    Announcing,
    Ready,
}

#[derive(Debug)]
struct UnderWay {
    written: Written,
    sent_us: u64,
    acknowledged: bool,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    author: Author,
    manner: Manner,
    stage: Stage,
    topic: String,
    out: Vec<u8>,
    wrote: usize,
    rest: Vec<u8>,
    /// By packet identifier − 1: when the message was due.
    due_us: Vec<u64>,
    free: Vec<u16>,
    under_way: VecDeque<UnderWay>,
    /// Due instants of messages for which the window had no room.
    owed: VecDeque<u64>,
}

impl Client {
    /// Not connected yet.
    pub(crate) fn new(author: Author, manner: Manner) -> Self {
        let topic = match manner.format {
            Format::Frames => Channel::Up.topic(author.device()).as_str().to_owned(),
            Format::Json => format!("solar/{}/1", author.device()),
        };
        // WINDOW_MAX is checked by whoever makes the manner.
        #[allow(clippy::cast_possible_truncation)]
        let free = (1..=manner.window as u16).rev().collect();
        Self {
            author,
            manner,
            stage: Stage::Connecting,
            topic,
            out: Vec::new(),
            wrote: 0,
            rest: Vec::new(),
            due_us: vec![0; manner.window],
            free,
            under_way: VecDeque::new(),
            owed: VecDeque::new(),
        }
    }

    /// The TCP connection is made: says CONNECT.
    pub(crate) fn connect(&mut self) {
        let device = self.author.device().clone();
        let password = self.author.key().mqtt_password();
        let will_topic: Topic = Channel::State.topic(&device);
        let login = Login {
            client_id: device.as_str(),
            keep_alive_s: KEEP_ALIVE_S,
            device: (self.manner.format == Format::Frames).then_some(DeviceLogin {
                user: device.as_str(),
                password: &password,
                will_topic: &will_topic,
                will: b"offline",
            }),
        };
        packets::connect(&mut self.out, self.manner.version, &login);
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&mut self) {
        packets::disconnect(&mut self.out);
    }

    /// Signed in, subscribed and announced.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// The window has room.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// The oldest due message that had to wait, when there is room for it now.
    pub(crate) fn take_owed(&mut self) -> Option<u64> {
        if self.free.is_empty() {
            return None;
        }
        self.owed.pop_front()
    }

    /// A message was due and there is no room.
    pub(crate) fn owe(&mut self, due_us: u64) {
        self.owed.push_back(due_us);
    }

    /// Forgets the messages that are due and not sent, room or not; gives how many there were.
    pub(crate) fn forget_owed(&mut self) -> usize {
        let count = self.owed.len();
        self.owed.clear();
        count
    }

    pub(crate) const fn author(&mut self) -> &mut Author {
        &mut self.author
    }

    /// Bytes for the socket.
    pub(crate) fn output(&self) -> &[u8] {
        &self.out[self.wrote..]
    }

    /// The socket took so many of them.
    pub(crate) fn took(&mut self, count: usize) {
        self.wrote += count;
        if self.wrote == self.out.len() {
            self.out.clear();
            self.wrote = 0;
        }
    }

    /// Publishes the next message; there must be room. Latency counts from `due_us`.
    ///
    /// # Errors
    /// When the readings do not fit a frame.
    pub(crate) fn publish(
        &mut self,
        tally: &mut Tally,
        payload: &mut Vec<u8>,
        due_us: u64,
        now_ms: u64,
    ) -> Result<Written> {
        let Manner {
            version,
            format,
            readings,
            ..
        } = self.manner;
        let written = self.author.write(payload, format, readings, now_ms)?;
        let id = self.free.pop().context("a message without room for it")?;
        self.due_us[usize::from(id) - 1] = due_us;
        let before = self.out.len();
        packets::publish(&mut self.out, version, id, &self.topic, payload, false);
        if format == Format::Frames {
            self.under_way.push_back(UnderWay {
                written,
                sent_us: due_us,
                acknowledged: false,
            });
            tally.unacknowledged += 1;
        }
        tally.bytes += (self.out.len() - before) as u64;
        tally.messages += 1;
        tally.readings += readings as u64;
        tally.in_flight += 1;
        Ok(written)
    }

    /// Takes what the server sent.
    ///
    /// # Errors
    /// When it refuses the client, closes, or says something that is not MQTT.
    pub(crate) fn receive(&mut self, bytes: &[u8], now_us: u64, tally: &mut Tally) -> Result<()> {
        let carried = !self.rest.is_empty();
        let mut rest = std::mem::take(&mut self.rest);
        let all = if carried {
            rest.extend_from_slice(bytes);
            rest.as_slice()
        } else {
            bytes
        };
        let mut from = 0;
        while let Some((incoming, length)) = packets::take(&all[from..], self.manner.version)? {
            from += length;
            self.hear(incoming, now_us, tally)
                .with_context(|| format!("{}", self.author.device()))?;
        }
        if carried {
            rest.drain(..from);
        } else {
            rest.extend_from_slice(&bytes[from..]);
        }
        self.rest = rest;
        Ok(())
    }

    fn hear(&mut self, incoming: Incoming<'_>, now_us: u64, tally: &mut Tally) -> Result<()> {
        match incoming {
            Incoming::Connack {
                code: 0,
                receive_maximum,
            } => {
                if self.manner.window > usize::from(receive_maximum) {
                    bail!(
                        "--window {}: the server allows {receive_maximum} messages in flight",
                        self.manner.window
                    );
                }
                self.signed_in();
            }
            Incoming::Connack { code, .. } => bail!("the server refuses the connection: code {code:#04x}"),
            Incoming::Suback { code: 0..=2 } => self.announce(),
            Incoming::Suback { code } => {
                bail!("the server refuses the subscription to /ack: code {code:#04x}")
            }
            Incoming::Puback { id: STATE_ID, .. } => self.stage = Stage::Ready,
            Incoming::Puback { id, code } => self.published(id, code, now_us, tally)?,
            Incoming::Publish { id, payload } => {
                if let Some(id) = id {
                    packets::puback(&mut self.out, id);
                }
                let ack = Ack::decode(payload, self.author.key(), self.author.device())
                    .context("an acknowledgement that is not for this device")?;
                for range in &ack.ranges {
                    self.acknowledged(range, now_us, tally);
                }
            }
            Incoming::Pingresp => {}
            Incoming::Disconnect { code } => bail!("the server disconnects: reason {code:#04x}"),
        }
        Ok(())
    }

    fn signed_in(&mut self) {
        if self.manner.format == Format::Json {
            self.stage = Stage::Ready;
            return;
        }
        self.stage = Stage::Subscribing;
        let topic = Channel::Ack.topic(self.author.device());
        packets::subscribe(
            &mut self.out,
            self.manner.version,
            SUBSCRIBE_ID,
            &topic,
            self.manner.ack_qos,
        );
    }

    fn announce(&mut self) {
        self.stage = Stage::Announcing;
        let topic = Channel::State.topic(self.author.device());
        packets::publish(
            &mut self.out,
            self.manner.version,
            STATE_ID,
            &topic,
            b"online",
            true,
        );
    }

    fn published(&mut self, id: u16, code: u8, now_us: u64, tally: &mut Tally) -> Result<()> {
        let due_us = usize::from(id)
            .checked_sub(1)
            .and_then(|slot| self.due_us.get(slot))
            .with_context(|| format!("a PUBACK for {id}, which was never published"))?;
        tally.puback.add(now_us.saturating_sub(*due_us));
        tally.in_flight = tally.in_flight.saturating_sub(1);
        // MQTT 5.0, 3.4.2.1.
        if code >= 0x80 {
            tally.refused += 1;
        }
        self.free.push(id);
        Ok(())
    }

    /// Frames are committed whole, so a range covers a frame or does not touch it.
    fn acknowledged(&mut self, range: &RecordRange, now_us: u64, tally: &mut Tally) {
        if range.incarnation != self.author.incarnation() || range.boot != BOOT {
            return;
        }
        let from = self
            .under_way
            .partition_point(|frame| frame.written.first < range.first);
        for frame in self.under_way.range_mut(from..) {
            if frame.written.last > range.last {
                break;
            }
            if !frame.acknowledged {
                frame.acknowledged = true;
                tally.ack.add(now_us.saturating_sub(frame.sent_us));
                tally.unacknowledged = tally.unacknowledged.saturating_sub(1);
            }
        }
        while self.under_way.front().is_some_and(|frame| frame.acknowledged) {
            self.under_way.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::{ACK_LEN_MAX, DeviceId, MasterKey};

    use super::*;
    use crate::series::{Series, Times};

    const CONNACK: &[u8] = &[0x20, 3, 0, 0, 0];
    const SUBACK: &[u8] = &[0x90, 4, 0xff, 0xfe, 0, 1];
    const STATE_PUBACK: &[u8] = &[0x40, 2, 0xff, 0xff];

    fn client(window: usize) -> Client {
        let device = DeviceId::new("load-00001").unwrap();
        let key = MasterKey::new([7; 32]).device_key(&device, 1);
        let author = Author::new(device, key, 9, Series::new(0, 1, Times::Live));
        let manner = Manner {
            version: Version::V5,
            format: Format::Frames,
            window,
            readings: 2,
            ack_qos: 1,
        };
        Client::new(author, manner)
    }

    fn ready(window: usize, tally: &mut Tally) -> Client {
        let mut client = client(window);
        client.connect();
        for bytes in [CONNACK, SUBACK, STATE_PUBACK] {
            assert!(!client.is_ready());
            // Byte by byte: packets come cut as the network likes.
            for byte in bytes {
                client.receive(&[*byte], 0, tally).unwrap();
            }
        }
        assert!(client.is_ready());
        client
    }

    fn ack(client: &Client, first: u32, last: u32) -> Vec<u8> {
        let mut ack = Ack::default();
        let range = RecordRange {
            incarnation: 9,
            boot: BOOT,
            first,
            last,
        };
        ack.ranges.push(range).unwrap();
        let mut buffer = [0; ACK_LEN_MAX];
        let payload = ack
            .encode(&mut buffer, client.author.key(), client.author.device())
            .unwrap();
        let mut bytes = Vec::new();
        packets::publish(
            &mut bytes,
            Version::V5,
            3,
            "taraz/1/load-00001/ack",
            payload,
            false,
        );
        bytes
    }

    #[test]
    fn a_message_waits_for_its_puback_and_its_acknowledgement() {
        let mut tally = Tally::default();
        let mut client = ready(2, &mut tally);
        let mut payload = Vec::new();
        for due_us in [100, 200] {
            client
                .publish(&mut tally, &mut payload, due_us, 1_795_000_000_000)
                .unwrap();
        }
        assert!(!client.has_room());
        client.receive(&[0x40, 2, 0, 1], 150, &mut tally).unwrap();
        assert!(client.has_room());
        assert_eq!((tally.in_flight, tally.unacknowledged, tally.readings), (1, 2, 4));
        // Start and two readings, then two readings.
        let bytes = ack(&client, 0, 2);
        client.receive(&bytes, 350, &mut tally).unwrap();
        assert_eq!(tally.unacknowledged, 1);
        let bytes = ack(&client, 0, 4);
        client.receive(&bytes, 500, &mut tally).unwrap();
        assert_eq!((tally.unacknowledged, tally.ack.total()), (0, 2));
        assert_eq!(tally.ack.quantile_us(1.0), Some(300));
        assert_eq!(tally.puback.quantile_us(1.0), Some(50));
    }

    #[test]
    fn what_is_owed_waits_for_room_or_is_forgotten() {
        let mut tally = Tally::default();
        let mut client = ready(1, &mut tally);
        client.publish(&mut tally, &mut Vec::new(), 0, 1).unwrap();
        client.owe(10);
        client.owe(20);
        assert_eq!(client.take_owed(), None);
        client.receive(&[0x40, 2, 0, 1], 1, &mut tally).unwrap();
        assert_eq!(client.take_owed(), Some(10));
        client.publish(&mut tally, &mut Vec::new(), 10, 1).unwrap();
        assert_eq!((client.forget_owed(), client.forget_owed()), (1, 0));
    }

    #[test]
    fn what_a_server_refuses_is_an_error_or_counted() {
        let mut tally = Tally::default();
        let error = client(1)
            .receive(&[0x20, 3, 0, 0x86, 0], 0, &mut tally)
            .unwrap_err();
        assert!(format!("{error:#}").contains("0x86"), "{error:#}");
        let small = [0x20, 6, 0, 0, 3, 0x21, 0, 5];
        let error = client(6).receive(&small, 0, &mut tally).unwrap_err();
        assert!(format!("{error:#}").contains("--window 6"), "{error:#}");
        let mut client = ready(1, &mut tally);
        client.publish(&mut tally, &mut Vec::new(), 0, 1).unwrap();
        client.receive(&[0x40, 4, 0, 1, 0x87, 0], 1, &mut tally).unwrap();
        assert_eq!((tally.refused, client.has_room()), (1, true));
        assert!(client.receive(&[0x40, 2, 0, 9], 1, &mut tally).is_err());
    }
}
