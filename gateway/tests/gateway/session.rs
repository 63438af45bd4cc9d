//! Who gets a session at the listener, and what keeps or ends it, byte by byte, in both versions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use taraz_gateway::{CONNECT_TIMEOUT, PACKET_LEN_MAX, SESSIONS_PER_DEVICE_MAX};
use taraz_telemetry::Channel;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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
async fn frames_in_flight_are_bounded_as_configured() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), |config| config.in_flight_max = 3).await;
    let mut device = Device::new(1);
    let mut raw = Raw::open(rig.mqtt(), V5).await;
    raw.send(&Hello::of(V5, &device).bytes()).await;
    let (_, body) = raw.next().await.unwrap();
    assert!(body.windows(3).any(|window| window == [33, 0, 3]), "{body:02x?}");
    // MQTT 3.1.1 can't be told: what is above waits in the socket, and is taken when there is room.
    let mut old = Raw::session(rig.mqtt(), V3, &device).await;
    // What is read is seen by a ping behind it: its answer waits for no commit.
    let held = rig.hold_commits();
    for id in 1..=2 {
        old.publish(&device.up(), 1, id, &device.frame(1)).await;
    }
    old.send(&packet(0xC0, &[])).await;
    assert_eq!(
        old.next().await.unwrap().0,
        PINGRESP,
        "two frames are below the bound"
    );
    old.publish(&device.up(), 1, 3, &device.frame(1)).await;
    old.send(&packet(0xC0, &[])).await;
    old.nothing().await;
    drop(held);
    let mut answered = Vec::new();
    for _ in 0..4 {
        let (kind, body) = old.next().await.unwrap();
        answered.push((kind, body.get(1).copied()));
    }
    // A ping stands in no order with the frames.
    answered.sort_unstable();
    assert_eq!(
        answered,
        [
            (PUBACK, Some(1)),
            (PUBACK, Some(2)),
            (PUBACK, Some(3)),
            (PINGRESP, None)
        ]
    );
    for id in 4..=12 {
        old.publish(&device.up(), 1, id, &device.frame(1)).await;
    }
    for id in 4..=12 {
        assert_eq!(old.puback(id).await, 0);
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
            .map(|line| line.state.clone())
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

/// Its time counts from the beginning, not from the last byte: places are few.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_signs_in_byte_by_byte_is_out_of_time() {
    let rig = Rig::start().await;
    let mut socket = tokio::net::TcpStream::connect(rig.mqtt()).await.unwrap();
    let begun = Instant::now();
    // A CONNECT that says it is long, and never is all there.
    let mut byte = 0x10;
    while socket.write_all(&[byte]).await.is_ok() {
        byte = if byte == 0x10 { 0x7F } else { 0 };
        let mut answer = [0; 8];
        let closed = tokio::time::timeout(Duration::from_millis(100), socket.read(&mut answer));
        if closed.await.is_ok() {
            break;
        }
        assert!(begun.elapsed() < CONNECT_TIMEOUT + crate::rig::DEADLINE);
    }
    until("counted", || {
        rig.metric("gateway_connects_rejected_total{reason=\"timeout\"}") == 1
    })
    .await;
    assert!(begun.elapsed() >= CONNECT_TIMEOUT);
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
