//! The few MQTT packets that a client needs, written and read as the standards say: MQTT 5.0 and 3.1.1.
//!
//! Our own and not the gateway's library: a shared mistake would hide, and ten thousand clients must cost next to nothing.

use anyhow::{Context, Result, bail};

/// Which MQTT is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1.
    V311,
    /// MQTT 5.0.
    V5,
}

/// Section 2.1.2 of both: the packet type in the upper half of the first byte.
const CONNECT: u8 = 1 << 4;
const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
/// Section 3.8.1: the lower half must be 2.
const SUBSCRIBE: u8 = 8 << 4 | 2;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;
/// PUBLISH at `QoS` 1: bit 1.
const PUBLISH_QOS1: u8 = PUBLISH << 4 | 2;
const RETAIN: u8 = 1;
/// Section 3.1.2.3: user name, password, will retained, will `QoS` 1, will, clean start.
const CONNECT_WITH_WILL: u8 = 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02;
const CONNECT_CLEAN: u8 = 0x02;
/// MQTT 5.0, 2.2.2.2: Receive Maximum.
const RECEIVE_MAXIMUM: u8 = 0x21;
/// MQTT 5.0, 3.2.2.3.3: without the property.
const RECEIVE_MAXIMUM_DEFAULT: u16 = 65_535;
/// MQTT 5.0, 1.5.5.
const REMAINING_LEN_MAX: usize = 268_435_455;

/// Who signs in.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) keep_alive_s: u16,
    /// Also the user name's owner: a device.
    pub(crate) device: Option<DeviceLogin<'a>>,
}

/// What a device of `docs/protocol.md` adds to its CONNECT.
#[derive(Debug)]
pub(crate) struct DeviceLogin<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
    pub(crate) will_topic: &'a str,
    pub(crate) will: &'a [u8],
}

/// What a server said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming<'a> {
    Connack { code: u8, receive_maximum: u16 },
    Suback { code: u8 },
    Puback { id: u16, code: u8 },
    Publish { id: Option<u16>, payload: &'a [u8] },
    Pingresp,
    Disconnect { code: u8 },
}

/// Appends a CONNECT with clean start.
pub(crate) fn connect(out: &mut Vec<u8>, version: Version, login: &Login<'_>) {
    let mut body = Vec::with_capacity(160);
    text(&mut body, b"MQTT");
    body.push(if version == Version::V5 { 5 } else { 4 });
    body.push(if login.device.is_some() {
        CONNECT_WITH_WILL
    } else {
        CONNECT_CLEAN
    });
    body.extend_from_slice(&login.keep_alive_s.to_be_bytes());
    let no_properties = |body: &mut Vec<u8>| {
        if version == Version::V5 {
            body.push(0);
        }
    };
    no_properties(&mut body);
    text(&mut body, login.client_id.as_bytes());
    if let Some(device) = &login.device {
        no_properties(&mut body);
        text(&mut body, device.will_topic.as_bytes());
        text(&mut body, device.will);
        text(&mut body, device.user.as_bytes());
        text(&mut body, device.password.as_bytes());
    }
    packet(out, CONNECT, &[&body]);
}

/// Appends a SUBSCRIBE to one topic.
pub(crate) fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, topic: &str, qos: u8) {
    let mut body = Vec::with_capacity(topic.len() + 8);
    body.extend_from_slice(&id.to_be_bytes());
    if version == Version::V5 {
        body.push(0);
    }
    text(&mut body, topic.as_bytes());
    body.push(qos);
    packet(out, SUBSCRIBE, &[&body]);
}

/// Appends a PUBLISH at `QoS` 1.
pub(crate) fn publish(
    out: &mut Vec<u8>,
    version: Version,
    id: u16,
    topic: &str,
    payload: &[u8],
    retain: bool,
) {
    // Topics of this crate are far shorter than 65,536 bytes.
    #[allow(clippy::cast_possible_truncation)]
    let topic_len = (topic.len() as u16).to_be_bytes();
    let [high, low] = id.to_be_bytes();
    let id_and_properties = [high, low, 0];
    let used = if version == Version::V5 { 3 } else { 2 };
    let first = PUBLISH_QOS1 | if retain { RETAIN } else { 0 };
    packet(
        out,
        first,
        &[&topic_len, topic.as_bytes(), &id_and_properties[..used], payload],
    );
}

/// Appends the PUBACK for a message of the server's.
pub(crate) fn puback(out: &mut Vec<u8>, id: u16) {
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[PUBACK << 4, 2, high, low]);
}

/// Appends a DISCONNECT.
pub(crate) fn disconnect(out: &mut Vec<u8>) {
    out.extend_from_slice(&[DISCONNECT << 4, 0]);
}

/// Takes the first whole packet: it, and its length. `None` while more bytes must come.
///
/// # Errors
/// When the bytes are no packet that a server may send.
pub(crate) fn take(bytes: &[u8], version: Version) -> Result<Option<(Incoming<'_>, usize)>> {
    let Some((&first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((length, after)) = variable_int(rest)? else {
        return Ok(None);
    };
    let Some(body) = after.get(..length) else {
        return Ok(None);
    };
    let incoming = read(first, body, version).with_context(|| {
        format!("the server sent an MQTT packet that can't be read: {first:02x} {body:02x?}")
    })?;
    Ok(Some((incoming, bytes.len() - after.len() + length)))
}

fn read(first: u8, body: &[u8], version: Version) -> Result<Incoming<'_>> {
    let code_at = |at: usize| body.get(at).copied().unwrap_or(0);
    Ok(match first >> 4 {
        CONNACK => Incoming::Connack {
            code: *body.get(1).context("no return code")?,
            receive_maximum: if version == Version::V5 {
                receive_maximum(&body[2..])?
            } else {
                RECEIVE_MAXIMUM_DEFAULT
            },
        },
        PUBACK => Incoming::Puback {
            id: id_of(body)?,
            code: code_at(2),
        },
        SUBACK => Incoming::Suback {
            code: *body.last().context("no return code")?,
        },
        PUBLISH => {
            let topic_len = usize::from(id_of(body)?);
            let mut rest = body.get(2 + topic_len..).context("the topic is cut")?;
            let mut id = None;
            if first & 0b110 != 0 {
                id = Some(id_of(rest)?);
                rest = &rest[2..];
            }
            if version == Version::V5 {
                let (length, after) = variable_int(rest)?.context("no properties")?;
                rest = after.get(length..).context("the properties are cut")?;
            }
            Incoming::Publish { id, payload: rest }
        }
        PINGRESP => Incoming::Pingresp,
        DISCONNECT => Incoming::Disconnect { code: code_at(0) },
        other => bail!("a server does not send packets of type {other}"),
    })
}

fn id_of(body: &[u8]) -> Result<u16> {
    let id = body.first_chunk::<2>().context("no packet identifier")?;
    Ok(u16::from_be_bytes(*id))
}

/// MQTT 5.0, 3.2.2.3: goes over the properties of a CONNACK.
fn receive_maximum(bytes: &[u8]) -> Result<u16> {
    let (length, after) = variable_int(bytes)?.context("no properties")?;
    let mut rest = after.get(..length).context("the properties are cut")?;
    while let Some((&property, value)) = rest.split_first() {
        if property == RECEIVE_MAXIMUM {
            return id_of(value);
        }
        let text_at = |at: usize| -> Result<usize> {
            let text = value.get(at..).context("a property is cut")?;
            Ok(2 + usize::from(id_of(text)?))
        };
        let skipped = match property {
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => 1,
            0x13 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => text_at(0)?,
            0x26 => {
                let name = text_at(0)?;
                name + text_at(name)?
            }
            other => bail!("property {other:#04x} is none of CONNACK's"),
        };
        rest = value.get(skipped..).context("a property is cut")?;
    }
    Ok(RECEIVE_MAXIMUM_DEFAULT)
}

fn packet(out: &mut Vec<u8>, first: u8, parts: &[&[u8]]) {
    let mut length: usize = parts.iter().map(|part| part.len()).sum();
    debug_assert!(length <= REMAINING_LEN_MAX);
    out.push(first);
    loop {
        // Seven bits fit.
        #[allow(clippy::cast_possible_truncation)]
        let low = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    // Ids, topics and passwords of this crate are far shorter than 65,536 bytes.
    #[allow(clippy::cast_possible_truncation)]
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text);
}

/// Groups of seven bits, the least significant first, at most four.
fn variable_int(bytes: &[u8]) -> Result<Option<(usize, &[u8])>> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, &bytes[index + 1..])));
        }
    }
    if bytes.len() >= 4 {
        bail!("a length of more than four bytes");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_reads_as_it_was_written() {
        for version in [Version::V311, Version::V5] {
            for length in [0, 1, 100, 127, 128, 20_000] {
                let payload = vec![0xa5; length];
                let mut bytes = Vec::new();
                publish(&mut bytes, version, 77, "taraz/1/a/up", &payload, false);
                let whole = take(&bytes, version).unwrap();
                let expected = Incoming::Publish {
                    id: Some(77),
                    payload: &payload,
                };
                assert_eq!(whole, Some((expected, bytes.len())));
                assert_eq!(take(&bytes[..bytes.len() - 1], version).unwrap(), None);
            }
        }
    }

    /// The examples of MQTT 5.0, written out by hand from 3.2 and 3.4.
    #[test]
    fn answers_of_a_server_are_read() {
        let expected = Incoming::Connack {
            code: 0,
            receive_maximum: 20,
        };
        let connack = [0x20, 8, 0, 0, 5, 0x24, 1, 0x21, 0, 20];
        assert_eq!(take(&connack, Version::V5).unwrap(), Some((expected, 10)));
        let refused = [0x20, 2, 0, 4];
        let expected = Incoming::Connack {
            code: 4,
            receive_maximum: 65_535,
        };
        assert_eq!(take(&refused, Version::V311).unwrap(), Some((expected, 4)));
        for (bytes, id, code) in [
            (&[0x40, 2, 1, 2][..], 258, 0),
            (&[0x40, 3, 0, 7, 0x87], 7, 0x87),
            (&[0x40, 4, 0, 7, 0x10, 0], 7, 0x10),
        ] {
            let expected = Incoming::Puback { id, code };
            assert_eq!(take(bytes, Version::V5).unwrap(), Some((expected, bytes.len())));
        }
        assert!(take(&[0x10, 0], Version::V5).is_err());
        assert!(take(&[0x40, 0xff, 0xff, 0xff, 0xff], Version::V5).is_err());
    }

    #[test]
    fn a_connect_is_what_the_standard_shows() {
        let mut bytes = Vec::new();
        let login = Login {
            client_id: "c",
            keep_alive_s: 60,
            device: None,
        };
        connect(&mut bytes, Version::V311, &login);
        assert_eq!(bytes, b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c");
        bytes.clear();
        let device = DeviceLogin {
            user: "u",
            password: "p",
            will_topic: "t",
            will: b"w",
        };
        let login = Login {
            device: Some(device),
            ..login
        };
        connect(&mut bytes, Version::V5, &login);
        assert_eq!(
            bytes,
            b"\x10\x1b\0\x04MQTT\x05\xee\0\x3c\0\0\x01c\0\0\x01t\0\x01w\0\x01u\0\x01p"
        );
    }
}
