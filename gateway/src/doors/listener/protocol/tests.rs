use proptest::prelude::*;

use super::*;

/// CONNECT of either version for client `c`, user `u`, password `p`.
fn connect(version: u8) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let body = [
        &b"\0\x04MQTT"[..],
        &[version, 0b1100_0010, 0, 60],
        properties,
        b"\0\x01c\0\x01u\0\x01p",
    ]
    .concat();
    [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

fn connected(version: u8) -> ProtocolCore {
    let mut engine = ProtocolCore::new();
    let bytes = connect(version);
    assert!(matches!(engine.receive(&mut &bytes[..]), Some(Event::Connect(_))));
    engine.welcome(&Welcome::default());
    assert_eq!(engine.output()[0], 0x20);
    engine.output().clear();
    engine
}

#[test]
fn one_call_takes_one_packet_and_pieces_are_joined() {
    let mut engine = connected(4);
    let bytes = [&b"\x32\x07\0\x01t\0\x01xy"[..], b"\xC0\0", b"\x30\x04\0\x01tz"].concat();
    let mut rest = &bytes[..];
    let Some(Event::Publish(first)) = engine.receive(&mut rest) else {
        panic!("a publish")
    };
    assert_eq!(
        (
            first.topic.as_str(),
            &first.payload[..],
            first.qos,
            first.packet_id
        ),
        ("t", &b"xy"[..], 1, Some(1))
    );
    assert_eq!(engine.receive(&mut rest), Some(Event::Other));
    assert_eq!(engine.output(), &[0xD0, 0], "the ping is answered");
    let (head, tail) = rest.split_at(3);
    assert_eq!(engine.receive(&mut &head[..]), None);
    let Some(Event::Publish(second)) = engine.receive(&mut &tail[..]) else {
        panic!("a publish")
    };
    assert_eq!((second.qos, second.packet_id), (0, None));
}

#[test]
fn the_client_states_its_keep_alive() {
    let mut engine = ProtocolCore::new();
    assert_eq!(engine.keep_alive(), None);
    let bytes = connect(4);
    let Some(Event::Connect(connect)) = engine.receive(&mut &bytes[..]) else {
        panic!("a connect")
    };
    assert_eq!(engine.keep_alive(), Some(Duration::from_secs(90)));
    assert_eq!(
        (connect.user.as_deref(), &connect.password[..]),
        (Some("u"), &b"p"[..])
    );
}

/// We send nothing that a client could acknowledge.
#[test]
fn an_acknowledgement_of_what_was_never_sent_breaks_the_protocol() {
    for version in [4, 5] {
        let mut engine = connected(version);
        assert!(engine.publish("t", b"x"));
        let puback = engine.receive(&mut &[0x40, 2, 0, 1][..]);
        assert!(matches!(puback, Some(Event::Broken(_))), "{puback:?}");
    }
}

/// Publishes of both ways are answered, whichever comes first, and pieces of a packet find each other.
#[test]
fn frames_pass_the_crate_by_and_everything_else_does_not() {
    let mut engine = ProtocolCore::new();
    let bytes = connect(5);
    assert!(matches!(engine.receive(&mut &bytes[..]), Some(Event::Connect(_))));
    let frame_topic = "t".to_owned();
    engine.welcome(&Welcome {
        frame_topic,
        ..Welcome::default()
    });
    engine.output().clear();
    let frame = b"\x32\x07\0\x01t\0\x09\0x";
    assert_eq!(
        engine.frame(&mut &frame[..]),
        Fast::Frame {
            packet_id: 9,
            payload: b"x"
        }
    );
    // With a user property, in two pieces, and a frame behind it.
    let slow = b"\x32\x0E\0\x01t\0\x0A\x07\x26\0\x01a\0\x01bz";
    assert_eq!(engine.frame(&mut &slow[..]), Fast::No);
    assert_eq!(engine.receive(&mut &slow[..9]), None);
    let both = [&slow[9..], frame].concat();
    let mut rest = &both[..];
    assert_eq!(engine.frame(&mut rest), Fast::No, "within a packet");
    assert!(
        matches!(engine.receive(&mut rest), Some(Event::Publish(publish)) if publish.packet_id == Some(10))
    );
    assert!(matches!(
        engine.frame(&mut rest),
        Fast::Frame { packet_id: 9, .. }
    ));
    engine.puback(10, Answer::NotAuthorised);
    engine.puback(9, Answer::Success);
    engine.puback(9, Answer::NotAuthorised);
    let answers = [
        &[0x40, 3, 0, 10, 0x87][..],
        &[0x40, 2, 0, 9],
        &[0x40, 3, 0, 9, 0x87],
    ]
    .concat();
    assert_eq!(engine.output(), &answers);
}

#[test]
fn a_client_that_takes_only_small_packets_gets_none_that_is_larger() {
    let mut engine = ProtocolCore::new();
    // CONNECT with a maximum packet size of 20 bytes (property 39).
    let body = [&b"\0\x04MQTT"[..], &[5, 2, 0, 60, 5, 39, 0, 0, 0, 20], b"\0\x01c"].concat();
    let bytes = [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat();
    assert!(matches!(engine.receive(&mut &bytes[..]), Some(Event::Connect(_))));
    engine.welcome(&Welcome::default());
    engine.output().clear();
    for _ in 0..50 {
        assert!(!engine.publish("t", &[0; 100]));
    }
    assert!(engine.output().is_empty());
}

fn kinds() -> impl Strategy<Value = u8> {
    prop_oneof![
        any::<u8>(),
        Just(0x32),
        Just(0x30),
        Just(0x82),
        Just(0xA2),
        Just(0x10),
        Just(0xE0)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Packets with a right length and anything inside, before and after CONNECT: never a panic, never a standstill.
    #[test]
    fn no_bytes_bring_it_down(
        version in prop_oneof![Just(0_u8), Just(4), Just(5)],
        packets in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..80)), 1..8),
        cut in 1_usize..64,
    ) {
        let mut engine = if version == 0 { ProtocolCore::new() } else { connected(version) };
        let mut bytes = Vec::new();
        for (kind, body) in packets {
            bytes.push(kind);
            bytes.push(u8::try_from(body.len()).unwrap());
            bytes.extend(body);
        }
        'all: for piece in bytes.chunks(cut) {
            let mut rest = piece;
            while !rest.is_empty() {
                let before = rest.len();
                match engine.receive(&mut rest) {
                    Some(Event::Broken(_)) => break 'all,
                    Some(Event::Publish(publish)) => {
                        prop_assert_eq!(publish.packet_id.is_some(), publish.qos > 0);
                        if let Some(id) = publish.packet_id {
                            engine.puback(id, Answer::NotAuthorised);
                        }
                    }
                    Some(Event::Subscribe(subscribe)) => {
                        let grants = vec![Grant::Qos(1); subscribe.filters.len()];
                        engine.suback(subscribe.packet_id, &grants);
                    }
                    Some(Event::Unsubscribe { packet_id, filters }) => {
                        engine.unsuback(packet_id, &vec![true; filters.len()]);
                    }
                    Some(Event::Connect(_)) => engine.welcome(&Welcome::default()),
                    _ => {}
                }
                prop_assert!(rest.len() < before, "takes something every time");
            }
        }
    }
}
