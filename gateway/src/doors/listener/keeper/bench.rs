//! A keeper without its thread, clients with real sockets, and a spool whose room and commits are held.

use std::io::{Read, Write};
use std::net::SocketAddr;

use prometheus::Registry;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    Channel, Clock, DeviceId, DeviceKey, FRAME_LEN_MAX, FrameWriter, MasterKey, MeterAddress, Outcome,
    Quantities, Reading, Record, Stamp,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::spool::testing::HeldCommits;
use crate::spool::{Room, Spool, SpoolLimits};
use crate::time::now_ms;
use crate::validate::{Fingerprints, Refusals, Validator};

use super::super::IN_FLIGHT_DEFAULT;
use super::*;

pub(super) const DEADLINE: Duration = Duration::from_secs(20);
/// How long a turn waits for something.
pub(super) const STEP: Duration = Duration::from_millis(10);
/// The spool's queue has room for a few frames only.
pub(super) const QUEUE_BYTES_MAX: usize = 1_000;
pub(super) const FRAMES_PER_S_MAX: u32 = 1_000;
pub(super) const DAY_MS: u64 = 86_400_000;
pub(super) const CLEAN_USER_PASSWORD: u8 = 0b1100_0010;
pub(super) const PUBACK: u8 = 0x40;
pub(super) const PUBLISH: u8 = 0x30;
pub(super) const CONNACK: u8 = 0x20;
pub(super) const SUBACK: u8 = 0x90;
/// MQTT 3.1.1, 3.2.2.3: bad user name or password.
pub(super) const NOT_AUTHORISED: u8 = 4;

/// A device's key and its frames of one reading.
pub(super) struct Device {
    pub(super) id: DeviceId,
    pub(super) key: DeviceKey,
}

impl Device {
    pub(super) fn frame(&self, sequence: u32, age_ms: u64) -> Vec<u8> {
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, 1, 5, 2, sequence).unwrap();
        let stamp = Stamp {
            ms: now_ms() - age_ms,
            clock: Clock::Synced,
        };
        let reading = Reading {
            meter: MeterAddress::new(1).unwrap(),
            stamp,
            outcome: Outcome::Values(Quantities::default()),
        };
        writer.push(&Record::Reading(reading)).unwrap();
        writer.finish(&self.key, &self.id).to_vec()
    }
}

pub(super) struct Bench {
    pub(super) folder: TempDir,
    pub(super) keeper: Keeper,
    pub(super) events: Events,
    pub(super) address: SocketAddr,
    pub(super) device: Device,
}

impl Bench {
    pub(super) fn new(frames_per_s_max: u32) -> Self {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let master = MasterKey::new([7; 32]);
        let fingerprints = Fingerprints::default();
        let validator = Validator::new(&fleet, &master, fingerprints.clone());
        let metrics = Metrics::new(&Registry::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let limits = SpoolLimits {
            queue_bytes_max: QUEUE_BYTES_MAX,
            ..SpoolLimits::new(1 << 30)
        };
        let spool = Spool::open(folder.path(), limits, fingerprints, metrics.clone()).unwrap();
        let door = Doorway {
            validator: Arc::new(validator),
            spool: Arc::new(spool),
            refusals: Arc::new(Refusals::new(metrics.clone())),
            metrics: metrics.clone(),
            in_flight_max: IN_FLIGHT_DEFAULT,
            stop: CancellationToken::new(),
        };
        let socket = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = socket.local_addr().unwrap();
        let poll = Poll::new().unwrap();
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), INBOX).unwrap()));
        let hub = Arc::new(Hub::new(metrics, frames_per_s_max));
        let id: DeviceId = "sari-01".parse().unwrap();
        let key = master.device_key(&id, 1);
        Self {
            folder,
            keeper: Keeper::new(poll, socket, 16, door, hub, inbox).unwrap(),
            events: Events::with_capacity(EVENTS_MAX),
            address,
            device: Device { id, key },
        }
    }

    pub(super) fn turn(&mut self) {
        self.keeper.take_turn(&mut self.events, Some(STEP)).unwrap();
    }

    pub(super) fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !so(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            self.turn();
        }
    }

    /// The device's session under a client id of its own.
    pub(super) fn client(&mut self, name: &str) -> Client {
        let ids = self.keeper.sessions.ids();
        let mut client = Client::connect(self.address);
        let password = self.device.key.mqtt_password();
        client.sign_in(name, self.device.id.as_str(), password.as_str());
        self.until("a CONNACK", |_| {
            client.packets().iter().any(|(first, _)| *first == CONNACK)
        });
        let is_new = |id: &SessionId| !ids.contains(id);
        client.session = self.keeper.sessions.ids().into_iter().find(is_new).unwrap();
        client
    }

    /// All frames in one write, numbered from `first` on.
    pub(super) fn burst(&self, client: &mut Client, first: u32, count: u32) {
        self.burst_of(client, first, count, 0);
    }

    /// The same with readings of this age.
    pub(super) fn burst_of(&self, client: &mut Client, first: u32, count: u32, age_ms: u64) {
        let mut bytes = Vec::new();
        for sequence in first..first + count {
            client.packet_id += 1;
            let topic = text(Channel::Up.topic(&self.device.id).as_str());
            let frame = self.device.frame(sequence, age_ms);
            let body = [&topic[..], &client.packet_id.to_be_bytes(), &frame].concat();
            bytes.extend(packet(PUBLISH | 0b10, &body));
        }
        client.stream.write_all(&bytes).unwrap();
    }

    /// Takes room for so many frames of the spool's queue, or all that there is.
    pub(super) fn take_room(&self, frames: usize) -> Vec<Room> {
        let door = &self.keeper.shared.door;
        let device = door.validator.device(&self.device.id).unwrap();
        let accepted = door.validator.open(device, &self.device.frame(0, 0), now_ms());
        let len = accepted.unwrap().bytes.len();
        let room = || door.spool.try_reserve(len);
        std::iter::from_fn(room).take(frames).collect()
    }

    /// Keeps the spool from committing until it is dropped.
    pub(super) fn hold_commits(&self) -> HeldCommits {
        HeldCommits::hold(self.folder.path(), DEADLINE)
    }

    pub(super) fn session(&mut self, client: &Client) -> &mut Session<ProtocolCore> {
        self.keeper.sessions.get(client.session).expect("it stands")
    }

    /// Its frames that were read and are not answered.
    pub(super) fn pending(&mut self, client: &Client) -> usize {
        self.session(client).pending.len()
    }

    pub(super) fn is_waiting(&mut self, client: &Client) -> bool {
        self.session(client).waiting.is_some()
    }
}

pub(super) struct Client {
    pub(super) stream: std::net::TcpStream,
    pub(super) unread: Vec<u8>,
    pub(super) session: SessionId,
    pub(super) packet_id: u16,
    pub(super) acknowledged: u16,
}

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
            session: SessionId::from_number(0),
            packet_id: 0,
            acknowledged: 0,
        }
    }

    pub(super) fn sign_in(&mut self, name: &str, user: &str, password: &str) {
        let payload = [text(name), text(user), text(password)].concat();
        let head = [0, 4, b'M', b'Q', b'T', b'T', 4, CLEAN_USER_PASSWORD, 0, 60];
        self.send(0x10, &[&head[..], &payload].concat());
    }

    pub(super) fn send(&mut self, first: u8, body: &[u8]) {
        self.stream.write_all(&packet(first, body)).unwrap();
    }

    /// What has come, as first bytes and bodies.
    pub(super) fn packets(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut buffer = [0; 4_096];
        while let Ok(len @ 1..) = self.stream.read(&mut buffer) {
            self.unread.extend_from_slice(&buffer[..len]);
        }
        let mut packets = Vec::new();
        while let [first, len, rest @ ..] = &self.unread[..] {
            let (mut len, mut head) = (usize::from(*len), 2);
            if len >= 0x80 {
                let Some(more) = rest.first() else { break };
                (len, head) = ((len & 0x7F) | usize::from(*more) << 7, 3);
            }
            if self.unread.len() < head + len {
                break;
            }
            packets.push((*first, self.unread[head..head + len].to_vec()));
            self.unread.drain(..head + len);
        }
        packets
    }

    /// Counts the PUBACKs that have come, which must be in order.
    pub(super) fn acknowledged(&mut self) -> u16 {
        for (first, body) in self.packets() {
            self.acknowledged += 1;
            assert_eq!((first, &body[..]), (PUBACK, &self.acknowledged.to_be_bytes()[..]));
        }
        self.acknowledged
    }
}

pub(super) fn text(text: &str) -> Vec<u8> {
    [
        &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let mut bytes = vec![first];
    if len >= 0x80 {
        bytes.push(u8::try_from(len & 0x7F).unwrap() | 0x80);
        bytes.push(u8::try_from(len >> 7).unwrap());
    } else {
        bytes.push(u8::try_from(len).unwrap());
    }
    bytes.extend(body);
    bytes
}
