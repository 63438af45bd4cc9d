//! The listener and real clients: rumqttc, mosquitto_pub and paho, each with MQTT 5 and 3.1.1.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use taraz_telemetry::{Channel, Hold, Record};

use crate::mosquitto::program;
use crate::raw::{PUBACK, Raw, V3, V5};
use crate::rig::{Device, Recorder, Rig, until, within};

#[tokio::test(flavor = "multi_thread")]
async fn an_mqtt_5_client_is_acknowledged_twice() {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
    use rumqttc::v5::{AsyncClient, Event, MqttOptions};

    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let mut options = MqttOptions::new("client", "127.0.0.1", rig.mqtt().port());
    options.set_credentials(device.id.to_string(), device.password());
    let (client, mut events) = AsyncClient::new(options, 10);
    client
        .subscribe(device.topic(Channel::Ack), QoS::AtLeastOnce)
        .await
        .unwrap();
    client
        .publish(device.up(), QoS::AtLeastOnce, false, device.frame(3))
        .await
        .unwrap();
    let (mut puback, mut ack) = (None, None);
    within("both acknowledgements", async {
        while puback.is_none() || ack.is_none() {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(packet)) => puback = Some(packet.reason),
                Event::Incoming(Packet::Publish(message)) => ack = Some(message.payload),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(puback, Some(PubAckReason::Success));
    assert_eq!(device.ranges(&ack.unwrap()), [device.range(0, 2)]);
    until("ingest has it", || rig.recorder.records() == 3).await;
    assert_eq!(rig.metric("gateway_frames_total{result=\"accepted\"}"), 1);
    assert_eq!(rig.metric("gateway_connections"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mqtt_3_client_is_acknowledged_twice() {
    use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let mut options = MqttOptions::new("client", "127.0.0.1", rig.mqtt().port());
    options.set_credentials(device.id.to_string(), device.password());
    let (client, mut events) = AsyncClient::new(options, 10);
    client
        .subscribe(device.topic(Channel::Ack), QoS::AtMostOnce)
        .await
        .unwrap();
    client
        .publish(device.up(), QoS::AtLeastOnce, false, device.frame(2))
        .await
        .unwrap();
    client
        .publish(device.up(), QoS::AtLeastOnce, false, device.frame(2))
        .await
        .unwrap();
    let (mut pubacks, mut ranges) = (0, Vec::new());
    within("both acknowledgements", async {
        while pubacks < 2 || ranges.iter().map(taraz_telemetry::RecordRange::len).sum::<u64>() < 4 {
            match events.poll().await.unwrap() {
                Event::Incoming(Packet::PubAck(_)) => pubacks += 1,
                Event::Incoming(Packet::Publish(message)) => ranges.extend(device.ranges(&message.payload)),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!((ranges[0].first, ranges.last().unwrap().last), (0, 3));
    until("ingest has it", || rig.recorder.records() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquitto_pub_works_in_both_versions() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    for (version, qos) in [
        ("mqttv5", "1"),
        ("mqttv311", "1"),
        ("mqttv5", "0"),
        ("mqttv311", "0"),
    ] {
        let before = rig.recorder.records();
        let frame = device.frame(2);
        assert!(
            mosquitto_pub(&rig, &device, &device.password(), version, qos, &frame),
            "{version} QoS {qos}"
        );
        until("ingest has it", || rig.recorder.records() == before + 2).await;
    }
    let frame = device.frame(1);
    assert!(!mosquitto_pub(&rig, &device, "wrong", "mqttv5", "1", &frame));
    assert!(!mosquitto_pub(&rig, &device, "wrong", "mqttv311", "1", &frame));
    assert_eq!(
        rig.metric("gateway_connects_rejected_total{reason=\"unauthorised\"}"),
        2
    );
    until("sessions end", || rig.metric("gateway_connections") == 0).await;
}

fn mosquitto_pub(rig: &Rig, device: &Device, password: &str, version: &str, qos: &str, frame: &[u8]) -> bool {
    let file = rig.folder.path().join("frame.bin");
    std::fs::write(&file, frame).unwrap();
    let port = rig.mqtt().port().to_string();
    let mut command = Command::new(program("mosquitto_pub"));
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-V",
        version,
        "-q",
        qos,
        "-u",
        device.id.as_str(),
    ]);
    command
        .args(["-P", password, "-t", &device.up(), "-f"])
        .arg(&file);
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// The Python of the tests: the one that `TARAZ_PYTHON` names, else that of `target/venv`.
fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
    let python = std::env::var_os("TARAZ_PYTHON").map_or(venv, PathBuf::from);
    assert!(
        python.is_file(),
        "{} is missing; make it with: cargo xtask setup",
        python.display()
    );
    python
}

/// Subscribes, publishes once with QoS 1, and says what came: the grant, the PUBACK's reason, the acknowledgement.
const PAHO: &str = r#"
import sys
import paho.mqtt.client as mqtt

port, protocol, device, password, up, ack, frame = sys.argv[1:]
protocol = {"5": mqtt.MQTTv5, "3.1.1": mqtt.MQTTv311}[protocol]
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=device, protocol=protocol)
client.username_pw_set(device, password)
told = {}


def tell(name, value):
    told[name] = value
    if len(told) == 3:
        client.disconnect()


def subscribed(client, _data, _packet, reasons, _properties):
    tell("granted", str(reasons[0].value))
    client.publish(up, bytes.fromhex(frame), qos=1)


client.on_connect = lambda client, _data, _flags, reason, _properties: client.subscribe(ack, qos=1)
client.on_subscribe = subscribed
client.on_publish = lambda client, _data, _packet, reason, _properties: tell("puback", str(reason.value))
client.on_message = lambda client, _data, message: tell("ack", message.payload.hex())
client.connect("127.0.0.1", int(port))
client.loop_forever(retry_first_connection=False)
print(told["granted"], told["puback"], told["ack"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn paho_is_acknowledged_twice_in_both_versions() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    for (version, first) in [("5", 0), ("3.1.1", 2)] {
        let frame = device.frame(2);
        let hex = |bytes: &[u8]| {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            digits.collect::<String>()
        };
        let mut command = tokio::process::Command::new(python());
        command
            .args(["-c", PAHO, &rig.mqtt().port().to_string(), version])
            .args([device.id.as_str(), &device.password(), &device.up()])
            .args([&device.topic(Channel::Ack), &hex(&frame)])
            .kill_on_drop(true);
        let output = within("both acknowledgements", command.output()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        let told: Vec<_> = told.split_whitespace().collect();
        let [_, "0", ack] = told[..] else {
            panic!("{version}: {told:?} {}", String::from_utf8_lossy(&output.stderr))
        };
        let bytes: Vec<u8> = (0..ack.len() / 2)
            .map(|at| u8::from_str_radix(&ack[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        assert_eq!(
            device.ranges(&bytes),
            [device.range(first, first + 1)],
            "{version}"
        );
    }
    until("ingest has it", || rig.recorder.records() == 4).await;
}

/// The order that everything depends on: while the commit can't return, there is no acknowledgement of any kind.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_before_the_commit_has_returned() {
    let rig = Rig::start().await;
    for version in [V3, V5] {
        let mut device = Device::new(usize::from(version));
        let mut raw = Raw::session(rig.mqtt(), version, &device).await;
        assert_eq!(raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await, [0]);
        let held_back = rig.hold_commits();
        let frame = device.frame(2);
        raw.publish(&device.up(), 1, 5, &frame).await;
        raw.nothing().await;
        held_back.execute_batch("ROLLBACK").unwrap();
        assert_eq!(raw.puback(5).await, 0);
        let (topic, ack, _) = raw.message().await;
        assert_eq!(topic, device.topic(Channel::Ack));
        assert_eq!(device.ranges(&ack), [device.range(0, 1)]);
    }
    until("ingest has it", || rig.recorder.records() == 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_sent_again_is_acknowledged_again_and_stored_once() {
    let rig = Rig::start().await;
    let mut device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    raw.subscribe(&[(&device.topic(Channel::Ack), 0)]).await;
    let frame = device.frame(3);
    for id in 1..=3 {
        raw.publish(&device.up(), 1, id, &frame).await;
        assert_eq!(raw.puback(id).await, 0);
        assert_eq!(device.ranges(&raw.message().await.1), [device.range(0, 2)]);
    }
    // Cut into frames otherwise, with something new at its end.
    let records: Vec<Record> = (3..5).map(|n| device.reading(n, 5)).collect();
    let more = device.frame_of(3, &records);
    raw.publish(&device.up(), 1, 4, &more).await;
    raw.puback(4).await;
    until("ingest has it", || rig.recorder.records() == 5).await;
    assert!((0..5).all(|n| rig.recorder.times(&device, n) == 1));
    assert_eq!(rig.metric("gateway_frames_total{result=\"duplicate\"}"), 2);
}

/// The same identity with other bytes must reach ingest, which counts it as a conflict and keeps it.
#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_not_taken_for_a_duplicate() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    for (id, power_w) in [(1, 100), (2, 200)] {
        let frame = device.frame_of(0, &[device.reading(0, power_w)]);
        raw.publish(&device.up(), 1, id, &frame).await;
        assert_eq!(raw.puback(id).await, 0);
    }
    until("ingest has both", || rig.recorder.times(&device, 0) == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_implausible_record_is_acknowledged_and_held() {
    let rig = Rig::start().await;
    let device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    raw.subscribe(&[(&device.topic(Channel::Ack), 1)]).await;
    let records = [
        device.reading(0, 100),
        device.reading(1, 50_000),
        device.reading(2, 100),
    ];
    let frame = device.frame_of(0, &records);
    raw.publish(&device.up(), 1, 1, &frame).await;
    assert_eq!(raw.puback(1).await, 0);
    let (_, ack, id) = raw.message().await;
    assert_eq!(device.ranges(&ack), [device.range(0, 2)]);
    assert_eq!(id, None, "QoS 1 is the most that was granted; QoS 0 suffices");
    until("ingest has it", || rig.recorder.records() == 3).await;
    assert_eq!(rig.recorder.hold(&device, 0), None);
    assert_eq!(rig.recorder.hold(&device, 1), Some(Hold::ImplausibleValue));
    assert_eq!(rig.recorder.hold(&device, 2), None);
    assert_eq!(rig.metric("gateway_frames_total{result=\"held\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_stops_acknowledging_and_loses_nothing() {
    let recorder = Recorder::default();
    recorder.away.store(true, Ordering::Relaxed);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, recorder, |config| config.spool_max_mib = 1).await;
    let mut device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V5, &device).await;
    // Each frame is near 1,100 bytes with its row: 1 MiB is full long before 3,000 of them.
    let mut acknowledged = 0;
    for id in 1..=3_000_u16 {
        let frame = device.frame(50);
        raw.publish(&device.up(), 1, id, &frame).await;
        if id % 64 == 0 {
            while acknowledged < id && rig.metric("gateway_spool_blocked") == 0 {
                match tokio::time::timeout(crate::rig::NOTHING, raw.next()).await {
                    Ok(packet) => {
                        assert_eq!(packet.unwrap().0, PUBACK);
                        acknowledged += 1;
                    }
                    Err(_) => break,
                }
            }
            if rig.metric("gateway_spool_blocked") == 1 {
                break;
            }
        }
    }
    until("the spool is full", || rig.metric("gateway_spool_blocked") == 1).await;
    for id in 5_000..5_100 {
        let frame = device.frame(50);
        raw.publish(&device.up(), 1, id, &frame).await;
    }
    assert_eq!(
        rig.gateway.view().not_ready(),
        Some("the spool is full or its disk fails: nothing is acknowledged")
    );
    let sent = device.next;
    while let Ok(packet) = tokio::time::timeout(crate::rig::NOTHING, raw.next()).await {
        assert_eq!(packet.unwrap().0, PUBACK);
        acknowledged += 1;
    }
    assert!(
        u32::from(acknowledged) * 50 < sent,
        "something waits unacknowledged"
    );
    rig.recorder.away.store(false, Ordering::Relaxed);
    while u32::from(acknowledged) * 50 < sent {
        assert_eq!(raw.next().await.unwrap().0, PUBACK);
        acknowledged += 1;
    }
    until("ingest has everything", || {
        rig.recorder.records() == sent as usize
    })
    .await;
    until("acknowledging again", || rig.gateway.view().not_ready().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_a_restart() {
    let recorder = Recorder::default();
    recorder.away.store(true, Ordering::Relaxed);
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, recorder, |_| {}).await;
    let mut device = Device::new(1);
    let mut raw = Raw::session(rig.mqtt(), V3, &device).await;
    let frame = device.frame(10);
    raw.publish(&device.up(), 1, 1, &frame).await;
    raw.puback(1).await;
    let (folder, recorder) = rig.stop().await;
    raw.closed().await;
    recorder.away.store(false, Ordering::Relaxed);
    let rig = Rig::with(folder, recorder, |_| {}).await;
    until("ingest has it", || rig.recorder.records() == 10).await;
    until("the spool is empty", || rig.metric("gateway_backlog_frames") == 0).await;
    // It is remembered across the restart while it was in the spool.
    let mut raw = Raw::session(rig.mqtt(), V3, &device).await;
    raw.publish(&device.up(), 1, 1, &frame).await;
    raw.puback(1).await;
    assert_eq!(rig.metric("gateway_frames_total{result=\"duplicate\"}"), 1);
}
