//! A gateway in memory: opens frames, keeps records, acknowledges them unless told not to.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use embedded_io_adapters::tokio_1::FromTokio;
use minimq::{
    Buffers, ConfigBuilder, Connection, Publication, QoS, Session, SubscriptionOptions, TopicFilter,
};
use taraz_telemetry::{
    ACK_LEN_MAX, Ack, Channel, DeviceId, Frame, MasterKey, Outcome, Reading, Record, RecordId, parse_topic,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

pub const USER: &str = "gateway";
pub const PASSWORD: &str = "gateway";

pub fn master_key() -> MasterKey {
    MasterKey::new([42; 32])
}

/// The gateway's task; stops when dropped.
pub struct Gateway {
    shared: Arc<Mutex<Shared>>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Shared {
    connected: bool,
    mute: bool,
    frames: usize,
    repeated_records: usize,
    records: BTreeMap<(DeviceId, RecordId), Record>,
    states: Vec<(DeviceId, String)>,
}

impl Gateway {
    pub fn start(broker: SocketAddr) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let stop = CancellationToken::new();
        let (state, stopped) = (Arc::clone(&shared), stop.clone());
        // A thread of its own: the session is one long future that needs no other.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            // embassy-time tells wakers apart by `will_wake`, which a waker and its clone may fail.
            let mut serving = std::pin::pin!(stopped.run_until_cancelled(serve(broker, state)));
            let mut steady: Option<Waker> = None;
            runtime.block_on(poll_fn(|context| {
                let waker = steady.get_or_insert_with(|| context.waker().clone());
                serving.as_mut().poll(&mut Context::from_waker(waker)).map(|_| ())
            }));
        });
        Self { shared, stop }
    }

    /// It takes frames and acknowledges nothing.
    pub fn set_mute(&self, mute: bool) {
        self.shared.lock().unwrap().mute = mute;
    }

    pub fn is_connected(&self) -> bool {
        self.shared.lock().unwrap().connected
    }

    pub fn frames(&self) -> usize {
        self.shared.lock().unwrap().frames
    }

    pub fn repeated_records(&self) -> usize {
        self.shared.lock().unwrap().repeated_records
    }

    /// What a device's state topic said, in order.
    pub fn states(&self, device: &DeviceId) -> Vec<String> {
        let shared = self.shared.lock().unwrap();
        shared
            .states
            .iter()
            .filter(|(of, _)| of == device)
            .map(|(_, state)| state.clone())
            .collect()
    }

    pub fn records(&self, device: &DeviceId) -> Vec<(RecordId, Record)> {
        let shared = self.shared.lock().unwrap();
        let of_device = shared.records.iter().filter(|((of, _), _)| of == device);
        of_device.map(|((_, id), record)| (*id, record.clone())).collect()
    }

    pub fn count(&self, device: &DeviceId) -> usize {
        self.shared
            .lock()
            .unwrap()
            .records
            .keys()
            .filter(|(of, _)| of == device)
            .count()
    }

    pub fn readings(&self, device: &DeviceId) -> Vec<(RecordId, Reading)> {
        let records = self.records(device).into_iter();
        records
            .filter_map(|(id, record)| {
                if let Record::Reading(r) = record {
                    Some((id, r))
                } else {
                    None
                }
            })
            .collect()
    }

    /// Readings of a boot that carry values.
    pub fn answered(&self, device: &DeviceId, boot: u32) -> usize {
        let readings = self.readings(device);
        readings
            .iter()
            .filter(|(id, r)| id.boot == boot && matches!(r.outcome, Outcome::Values(_)))
            .count()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(broker: SocketAddr, shared: Arc<Mutex<Shared>>) {
    let (mut rx, mut tx) = (vec![0; 4_096], vec![0; 16_384]);
    let config = ConfigBuilder::new(Buffers::new(&mut rx, &mut tx))
        .client_id("gateway")
        .unwrap();
    let config = config
        .auth(USER, PASSWORD.as_bytes())
        .unwrap()
        .session_expiry_interval(3_600);
    let mut session = Session::new(config);
    loop {
        if let Ok(stream) = TcpStream::connect(broker).await
            && let Ok(mut connection) = session.connect(FromTokio::new(stream)).await
        {
            let mut acks = Acks::new();
            while receive(&mut connection, &shared, &mut acks).await.is_some() {}
        }
        shared.lock().unwrap().connected = false;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

type Acks = VecDeque<(DeviceId, Vec<u8>)>;

async fn receive(
    connection: &mut Connection<'_, '_, FromTokio<TcpStream>>,
    shared: &Mutex<Shared>,
    acks: &mut Acks,
) -> Option<()> {
    if !shared.lock().unwrap().connected {
        let options = SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce);
        let filters =
            ["taraz/1/+/up", "taraz/1/+/state"].map(|filter| TopicFilter::new(filter).options(options));
        let op = connection.subscribe(&filters, &[]).await.ok()?;
        while !connection.is_complete(&op) {
            connection.poll().await.ok()?;
        }
        shared.lock().unwrap().connected = true;
    }
    let Some(message) = connection.poll().await.ok()? else {
        return send(connection, acks).await;
    };
    let (device, channel) = parse_topic(message.topic()).expect("one of our topics");
    if channel == Channel::State {
        let state = String::from_utf8(message.payload().to_vec()).unwrap();
        shared.lock().unwrap().states.push((device, state));
    } else {
        let ack = commit(&device, message.payload(), shared)?;
        acks.push_back((device, ack));
    }
    send(connection, acks).await
}

/// Publishes acknowledgements while there is room for them.
async fn send(connection: &mut Connection<'_, '_, FromTokio<TcpStream>>, acks: &mut Acks) -> Option<()> {
    while connection.can_publish(QoS::AtLeastOnce)
        && let Some((device, ack)) = acks.pop_front()
    {
        let topic = Channel::Ack.topic(&device);
        connection
            .publish(Publication::bytes(&topic, &ack).qos(QoS::AtLeastOnce))
            .await
            .ok()?;
    }
    Some(())
}

/// Keeps a frame's records; returns the acknowledgement (an empty list when mute).
fn commit(device: &DeviceId, payload: &[u8], shared: &Mutex<Shared>) -> Option<Vec<u8>> {
    let key = master_key().device_key(device, 1);
    let frame = Frame::open(payload, &key, device).expect("an authentic frame");
    let mut shared = shared.lock().unwrap();
    shared.frames += 1;
    let mut ack = Ack::default();
    let range = frame.range();
    if !shared.mute {
        for (sequence, record) in (range.first..).zip(frame.records()) {
            let id = RecordId {
                incarnation: range.incarnation,
                boot: range.boot,
                sequence,
            };
            let record = record.unwrap();
            if let Some(known) = shared.records.insert((device.clone(), id), record.clone()) {
                assert_eq!(known, record, "one identity, two contents");
                shared.repeated_records += 1;
            }
        }
        ack.ranges.push(range).unwrap();
    }
    let mut buffer = [0; ACK_LEN_MAX];
    Some(ack.encode(&mut buffer, &key, device).unwrap().to_vec())
}
