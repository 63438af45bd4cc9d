//! What a session answers to each packet.

use std::sync::Arc;

use subtle::ConstantTimeEq;
use taraz_telemetry::{ACK_RANGES_MAX, Channel, DeviceId, Topic};

use crate::doors::acks::AckRanges;
use crate::metrics::ConnectRejected;
use crate::spool::{Done, Room, Submission};
use crate::validate::{Accepted, KnownDevice, RefusedReason};

use super::engine::{
    Answer, Connect, ConnectRefusal, Engine, Event, Goodbye, Grant, Publish, Subscribe, Version, Welcome,
    Will,
};
use super::farewell::Leave;
use super::hub::{Hub, NoSeat};
use super::session::{Session, SignedIn, Waiting};
use super::turn::Turn;
use super::{CLIENT_ID_LEN_MAX, KEEP_ALIVE_MAX_S, STATE_LEN_MAX};

impl<E: Engine> Session<E> {
    pub(super) fn on_event(&mut self, event: Event, turn: &mut Turn) -> Result<(), Leave> {
        match event {
            Event::Broken(what) => Err(Leave::Broken(what)),
            Event::Connect(connect) => self.on_connect(&connect, turn),
            _ if self.signed_in.is_none() => Err(Leave::Broken("a packet before CONNECT".to_owned())),
            event if is_malformed(&event) => {
                Err(Leave::Broken("packet id 0, or an impossible topic".to_owned()))
            }
            Event::Publish(publish) => self.on_publish(&publish, turn),
            Event::Subscribe(subscribe) => {
                self.on_subscribe(&subscribe);
                Ok(())
            }
            Event::Unsubscribe { packet_id, filters } => {
                self.on_unsubscribe(packet_id, &filters);
                Ok(())
            }
            Event::Disconnect { publish_will } => Err(Leave::Client { publish_will }),
            Event::Other => Ok(()),
        }
    }

    fn on_connect(&mut self, connect: &Connect, turn: &mut Turn) -> Result<(), Leave> {
        match self.sign_in(connect, turn) {
            Ok((signed_in, welcome)) => {
                tracing::debug!(peer = %self.peer, device = %signed_in.device.id, "an MQTT session begins");
                self.signed_in = Some(Box::new(signed_in));
                self.engine.welcome(&welcome);
                Ok(())
            }
            Err(refusal) => {
                let user = connect.user.as_deref().unwrap_or("");
                if let Some(user) = turn.rebuffs.tell(self.peer.ip(), user, turn.now) {
                    let advice = advice(refusal);
                    tracing::info!(peer = %self.peer, user, ?refusal, "refused an MQTT sign-in: {advice}");
                }
                let reason = match refusal {
                    ConnectRefusal::Quota => ConnectRejected::TooMany,
                    ConnectRefusal::Rate => ConnectRejected::TooOften,
                    _ => ConnectRejected::Unauthorised,
                };
                self.shared.door.metrics.connect_rejected(reason);
                self.engine.refuse(refusal);
                Err(Leave::Refused)
            }
        }
    }

    fn sign_in(&self, connect: &Connect, turn: &mut Turn) -> Result<(SignedIn, Welcome), ConnectRefusal> {
        if connect.extended_authentication {
            return Err(ConnectRefusal::AuthenticationMethod);
        }
        let device = self.authenticate(connect).ok_or(ConnectRefusal::Credentials)?;
        if let Some(will) = &connect.will {
            check_will(will, &device.id, connect.version)?;
        }
        let mut welcome = Welcome {
            in_flight_max: Some(self.shared.door.in_flight_max),
            ..Welcome::default()
        };
        let client_id = match connect.client_id.as_str() {
            // MQTT 3.1.1, 3.1.3.1: an empty id only with a clean session.
            "" if connect.version == Version::V3 && !connect.clean => return Err(ConnectRefusal::ClientId),
            "" => welcome
                .assigned_client_id
                .insert(format!("{}-{}", device.id, self.peer.port()))
                .clone(),
            id if id.len() > CLIENT_ID_LEN_MAX => return Err(ConnectRefusal::ClientId),
            id => id.to_owned(),
        };
        if connect.keep_alive_s == 0 || connect.keep_alive_s > KEEP_ALIVE_MAX_S {
            welcome.server_keep_alive_s = Some(KEEP_ALIVE_MAX_S);
        }
        welcome.no_session_expiry = connect.session_expiry;
        Channel::Up
            .topic(&device.id)
            .as_str()
            .clone_into(&mut welcome.frame_topic);
        let (seat, unseated) = Hub::sit(&self.shared.hub, &device.id, &client_id, self.id, turn.now_ms)
            .map_err(|no_seat| match no_seat {
                NoSeat::TooMany => ConnectRefusal::Quota,
                NoSeat::TooOften => ConnectRefusal::Rate,
            })?;
        turn.unseated.extend(unseated);
        let signed_in = SignedIn {
            device,
            seat,
            will: connect.will.clone(),
            wants_acks: false,
            commands: false,
            ranges: AckRanges::default(),
            ack_ranges_max: ACK_RANGES_MAX,
        };
        Ok((signed_in, welcome))
    }

    fn authenticate(&self, connect: &Connect) -> Option<Arc<KnownDevice>> {
        let device = DeviceId::new(connect.user.as_deref()?).ok()?;
        let device = self.shared.door.validator.device(&device)?;
        let password = device.key.mqtt_password();
        let fits = password.as_bytes().ct_eq(&connect.password);
        bool::from(fits).then(|| Arc::clone(device))
    }

    fn on_publish(&mut self, publish: &Publish, turn: &mut Turn) -> Result<(), Leave> {
        let Some(who) = &self.signed_in else {
            return Err(Leave::Broken("PUBLISH before CONNECT".to_owned()));
        };
        // The CONNACK of MQTT 5 said so; MQTT 3.1.1 can't be told, and can't be answered with less than QoS 2.
        if publish.qos > 1 {
            return Err(Leave::Us(Goodbye::QosNotSupported));
        }
        // MQTT-3.3.2-2; the protocol crate lets them through.
        if publish.topic.contains(['+', '#']) {
            return Err(Leave::Us(Goodbye::TopicInvalid));
        }
        if publish.topic == Channel::State.topic(&who.device.id).as_str() {
            let fits = publish.payload.len() <= STATE_LEN_MAX;
            if fits {
                who.seat.set_state(&publish.payload, turn.now_ms);
            }
            let answer = if fits {
                Answer::Success
            } else {
                Answer::PayloadInvalid
            };
            self.pending.answered(publish.packet_id, answer);
            self.answer();
            return Ok(());
        }
        let device = Arc::clone(&who.device);
        let judged = self.shared.door.validator.validate(
            Some(&device.id),
            &publish.topic,
            &publish.payload,
            turn.now_ms,
        );
        self.on_judged(
            &device,
            publish.packet_id,
            judged,
            &publish.topic,
            &publish.payload,
            turn,
        );
        Ok(())
    }

    /// A frame of the device itself, under its own topic.
    pub(super) fn on_frame(&mut self, packet_id: u16, frame: &[u8], turn: &mut Turn) -> Result<(), Leave> {
        let Some(who) = &self.signed_in else {
            return Err(Leave::Broken("PUBLISH before CONNECT".to_owned()));
        };
        let device = Arc::clone(&who.device);
        let judged = self.shared.door.validator.open(&device, frame, turn.now_ms);
        let topic = if judged.is_ok() {
            Topic::new()
        } else {
            Channel::Up.topic(&device.id)
        };
        self.on_judged(&device, Some(packet_id), judged, &topic, frame, turn);
        Ok(())
    }

    fn on_judged(
        &mut self,
        device: &KnownDevice,
        packet_id: Option<u16>,
        judged: Result<Accepted, RefusedReason>,
        topic: &str,
        payload: &[u8],
        turn: &mut Turn,
    ) {
        self.spend(turn);
        match judged {
            Ok(accepted) => self.submit(packet_id, accepted, turn),
            Err(reason) => {
                self.shared
                    .door
                    .refusals
                    .add(reason, device.id.as_str(), topic, payload, turn.now_ms);
                self.pending.answered(packet_id, answer_to(reason));
                self.answer();
            }
        }
    }

    /// Towards the spool's queue, or to its door when there is no room or others wait for it.
    fn submit(&mut self, packet_id: Option<u16>, accepted: Accepted, turn: &mut Turn) {
        let number = self.pending.wait(packet_id, accepted.range);
        let len = accepted.bytes.len();
        if !turn.others_wait
            && let Some(room) = self.shared.door.spool.try_reserve(len)
        {
            self.put(room, accepted, turn.now_ms, number, turn);
            return;
        }
        let spool = Arc::clone(&self.shared.door.spool);
        self.waiting = Some(Box::new(Waiting {
            accepted,
            received_ms: turn.now_ms,
            number,
            room: Box::pin(async move { spool.reserve(len).await }),
        }));
    }

    /// With the turn's other frames into the spool's queue.
    pub(super) fn put(&self, room: Room, accepted: Accepted, received_ms: u64, number: u64, turn: &mut Turn) {
        let done = Done::new(Arc::clone(&self.shared.done), self.id.number());
        turn.submissions
            .push(Submission::new(room, accepted, received_ms, done, number));
    }

    /// Sends every PUBACK whose turn it is.
    pub(super) fn answer(&mut self) {
        while let Some((packet_id, answer)) = self.pending.next_answer() {
            if let Some(packet_id) = packet_id {
                self.engine.puback(packet_id, answer);
            }
        }
    }

    /// Sends the device's signed acknowledgements, as many as its client takes. One who asks for them and states a maximum packet size
    /// that fits none (a CONNECT that was damaged on its way) could never free a record: it has to sign in again.
    pub(super) fn send_acks(&mut self) -> Result<(), Leave> {
        let Some(who) = self.signed_in.as_mut().filter(|who| who.wants_acks) else {
            return Ok(());
        };
        let topic = Channel::Ack.topic(&who.device.id);
        while let Some((ack, count)) = who.ranges.signed(&who.device, who.ack_ranges_max) {
            // At QoS 0 whatever was granted: what is lost is acknowledged again when the device sends it again.
            if self.engine.publish(&topic, &ack) {
                who.ranges.sent(count);
            } else if count > 1 {
                // Larger than this client takes.
                who.ack_ranges_max = count / 2;
            } else {
                let len = ack.len();
                return Err(Leave::Broken(format!(
                    "its maximum packet size fits no acknowledgement, one of which has {len} bytes without its topic"
                )));
            }
        }
        Ok(())
    }

    fn on_subscribe(&mut self, subscribe: &Subscribe) {
        let Some(who) = &mut self.signed_in else {
            return;
        };
        let (ack, cmd) = (
            Channel::Ack.topic(&who.device.id),
            Channel::Cmd.topic(&who.device.id),
        );
        let mut grants = Vec::with_capacity(subscribe.filters.len());
        for (filter, qos) in &subscribe.filters {
            let qos = (*qos).min(1);
            grants.push(match filter.as_str() {
                filter if filter == ack.as_str() => {
                    who.wants_acks = true;
                    who.seat.want_acks(true);
                    Grant::Qos(qos)
                }
                filter if filter == cmd.as_str() => {
                    who.commands = true;
                    Grant::Qos(qos)
                }
                _ => Grant::NotAuthorised,
            });
        }
        self.engine.suback(subscribe.packet_id, &grants);
    }

    fn on_unsubscribe(&mut self, packet_id: u16, filters: &[String]) {
        let Some(who) = &mut self.signed_in else {
            return;
        };
        let (ack, cmd) = (
            Channel::Ack.topic(&who.device.id),
            Channel::Cmd.topic(&who.device.id),
        );
        let mut existed = Vec::with_capacity(filters.len());
        for filter in filters {
            existed.push(if filter == ack.as_str() {
                who.ranges.clear();
                who.seat.want_acks(false);
                std::mem::take(&mut who.wants_acks)
            } else {
                filter == cmd.as_str() && std::mem::take(&mut who.commands)
            });
        }
        self.engine.unsuback(packet_id, &existed);
    }
}

/// What the protocol crate lets through: packet id 0 (MQTT-2.2.1-3), texts with U+0000 (MQTT-1.5.4-2), empty topics (MQTT-4.7.3-1).
fn is_malformed(event: &Event) -> bool {
    let is_text = |text: &str| !text.is_empty() && !text.contains('\0');
    match event {
        Event::Publish(publish) => publish.packet_id == Some(0) || !is_text(&publish.topic),
        Event::Subscribe(subscribe) => {
            subscribe.packet_id == 0 || !subscribe.filters.iter().all(|(filter, _)| is_text(filter))
        }
        Event::Unsubscribe { packet_id, filters } => {
            *packet_id == 0 || !filters.iter().all(|filter| is_text(filter))
        }
        _ => false,
    }
}

/// What to do about a refused CONNECT, for whoever reads the log.
const fn advice(refusal: ConnectRefusal) -> &'static str {
    match refusal {
        ConnectRefusal::Credentials => {
            "expected the id of a registered device as user name and the password of its key; see whether the registry has it, with the \
             key's generation"
        }
        ConnectRefusal::Quota => "the device has too many sessions: end those that look on",
        ConnectRefusal::Rate => "the device signs in too often: see whether two devices use its id",
        ConnectRefusal::ClientId
        | ConnectRefusal::Will
        | ConnectRefusal::WillQos
        | ConnectRefusal::AuthenticationMethod => "its client does not follow docs/protocol.md, section 4",
    }
}

fn check_will(will: &Will, device: &DeviceId, version: Version) -> Result<(), ConnectRefusal> {
    if will.topic != Channel::State.topic(device).as_str() || will.payload.len() > STATE_LEN_MAX {
        return Err(ConnectRefusal::Will);
    }
    // MQTT 5, 3.2.2.3.4: a server with Maximum QoS 1 must refuse a will of QoS 2.
    if will.qos > 1 && version == Version::V5 {
        Err(ConnectRefusal::WillQos)
    } else {
        Ok(())
    }
}

const fn answer_to(reason: RefusedReason) -> Answer {
    match reason {
        RefusedReason::Topic => Answer::TopicInvalid,
        RefusedReason::ForeignTopic
        | RefusedReason::UnknownDevice
        | RefusedReason::KeyGeneration
        | RefusedReason::Tag => Answer::NotAuthorised,
        RefusedReason::Length | RefusedReason::Malformed => Answer::PayloadInvalid,
        RefusedReason::Version => Answer::ImplementationSpecific,
    }
}
