//! The three packets that come by the thousand, read and written without the detour over the crate's types: a device's PUBLISH
//! of `QoS` 1 under its own topic, its PUBACK, and our PUBLISH of an acknowledgement. Whatever is not exactly such a packet is the
//! crate's to judge.

use super::super::PACKET_LEN_MAX;
use super::super::engine::{Fast, Version};

/// PUBLISH with `QoS` 1, not retained; bit 3 is the duplicate flag (MQTT 5, 3.3.1).
const PUBLISH_QOS_1: u8 = 0x32;
const DUPLICATE: u8 = 0x08;
const PUBLISH_QOS_0: u8 = 0x30;
const PUBACK: u8 = 0x40;

/// A client's packet may begin with this byte: a type that clients send, with the flags that it must have (MQTT 5, 2.1.3: "MUST be set
/// to the value listed"), and no duplicate of `QoS` 0 (3.3.1.1).
pub(super) const fn may_come(first: u8) -> bool {
    match first {
        0x30..=0x3F => first & 0x06 != 0 || first & DUPLICATE == 0,
        0x10 | 0x40 | 0x50 | 0x62 | 0x70 | 0x82 | 0xA2 | 0xC0 | 0xE0 | 0xF0 => true,
        _ => false,
    }
}

/// Takes a publish under `topic` from the front of `bytes`.
pub(super) fn publish_under<'a>(bytes: &mut &'a [u8], topic: &[u8], version: Version) -> Fast<'a> {
    let all: &'a [u8] = bytes;
    let Some(&first) = all.first() else {
        return Fast::No;
    };
    if topic.is_empty() || first & !DUPLICATE != PUBLISH_QOS_1 {
        return Fast::No;
    }
    let (len, start) = match remaining_len(&all[1..]) {
        Len::Is(len, digits) => (len, 1 + digits),
        Len::More => return Fast::More,
        Len::Strange => return Fast::No,
    };
    if start + len > PACKET_LEN_MAX as usize {
        return Fast::No;
    }
    let Some(body) = all.get(start..start + len) else {
        return Fast::More;
    };
    let Some(payload) = payload(body, topic, version) else {
        return Fast::No;
    };
    *bytes = &all[start + len..];
    Fast::Frame {
        packet_id: payload.0,
        payload: payload.1,
    }
}

/// Packet id and payload of a body that begins with this topic and has no properties.
fn payload<'a>(body: &'a [u8], topic: &[u8], version: Version) -> Option<(u16, &'a [u8])> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let rest = rest
        .strip_prefix(topic)
        .filter(|_| usize::from(u16::from_be_bytes(*len)) == topic.len())?;
    let (id, rest) = rest.split_first_chunk::<2>()?;
    // MQTT-2.2.1-3: never zero.
    let id = Some(u16::from_be_bytes(*id)).filter(|id| *id != 0)?;
    match version {
        Version::V3 => Some((id, rest)),
        Version::V5 => Some((id, rest.strip_prefix(&[0])?)),
    }
}

enum Len {
    /// The value, and how many bytes it stood in.
    Is(usize, usize),
    More,
    /// Longer than four bytes, or longer than it must be (MQTT-1.5.5-1).
    Strange,
}

fn remaining_len(bytes: &[u8]) -> Len {
    let mut len = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return if at > 0 && *byte == 0 {
                Len::Strange
            } else {
                Len::Is(len, at + 1)
            };
        }
    }
    if bytes.len() < 4 { Len::More } else { Len::Strange }
}

/// Writes a PUBACK; without a reason code it is a success (MQTT 5, 3.4.2.1).
pub(super) fn puback(output: &mut Vec<u8>, packet_id: u16, reason: Option<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    match reason {
        None => output.extend_from_slice(&[PUBACK, 2, high, low]),
        Some(code) => output.extend_from_slice(&[PUBACK, 3, high, low, code]),
    }
}

/// Writes a PUBLISH of `QoS` 0. False, and nothing written, when it is longer than the client takes.
pub(super) fn publish(
    output: &mut Vec<u8>,
    topic: &str,
    payload: &[u8],
    version: Version,
    packet_len_max: usize,
) -> bool {
    let Ok(topic_len) = u16::try_from(topic.len()) else {
        return false;
    };
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let len = 2 + topic.len() + properties.len() + payload.len();
    let (mut head, mut used, mut rest) = ([PUBLISH_QOS_0, 0, 0, 0, 0], 1, len);
    while let Some(place) = head.get_mut(used) {
        let digit = u8::try_from(rest & 0x7F).unwrap_or_default();
        rest >>= 7;
        used += 1;
        *place = if rest > 0 { digit | 0x80 } else { digit };
        if rest == 0 {
            break;
        }
    }
    if rest > 0 || used + len > packet_len_max {
        return false;
    }
    for part in [
        &head[..used],
        &topic_len.to_be_bytes(),
        topic.as_bytes(),
        properties,
        payload,
    ] {
        output.extend_from_slice(part);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOPIC: &[u8] = b"taraz/1/sari-01/up";

    fn packet(first: u8, topic: &[u8], id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let topic_len = u16::try_from(topic.len()).unwrap().to_be_bytes();
        let body = [&topic_len, topic, &id.to_be_bytes(), properties, payload].concat();
        let (low, high) = (
            u8::try_from(body.len() & 0x7F).unwrap(),
            u8::try_from(body.len() >> 7).unwrap(),
        );
        let len = if high > 0 {
            vec![low | 0x80, high]
        } else {
            vec![low]
        };
        [&[first], &len[..], &body[..]].concat()
    }

    #[test]
    fn only_a_frame_of_the_device_itself_is_taken() {
        let frame = packet(0x32, TOPIC, 7, &[0], &[9; 300]);
        let mut bytes = &[&frame[..], b"next"].concat()[..];
        let taken = publish_under(&mut bytes, TOPIC, Version::V5);
        assert_eq!(
            (taken, bytes),
            (
                Fast::Frame {
                    packet_id: 7,
                    payload: &[9; 300]
                },
                &b"next"[..]
            )
        );
        for len in 1..frame.len() {
            let mut bytes = &frame[..len];
            assert_eq!(publish_under(&mut bytes, TOPIC, Version::V5), Fast::More, "{len}");
            assert_eq!(bytes.len(), len, "nothing is taken");
        }
        for other in [
            packet(0x30, TOPIC, 7, &[0], b"x"),
            packet(0x33, TOPIC, 7, &[0], b"x"),
            packet(0x34, TOPIC, 7, &[0], b"x"),
            packet(0x32, b"taraz/1/sari-02/up", 7, &[0], b"x"),
            packet(0x32, b"taraz/1/sari-01/upp", 7, &[0], b"x"),
            packet(0x32, TOPIC, 0, &[0], b"x"),
            packet(0x32, TOPIC, 7, &[3, 35, 0, 1], b"x"),
            packet(0x32, TOPIC, 7, &[0], &[1; 5_000]),
            vec![0x32, 0x80, 0x80, 0x80, 0x80, 1],
            vec![0x32, 0x85, 0x00, 0, 1, b't', 0, 1],
        ] {
            assert_eq!(
                publish_under(&mut &other[..], TOPIC, Version::V5),
                Fast::No,
                "{other:02x?}"
            );
        }
        assert_eq!(
            publish_under(&mut &frame[..], b"", Version::V5),
            Fast::No,
            "nobody has signed in"
        );
        let plain = packet(0x3A, TOPIC, 7, &[], b"x");
        let taken = publish_under(&mut &plain[..], TOPIC, Version::V3);
        assert_eq!(
            taken,
            Fast::Frame {
                packet_id: 7,
                payload: b"x"
            },
            "sent again"
        );
    }

    #[test]
    fn a_message_longer_than_the_client_takes_is_not_written() {
        let mut output = Vec::new();
        assert!(!publish(&mut output, "t", &[1; 20], Version::V5, 25) && output.is_empty());
        assert!(publish(&mut output, "t", &[1; 20], Version::V5, 26));
        assert_eq!((output.len(), &output[..6]), (26, &[0x30, 24, 0, 1, b't', 0][..]));
        output.clear();
        assert!(publish(&mut output, "t", &[1; 300], Version::V3, usize::MAX));
        assert_eq!((output.len(), &output[..3]), (306, &[0x30, 0xAF, 0x02][..]));
    }

    proptest! {
        /// No bytes make it take more than there is, or anything but a whole packet.
        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..80), flip in any::<u16>()) {
            let mut frame = packet(0x32, TOPIC, 7, &[0], &bytes);
            let at = usize::from(flip) % frame.len();
            frame[at] ^= (flip >> 8) as u8;
            for version in [Version::V3, Version::V5] {
                for bytes in [&bytes, &frame] {
                    let mut rest = &bytes[..];
                    match publish_under(&mut rest, TOPIC, version) {
                        Fast::Frame { packet_id, payload } => {
                            prop_assert!(packet_id > 0 && bytes.ends_with(&[payload, rest].concat()));
                        }
                        Fast::More | Fast::No => prop_assert_eq!(rest.len(), bytes.len()),
                    }
                }
            }
        }
    }
}
