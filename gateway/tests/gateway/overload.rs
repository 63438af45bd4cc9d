//! More than there is room for: one device gone mad beside good ones, a device above its rate, one that signs in without end, and
//! everybody at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use taraz_gateway::{CONNECTS_MAX, SESSIONS_PER_DEVICE_MAX};

use crate::raw::{CONNACK, Hello, PUBACK, Raw, V3, V5};
use crate::rig::{Device, Recorder, Rig, until};

/// How long a good device's frame may take to be durable while another floods. Generous: other tests run beside.
const BOUND: Duration = Duration::from_secs(10);
const IN_FLIGHT: u16 = 100;

/// Publishes as fast as it is let, `IN_FLIGHT` at a time, until it is told to stop.
async fn flood(mut raw: Raw, mut device: Device, stop: Arc<AtomicBool>, acknowledged: Arc<AtomicU64>) {
    let mut waiting = 0;
    let mut id = 0_u16;
    while !stop.load(Ordering::Relaxed) || waiting > 0 {
        let mut burst = Vec::new();
        while waiting < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
            id = id.checked_add(1).unwrap_or(1);
            burst.extend(raw.publish_bytes(&device.up(), 1, id, &device.frame(10)));
            waiting += 1;
        }
        raw.send(&burst).await;
        assert_eq!(raw.next().await.unwrap().0, PUBACK);
        waiting -= 1;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_gone_mad_leaves_the_others_their_turn() {
    let rig = Rig::start().await;
    let (stop, flooded) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut floods = Vec::new();
    for n in 0..SESSIONS_PER_DEVICE_MAX {
        let mut device = Device::new(10);
        device.next = u32::try_from(n).unwrap() * 10_000_000;
        let hello = Hello {
            client_id: format!("mad-{n}"),
            ..Hello::of(V5, &device)
        };
        let (raw, code) = Raw::connect(rig.mqtt(), &hello).await;
        assert_eq!(code, 0);
        floods.push(tokio::spawn(flood(
            raw,
            device,
            Arc::clone(&stop),
            Arc::clone(&flooded),
        )));
    }
    until("a flood", || flooded.load(Ordering::Relaxed) > 2_000).await;
    let mut good = Vec::new();
    for n in 1..=9 {
        let mut device = Device::new(n);
        let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
        good.push(tokio::spawn(async move {
            let mut slowest = Duration::ZERO;
            for id in 1..=20 {
                let frame = device.frame(2);
                let begun = Instant::now();
                raw.publish(&device.up(), 1, id, &frame).await;
                assert_eq!(raw.puback(id).await, 0);
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        }));
    }
    let before = flooded.load(Ordering::Relaxed);
    for task in good {
        let slowest = task.await.unwrap();
        println!("the slowest frame of a good device took {slowest:?}");
        assert!(slowest < BOUND, "{slowest:?}");
    }
    assert!(
        flooded.load(Ordering::Relaxed) > before,
        "it flooded all the while"
    );
    stop.store(true, Ordering::Relaxed);
    for task in floods {
        task.await.unwrap();
    }
    let good = 9 * 20 * 2;
    let all = good + usize::try_from(flooded.load(Ordering::Relaxed)).unwrap() * 10;
    until("everything at ingest, once", || rig.recorder.records() == all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_above_its_rate_is_read_slower_and_loses_nothing() {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), |config| {
        config.device_frames_per_s_max = 40
    })
    .await;
    let (mut device, mut other) = (Device::new(1), Device::new(2));
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    let begun = Instant::now();
    for id in 1..=100 {
        let frame = device.frame(1);
        raw.publish(&device.up(), 1, id, &frame).await;
    }
    // Beside it another has its own allowance.
    let mut beside = Raw::session(rig.mqtt(), V3, &other).await;
    let frame = other.frame(1);
    beside.publish(&other.up(), 1, 1, &frame).await;
    beside.puback(1).await;
    for id in 1..=100 {
        assert_eq!(raw.puback(id).await, 0);
    }
    // 40 at once, the other 60 at 40 a second.
    assert!(
        begun.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        begun.elapsed()
    );
    assert!(rig.metric("gateway_throttled_total") > 0);
    until("ingest has it", || rig.recorder.records() == 101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_signs_in_without_end_is_told_so() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    for _ in 0..CONNECTS_MAX {
        drop(Raw::session(rig.mqtt(), V5, &device).await);
    }
    // MQTT 5, 3.2.2.2: 0x9F, connection rate exceeded; MQTT 3.1.1, 3.2.2.3: 3, server unavailable.
    for (version, code) in [(V5, 0x9F), (V3, 3)] {
        let (mut raw, told) = Raw::connect(rig.mqtt(), &Hello::of(version, &device)).await;
        assert_eq!(told, code);
        raw.closed().await;
    }
    assert_eq!(
        rig.metric("gateway_connects_rejected_total{reason=\"too_often\"}"),
        2
    );
    drop(Raw::session(rig.mqtt(), V5, &Device::new(2)).await);
}

/// As after a power cut of the whole town: everybody at once, each with a backlog.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_at_once_is_let_in_and_heard() {
    const DEVICES: usize = 40;
    const SESSIONS: usize = 7;
    let rig = Rig::start().await;
    let mut herd = Vec::new();
    for n in 0..DEVICES * SESSIONS {
        let addr = rig.mqtt();
        herd.push(tokio::spawn(async move {
            let mut device = Device::new(n % DEVICES + 1);
            device.next = u32::try_from(n / DEVICES).unwrap() * 1_000;
            let hello = Hello {
                client_id: format!("c-{n}"),
                ..Hello::of(V5, &device)
            };
            let mut raw = Raw::open(addr, V5).await;
            raw.send(&hello.bytes()).await;
            let (kind, body) = raw.next().await.unwrap();
            assert_eq!((kind, body[1]), (CONNACK, 0));
            for id in 1..=10 {
                let frame = device.frame(20);
                raw.publish(&device.up(), 1, id, &frame).await;
            }
            for id in 1..=10 {
                assert_eq!(raw.puback(id).await, 0);
            }
        }));
    }
    for task in herd {
        task.await.unwrap();
    }
    let all = DEVICES * SESSIONS * 200;
    until("everything at ingest", || rig.recorder.records() == all).await;
}

/// Whoever connects and says nothing holds a place only as long as nobody else wants it.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_hold_every_place_keep_no_device_out() {
    const PLACES: usize = 3;
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), |config| {
        config.connections_max = PLACES
    })
    .await;
    let mut strangers = Vec::new();
    for _ in 0..PLACES {
        strangers.push(Raw::open(rig.mqtt(), V5).await);
    }
    let mut sessions = Vec::new();
    for n in 1..=PLACES {
        sessions.push(Raw::session(rig.mqtt(), V5, &Device::new(n)).await);
        strangers.remove(0).closed().await;
    }
    let rejected = |reason| rig.metric(&format!("gateway_connects_rejected_total{{reason=\"{reason}\"}}"));
    assert_eq!((rejected("displaced"), rejected("too_many")), (PLACES as u64, 0));
    // Who has signed in makes room for nobody.
    Raw::open(rig.mqtt(), V5).await.closed().await;
    assert_eq!((rejected("displaced"), rejected("too_many")), (PLACES as u64, 1));
    for (n, session) in (1..).zip(&mut sessions) {
        let frame = Device::new(n).frame(1);
        let up = Device::new(n).up();
        session.publish(&up, 1, 1, &frame).await;
        assert_eq!(session.puback(1).await, 0);
    }
}
