//! The other door: a session with an external broker, through rumqttc (MQTT 5).
//!
//! A persistent session (`clean_start = false`) with manual acknowledgements: a message is acknowledged to the broker
//! after the spool's commit, in order of receipt. Acknowledgements belong to one connection: packet ids are reused, so on
//! every new one the waiting ones are dropped, and the broker sends again what it has no acknowledgement for. Should it
//! forget, the device sends again: only its signed `/ack` frees anything. That `/ack` goes out at `QoS` 0 for the same
//! reason, and so that no message of ours can ever stand in the way of another (rumqttc's collision of packet ids).

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ClientError, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use taraz_telemetry::{ACK_RANGES_MAX, Channel, DeviceId, RecordRange, TOPIC_PREFIX, Topic};

use crate::backoff::Backoff;
use crate::config::BrokerConfig;
use crate::spool::{Done, Receipt, Room, SpoolError, Submission, durable_channel};
use crate::time::now_ms;
use crate::validate::{Accepted, KnownDevice};

use super::Doorway;
use super::acks::AckRanges;
use super::pending::Pending;

/// `QoS` 1 messages that the broker may send before it has an acknowledgement (MQTT 5: Receive Maximum).
pub const IN_FLIGHT_MAX: u16 = 1_000;
/// The longest packet that the broker may send; a longer one it discards (MQTT 5, 3.1.2.11.4).
const PACKET_LEN_MAX: u32 = 8 << 10;
/// Messages between the connection and the worker: more than may be in flight, so that only `QoS` 0 can ever fill it.
const RECEIVED_MAX: usize = 2 * IN_FLIGHT_MAX as usize;
/// Requests that wait in rumqttc; what does not fit waits in the outbox.
const REQUESTS_MAX: usize = 2 * IN_FLIGHT_MAX as usize;
/// Messages that wait for the broker; above it nothing more is taken in.
const OUTBOX_MAX: usize = 4 * IN_FLIGHT_MAX as usize;
/// The broker keeps our session for a week of absence.
const SESSION_EXPIRY_S: u32 = 7 * 24 * 60 * 60;
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const RECONNECT_MIN: Duration = Duration::from_millis(250);
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// When the outbox could not be emptied.
const OUTBOX_RETRY: Duration = Duration::from_millis(10);
/// How long the door waits for commits and for the last bytes to leave when it closes.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(1);
const COMMITTED_MAX: usize = 1_024;

/// Counts connections; an acknowledgement of an older one is void.
type Epoch = Arc<Mutex<u64>>;

/// The door to an external broker.
#[derive(Debug)]
pub(crate) struct Broker {
    options: MqttOptions,
    address: String,
    door: Doorway,
}

impl Broker {
    pub(crate) fn new(config: &BrokerConfig, door: Doorway) -> Self {
        let (host, port) = config.address();
        let mut options = MqttOptions::new(config.client_id.clone(), host.clone(), port);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_EXPIRY_S))
            .set_receive_maximum(Some(IN_FLIGHT_MAX))
            .set_max_packet_size(Some(PACKET_LEN_MAX))
            .set_keep_alive(KEEP_ALIVE)
            .set_manual_acks(true);
        if let Some(username) = &config.username {
            options.set_credentials(username.clone(), config.password.clone().unwrap_or_default());
        }
        Self {
            options,
            address: format!("{host}:{port}"),
            door,
        }
    }

    /// Keeps the session until the door closes.
    pub(crate) async fn run(self) {
        while !self.door.stop.is_cancelled() {
            let (client, events) = AsyncClient::new(self.options.clone(), REQUESTS_MAX);
            let epoch = Epoch::default();
            let (sender, received) = mpsc::channel(RECEIVED_MAX);
            let worker = Worker::new(
                self.door.clone(),
                self.address.clone(),
                client.clone(),
                Arc::clone(&epoch),
            );
            let worker = tokio::spawn(worker.run(received));
            let connection = Connection {
                broker: &self,
                client,
                events,
                epoch,
                received: sender,
            };
            connection.run(worker).await;
        }
        self.door.metrics.broker_connected(false);
    }
}

/// rumqttc's event loop: polled all the time, so that pings and acknowledgements flow whatever the worker waits for.
struct Connection<'a> {
    broker: &'a Broker,
    client: AsyncClient,
    events: EventLoop,
    epoch: Epoch,
    received: mpsc::Sender<(u64, Publish)>,
}

impl Connection<'_> {
    /// Until the worker has ended, or until client and event loop must be built anew.
    async fn run(mut self, mut worker: tokio::task::JoinHandle<()>) {
        let mut backoff = Backoff::new(RECONNECT_MIN, RECONNECT_MAX);
        loop {
            let polled = tokio::select! {
                polled = self.events.poll() => polled,
                _ = &mut worker => break,
            };
            match polled {
                Ok(event) => self.on_event(event, &mut backoff).await,
                Err(error) => {
                    self.on_error(&error).await;
                    if matches!(error, ConnectionError::MqttState(StateError::CollisionTimeout)) {
                        // It would come again for ever. Everything unacknowledged is sent again by broker and devices.
                        worker.abort();
                        return;
                    }
                    tokio::select! {
                        () = sleep(backoff.next_wait()) => {}
                        _ = &mut worker => return,
                    }
                }
            }
        }
        // The worker's last acknowledgements, and its DISCONNECT, are in the queue.
        let _ = self.client.try_disconnect();
        let last = async { while self.events.poll().await.is_ok() {} };
        let _ = timeout(LAST_WRITE_TIMEOUT, last).await;
    }

    async fn on_event(&mut self, event: Event, backoff: &mut Backoff) {
        let address = &self.broker.address;
        match event {
            Event::Incoming(Packet::ConnAck(connack)) => {
                backoff.reset();
                tracing::info!(
                    address,
                    session_present = connack.session_present,
                    "connected to the broker"
                );
                // Also in a session that is present: what it was subscribed to then need not be what is wanted now.
                tokio::spawn(subscribe(self.client.clone()));
            }
            Event::Incoming(Packet::SubAck(suback)) => {
                let granted = suback
                    .return_codes
                    .iter()
                    .all(|code| matches!(code, SubscribeReasonCode::Success(_)));
                self.broker.door.metrics.broker_connected(granted);
                if !granted {
                    tracing::error!(address, codes = ?suback.return_codes,
                        "the broker refuses the subscription to taraz/1/+/up: allow it to this user");
                }
            }
            Event::Incoming(Packet::Publish(publish)) => self.receive(publish).await,
            _ => {}
        }
    }

    async fn on_error(&mut self, error: &ConnectionError) {
        tracing::warn!(address = self.broker.address, %error, "no connection to the broker");
        self.broker.door.metrics.broker_connected(false);
        self.take_buffered().await;
        let mut epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        *epoch += 1;
        // With the lock held: no acknowledgement of the old connection enters the queue behind its cleaning.
        self.events.clean();
    }

    /// What has arrived and was not handed out when the connection ended: rumqttc would hand it out in the next one, where its
    /// packet ids are other messages'. Messages go to the worker as what they are, the old connection's; all else is void.
    async fn take_buffered(&mut self) {
        for event in std::mem::take(&mut self.events.state.events) {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                self.receive(publish).await;
            }
        }
    }

    /// Gives a message to the worker, which lives as long as this loop.
    async fn receive(&mut self, publish: Publish) {
        let epoch = *self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.received.send((epoch, publish)).await;
    }
}

/// Asks for every device's frames; waits for room when the queue to the broker is full, so that the wish is never lost. A
/// connection that ends meanwhile brings the next wish.
async fn subscribe(client: AsyncClient) {
    let filter = format!("{TOPIC_PREFIX}+/{}", Channel::Up.as_str());
    if let Err(error) = client.subscribe(filter, QoS::AtLeastOnce).await {
        tracing::debug!(%error, "the session has ended before it was subscribed");
    }
}

/// Validates, submits, acknowledges.
struct Worker {
    door: Doorway,
    address: String,
    client: AsyncClient,
    epoch: Epoch,
    pending: Pending<(u64, Publish), (Arc<KnownDevice>, RecordRange), ()>,
    waiting: Option<Waiting>,
    outbox: VecDeque<Out>,
    done: Done,
    committed: mpsc::UnboundedReceiver<Vec<Receipt>>,
}

struct Waiting {
    accepted: Accepted,
    received_ms: u64,
    number: u64,
    room: Pin<Box<dyn Future<Output = Result<Room, SpoolError>> + Send>>,
}

enum Out {
    Puback(u64, Publish),
    Ack(Topic, Vec<u8>),
}

impl Worker {
    fn new(door: Doorway, address: String, client: AsyncClient, epoch: Epoch) -> Self {
        let (done, committed) = durable_channel();
        Self {
            door,
            address,
            client,
            epoch,
            pending: Pending::default(),
            waiting: None,
            outbox: VecDeque::new(),
            done,
            committed,
        }
    }

    async fn run(mut self, mut received: mpsc::Receiver<(u64, Publish)>) {
        let mut committed = Vec::new();
        loop {
            let full = !self.send_outbox();
            let taking =
                self.waiting.is_none() && self.pending.len() < RECEIVED_MAX && self.outbox.len() < OUTBOX_MAX;
            tokio::select! {
                biased;
                () = self.door.stop.cancelled() => break,
                _ = self.committed.recv_many(&mut committed, COMMITTED_MAX) => self.on_committed(&mut committed),
                room = room(&mut self.waiting) => if self.on_room(room).is_err() { return },
                message = received.recv(), if taking => match message {
                    Some((epoch, publish)) => self.on_publish(epoch, publish),
                    None => return,
                },
                () = sleep(OUTBOX_RETRY), if full => {}
            }
        }
        if self.waiting.take().is_some() {
            self.pending.take_back_newest();
        }
        let all = async {
            while self.pending.len() > 0 || !self.send_outbox() {
                tokio::select! {
                    _ = self.committed.recv_many(&mut committed, COMMITTED_MAX) => self.on_committed(&mut committed),
                    () = sleep(OUTBOX_RETRY) => {}
                }
            }
        };
        if timeout(SHUTDOWN_GRACE, all).await.is_err() {
            tracing::warn!(
                address = self.address,
                "closed before everything received was acknowledged"
            );
        }
    }

    fn on_publish(&mut self, epoch: u64, publish: Publish) {
        let now_ms = now_ms();
        let topic = String::from_utf8_lossy(&publish.topic);
        match self
            .door
            .validator
            .validate(None, &topic, &publish.payload, now_ms)
        {
            Ok(accepted) => {
                let len = accepted.bytes.len();
                let number = self
                    .pending
                    .wait((epoch, publish), (Arc::clone(&accepted.device), accepted.range));
                if let Some(room) = self.door.spool.try_reserve(len) {
                    self.submit(room, accepted, now_ms, number);
                } else {
                    let spool = Arc::clone(&self.door.spool);
                    let room = Box::pin(async move { spool.reserve(len).await });
                    self.waiting = Some(Waiting {
                        accepted,
                        received_ms: now_ms,
                        number,
                        room,
                    });
                }
            }
            Err(reason) => {
                self.door
                    .refusals
                    .add(reason, &self.address, &topic, &publish.payload, now_ms);
                // Acknowledged to the broker, never to a device: otherwise it would come again for ever.
                self.pending.answered((epoch, publish), ());
                self.answer();
            }
        }
    }

    fn on_room(&mut self, room: Result<Room, SpoolError>) -> Result<(), SpoolError> {
        if let Some(Waiting {
            accepted,
            received_ms,
            number,
            ..
        }) = self.waiting.take()
        {
            self.submit(room?, accepted, received_ms, number);
        }
        Ok(())
    }

    fn submit(&self, room: Room, accepted: Accepted, received_ms: u64, number: u64) {
        let submission = Submission::new(room, accepted, received_ms, self.done.clone(), number);
        self.door.spool.submit([submission]);
    }

    fn on_committed(&mut self, committed: &mut Vec<Vec<Receipt>>) {
        let mut ranges: BTreeMap<DeviceId, (Arc<KnownDevice>, AckRanges)> = BTreeMap::new();
        for Receipt { number, .. } in committed.drain(..).flatten() {
            if let Some((device, range)) = self.pending.committed(number, ()) {
                let entry = ranges.entry(device.id.clone());
                entry
                    .or_insert_with(|| (device, AckRanges::default()))
                    .1
                    .add(range);
            }
        }
        self.answer();
        for (id, (device, mut ranges)) in ranges {
            let topic = Channel::Ack.topic(&id);
            while let Some((bytes, count)) = ranges.signed(&device, ACK_RANGES_MAX) {
                self.outbox.push_back(Out::Ack(topic.clone(), bytes));
                ranges.sent(count);
            }
        }
    }

    fn answer(&mut self) {
        while let Some(((epoch, publish), ())) = self.pending.next_answer() {
            if publish.qos != QoS::AtMostOnce {
                self.outbox.push_back(Out::Puback(epoch, publish));
            }
        }
    }

    /// Moves what waits into rumqttc's queue. False when it does not all fit.
    fn send_outbox(&mut self) -> bool {
        let epoch = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(out) = self.outbox.pop_front() {
            let sent = match &out {
                Out::Puback(of, _) if *of != *epoch => Ok(()),
                Out::Puback(_, publish) => self.client.try_ack(publish),
                Out::Ack(topic, bytes) => {
                    self.client
                        .try_publish(topic.as_str(), QoS::AtMostOnce, false, bytes.clone())
                }
            };
            if matches!(sent, Err(ClientError::Request(_) | ClientError::TryRequest(_))) {
                self.outbox.push_front(out);
                return false;
            }
        }
        true
    }
}

async fn room(waiting: &mut Option<Waiting>) -> Result<Room, SpoolError> {
    match waiting {
        Some(waiting) => waiting.room.as_mut().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At worst acknowledgements have filled the queue when the broker answers.
    #[tokio::test]
    async fn a_subscription_waits_for_room_and_is_not_given_up() {
        let (client, events) = AsyncClient::new(MqttOptions::new("gateway", "127.0.0.1", 1), 1);
        while client
            .try_publish("x", QoS::AtMostOnce, false, Vec::new())
            .is_ok()
        {}
        let asking = tokio::spawn(subscribe(client));
        let waits = timeout(Duration::from_millis(200), async {
            while !asking.is_finished() {
                sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waits.await.is_err(), "given up");
        // The session's end is the end of the wish.
        drop(events);
        timeout(Duration::from_secs(10), asking).await.unwrap().unwrap();
    }
}
