//! MQTT from bytes, written from the standard: packets out, packets in, no library on this side.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use taraz_telemetry::{DeviceId, DeviceKey};

pub(super) const V3: u8 = 4;
pub(super) const V5: u8 = 5;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xA2;
pub(super) const PINGREQ: [u8; 2] = [0xC0, 0];
pub(super) const DISCONNECT: [u8; 2] = [0xE0, 0];
pub(super) const PINGRESP: u8 = 0xD0;

/// First byte and body.
pub(super) type Packet<'b> = (u8, &'b [u8]);

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// A packet: its first byte, the length in groups of seven bits (MQTT 5.0, 2.1.4), what is in it.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let digit = len.to_le_bytes()[0] & 0x7F;
        len >>= 7;
        bytes.push(if len > 0 { digit | 0x80 } else { digit });
        if len == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Two bytes of length, then the bytes (MQTT 5.0, 1.5.4); as many as such a length can state.
fn text(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(usize::from(u16::MAX))];
    let len = u16::try_from(text.len()).unwrap_or(u16::MAX);
    [&len.to_be_bytes()[..], text].concat()
}

/// Nothing in MQTT 3.1.1, an empty list of properties in MQTT 5.
fn no_properties(version: u8) -> &'static [u8] {
    if version == V5 { &[0] } else { &[] }
}

/// CONNECT of a device, with a will if it is to have one.
pub(super) fn connect(version: u8, device: &DeviceId, key: &DeviceKey, will: Option<&[u8]>) -> Vec<u8> {
    let flags = if will.is_some() { 0b1110_1110 } else { 0b1100_0010 };
    let mut body = [
        &text(b"MQTT")[..],
        &[version, flags, 0, 60],
        no_properties(version),
    ]
    .concat();
    body.extend(text(device.as_str().as_bytes()));
    if let Some(will) = will {
        body.extend_from_slice(no_properties(version));
        body.extend(text(format!("taraz/1/{device}/state").as_bytes()));
        body.extend(text(will));
    }
    body.extend(text(device.as_str().as_bytes()));
    body.extend(text(key.mqtt_password().as_bytes()));
    packet(CONNECT, &body)
}

/// PUBLISH at QoS 1.
pub(super) fn publish(version: u8, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let id = id.to_be_bytes();
    let body = [&text(topic.as_bytes())[..], &id, no_properties(version), payload].concat();
    packet(PUBLISH | 0b10, &body)
}

/// SUBSCRIBE to one topic at QoS 1.
pub(super) fn subscribe(version: u8, id: u16, topic: &str) -> Vec<u8> {
    let id = id.to_be_bytes();
    let body = [&id[..], no_properties(version), &text(topic.as_bytes()), &[1]].concat();
    packet(SUBSCRIBE, &body)
}

/// UNSUBSCRIBE from one topic.
pub(super) fn unsubscribe(version: u8, id: u16, topic: &str) -> Vec<u8> {
    let id = id.to_be_bytes();
    let body = [&id[..], no_properties(version), &text(topic.as_bytes())].concat();
    packet(UNSUBSCRIBE, &body)
}

/// Cuts what a server sent into packets: first byte and body of each; an error when it does not end with a whole one.
pub(super) fn packets(mut bytes: &[u8]) -> Result<Vec<Packet<'_>>, String> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let (packet, rest) =
            split(bytes).ok_or_else(|| format!("{} bytes that are no whole packet", bytes.len()))?;
        packets.push(packet);
        bytes = rest;
    }
    Ok(packets)
}

fn split(bytes: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (mut len, mut shift) = (0_usize, 0);
    for (at, &digit) in rest.iter().take(4).enumerate() {
        len |= usize::from(digit & 0x7F) << shift;
        shift += 7;
        if digit & 0x80 == 0 {
            let (body, rest) = rest[at + 1..].split_at_checked(len)?;
            return Some(((first, body), rest));
        }
    }
    None
}

/// A device that signs in and publishes, one frame after the other.
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    version: u8,
    topic: String,
    next_id: u16,
}

impl Client {
    /// Signs in.
    pub(super) fn open(
        at: SocketAddr,
        version: u8,
        device: &DeviceId,
        key: &DeviceKey,
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(at).map_err(|error| format!("connecting: {error}"))?;
        let set = stream.set_nodelay(true);
        set.and_then(|()| stream.set_read_timeout(Some(ANSWER_LIMIT)))
            .map_err(|error| error.to_string())?;
        let mut client = Self {
            stream,
            received: Vec::new(),
            version,
            topic: format!("taraz/1/{device}/up"),
            next_id: 1,
        };
        client.send(&connect(version, device, key, None))?;
        let (_, body) = client.next()?;
        match body.get(1) {
            Some(0) => Ok(client),
            code => Err(format!("signing in was refused with {code:?}")),
        }
    }

    /// Publishes a frame and returns after its acknowledgement.
    pub(super) fn publish(&mut self, frame: &[u8]) -> Result<(), String> {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        self.send(&publish(self.version, &self.topic, id, frame))?;
        let (first, body) = self.next()?;
        // In MQTT 5 success may be left out, and is 0 otherwise (3.4.2.1).
        let is_success = first == PUBACK
            && body.starts_with(&id.to_be_bytes())
            && body.get(2).is_none_or(|code| *code == 0);
        is_success
            .then_some(())
            .ok_or_else(|| format!("expected a PUBACK of {id}, got {first:02x} {body:02x?}"))
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .map_err(|error| format!("sending: {error}"))
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), String> {
        loop {
            if let Some(((first, body), rest)) = split(&self.received) {
                let (packet, rest) = ((first, body.to_vec()), rest.to_vec());
                self.received = rest;
                return Ok(packet);
            }
            let mut buffer = [0; 4_096];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the door has closed the connection".to_owned()),
                Ok(len) => self.received.extend_from_slice(&buffer[..len]),
                Err(error) => return Err(format!("no answer: {error}")),
            }
        }
    }
}
