//! MQTT's packets in a stream of bytes: where one ends and the next begins, and nothing else of them.

/// The longest packet that is waited for; a longer one is no packet of ours.
const PACKET_LEN_MAX: usize = 1 << 20;
/// MQTT 5.0, 2.1.2: the type in the upper half of the first byte.
const PUBLISH: u8 = 3;

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    bytes: Vec<u8>,
    /// Something came that is no packet: from then on everything is passed on as it comes.
    is_raw: bool,
}

impl Packets {
    /// Takes bytes in.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Everything that is there, whole or not.
    pub(crate) fn all(&mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }

    /// The next whole packet.
    pub(crate) fn next_packet(&mut self) -> Option<Vec<u8>> {
        if self.bytes.is_empty() {
            return None;
        }
        if self.is_raw {
            return Some(std::mem::take(&mut self.bytes));
        }
        match packet_len(&self.bytes) {
            Ok(Some(len)) if len <= self.bytes.len() => {
                let rest = self.bytes.split_off(len);
                Some(std::mem::replace(&mut self.bytes, rest))
            }
            Ok(_) => None,
            Err(()) => {
                self.is_raw = true;
                self.next_packet()
            }
        }
    }
}

/// It carries a message.
pub(crate) fn is_publish(packet: &[u8]) -> bool {
    packet.first().is_some_and(|first| first >> 4 == PUBLISH)
}

/// How long the packet at the front is (MQTT 5.0, 2.1.4: one byte, the remaining length in 7-bit groups, the rest); `None` while
/// that can't be told.
fn packet_len(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let mut remaining = 0_usize;
    for (at, &byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            let len = 2 + at + remaining;
            return if len <= PACKET_LEN_MAX {
                Ok(Some(len))
            } else {
                Err(())
            };
        }
    }
    if bytes.len() > 4 { Err(()) } else { Ok(None) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_where_packets_end() {
        let mut long = vec![0x32, 0xC8, 0x01];
        long.resize(3 + 200, 7);
        let stream = [&[0xC0, 0][..], &long, &[0xD0, 0]].concat();
        let mut packets = Packets::default();
        let mut cut = Vec::new();
        for byte in &stream {
            packets.push(&[*byte]);
            cut.extend(packets.next_packet());
        }
        assert_eq!(cut, [vec![0xC0, 0], long.clone(), vec![0xD0, 0]]);
        assert!(is_publish(&long) && !is_publish(&[0xC0, 0]));
    }

    #[test]
    fn what_is_no_packet_is_passed_on_as_it_comes() {
        let mut packets = Packets::default();
        packets.push(&[0x30, 0xFF, 0xFF, 0xFF, 0xFF, 1]);
        assert_eq!(packets.next_packet().unwrap().len(), 6);
        packets.push(b"more");
        assert_eq!(packets.next_packet().unwrap(), b"more");
    }
}
