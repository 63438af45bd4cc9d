//! An MQTT client made of bytes, written from the standard: it sends what no library would, and shows the order of what
//! comes back.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::rig::{Device, NOTHING, within};

pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;

pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const UNSUBACK: u8 = 0xB0;
pub(crate) const PINGRESP: u8 = 0xD0;
pub(crate) const DISCONNECT: u8 = 0xE0;

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    pub(crate) version: u8,
}

/// What CONNECT says.
#[derive(Clone)]
pub(crate) struct Hello {
    pub(crate) version: u8,
    pub(crate) client_id: String,
    pub(crate) clean: bool,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keep_alive_s: u16,
    pub(crate) will: Option<(String, Vec<u8>, u8)>,
    /// MQTT 5: encoded properties.
    pub(crate) properties: Vec<u8>,
}

impl Hello {
    pub(crate) fn of(version: u8, device: &Device) -> Self {
        Self {
            version,
            client_id: format!("{}-client", device.id),
            clean: true,
            user: Some(device.id.to_string()),
            password: Some(device.password()),
            keep_alive_s: 60,
            will: None,
            properties: Vec::new(),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut flags = u8::from(self.clean) << 1;
        let mut payload = text(&self.client_id);
        if let Some((topic, message, qos)) = &self.will {
            flags |= 0b0010_0100 | qos << 3;
            if self.version == V5 {
                payload.push(0);
            }
            payload.extend(text(topic));
            payload.extend(binary(message));
        }
        if let Some(user) = &self.user {
            flags |= 0b1000_0000;
            payload.extend(text(user));
        }
        if let Some(password) = &self.password {
            flags |= 0b0100_0000;
            payload.extend(text(password));
        }
        let mut body = [
            &[0, 4][..],
            b"MQTT",
            &[self.version, flags],
            &self.keep_alive_s.to_be_bytes(),
        ]
        .concat();
        if self.version == V5 {
            body.push(u8::try_from(self.properties.len()).unwrap());
            body.extend(&self.properties);
        }
        body.extend(payload);
        packet(0x10, &body)
    }
}

impl Raw {
    pub(crate) async fn open(addr: SocketAddr, version: u8) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, version }
    }

    /// Connects and returns the CONNACK's return or reason code.
    pub(crate) async fn connect(addr: SocketAddr, hello: &Hello) -> (Self, u8) {
        let mut raw = Self::open(addr, hello.version).await;
        raw.send(&hello.bytes()).await;
        let (kind, body) = raw.next().await.expect("a CONNACK");
        assert_eq!(kind, CONNACK);
        (raw, body[1])
    }

    /// A session of a device that is accepted.
    pub(crate) async fn session(addr: SocketAddr, version: u8, device: &Device) -> Self {
        let (raw, code) = Self::connect(addr, &Hello::of(version, device)).await;
        assert_eq!(code, 0);
        raw
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within("a write", self.stream.write_all(bytes)).await.unwrap();
    }

    pub(crate) fn publish_bytes(&self, topic: &str, qos: u8, id: u16, payload: &[u8]) -> Vec<u8> {
        let mut body = text(topic);
        if qos > 0 {
            body.extend(id.to_be_bytes());
        }
        if self.version == V5 {
            body.push(0);
        }
        body.extend(payload);
        packet(PUBLISH | qos << 1, &body)
    }

    pub(crate) async fn publish(&mut self, topic: &str, qos: u8, id: u16, payload: &[u8]) {
        let bytes = self.publish_bytes(topic, qos, id, payload);
        self.send(&bytes).await;
    }

    /// Subscribes and returns the SUBACK's codes.
    pub(crate) async fn subscribe(&mut self, filters: &[(&str, u8)]) -> Vec<u8> {
        let mut body = vec![0, 77];
        if self.version == V5 {
            body.push(0);
        }
        for (filter, qos) in filters {
            body.extend(text(filter));
            body.push(*qos);
        }
        self.send(&packet(0x82, &body)).await;
        let (kind, body) = self.next().await.expect("a SUBACK");
        assert_eq!((kind, &body[..2]), (SUBACK, &[0, 77][..]));
        body[if self.version == V5 { 3 } else { 2 }..].to_vec()
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        let mut body = vec![0, 78];
        if self.version == V5 {
            body.push(0);
        }
        body.extend(text(filter));
        self.send(&packet(0xA2, &body)).await;
        let (kind, body) = self.next().await.expect("an UNSUBACK");
        assert_eq!(kind, UNSUBACK);
        body
    }

    /// The next packet: first byte and body. `None` when the other side closed.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        within("a packet", self.read()).await
    }

    async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut len, mut shift) = (0_usize, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            len |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// The next packet must be this PUBACK; returns its reason code (0 for MQTT 3.1.1).
    pub(crate) async fn puback(&mut self, id: u16) -> u8 {
        let (kind, body) = self.next().await.expect("a PUBACK");
        assert_eq!((kind, &body[..2]), (PUBACK, &id.to_be_bytes()[..]));
        body.get(2).copied().unwrap_or(0)
    }

    /// The next packet must be a PUBLISH of ours; returns topic, payload, and packet id above `QoS` 0.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>, Option<u16>) {
        let (kind, body) = self.next().await.expect("a PUBLISH");
        assert_eq!(kind & 0xF0, PUBLISH);
        let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let topic = String::from_utf8(body[2..2 + len].to_vec()).unwrap();
        let mut rest = &body[2 + len..];
        let mut id = None;
        if kind & 0b110 != 0 {
            id = Some(u16::from_be_bytes([rest[0], rest[1]]));
            rest = &rest[2..];
        }
        if self.version == V5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        (topic, rest.to_vec(), id)
    }

    /// Nothing may come for a while.
    pub(crate) async fn nothing(&mut self) {
        if let Ok(packet) = timeout(NOTHING, self.read()).await {
            panic!("expected nothing, got {packet:02x?}");
        }
    }

    pub(crate) async fn closed(&mut self) {
        assert_eq!(self.next().await, None, "expected the end of the connection");
    }
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let digit = u8::try_from(len & 0x7F).unwrap();
        len >>= 7;
        bytes.push(if len > 0 { digit | 0x80 } else { digit });
        if len == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
