//! What goes through a session at the listener, subscriptions, frames and their answers, byte by byte, in both versions.

use std::time::Instant;

use taraz_gateway::RefusedReason;
use taraz_telemetry::Channel;
use tokio::io::AsyncWriteExt;

use crate::raw::{CONNACK, DISCONNECT, Hello, PINGRESP, PUBACK, Raw, V3, V5, packet};
use crate::rig::{Device, Rig, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_frame_is_answered_at_the_mqtt_level_only() {
    let rig = Rig::start().await;
    let (mut device, mut stranger) = (Device::new(1), Device::new(2));
    for version in [V3, V5] {
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
        let good = device.frame(1);
        let mut bad_tag = good.clone();
        *bad_tag.last_mut().unwrap() ^= 1;
        let mut bad_version = good.clone();
        bad_version[0] = 9;
        let mut bad_generation = good.clone();
        bad_generation[1] = 2;
        let cases: [(String, Vec<u8>, u8); 9] = [
            (device.up(), bad_tag, 0x87),
            (device.up(), stranger.frame(1), 0x87),
            (device.up(), bad_generation, 0x87),
            (device.up(), bad_version, 0x83),
            (device.up(), b"hello".to_vec(), 0x99),
            (device.up(), vec![1; 2_000], 0x99),
            (stranger.up(), stranger.frame(1), 0x87),
            (device.topic(Channel::Ack), good.clone(), 0x90),
            ("somewhere/else".to_owned(), good.clone(), 0x90),
        ];
        for (id, (topic, payload, code)) in (1..).zip(cases) {
            raw.publish(&topic, 1, id, &payload).await;
            assert_eq!(
                raw.puback(id).await,
                if version == V5 { code } else { 0 },
                "{topic}"
            );
        }
        raw.nothing().await;
        // The connection stands, and takes what is good.
        raw.publish(&device.up(), 1, 100, &good).await;
        assert_eq!(raw.puback(100).await, 0);
        assert_eq!(device.ranges(&raw.message().await.1).len(), 1);
    }
    assert_eq!(rig.metric("gateway_frames_total{result=\"refused\"}"), 18);
    assert_eq!(rig.metric("gateway_refused_total{reason=\"tag\"}"), 4);
    assert_eq!(rig.metric("gateway_refused_total{reason=\"foreign_topic\"}"), 2);
    let samples = rig.gateway.view().refused();
    assert_eq!(samples.len(), 18);
    let length = samples
        .iter()
        .find(|sample| sample.reason == RefusedReason::Length)
        .unwrap();
    assert_eq!(
        (length.from.as_str(), length.head_hex.as_str()),
        ("dev-1", "68656c6c6f")
    );
    until("ingest has the good ones", || rig.recorder.records() == 2).await;
}

/// MQTT-4.6.0-2: PUBACKs leave in the order of the publishes, whatever is refused at once and whatever waits.
#[tokio::test(flavor = "multi_thread")]
async fn answers_keep_the_order_of_the_publishes() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    for version in [V3, V5] {
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let held_back = rig.hold_commits();
        // In one segment, with a ping among them: one call of the protocol crate takes one packet.
        let mut bytes = raw.publish_bytes(&device.up(), 1, 11, &device.frame(1));
        bytes.extend(raw.publish_bytes(&device.up(), 1, 12, b"refused"));
        bytes.extend(raw.publish_bytes(&device.up(), 0, 0, &device.frame(1)));
        bytes.extend(packet(0xC0, &[]));
        bytes.extend(raw.publish_bytes(&device.up(), 1, 13, &device.frame(1)));
        raw.send(&bytes).await;
        assert_eq!(raw.next().await.unwrap().0, PINGRESP);
        raw.nothing().await;
        drop(held_back);
        assert_eq!(raw.puback(11).await, 0);
        assert_eq!(raw.puback(12).await, if version == V5 { 0x99 } else { 0 });
        assert_eq!(raw.puback(13).await, 0);
    }
    until("ingest has it, QoS 0 included", || rig.recorder.records() == 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_subscribes_to_its_own_channels_only() {
    let rig = Rig::start().await;
    let (device, stranger) = (Device::new(1), Device::new(2));
    for (version, refused) in [(V3, 0x80), (V5, 0x87)] {
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let (ack, cmd) = (device.topic(Channel::Ack), device.topic(Channel::Cmd));
        let (up, other) = (device.up(), stranger.topic(Channel::Ack));
        let filters = [
            (ack.as_str(), 1),
            (&cmd, 0),
            (&ack, 2),
            (&up, 0),
            (&other, 0),
            ("#", 0),
            ("taraz/1/+/ack", 0),
            ("$SYS/#", 0),
        ];
        let codes = raw.subscribe(&filters).await;
        assert_eq!(codes, [1, 0, 1, refused, refused, refused, refused, refused]);
        let unsuback = raw.unsubscribe(&ack).await;
        assert_eq!(&unsuback[..2], [0, 78]);
        if version == V5 {
            assert_eq!(unsuback.last(), Some(&0));
            assert_eq!(
                raw.unsubscribe(&ack).await.last(),
                Some(&0x11),
                "no subscription existed"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_session_of_the_device_gets_its_acknowledgements_too() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let looking_on = Hello {
        client_id: "looking-on".to_owned(),
        ..Hello::of(V3, &device)
    };
    let (mut onlooker, _) = Raw::connect(rig.mqtt(), &looking_on).await;
    onlooker.subscribe(&[(&device.topic(Channel::Ack), 1)]).await;
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    let frame = device.frame(4);
    raw.publish(&device.up(), 1, 1, &frame).await;
    raw.puback(1).await;
    let (_, ack, id) = onlooker.message().await;
    assert_eq!(device.ranges(&ack), [device.range(0, 3)]);
    assert_eq!(id, None, "at QoS 0, whatever was granted");
    raw.nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_acknowledges_what_was_taken_and_says_goodbye() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    let held_back = rig.hold_commits();
    for id in 1..=20 {
        let frame = device.frame(5);
        raw.publish(&device.up(), 1, id, &frame).await;
    }
    raw.nothing().await;
    rig.stop.cancel();
    raw.nothing().await;
    drop(held_back);
    for id in 1..=20 {
        assert_eq!(raw.puback(id).await, 0);
    }
    assert_eq!(raw.next().await.unwrap(), (DISCONNECT, vec![0x8B]));
    raw.closed().await;
    let (folder, recorder) = rig.stop().await;
    let rig = Rig::with(folder, recorder, |_| {}).await;
    until("ingest has it", || rig.recorder.records() == 100).await;
}

/// A board with little memory states a small maximum packet size: it gets its acknowledgements in small pieces.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_small_packets_gets_small_acknowledgements() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let hello = Hello {
        properties: vec![39, 0, 0, 0, 100],
        ..Hello::of(V5, &device)
    };
    let (mut raw, code) = Raw::connect(rig.mqtt(), &hello).await;
    assert_eq!(code, 0);
    raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
    // Twenty ranges that do not touch, acknowledged at once.
    let held_back = rig.hold_commits();
    for n in 0..20_u16 {
        let sequence = u32::from(n) * 2;
        let frame = device.frame_of(sequence, &[device.reading(sequence, 1)]);
        raw.publish(&device.up(), 1, n + 1, &frame).await;
    }
    raw.nothing().await;
    drop(held_back);
    let (mut ranges, mut messages, mut pubacks) = (Vec::new(), 0, 0);
    while ranges.len() < 20 || pubacks < 20 {
        let (kind, body) = raw.next().await.unwrap();
        assert!(body.len() < 100);
        if kind == PUBACK {
            pubacks += 1;
            continue;
        }
        // Topic with its length, no properties, the acknowledgement.
        let ack = &body[2 + usize::from(body[1]) + 1..];
        messages += 1;
        ranges.extend(device.ranges(ack));
    }
    assert!(
        ranges
            .iter()
            .zip(0..)
            .all(|(range, n)| (range.first, range.last) == (2 * n, 2 * n))
    );
    assert!((2..=20).contains(&messages));
}

/// Its CONNECT was damaged on the way, or its maximum is too small: with acknowledgements that it never gets it would keep its records
/// for ever. It has to sign in again.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_no_acknowledgement_has_to_sign_in_again() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let hello = Hello {
        properties: vec![39, 0, 0, 0, 40],
        ..Hello::of(V5, &device)
    };
    let (mut raw, code) = Raw::connect(rig.mqtt(), &hello).await;
    assert_eq!(code, 0);
    let frame = device.frame(1);
    // Whoever asks for none gets its PUBACK.
    raw.publish(&device.up(), 1, 1, &frame).await;
    assert_eq!(raw.puback(1).await, 0);
    raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
    raw.publish(&device.up(), 1, 2, &frame).await;
    while let Some((kind, _)) = raw.next().await {
        assert!([PUBACK, DISCONNECT].contains(&kind), "{kind:02x}");
    }
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
    raw.publish(&device.up(), 1, 1, &frame).await;
    let mut kinds = [raw.next().await.unwrap().0, raw.next().await.unwrap().0];
    kinds.sort_unstable();
    assert_eq!(kinds, [0x30, PUBACK], "the acknowledgement, too");
}

/// It publishes without ever reading the answers: what waits for it is bounded, then it is shown the door.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_disconnected() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut raw = Raw {
        stream: socket.connect(rig.mqtt()).await.unwrap(),
        version: V5,
    };
    raw.send(&Hello::of(V5, &device).bytes()).await;
    assert_eq!(raw.next().await.unwrap().0, CONNACK);
    raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
    // Pings are answered with half their length, ranges that do not touch with ranges of their own.
    let mut burst = Vec::new();
    for n in 0..200_u16 {
        let sequence = u32::from(n % 2) * 2;
        let frame = device.frame_of(sequence, &[device.reading(sequence, 1)]);
        burst.extend(raw.publish_bytes(&device.up(), 1, n % 100 + 1, &frame));
        burst.extend(packet(0xC0, &[]).repeat(50));
    }
    let begun = Instant::now();
    let disconnected = async { while raw.stream.write_all(&burst).await.is_ok() {} };
    tokio::time::timeout(crate::rig::DEADLINE, disconnected)
        .await
        .expect("to be disconnected");
    println!("disconnected after {:?}", begun.elapsed());
    let ended = "gateway_sessions_ended_total{reason=\"too_slow\"}";
    until("the session ends", || {
        rig.metric("gateway_connections") == 0 && rig.metric(ended) == 1
    })
    .await;
}
