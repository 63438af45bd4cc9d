//! A broker and a gateway behind it, in one: they work, or fail in the ways that brokers, gateways and networks do.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;

use embassy_time::{Duration, Timer};
use heapless::Vec as Few;
use taraz_telemetry::{ACK_LEN_MAX, Ack, DeviceId, DeviceKey, Frame};

use super::mqtt::{self, CONNACK, PINGRESP, Packet};
use super::net::{DeviceEnd, Pipe, Wire};
use super::now_ms;
use crate::link::{Connector, ReachError};
use crate::queue::Position;

/// What works and what does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Up,
    /// No connection can be opened.
    Down,
    /// No connection can be opened, for this reason.
    Unreached(ReachError),
    /// Opening one never ends, as when the name server is silent.
    Hanging,
    /// Takes connections and says nothing.
    Mute,
    /// Takes publications and never acknowledges them.
    NoPuback,
    /// Falls over when the first frame comes, and takes all connections along.
    Falling,
    /// Acknowledges publications; the gateway behind it never acknowledges records.
    NoAck,
}

struct Connection {
    pipe: Rc<RefCell<Pipe>>,
    will: Option<(String, Vec<u8>, bool)>,
    keep_alive_ms: u64,
    heard_ms: u64,
}

pub(crate) struct State {
    pub(crate) mode: Mode,
    connections: Vec<Connection>,
    device: DeviceId,
    key: DeviceKey,
    /// What the gateway has stored: identity → bytes, and when.
    pub(crate) stored: BTreeMap<Position, (Vec<u8>, u64)>,
    /// Records in the frames that came, in their order: how often each was sent.
    pub(crate) sent: BTreeMap<Position, u32>,
    /// `/state` as it is retained.
    pub(crate) retained: Option<Vec<u8>>,
    /// When a connection was asked for.
    pub(crate) knocks_ms: Vec<u64>,
    pub(crate) pings: u32,
    pub(crate) frames: u32,
    /// Connections that the broker ended because nothing came for one and a half keep-alives.
    pub(crate) expired: u32,
}

/// Shared between test, connector and the broker's own clock.
#[derive(Clone)]
pub(crate) struct Broker(pub(crate) Rc<RefCell<State>>);

impl Broker {
    pub(crate) fn new(device: DeviceId, key: DeviceKey) -> Self {
        Self(Rc::new(RefCell::new(State {
            mode: Mode::Up,
            connections: Vec::new(),
            device,
            key,
            stored: BTreeMap::new(),
            sent: BTreeMap::new(),
            retained: None,
            knocks_ms: Vec::new(),
            pings: 0,
            frames: 0,
            expired: 0,
        })))
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.0.borrow_mut().mode = mode;
    }

    /// Breaks what is open, and both ends know.
    pub(crate) fn reset_all(&self) {
        self.cut_all(Wire::Reset);
    }

    /// From now on nothing passes on what is open, and nobody is told.
    pub(crate) fn kill_all(&self) {
        self.cut_all(Wire::Dead);
    }

    fn cut_all(&self, wire: Wire) {
        let state = &mut *self.0.borrow_mut();
        for connection in &state.connections {
            connection.pipe.borrow_mut().cut(wire);
        }
        if wire == Wire::Reset {
            state.end(|_| true);
        }
    }

    pub(crate) fn retained(&self) -> String {
        let state = self.0.borrow();
        String::from_utf8(state.retained.clone().unwrap_or_default()).unwrap()
    }

    /// The broker's clock: it ends connections that are silent for too long.
    pub(crate) async fn watch(&self) {
        loop {
            Timer::after(Duration::from_secs(1)).await;
            let state = &mut *self.0.borrow_mut();
            let now_ms = now_ms();
            // "If … the Server does not receive an MQTT Control Packet from the Client within one and a half times the Keep
            // Alive time period, it MUST close the Network Connection" (MQTT 5, section 3.1.2.10).
            let before = state.connections.len();
            state.end(|c| c.keep_alive_ms > 0 && now_ms > c.heard_ms + c.keep_alive_ms * 3 / 2);
            state.expired += u32::try_from(before - state.connections.len()).unwrap();
        }
    }

    fn written(&self, pipe: &Rc<RefCell<Pipe>>) {
        let state = &mut *self.0.borrow_mut();
        if state.mode == Mode::Mute {
            return;
        }
        loop {
            let mut open = pipe.borrow_mut();
            if open.wire == Wire::Closed {
                drop(open);
                return state.end(|connection| Rc::ptr_eq(&connection.pipe, pipe));
            }
            let Some((packet, len)) = mqtt::parse(open.up.make_contiguous()) else {
                return;
            };
            open.up.drain(..len);
            state.packet(packet, pipe, &mut open);
        }
    }
}

impl State {
    /// Ends connections, each with its last will.
    fn end(&mut self, which: impl Fn(&Connection) -> bool) {
        for connection in self.connections.extract_if(.., |connection| which(connection)) {
            let mut pipe = connection.pipe.borrow_mut();
            if pipe.wire == Wire::Open {
                pipe.cut(Wire::Closed);
            }
            if let Some((_, payload, true)) = connection.will {
                self.retained = Some(payload);
            }
        }
    }

    fn packet(&mut self, packet: Packet, pipe: &Rc<RefCell<Pipe>>, open: &mut Pipe) {
        let mine = |connection: &&mut Connection| Rc::ptr_eq(&connection.pipe, pipe);
        if let Some(connection) = self.connections.iter_mut().find(mine) {
            connection.heard_ms = now_ms();
        }
        match packet {
            Packet::Connect {
                keep_alive_s,
                client_id,
                user,
                password,
                will,
            } => {
                assert_eq!(
                    (client_id.as_str(), user.as_str()),
                    (self.device.as_str(), self.device.as_str())
                );
                assert_eq!(password, self.key.mqtt_password().as_bytes());
                let (topic, payload, retained) = will.clone().unwrap();
                assert_eq!(topic, format!("taraz/1/{}/state", self.device));
                assert_eq!((payload.as_slice(), retained), (&b"offline"[..], true));
                // A second connection under the same client identifier replaces the first.
                self.end(|_| true);
                self.connections.push(Connection {
                    pipe: Rc::clone(pipe),
                    will,
                    keep_alive_ms: u64::from(keep_alive_s) * 1_000,
                    heard_ms: now_ms(),
                });
                open.send(&CONNACK);
            }
            Packet::Subscribe { id, filter } => {
                assert_eq!(filter, format!("taraz/1/{}/ack", self.device));
                open.send(&mqtt::suback(id));
            }
            Packet::Publish {
                topic,
                payload,
                id,
                retained,
            } => {
                let is_state = topic.ends_with("/state");
                if self.mode == Mode::Falling && !is_state {
                    return open.cut(Wire::Reset);
                }
                if self.mode != Mode::NoPuback {
                    open.send(&mqtt::puback(id.unwrap()));
                }
                if is_state {
                    assert!(retained);
                    self.retained = Some(payload);
                } else {
                    self.frame(&payload, open);
                }
            }
            Packet::Ping => {
                self.pings += 1;
                open.send(&PINGRESP);
            }
            // Leaves without its last will.
            Packet::Disconnect => {
                for connection in &mut self.connections {
                    if Rc::ptr_eq(&connection.pipe, pipe) {
                        connection.will = None;
                    }
                }
                self.connections
                    .retain(|connection| !Rc::ptr_eq(&connection.pipe, pipe));
                open.cut(Wire::Closed);
            }
            Packet::Other(kind) => panic!("a device does not send packets of type {kind} here"),
        }
    }

    /// The gateway: takes a frame, stores it, says so.
    fn frame(&mut self, bytes: &[u8], open: &mut Pipe) {
        self.frames += 1;
        let frame = Frame::open(bytes, &self.key, &self.device).unwrap();
        let range = frame.range();
        let stores = self.mode == Mode::Up;
        let mut records = frame.records();
        for sequence in range.first..=range.last {
            let (_, bytes) = records.next_with_bytes().unwrap().unwrap();
            let at = Position {
                boot: range.boot,
                sequence,
            };
            *self.sent.entry(at).or_default() += 1;
            if stores {
                let (known, _) = self
                    .stored
                    .entry(at)
                    .or_insert_with(|| (bytes.to_vec(), now_ms()));
                assert_eq!(known, bytes, "an identity with other bytes");
            }
        }
        if stores {
            let ack = Ack {
                ranges: Few::from_slice(&[range]).unwrap(),
            };
            let mut buffer = [0; ACK_LEN_MAX];
            let payload = ack.encode(&mut buffer, &self.key, &self.device).unwrap();
            open.send(&mqtt::publish(&format!("taraz/1/{}/ack", self.device), payload));
        }
    }
}

/// Opens connections to the broker.
pub(crate) struct Dialer(pub(crate) Broker);

impl Connector for Dialer {
    type Io = DeviceEnd<Box<dyn Fn()>>;
    async fn connect(&mut self) -> Result<Self::Io, ReachError> {
        let mode = {
            let mut state = self.0.0.borrow_mut();
            state.knocks_ms.push(now_ms());
            state.mode
        };
        match mode {
            Mode::Down => return Err(ReachError::NoWay),
            Mode::Unreached(error) => return Err(error),
            Mode::Hanging => {
                let never: Infallible = std::future::pending().await;
                match never {}
            }
            _ => {}
        }
        let pipe = Pipe::new();
        let (broker, written) = (self.0.clone(), Rc::clone(&pipe));
        Ok(DeviceEnd {
            pipe,
            written: Box::new(move || broker.written(&written)),
        })
    }
}
