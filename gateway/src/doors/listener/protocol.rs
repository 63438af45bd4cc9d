//! The engine on mqtt-protocol-core; the crate is named in this folder only.
//!
//! Its traps, each handled here: one call takes one packet; PUBLISH before CONNECT gives an error and no close, so every
//! error closes; PINGRESP is off by default; its receive-maximum would also close MQTT 3.1.1 clients, who can't know
//! it, so it is only set by the CONNACK of MQTT 5.

mod convert;
mod fast;

use std::collections::HashSet;
use std::time::Duration;

use mqtt_protocol_core::mqtt;
use mqtt_protocol_core::mqtt::common::Cursor;
use mqtt_protocol_core::mqtt::connection::{ConnectionOptions, GenericEvent, TimerKind};
use mqtt_protocol_core::mqtt::packet::{GenericPacket, GenericPacketTrait, v3_1_1, v5_0};
use mqtt_protocol_core::mqtt::result_code::{
    ConnectReasonCode, ConnectReturnCode, DisconnectReasonCode, MqttError, SubackReasonCode,
    SubackReturnCode, UnsubackReasonCode,
};

use super::PACKET_LEN_MAX;
use super::engine::{Answer, ConnectRefusal, Engine, Event, Fast, Goodbye, Grant, Publish, Version, Welcome};
use convert::{
    connect_v3, connect_v5, level, packet_len_max, puback_code, reason_code, return_code, subscribe,
    welcome_properties,
};

/// CONNACK "unacceptable protocol version" (MQTT 3.1.1, 3.1.2.2), for versions the crate does not read at all.
const CONNACK_UNACCEPTABLE_VERSION: [u8; 4] = [0x20, 0x02, 0x00, 0x01];

type Packet = GenericPacket<u16>;

/// One connection.
pub(super) struct ProtocolCore {
    connection: mqtt::Connection<mqtt::role::Server>,
    version: Version,
    keep_alive: Option<Duration>,
    /// Where the device publishes its frames; empty before it has signed in.
    frame_topic: Box<[u8]>,
    /// The crate holds the beginning of a packet.
    is_within_packet: bool,
    /// Publishes that came through the crate, which must see their PUBACK.
    through_crate: HashSet<u16>,
    /// The longest packet that the client takes.
    packet_len_max: usize,
    output: Vec<u8>,
}

impl ProtocolCore {
    pub(super) fn new() -> Self {
        let options = ConnectionOptions::new().maximum_packet_size_recv(PACKET_LEN_MAX);
        let mut connection = mqtt::Connection::with_options(mqtt::Version::Undetermined, options);
        connection.set_auto_ping_response(true);
        Self {
            connection,
            version: Version::V3,
            keep_alive: None,
            frame_topic: Box::default(),
            is_within_packet: false,
            through_crate: HashSet::new(),
            packet_len_max: usize::MAX,
            output: Vec::new(),
        }
    }

    fn apply(&mut self, events: Vec<GenericEvent<u16>>) -> Applied {
        let mut applied = Applied::default();
        for event in events {
            match event {
                GenericEvent::NotifyPacketReceived(packet) => applied.packet = Some(packet),
                GenericEvent::RequestSendPacket { packet, .. } => {
                    self.output.extend_from_slice(&packet.to_continuous_buffer());
                }
                GenericEvent::RequestTimerReset {
                    kind: TimerKind::PingreqRecv,
                    duration_ms,
                } => {
                    self.keep_alive = Some(Duration::from_millis(duration_ms));
                }
                GenericEvent::NotifyError(error) => applied.error = Some(error),
                GenericEvent::RequestClose => applied.close = true,
                GenericEvent::NotifyPacketIdReleased(_)
                | GenericEvent::RequestTimerReset { .. }
                | GenericEvent::RequestTimerCancel(_) => {}
            }
        }
        applied
    }

    fn send(&mut self, packet: impl Into<Packet>) -> bool {
        let events = self.connection.send(packet.into());
        self.apply(events).error.is_none()
    }

    /// Sends what a builder made. A builder only fails on values that were not checked before; then nothing is sent.
    fn send_built<P: Into<Packet>>(&mut self, built: Result<P, MqttError>) -> bool {
        match built {
            Ok(packet) => self.send(packet),
            Err(error) => {
                tracing::error!(%error, "can't build an MQTT packet");
                false
            }
        }
    }
}

#[derive(Default)]
struct Applied {
    packet: Option<Packet>,
    error: Option<MqttError>,
    close: bool,
}

impl Engine for ProtocolCore {
    fn frame<'a>(&mut self, bytes: &mut &'a [u8]) -> Fast<'a> {
        if self.is_within_packet {
            return Fast::No;
        }
        fast::publish_under(bytes, &self.frame_topic, self.version)
    }

    fn receive(&mut self, bytes: &mut &[u8]) -> Option<Event> {
        if bytes.is_empty() {
            return None;
        }
        if !self.is_within_packet && !fast::may_come(bytes[0]) {
            return Some(self.malformed(bytes[0]));
        }
        let mut cursor = Cursor::new(*bytes);
        let events = self.connection.recv(&mut cursor);
        let taken = usize::try_from(cursor.position())
            .unwrap_or(bytes.len())
            .min(bytes.len());
        *bytes = &bytes[taken..];
        let applied = self.apply(events);
        self.is_within_packet = applied.packet.is_none();
        if let Some(error) = applied.error {
            if error == MqttError::UnsupportedProtocolVersion && self.output.is_empty() {
                self.output.extend_from_slice(&CONNACK_UNACCEPTABLE_VERSION);
            }
            return Some(Event::Broken(error.to_string()));
        }
        match applied.packet {
            Some(packet) => Some(self.event(packet)),
            None if applied.close => Some(Event::Broken("closed by the protocol".to_owned())),
            None => None,
        }
    }

    fn welcome(&mut self, welcome: &Welcome) {
        self.frame_topic = welcome.frame_topic.as_bytes().into();
        match self.version {
            Version::V3 => {
                let built = v3_1_1::Connack::builder()
                    .session_present(false)
                    .return_code(ConnectReturnCode::Accepted)
                    .build();
                self.send_built(built);
            }
            Version::V5 => {
                let built = welcome_properties(welcome).and_then(|props| {
                    v5_0::Connack::builder()
                        .session_present(false)
                        .reason_code(ConnectReasonCode::Success)
                        .props(props)
                        .build()
                });
                self.send_built(built);
            }
        }
    }

    fn refuse(&mut self, refusal: ConnectRefusal) {
        match self.version {
            Version::V3 => {
                let built = v3_1_1::Connack::builder()
                    .session_present(false)
                    .return_code(return_code(refusal))
                    .build();
                self.send_built(built);
            }
            Version::V5 => {
                let built = v5_0::Connack::builder()
                    .session_present(false)
                    .reason_code(reason_code(refusal))
                    .build();
                self.send_built(built);
            }
        }
    }

    fn puback(&mut self, packet_id: u16, answer: Answer) {
        // MQTT 3.1.1 knows no negative acknowledgement: "it MUST … make a positive acknowledgement" (3.3.5).
        let code = puback_code(answer).filter(|_| self.version == Version::V5);
        if self.through_crate.is_empty() || !self.through_crate.remove(&packet_id) {
            fast::puback(&mut self.output, packet_id, code.map(|code| code as u8));
            return;
        }
        match self.version {
            Version::V3 => {
                self.send_built(v3_1_1::Puback::builder().packet_id(packet_id).build());
            }
            Version::V5 => {
                let builder = v5_0::Puback::builder().packet_id(packet_id);
                let built = match code {
                    None => builder.build(),
                    Some(code) => builder.reason_code(code).build(),
                };
                self.send_built(built);
            }
        }
    }

    fn suback(&mut self, packet_id: u16, grants: &[Grant]) {
        match self.version {
            Version::V3 => {
                let codes = grants.iter().map(|grant| match grant {
                    Grant::Qos(0) => SubackReturnCode::SuccessMaximumQos0,
                    Grant::Qos(_) => SubackReturnCode::SuccessMaximumQos1,
                    Grant::NotAuthorised => SubackReturnCode::Failure,
                });
                self.send_built(
                    v3_1_1::Suback::builder()
                        .packet_id(packet_id)
                        .return_codes(codes.collect())
                        .build(),
                );
            }
            Version::V5 => {
                let codes = grants.iter().map(|grant| match grant {
                    Grant::Qos(0) => SubackReasonCode::GrantedQos0,
                    Grant::Qos(_) => SubackReasonCode::GrantedQos1,
                    Grant::NotAuthorised => SubackReasonCode::NotAuthorized,
                });
                self.send_built(
                    v5_0::Suback::builder()
                        .packet_id(packet_id)
                        .reason_codes(codes.collect())
                        .build(),
                );
            }
        }
    }

    fn unsuback(&mut self, packet_id: u16, existed: &[bool]) {
        match self.version {
            Version::V3 => {
                self.send_built(v3_1_1::Unsuback::builder().packet_id(packet_id).build());
            }
            Version::V5 => {
                let codes = existed.iter().map(|existed| match existed {
                    true => UnsubackReasonCode::Success,
                    false => UnsubackReasonCode::NoSubscriptionExisted,
                });
                self.send_built(
                    v5_0::Unsuback::builder()
                        .packet_id(packet_id)
                        .reason_codes(codes.collect())
                        .build(),
                );
            }
        }
    }

    fn publish(&mut self, topic: &str, payload: &[u8]) -> bool {
        fast::publish(
            &mut self.output,
            topic,
            payload,
            self.version,
            self.packet_len_max,
        )
    }

    fn goodbye(&mut self, goodbye: Goodbye) {
        let reason = match goodbye {
            Goodbye::ShuttingDown => DisconnectReasonCode::ServerShuttingDown,
            Goodbye::TakenOver => DisconnectReasonCode::SessionTakenOver,
            Goodbye::KeepAlive => DisconnectReasonCode::KeepAliveTimeout,
            Goodbye::TooSlow => DisconnectReasonCode::QuotaExceeded,
            Goodbye::QosNotSupported => DisconnectReasonCode::QosNotSupported,
            Goodbye::TopicInvalid => DisconnectReasonCode::TopicNameInvalid,
        };
        // MQTT 3.1.1 has no DISCONNECT from the server.
        if self.version == Version::V5 {
            self.send_built(v5_0::Disconnect::builder().reason_code(reason).build());
        }
    }

    fn keep_alive(&self) -> Option<Duration> {
        self.keep_alive
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}

impl ProtocolCore {
    fn event(&mut self, packet: Packet) -> Event {
        match packet {
            GenericPacket::V3_1_1Connect(p) => {
                self.version = Version::V3;
                Event::Connect(connect_v3(&p))
            }
            GenericPacket::V5_0Connect(p) => {
                self.version = Version::V5;
                self.packet_len_max = packet_len_max(&p);
                Event::Connect(connect_v5(&p))
            }
            GenericPacket::V3_1_1Publish(p) => self.published(
                p.topic_name(),
                p.payload().as_slice(),
                level(p.qos()),
                p.packet_id(),
            ),
            GenericPacket::V5_0Publish(p) => self.published(
                p.topic_name(),
                p.payload().as_slice(),
                level(p.qos()),
                p.packet_id(),
            ),
            GenericPacket::V3_1_1Subscribe(p) => subscribe(p.packet_id(), p.entries()),
            GenericPacket::V5_0Subscribe(p) => subscribe(p.packet_id(), p.entries()),
            GenericPacket::V3_1_1Unsubscribe(p) => {
                let filters = p
                    .entries()
                    .iter()
                    .map(|filter| filter.as_str().to_owned())
                    .collect();
                Event::Unsubscribe {
                    packet_id: p.packet_id(),
                    filters,
                }
            }
            GenericPacket::V5_0Unsubscribe(p) => {
                let filters = p
                    .entries()
                    .iter()
                    .map(|filter| filter.as_str().to_owned())
                    .collect();
                Event::Unsubscribe {
                    packet_id: p.packet_id(),
                    filters,
                }
            }
            GenericPacket::V3_1_1Disconnect(_) => Event::Disconnect { publish_will: false },
            GenericPacket::V5_0Disconnect(p) => {
                // MQTT 5, 3.1.2.5: the will is dropped only on reason 0x00.
                let normal = matches!(
                    p.reason_code(),
                    None | Some(DisconnectReasonCode::NormalDisconnection)
                );
                Event::Disconnect {
                    publish_will: !normal,
                }
            }
            GenericPacket::V5_0Auth(_) => Event::Broken("AUTH without an authentication method".to_owned()),
            _ => Event::Other,
        }
    }
}

impl ProtocolCore {
    /// The crate lets some of these through.
    fn malformed(&mut self, first: u8) -> Event {
        if self.version == Version::V5 && self.keep_alive.is_some() {
            let reason = DisconnectReasonCode::MalformedPacket;
            self.send_built(v5_0::Disconnect::builder().reason_code(reason).build());
        }
        Event::Broken(format!("a packet can't begin with {first:#04x}"))
    }

    fn published(&mut self, topic: &str, payload: &[u8], qos: u8, packet_id: Option<u16>) -> Event {
        self.through_crate.extend(packet_id);
        Event::Publish(Publish {
            topic: topic.to_owned(),
            payload: payload.to_vec(),
            qos,
            packet_id,
        })
    }
}

#[cfg(test)]
mod tests;
