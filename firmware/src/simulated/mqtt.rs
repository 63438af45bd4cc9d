//! The server's side of MQTT 5, as much as a device uses, written from the standard and not from the device's client.

/// What a device sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Packet {
    Connect {
        keep_alive_s: u16,
        client_id: String,
        user: String,
        password: Vec<u8>,
        /// Topic, payload, retained.
        will: Option<(String, Vec<u8>, bool)>,
    },
    Publish {
        topic: String,
        payload: Vec<u8>,
        id: Option<u16>,
        retained: bool,
    },
    Subscribe {
        id: u16,
        filter: String,
    },
    Ping,
    Disconnect,
    Other(u8),
}

struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, len: usize) -> &'b [u8] {
        let (head, rest) = self.0.split_at(len);
        self.0 = rest;
        head
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u16(&mut self) -> u16 {
        u16::from_be_bytes(self.take(2).try_into().unwrap())
    }

    fn data(&mut self) -> Vec<u8> {
        let len = usize::from(self.u16());
        self.take(len).to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.data()).unwrap()
    }

    fn skip_properties(&mut self) {
        let (len, used) = varint(self.0).unwrap();
        self.take(used + len);
    }
}

/// Variable byte integer (MQTT 5, section 1.5.5): its value and its length, if it is whole.
fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// The next whole packet (section 2.1), and how many bytes it took.
pub(super) fn parse(bytes: &[u8]) -> Option<(Packet, usize)> {
    let (len, used) = varint(bytes.get(1..)?)?;
    let end = 1 + used + len;
    let body = Bytes(bytes.get(1 + used..end)?);
    Some((packet(bytes[0], body), end))
}

fn packet(head: u8, mut body: Bytes<'_>) -> Packet {
    match head >> 4 {
        1 => connect(body),
        3 => {
            let topic = body.text();
            let id = (head & 0b110 != 0).then(|| body.u16());
            body.skip_properties();
            Packet::Publish {
                topic,
                payload: body.0.to_vec(),
                id,
                retained: head & 1 == 1,
            }
        }
        8 => {
            let id = body.u16();
            body.skip_properties();
            Packet::Subscribe {
                id,
                filter: body.text(),
            }
        }
        12 => Packet::Ping,
        14 => Packet::Disconnect,
        other => Packet::Other(other),
    }
}

/// Section 3.1.
fn connect(mut body: Bytes<'_>) -> Packet {
    assert_eq!((body.text(), body.u8()), ("MQTT".to_owned(), 5));
    let flags = body.u8();
    let keep_alive_s = body.u16();
    body.skip_properties();
    let client_id = body.text();
    let will = (flags & 0b100 != 0).then(|| {
        body.skip_properties();
        (body.text(), body.data(), flags & 0b10_0000 != 0)
    });
    assert_eq!(flags & 0b1100_0000, 0b1100_0000, "user and password");
    Packet::Connect {
        keep_alive_s,
        client_id,
        user: body.text(),
        password: body.data(),
        will,
    }
}

/// Signed in, no session kept (section 3.2).
pub(super) const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];
/// Section 3.13.
pub(super) const PINGRESP: [u8; 2] = [0xD0, 0];

/// Section 3.4.
pub(super) fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [0x40, 2, high, low]
}

/// QoS 1 granted (section 3.9).
pub(super) fn suback(id: u16) -> [u8; 6] {
    let [high, low] = id.to_be_bytes();
    [0x90, 4, high, low, 0, 1]
}

/// A message with QoS 0 (section 3.3).
pub(super) fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    let len = 2 + topic.len() + 1 + payload.len();
    let mut bytes = vec![0x30];
    let mut rest = len;
    while rest > 0x7f {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.as_bytes());
    bytes.push(0);
    bytes.extend(payload);
    bytes
}
