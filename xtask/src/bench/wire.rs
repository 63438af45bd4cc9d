//! Bytes of one direction of MQTT 5 sessions, told apart: what we say, and what MQTT needs to carry it.

/// MQTT 5.0, 2.1.2: the packet type is the upper half of the first byte; 3 is PUBLISH.
const PUBLISH: u8 = 3;

/// What went in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Everything.
    pub(crate) bytes: u64,
    /// Publications of frames (up) or acknowledgements (down).
    pub(crate) messages: u64,
    /// The bytes of those without MQTT.
    pub(crate) payload_bytes: u64,
}

impl Traffic {
    /// Adds what another connection carried.
    pub(crate) fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.messages += other.messages;
        self.payload_bytes += other.payload_bytes;
    }
}

/// Cuts the bytes of one connection into packets.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    rest: Vec<u8>,
}

impl Packets {
    /// Takes bytes as they come and gives what they add.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Traffic {
        self.rest.extend_from_slice(bytes);
        let mut traffic = Traffic {
            bytes: bytes.len() as u64,
            ..Traffic::default()
        };
        let mut from = 0;
        while let Some((first, body, length)) = packet(&self.rest[from..]) {
            if first >> 4 == PUBLISH
                && let Some(payload) = message_len(first, body)
            {
                traffic.messages += 1;
                traffic.payload_bytes += payload as u64;
            }
            from += length;
        }
        self.rest.drain(..from);
        traffic
    }
}

/// MQTT 5.0, 2.1: first byte, remaining length, so many bytes. The last is the length of all three.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let (first, rest) = bytes.split_first()?;
    let (length, after) = variable_int(rest)?;
    let body = after.get(..length)?;
    Some((*first, body, 1 + rest.len() - after.len() + length))
}

/// MQTT 5.0, 1.5.5: groups of 7 bits, the least significant first.
fn variable_int(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

/// MQTT 5.0, 3.3: topic, packet identifier above QoS 0, properties, payload. None for topics that carry no data.
fn message_len(first: u8, body: &[u8]) -> Option<usize> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let topic = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    if !topic.ends_with(b"/up") && !topic.ends_with(b"/ack") {
        return None;
    }
    let identifier = if first & 0b110 == 0 { 0 } else { 2 };
    let (properties, rest) = variable_int(rest.get(topic.len() + identifier..)?)?;
    Some(rest.get(properties..)?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(topic: &str, qos: u8, payload: usize) -> Vec<u8> {
        let mut body = vec![0, u8::try_from(topic.len()).unwrap()];
        body.extend_from_slice(topic.as_bytes());
        if qos > 0 {
            body.extend_from_slice(&[0, 7]);
        }
        body.extend_from_slice(&[2, 0x01, 0x00]);
        body.resize(body.len() + payload, 0xaa);
        let mut packet = vec![PUBLISH << 4 | qos << 1];
        if body.len() < 128 {
            packet.push(u8::try_from(body.len()).unwrap());
        } else {
            packet.push(u8::try_from(body.len() % 128).unwrap() | 0x80);
            packet.push(u8::try_from(body.len() / 128).unwrap());
        }
        packet.extend(body);
        packet
    }

    #[test]
    fn payload_is_told_from_protocol_however_the_bytes_are_cut() {
        let puback = [0x40, 2, 0, 7];
        let bytes = [
            &publication("taraz/1/a/up", 1, 300)[..],
            &puback,
            &publication("taraz/1/a/ack", 0, 20),
            &publication("taraz/1/a/state", 1, 6),
        ]
        .concat();
        let expected = Traffic {
            bytes: bytes.len() as u64,
            messages: 2,
            payload_bytes: 320,
        };
        for size in [1, 3, 100, bytes.len()] {
            let (mut packets, mut all) = (Packets::default(), Traffic::default());
            for chunk in bytes.chunks(size) {
                all.add(packets.take(chunk));
            }
            assert_eq!(all, expected, "in chunks of {size}");
        }
    }
}
