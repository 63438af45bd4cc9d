//! The broker door against a real Mosquitto.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use taraz_gateway::{BrokerConfig, Config};
use taraz_telemetry::Channel;
use tokio::sync::mpsc;

use crate::mosquitto::Mosquitto;
use crate::raw::{CONNACK, PUBACK, Raw, SUBACK, V5, packet};
use crate::rig::{Device, NOTHING, Recorder, Rig, until, within};

fn through(port: u16) -> impl FnOnce(&mut Config) {
    move |config| {
        config.mqtt_listen = None;
        let text = format!(
            "url = \"mqtt://127.0.0.1:{port}\"\nclient_id = \"gateway\"\nusername = \"gateway\"\npassword = \"secret\""
        );
        config.broker = Some(toml::from_str::<BrokerConfig>(&text).unwrap());
    }
}

/// A device's client at the broker: what it publishes, and the acknowledgements that it gets.
struct Client {
    client: AsyncClient,
    acks: mpsc::UnboundedReceiver<Vec<u8>>,
}

impl Client {
    /// Returns when the broker has confirmed the subscription: an acknowledgement at QoS 0 that comes before is lost, and
    /// unlike a device nobody here sends again.
    async fn new(port: u16, device: &Device) -> Self {
        let mut options = MqttOptions::new(device.id.as_str(), "127.0.0.1", port);
        options.set_credentials("device", "secret").set_clean_start(false);
        options.set_session_expiry_interval(Some(3_600));
        let (client, mut events) = AsyncClient::new(options, 1_000);
        let (sender, acks) = mpsc::unbounded_channel();
        let (topic, subscriber) = (device.topic(Channel::Ack), client.clone());
        let (subscribed, mut is_subscribed) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        let _ = subscriber.try_subscribe(topic.clone(), QoS::AtLeastOnce);
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => {
                        let _ = subscribed.try_send(());
                    }
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        if sender.send(message.payload.to_vec()).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        within("the device's subscription", is_subscribed.recv()).await;
        Self { client, acks }
    }

    async fn publish(&self, device: &Device, frame: Vec<u8>) {
        self.client
            .publish(device.up(), QoS::AtLeastOnce, false, frame)
            .await
            .unwrap();
    }

    /// Waits until everything up to `count` records is acknowledged.
    async fn acknowledged(&mut self, device: &Device, count: u32) {
        let mut missing: BTreeSet<u32> = (0..count).collect();
        within("all acknowledgements", async {
            while !missing.is_empty() {
                for range in device.ranges(&self.acks.recv().await.unwrap()) {
                    missing.retain(|n| !(range.first..=range.last).contains(n));
                }
            }
        })
        .await;
    }
}

async fn connected(rig: &Rig) {
    until("connected to the broker", || {
        rig.metric("gateway_broker_connected") == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_come_and_acknowledgements_go_through_a_broker() {
    let mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(mosquitto.port)).await;
    connected(&rig).await;
    let mut device = Device::new(1);
    let mut client = Client::new(mosquitto.port, &device).await;
    for _ in 0..50 {
        let frame = device.frame(4);
        client.publish(&device, frame).await;
    }
    client.publish(&device, b"nonsense".to_vec()).await;
    client.acknowledged(&device, 200).await;
    until("ingest has it", || rig.recorder.records() == 200).await;
    until("the nonsense is counted", || {
        rig.metric("gateway_refused_total{reason=\"length\"}") == 1
    })
    .await;
    assert_eq!(rig.metric("gateway_frames_total{result=\"accepted\"}"), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_only_a_broker_feeds_is_not_ready_without_it() {
    let mut mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(mosquitto.port)).await;
    let ready = || rig.gateway.view().not_ready().is_none();
    until("ready with the broker", ready).await;
    mosquitto.kill();
    until("not ready without it", || !ready()).await;
    let reason = rig.gateway.view().not_ready().unwrap();
    assert!(
        reason.contains("broker") && reason.contains("no reading comes in"),
        "{reason}"
    );
    assert_eq!(rig.metric("gateway_broker_connected"), 0);
    mosquitto.up();
    until("ready again", ready).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_makes_no_gateway_unready_that_has_its_own_door() {
    let mosquitto = Mosquitto::start();
    let both = |config: &mut Config| {
        let own = config.mqtt_listen;
        through(mosquitto.port)(config);
        config.mqtt_listen = own;
    };
    let rig = Rig::with(Arc::new(tempfile::tempdir().unwrap()), Recorder::default(), both).await;
    connected(&rig).await;
    drop(mosquitto);
    until("the session is over", || {
        rig.metric("gateway_broker_connected") == 0
    })
    .await;
    assert_eq!(rig.gateway.view().not_ready(), None);
    // Without any broker there is nothing to be connected to, and nothing to raise an alarm about.
    let alone = Rig::start().await;
    let shown = prometheus::TextEncoder::new()
        .encode_to_string(&alone.registry.gather())
        .unwrap();
    assert!(!shown.contains("gateway_broker_connected"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_hears_nothing_before_the_commit_has_returned() {
    let mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(mosquitto.port)).await;
    connected(&rig).await;
    let mut device = Device::new(1);
    let mut client = Client::new(mosquitto.port, &device).await;
    let held_back = rig.hold_commits();
    let frame = device.frame(3);
    client.publish(&device, frame).await;
    assert!(
        tokio::time::timeout(NOTHING, client.acks.recv()).await.is_err(),
        "acknowledged before the commit"
    );
    drop(held_back);
    client.acknowledged(&device, 3).await;
}

/// The gateway dies before its commit: the broker, which has no acknowledgement, sends again.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_sends_again_what_was_not_committed() {
    let mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(Arc::clone(&folder), Recorder::default(), through(mosquitto.port)).await;
    connected(&rig).await;
    let mut device = Device::new(1);
    let mut client = Client::new(mosquitto.port, &device).await;
    let held_back = rig.hold_commits();
    for _ in 0..30 {
        let frame = device.frame(2);
        client.publish(&device, frame).await;
    }
    assert!(tokio::time::timeout(NOTHING, client.acks.recv()).await.is_err());
    let (stop, recorder) = (rig.stop.clone(), rig.recorder.clone());
    stop.cancel();
    // The commit can't return, so the gateway gives it up; nothing of it was acknowledged.
    rig.gateway.stopped().await.unwrap();
    drop(held_back);
    assert_eq!(recorder.records(), 0);
    let rig = Rig::with(folder, recorder, through(mosquitto.port)).await;
    client.acknowledged(&device, 60).await;
    until("ingest has it", || rig.recorder.records() == 60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_or_forgets_loses_nothing_for_good() {
    let mut mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(mosquitto.port)).await;
    connected(&rig).await;
    let mut device = Device::new(1);
    let mut client = Client::new(mosquitto.port, &device).await;
    for forgets in [false, true] {
        let frames: Vec<_> = (0..40).map(|_| device.frame(2)).collect();
        for frame in &frames[..20] {
            client.publish(&device, frame.clone()).await;
        }
        mosquitto.kill();
        until("the gateway notices", || {
            rig.metric("gateway_broker_connected") == 0
        })
        .await;
        if forgets {
            mosquitto.forget();
        }
        mosquitto.up();
        connected(&rig).await;
        for frame in &frames[20..] {
            client.publish(&device, frame.clone()).await;
        }
        // As the device does: what has no signed acknowledgement is sent again.
        let mut resender = Client::new(mosquitto.port, &Device::new(2)).await;
        for frame in &frames {
            resender.publish(&device, frame.clone()).await;
        }
        until("ingest has everything", || {
            rig.recorder.records() == device.next as usize
        })
        .await;
        resender.acks.close();
    }
    assert!(
        (0..device.next).all(|n| rig.recorder.times(&device, n) == 1),
        "nothing is stored twice"
    );
    client.acks.close();
}

/// Longer than rumqttc's own limit, which would break the connection again and again.
#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_does_not_jam_the_door() {
    let mosquitto = Mosquitto::start();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(mosquitto.port)).await;
    connected(&rig).await;
    let mut device = Device::new(1);
    let mut options = MqttOptions::new("large", "127.0.0.1", mosquitto.port);
    options.set_credentials("device", "secret");
    let (client, mut events) = AsyncClient::new(options, 10);
    let polling = tokio::spawn(async move { while events.poll().await.is_ok() {} });
    client
        .publish(device.up(), QoS::AtLeastOnce, false, vec![1; 20_000])
        .await
        .unwrap();
    client
        .publish(device.up(), QoS::AtLeastOnce, false, vec![1; 6_000])
        .await
        .unwrap();
    client
        .publish(device.up(), QoS::AtLeastOnce, false, device.frame(1))
        .await
        .unwrap();
    until("ingest has the good one", || rig.recorder.records() == 1).await;
    until("the long one is counted", || {
        rig.metric("gateway_refused_total{reason=\"length\"}") == 1
    })
    .await;
    polling.abort();
}

/// The other end of the gateway's connection, as a broker that has no session of it.
async fn forgetful(listener: &tokio::net::TcpListener) -> Raw {
    let (stream, _) = within("the gateway connects", listener.accept()).await.unwrap();
    let mut broker = Raw { stream, version: V5 };
    assert_eq!(broker.next().await.unwrap().0, 0x10, "a CONNECT");
    broker.send(&packet(CONNACK, &[0, 0, 0])).await;
    // A device's `/ack` may come before it.
    let body = first_of(&mut broker, 0x82).await;
    broker.send(&packet(SUBACK, &[body[0], body[1], 0, 1])).await;
    broker
}

/// The body of the next packet of this kind.
async fn first_of(broker: &mut Raw, wanted: u8) -> Vec<u8> {
    loop {
        let (kind, body) = broker.next().await.expect("a packet");
        if kind == wanted {
            return body;
        }
    }
}

/// Packet ids belong to their connection: what came over a broken one is stored, and acknowledges nothing on the next one, where
/// the same id may be another message's.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_broken_connection_is_stored_and_not_acknowledged_on_the_next() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let rig = Rig::with(folder, Recorder::default(), through(port)).await;
    let mut device = Device::new(1);
    let mut broker = forgetful(&listener).await;
    // One message, and behind it in the same segment what breaks the connection: a packet of the type 0, which there is not.
    let mut bytes = broker.publish_bytes(&device.up(), 1, 1, &device.frame(1));
    bytes.extend([0, 0]);
    broker.send(&bytes).await;
    let mut broker = forgetful(&listener).await;
    let frame = device.frame(1);
    broker.publish(&device.up(), 1, 2, &frame).await;
    let body = first_of(&mut broker, PUBACK).await;
    assert_eq!(body[..2], [0, 2], "the id of another connection is acknowledged");
    until("ingest has both", || rig.recorder.records() == 2).await;
}
