//! The rules of a session at the listener, byte by byte, in both versions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taraz_gateway::{PACKET_LEN_MAX, RefusedReason, SESSIONS_PER_DEVICE_MAX};
use taraz_telemetry::Channel;
use tokio::io::AsyncWriteExt;

use crate::raw::{CONNACK, DISCONNECT, Hello, PINGRESP, PUBACK, Raw, V3, V5, packet};
use crate::rig::{Device, Recorder, Rig, until};

#[tokio::test(flavor = "multi_thread")]
async fn only_a_device_with_its_password_signs_in() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    for (version, credentials) in [(V3, 4), (V5, 0x86)] {
        let hello = Hello::of(version, &device);
        let cases = [
            Hello {
                user: Some("dev-2".to_owned()),
                ..hello.clone()
            },
            Hello {
                user: Some("nobody".to_owned()),
                ..hello.clone()
            },
            Hello {
                user: Some("../etc".to_owned()),
                ..hello.clone()
            },
            Hello {
                user: None,
                password: None,
                ..hello.clone()
            },
            Hello {
                password: None,
                ..hello.clone()
            },
            Hello {
                password: Some(device.password().to_uppercase()),
                ..hello.clone()
            },
            Hello {
                password: Some(String::new()),
                ..hello.clone()
            },
        ];
        for wrong in &cases {
            let (mut raw, code) = Raw::connect(rig.mqtt(), wrong).await;
            assert_eq!(code, credentials);
            raw.closed().await;
        }
        let (_raw, code) = Raw::connect(rig.mqtt(), &hello).await;
        assert_eq!(code, 0);
    }
    assert_eq!(
        rig.metric("gateway_connects_rejected_total{reason=\"unauthorised\"}"),
        14
    );
}

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
async fn connack_of_mqtt_5_states_what_the_door_is() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    // Session expiry 60 s asked for, no keep-alive, no client id.
    let hello = Hello {
        client_id: String::new(),
        keep_alive_s: 0,
        properties: vec![17, 0, 0, 0, 60],
        ..Hello::of(V5, &device)
    };
    let mut raw = Raw::open(rig.mqtt(), V5).await;
    raw.send(&hello.bytes()).await;
    let (kind, body) = raw.next().await.unwrap();
    assert_eq!((kind, body[0], body[1]), (CONNACK, 0, 0), "no session is present");
    let has = |property: &[u8]| body[3..].windows(property.len()).any(|window| window == property);
    assert!(has(&[33, 0, 128]), "receive maximum");
    assert!(has(&[36, 1]), "maximum QoS");
    assert!(has(&[39, 0, 0, 16, 0]), "maximum packet size {PACKET_LEN_MAX}");
    assert!(has(&[19, 2, 88]), "server keep-alive of 600 s");
    assert!(has(&[17, 0, 0, 0, 0]), "session expiry 0");
    assert!(
        has(&[40, 0]) && has(&[41, 0]) && has(&[42, 0]),
        "no wildcards, ids, shares"
    );
    assert!(has(b"dev-1-"), "assigned client id");
    // MQTT 3.1.1 takes an empty id only with a clean session.
    let hello = Hello {
        client_id: String::new(),
        clean: false,
        ..Hello::of(V3, &device)
    };
    assert_eq!(Raw::connect(rig.mqtt(), &hello).await.1, 2);
    let hello = Hello {
        client_id: String::new(),
        ..Hello::of(V3, &device)
    };
    assert_eq!(Raw::connect(rig.mqtt(), &hello).await.1, 0);
    // An authentication method is not supported.
    let hello = Hello {
        properties: [&[21, 0, 1][..], b"x"].concat(),
        ..Hello::of(V5, &device)
    };
    assert_eq!(Raw::connect(rig.mqtt(), &hello).await.1, 0x8C);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_client_id_takes_the_session_over() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    for version in [V3, V5] {
        let mut first = Raw::session(rig.mqtt(), version, &device).await;
        let mut second = Raw::session(rig.mqtt(), version, &device).await;
        if version == V5 {
            assert_eq!(first.next().await.unwrap(), (DISCONNECT, vec![0x8E]));
        }
        first.closed().await;
        // The same id of another device is another client.
        let other = Device::new(2);
        let hello = Hello {
            client_id: "dev-1-client".to_owned(),
            ..Hello::of(version, &other)
        };
        let (_other, code) = Raw::connect(rig.mqtt(), &hello).await;
        assert_eq!(code, 0);
        second.send(&packet(0xC0, &[])).await;
        assert_eq!(second.next().await.unwrap().0, PINGRESP);
    }
    until("all gone", || rig.metric("gateway_connections") == 0).await;
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
    onlooker.send(&packet(0x40, &id.unwrap().to_be_bytes())).await;
    raw.nothing().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_has_a_bounded_number_of_sessions() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let mut sessions = Vec::new();
    for n in 0..SESSIONS_PER_DEVICE_MAX {
        let hello = Hello {
            client_id: format!("c{n}"),
            ..Hello::of(V5, &device)
        };
        let (raw, code) = Raw::connect(rig.mqtt(), &hello).await;
        assert_eq!(code, 0);
        sessions.push(raw);
    }
    assert_eq!(rig.metric("gateway_connections"), SESSIONS_PER_DEVICE_MAX as u64);
    assert_eq!(Raw::connect(rig.mqtt(), &Hello::of(V5, &device)).await.1, 0x97);
    sessions.pop();
    until("one has left", || {
        rig.metric("gateway_connections") < SESSIONS_PER_DEVICE_MAX as u64
    })
    .await;
    assert_eq!(Raw::connect(rig.mqtt(), &Hello::of(V5, &device)).await.1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), |config| config.connections_max = 2).await;
    let first = Raw::session(rig.mqtt(), V3, &Device::new(1)).await;
    let _second = Raw::session(rig.mqtt(), V3, &Device::new(2)).await;
    Raw::open(rig.mqtt(), V3).await.closed().await;
    assert_eq!(
        rig.metric("gateway_connects_rejected_total{reason=\"too_many\"}"),
        1
    );
    drop(first);
    until("a place is free", || rig.metric("gateway_connections") == 1).await;
    let third = Device::new(3);
    let hello = Hello::of(V3, &third);
    // The place is given back a moment after the session ended.
    let deadline = Instant::now() + crate::rig::DEADLINE;
    loop {
        let mut raw = Raw::open(rig.mqtt(), V3).await;
        raw.send(&hello.bytes()).await;
        if raw.next().await.is_some() {
            break;
        }
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_and_last_will_are_kept() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let state = device.topic(Channel::State);
    let said = || {
        rig.gateway
            .view()
            .device_states()
            .first()
            .map(|(_, state, _)| state.clone())
    };
    for version in [V3, V5] {
        let will = Some((state.clone(), b"offline".to_vec(), 1));
        let hello = Hello {
            will: will.clone(),
            ..Hello::of(version, &device)
        };
        let (mut raw, code) = Raw::connect(rig.mqtt(), &hello).await;
        assert_eq!(code, 0);
        // Retained, as devices send it.
        let mut bytes = raw.publish_bytes(&state, 1, 1, b"online");
        bytes[0] |= 1;
        raw.send(&bytes).await;
        assert_eq!(raw.puback(1).await, 0);
        assert_eq!(said().as_deref(), Some("online"));
        drop(raw);
        until("the will", || said().as_deref() == Some("offline")).await;
        // After a goodbye there is no will.
        let (mut raw, _) = Raw::connect(rig.mqtt(), &hello).await;
        raw.publish(&state, 1, 1, b"online").await;
        raw.puback(1).await;
        raw.send(&packet(DISCONNECT, &[])).await;
        raw.closed().await;
        until("gone", || rig.metric("gateway_connections") == 0).await;
        assert_eq!(said().as_deref(), Some("online"));
        // A will for anything else is refused.
        let wrong = Hello {
            will: Some((device.up(), b"x".to_vec(), 0)),
            ..hello.clone()
        };
        assert_eq!(
            Raw::connect(rig.mqtt(), &wrong).await.1,
            if version == V5 { 0x87 } else { 5 }
        );
    }
    let hello = Hello {
        will: Some((state, b"offline".to_vec(), 2)),
        ..Hello::of(V5, &device)
    };
    assert_eq!(Raw::connect(rig.mqtt(), &hello).await.1, 0x9B, "QoS 2 in a will");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_beyond_one_and_a_half_keep_alives_ends_the_session() {
    let rig = Rig::start().await;
    for version in [V3, V5] {
        let hello = Hello {
            keep_alive_s: 1,
            ..Hello::of(version, &Device::new(1))
        };
        let (mut raw, _) = Raw::connect(rig.mqtt(), &hello).await;
        let begun = Instant::now();
        raw.send(&packet(0xC0, &[])).await;
        assert_eq!(raw.next().await.unwrap().0, PINGRESP);
        if version == V5 {
            assert_eq!(raw.next().await.unwrap(), (DISCONNECT, vec![0x8D]));
        }
        raw.closed().await;
        assert!(
            begun.elapsed() >= Duration::from_millis(1_400),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_breaks_the_protocol_is_disconnected() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    // Before CONNECT: a publish, a ping, another protocol, a version that is not spoken, nonsense.
    let old = [&[0x10, 14, 0, 6][..], b"MQIsdp", &[3, 2, 0, 60, 0, 0]].concat();
    let publish = Raw::open(rig.mqtt(), V3).await.publish_bytes("a", 1, 1, b"x");
    for bytes in [
        &publish[..],
        &[0xC0, 0],
        b"GET / HTTP/1.1\r\n\r\n",
        &old,
        &[0xFF; 64],
        &[0x10, 0],
    ] {
        let mut raw = Raw::open(rig.mqtt(), V3).await;
        raw.send(bytes).await;
        while raw.next().await.is_some() {}
    }
    // A second CONNECT, an AUTH, a SUBSCRIBE without filters, a topic with a wildcard, QoS 3.
    for version in [V3, V5] {
        let hello = Hello::of(version, &device).bytes();
        let wildcard = Raw::open(rig.mqtt(), version)
            .await
            .publish_bytes("taraz/1/+/up", 1, 1, b"x");
        let qos3 = Raw::open(rig.mqtt(), version)
            .await
            .publish_bytes("a", 3, 1, b"x");
        for bytes in [&hello[..], &[0xF0, 0], &[0x82, 2, 0, 1], &wildcard, &qos3] {
            let mut raw = Raw::session(rig.mqtt(), version, &device).await;
            raw.send(bytes).await;
            while raw.next().await.is_some() {}
        }
    }
    // MQTT 5 is told why.
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    let long = raw.publish_bytes(&device.up(), 1, 1, &[0; PACKET_LEN_MAX as usize]);
    raw.send(&long).await;
    assert_eq!(raw.next().await.unwrap(), (DISCONNECT, vec![0x95]));
    raw.closed().await;
    for version in [V3, V5] {
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        let frame = device.frame(1);
        raw.publish(&device.up(), 2, 1, &frame).await;
        if version == V5 {
            assert_eq!(raw.next().await.unwrap(), (DISCONNECT, vec![0x9B]));
        }
        raw.closed().await;
    }
    until("all gone", || rig.metric("gateway_connections") == 0).await;
    assert_eq!(rig.metric("gateway_frames_total{result=\"accepted\"}"), 0);
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
