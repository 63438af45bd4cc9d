//! Normative statements of MQTT 5 and 3.1.1, byte by byte: docs/mqtt-conformance.md names the test of each.

use std::collections::BTreeSet;

use taraz_telemetry::Channel;
use tokio::io::AsyncWriteExt as _;

use crate::raw::{DISCONNECT, Hello, PINGRESP, PUBACK, Raw, SUBACK, UNSUBACK, V3, V5, packet, text};
use crate::rig::{Device, Rig, until};

/// Whether the other side says nothing but perhaps goodbye, and closes.
async fn ends(mut raw: Raw, bytes: &[u8]) -> bool {
    raw.send(bytes).await;
    // Whoever lets it pass answers this.
    let _ = raw.stream.write_all(&[0xC0, 0]).await;
    while let Some((kind, _)) = raw.next().await {
        if kind != DISCONNECT {
            return false;
        }
    }
    true
}

/// CONNECT with these flags and this payload.
fn connect(version: u8, flags: u8, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let properties = match version {
        V5 => [&[u8::try_from(properties.len()).unwrap()], properties].concat(),
        _ => Vec::new(),
    };
    let head = [&[0, 4][..], b"MQTT", &[version, flags, 0, 60]].concat();
    packet(0x10, &[&head, &properties[..], payload].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_connect_is_not_accepted() {
    let rig = Rig::start().await;
    let id = text("c");
    for version in [V3, V5] {
        let twice = if version == V5 {
            &[0x21, 0, 9, 0x21, 0, 9][..]
        } else {
            &[]
        };
        let mut cases = vec![
            ("the reserved flag", connect(version, 0b0000_0011, &[], &id)),
            (
                "a will QoS of 3",
                connect(
                    version,
                    0b0001_1110,
                    &[],
                    &[&id[..], &[0], &text("t"), &text("m")].concat(),
                ),
            ),
            (
                "a will QoS without a will",
                connect(version, 0b0000_1010, &[], &id),
            ),
            (
                "a will retained without a will",
                connect(version, 0b0010_0010, &[], &id),
            ),
            ("no client id at all", connect(version, 2, &[], &[])),
            (
                "a user that is not there",
                connect(version, 0b1000_0010, &[], &id),
            ),
            (
                "something behind its end",
                connect(version, 2, &[], &[&id[..], b"xyz"].concat()),
            ),
            (
                "a client id that is no UTF-8",
                connect(version, 2, &[], &[0, 2, 0xC3, 0x28]),
            ),
            ("a client id with U+0000", connect(version, 2, &[], &[0, 1, 0])),
        ];
        if version == V5 {
            cases.push(("a property twice", connect(version, 2, twice, &id)));
            cases.push(("a receive maximum of 0", connect(version, 2, &[0x21, 0, 0], &id)));
            cases.push((
                "a maximum packet size of 0",
                connect(version, 2, &[0x27, 0, 0, 0, 0], &id),
            ));
            cases.push(("a property of PUBLISH", connect(version, 2, &[0x23, 0, 1], &id)));
        } else {
            cases.push((
                "a password without a user",
                connect(version, 0b0100_0010, &[], &[&id[..], &text("p")].concat()),
            ));
        }
        for (what, bytes) in cases {
            let mut raw = Raw::open(rig.mqtt(), version).await;
            raw.send(&bytes).await;
            while let Some((kind, body)) = raw.next().await {
                assert!(
                    kind == DISCONNECT || body.get(1).is_some_and(|code| *code != 0),
                    "{version}: {what}"
                );
            }
        }
    }
    assert_eq!(rig.metric("gateway_connections"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_packet_ends_the_session() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let up = device.up();
    let mut passed: Vec<(u8, &str)> = Vec::new();
    for version in [V3, V5] {
        let none: &[u8] = if version == V5 { &[0] } else { &[] };
        let body = |topic: &[u8], id: [u8; 2]| [&binary(topic)[..], &id, none, b"x"].concat();
        let filter = |option: u8| [&[0, 9][..], none, &text("t"), &[option]].concat();
        let mut cases = vec![
            ("flags of SUBSCRIBE", packet(0x80, &filter(0))),
            (
                "flags of UNSUBSCRIBE",
                packet(0xA0, &[&[0, 9][..], none, &text("t")].concat()),
            ),
            ("flags of PINGREQ", packet(0xC1, &[])),
            ("a PINGREQ with a body", packet(0xC0, &[0])),
            (
                "reserved bits of a subscription",
                packet(0x82, &filter(0b1100_0000)),
            ),
            ("a subscription of QoS 3", packet(0x82, &filter(3))),
            (
                "SUBSCRIBE with packet id 0",
                packet(0x82, &[&[0, 0][..], none, &text("t"), &[0]].concat()),
            ),
            (
                "UNSUBSCRIBE without a filter",
                packet(0xA2, &[&[0, 9][..], none].concat()),
            ),
            (
                "PUBLISH with packet id 0",
                packet(0x32, &body(up.as_bytes(), [0, 0])),
            ),
            (
                "a duplicate of QoS 0",
                packet(0x38, &[&text(&up)[..], none, b"x"].concat()),
            ),
            (
                "a topic that is no UTF-8",
                packet(0x32, &body(&[0xC3, 0x28], [0, 1])),
            ),
            ("a topic with U+0000", packet(0x32, &body(b"a\0b", [0, 1]))),
            ("a surrogate", packet(0x32, &body(&[0xED, 0xA0, 0x80], [0, 1]))),
            ("an empty topic", packet(0x32, &body(b"", [0, 1]))),
            ("a topic longer than the packet", vec![0x32, 4, 0, 9, b't', 0]),
            ("a length of five bytes", vec![0x32, 0x80, 0x80, 0x80, 0x80, 1]),
            ("a packet type that does not exist", packet(0x00, &[0, 1])),
            ("a server's packet", packet(0x20, &[0, 0])),
            ("a PUBACK of nothing", packet(PUBACK, &[0, 77])),
        ];
        if version == V5 {
            let alias = [&text(&up)[..], &[0, 1, 3, 0x23, 0, 1], b"x"].concat();
            cases.push(("a topic alias, none being allowed", packet(0x32, &alias)));
            let zero = [&text(&up)[..], &[0, 1, 3, 0x23, 0, 0], b"x"].concat();
            cases.push(("topic alias 0", packet(0x32, &zero)));
            let twice = [&text(&up)[..], &[0, 1, 4, 1, 0, 1, 0], b"x"].concat();
            cases.push(("a property twice", packet(0x32, &twice)));
            let unknown = [&text(&up)[..], &[0, 1, 2, 0x7E, 0], b"x"].concat();
            cases.push(("a property that does not exist", packet(0x32, &unknown)));
        }
        for (what, bytes) in cases {
            let raw = Raw::session(rig.mqtt(), version, &device).await;
            if !ends(raw, &bytes).await {
                passed.push((version, what));
            }
        }
    }
    assert_eq!(passed, [], "let pass");
    until("all gone", || rig.metric("gateway_connections") == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_answer_with_its_packet_id() {
    let rig = Rig::start().await;
    for version in [V3, V5] {
        let device = Device::new(usize::from(version));
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let none: &[u8] = if version == V5 { &[0] } else { &[] };
        let (ack, cmd) = (
            text(&device.topic(Channel::Ack)),
            text(&device.topic(Channel::Cmd)),
        );
        let all = [&[0x12, 0x34][..], none, &ack, &[2], &text("#"), &[0], &cmd, &[1]].concat();
        raw.send(&packet(0x82, &all)).await;
        let failure = if version == V5 { 0x87 } else { 0x80 };
        let granted = [&[0x12, 0x34][..], none, &[1, failure, 1]].concat();
        assert_eq!(
            raw.next().await.unwrap(),
            (SUBACK, granted),
            "one code for each filter, in order"
        );
        raw.send(&packet(
            0xA2,
            &[&[0x43, 0x21][..], none, &cmd, &text("other")].concat(),
        ))
        .await;
        let codes: &[u8] = if version == V5 { &[0, 0, 0x11] } else { &[] };
        assert_eq!(
            raw.next().await.unwrap(),
            (UNSUBACK, [&[0x43, 0x21][..], codes].concat())
        );
        raw.send(&packet(0xC0, &[])).await;
        assert_eq!(raw.next().await.unwrap(), (PINGRESP, Vec::new()));
    }
}

/// A publish that is sent again, marked as a duplicate or not, is acknowledged again (4.3.2).
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_is_acknowledged_again() {
    let rig = Rig::start().await;
    for version in [V3, V5] {
        let mut device = Device::new(usize::from(version));
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let frame = device.frame(1);
        let mut bytes = raw.publish_bytes(&device.up(), 1, 500, &frame);
        for first in [0x32, 0x3A, 0x3A] {
            bytes[0] = first;
            raw.send(&bytes).await;
            assert_eq!(raw.puback(500).await, 0);
        }
    }
    until("ingest has it, once", || rig.recorder.records() == 2).await;
    assert_eq!(rig.metric("gateway_frames_total{result=\"duplicate\"}"), 4);
}

/// Packets in pieces, and many in one: where TCP cuts means nothing.
#[tokio::test(flavor = "multi_thread")]
async fn where_the_stream_is_cut_means_nothing() {
    let rig = Rig::start().await;
    for version in [V3, V5] {
        let mut device = Device::new(usize::from(version));
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let mut bytes = Vec::new();
        for id in 1..=6 {
            let frame = device.frame(3);
            bytes.extend(raw.publish_bytes(&device.up(), 1, id, &frame));
            bytes.extend(packet(0xC0, &[]));
        }
        for piece in bytes.chunks(37) {
            raw.send(piece).await;
            tokio::task::yield_now().await;
        }
        let (mut pubacks, mut pings) = (Vec::new(), 0);
        while pubacks.len() < 6 || pings < 6 {
            match raw.next().await.unwrap() {
                (PUBACK, body) => pubacks.push(body[1]),
                (PINGRESP, _) => pings += 1,
                other => panic!("{other:02x?}"),
            }
        }
        assert_eq!(pubacks, [1, 2, 3, 4, 5, 6]);
    }
    until("ingest has it", || rig.recorder.records() == 36).await;
}

/// Every test that the table names exists, and every statement that it says is implemented has one.
#[test]
fn the_table_of_conformance_names_tests_that_exist() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let table = std::fs::read_to_string(format!("{root}/docs/mqtt-conformance.md")).unwrap();
    let mut tests = BTreeSet::new();
    for folder in [
        "gateway/tests/gateway",
        "gateway/src/doors",
        "gateway/src/doors/listener",
        "gateway/src/doors/listener/protocol",
    ] {
        for file in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let source = std::fs::read_to_string(path).unwrap();
                let names = source
                    .split("fn ")
                    .skip(1)
                    .filter_map(|rest| rest.split_once('('));
                tests.extend(names.map(|(name, _)| name.to_owned()));
            }
        }
    }
    let mut rows = 0;
    for line in table
        .lines()
        .filter(|line| line.starts_with("| [MQTT-") || line.starts_with("| [3.1.1"))
    {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (statement, state, names) = (cells[1], cells[3], cells[4]);
        assert!(
            ["implemented", "refused", "not applicable"].contains(&state),
            "{statement}: {state}"
        );
        assert_eq!(state == "not applicable", names == "–", "{statement}");
        for name in names.split(", ").filter(|name| *name != "–") {
            assert!(
                tests.contains(name.trim_matches('`')),
                "{statement}: no test {name}"
            );
        }
        rows += 1;
    }
    assert!(rows > 60, "only {rows} statements");
}

fn binary(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// MQTT 5, 3.1.2.5; MQTT 3.1.1, 3.1.2.5.
#[tokio::test(flavor = "multi_thread")]
async fn the_will_is_published_unless_the_client_says_goodbye() {
    let rig = Rig::start().await;
    for (version, n) in [(V3, 1), (V5, 2)] {
        let device = Device::new(n);
        let state = device.topic(Channel::State);
        let told = || {
            let states = rig.gateway.view().device_states();
            states
                .into_iter()
                .find(|line| line.device == device.id.to_string())
                .map(|line| line.state)
        };
        let hello = Hello {
            will: Some((state.clone(), b"gone".to_vec(), 1)),
            ..Hello::of(version, &device)
        };
        let (mut raw, _) = Raw::connect(rig.mqtt(), &hello).await;
        raw.publish(&state, 1, 1, b"here").await;
        raw.puback(1).await;
        raw.send(&packet(0xE0, &[])).await;
        raw.closed().await;
        until("the session ends", || rig.metric("gateway_connections") == 0).await;
        assert_eq!(told().as_deref(), Some("here"), "DISCONNECT discards the will");
        drop(Raw::connect(rig.mqtt(), &hello).await);
        until("the will", || told().as_deref() == Some("gone")).await;
    }
}
