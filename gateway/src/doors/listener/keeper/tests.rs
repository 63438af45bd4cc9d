//! The listener turn by turn: a keeper without its thread, clients with real sockets, and a spool whose room and commits are held.

use std::io::{Read, Write};
use std::net::SocketAddr;

use prometheus::Registry;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    Ack, Channel, Clock, DeviceId, DeviceKey, FRAME_LEN_MAX, FrameWriter, MasterKey, MeterAddress, Outcome,
    Quantities, Reading, Record, RecordRange, Stamp,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::spool::testing::HeldCommits;
use crate::spool::{Room, Spool, SpoolLimits};
use crate::time::now_ms;
use crate::validate::{Fingerprints, Refusals, Validator};

use super::super::{IN_FLIGHT_DEFAULT, READ_LEN};
use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
/// How long a turn waits for something.
const STEP: Duration = Duration::from_millis(10);
/// The spool's queue has room for a few frames only.
const QUEUE_BYTES_MAX: usize = 1_000;
const FRAMES_PER_S_MAX: u32 = 1_000;
const DAY_MS: u64 = 86_400_000;
const CLEAN_USER_PASSWORD: u8 = 0b1100_0010;
const PUBACK: u8 = 0x40;
const PUBLISH: u8 = 0x30;
const CONNACK: u8 = 0x20;
const SUBACK: u8 = 0x90;

/// A device's key and its frames of one reading.
struct Device {
    id: DeviceId,
    key: DeviceKey,
}

impl Device {
    fn frame(&self, sequence: u32, age_ms: u64) -> Vec<u8> {
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

struct Bench {
    folder: TempDir,
    keeper: Keeper,
    events: Events,
    address: SocketAddr,
    device: Device,
}

impl Bench {
    fn new(frames_per_s_max: u32) -> Self {
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

    fn turn(&mut self) {
        self.keeper.take_turn(&mut self.events, Some(STEP)).unwrap();
    }

    fn until(&mut self, what: &str, mut so: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !so(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            self.turn();
        }
    }

    /// The device's session under a client id of its own.
    fn client(&mut self, name: &str) -> Client {
        let stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let ids = self.keeper.sessions.ids();
        let mut client = Client {
            stream,
            unread: Vec::new(),
            session: SessionId::from_number(0),
            packet_id: 0,
            acknowledged: 0,
        };
        let password = self.device.key.mqtt_password();
        let payload = [text(name), text(self.device.id.as_str()), text(password.as_str())].concat();
        let head = [0, 4, b'M', b'Q', b'T', b'T', 4, CLEAN_USER_PASSWORD, 0, 60];
        client.send(0x10, &[&head[..], &payload].concat());
        self.until("a CONNACK", |_| {
            client.packets().iter().any(|(first, _)| *first == CONNACK)
        });
        let is_new = |id: &SessionId| !ids.contains(id);
        client.session = self.keeper.sessions.ids().into_iter().find(is_new).unwrap();
        client
    }

    /// All frames in one write, numbered from `first` on.
    fn burst(&self, client: &mut Client, first: u32, count: u32) {
        self.burst_of(client, first, count, 0);
    }

    /// The same with readings of this age.
    fn burst_of(&self, client: &mut Client, first: u32, count: u32, age_ms: u64) {
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
    fn take_room(&self, frames: usize) -> Vec<Room> {
        let door = &self.keeper.shared.door;
        let device = door.validator.device(&self.device.id).unwrap();
        let accepted = door.validator.open(device, &self.device.frame(0, 0), now_ms());
        let len = accepted.unwrap().bytes.len();
        let room = || door.spool.try_reserve(len);
        std::iter::from_fn(room).take(frames).collect()
    }

    /// Keeps the spool from committing until it is dropped.
    fn hold_commits(&self) -> HeldCommits {
        HeldCommits::hold(self.folder.path(), DEADLINE)
    }

    fn session(&mut self, client: &Client) -> &mut Session<ProtocolCore> {
        self.keeper.sessions.get(client.session).expect("it stands")
    }

    /// Its frames that were read and are not answered.
    fn pending(&mut self, client: &Client) -> usize {
        self.session(client).pending.len()
    }

    fn is_waiting(&mut self, client: &Client) -> bool {
        self.session(client).waiting.is_some()
    }
}

struct Client {
    stream: std::net::TcpStream,
    unread: Vec<u8>,
    session: SessionId,
    packet_id: u16,
    acknowledged: u16,
}

impl Client {
    fn send(&mut self, first: u8, body: &[u8]) {
        self.stream.write_all(&packet(first, body)).unwrap();
    }

    /// What has come, as first bytes and bodies.
    fn packets(&mut self) -> Vec<(u8, Vec<u8>)> {
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
    fn acknowledged(&mut self) -> u16 {
        for (first, body) in self.packets() {
            self.acknowledged += 1;
            assert_eq!((first, &body[..]), (PUBACK, &self.acknowledged.to_be_bytes()[..]));
        }
        self.acknowledged
    }
}

fn text(text: &str) -> Vec<u8> {
    [
        &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
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

#[test]
fn bursts_at_a_full_queue_are_all_acknowledged_in_turns() {
    const EACH: u16 = 30;
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let queue_frames = u16::try_from(bench.take_room(usize::MAX).len()).unwrap();
    assert!((2..EACH / 3).contains(&queue_frames), "{queue_frames}");
    let mut clients = ["a", "b", "c", "d"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    for (client, first) in clients.iter_mut().zip([1_000, 2_000, 3_000, 4_000]) {
        bench.burst(client, first, EACH.into());
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    drop(held);
    bench.until("every PUBACK", |_| {
        let counts = clients.each_mut().map(Client::acknowledged);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        // Whoever came first had the whole queue; since then it was one after the other.
        assert!(most - least <= queue_frames + 2, "{counts:?}");
        *least == EACH
    });
}

#[test]
fn who_comes_later_does_not_overtake_those_who_wait() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let [mut first, mut second, mut third, mut newcomer] =
        ["first", "second", "third", "newcomer"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    for (client, sequence) in [(&mut first, 1_000), (&mut second, 2_000), (&mut third, 3_000)] {
        bench.burst(client, sequence, 5);
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    bench.burst(&mut newcomer, 4_000, 5);
    // Room for two; the newcomer's bytes are there too when the thread looks.
    room.truncate(room.len() - 2);
    bench.until("the newcomer is read", |bench| bench.pending(&newcomer) > 0);
    let pending = [&first, &second, &third, &newcomer].map(|client| bench.pending(client));
    assert_eq!(
        pending,
        [2, 2, 1, 1],
        "one each of those who waited longest has room"
    );
    let order = [&third, &first, &second, &newcomer].map(|client| client.session);
    assert_eq!(*bench.keeper.waiting.lane(Lane::Live), order);
    drop((room, held));
    let mut clients = [first, second, third, newcomer];
    bench.until("every PUBACK", |_| {
        clients.each_mut().map(Client::acknowledged) == [5; 4]
    });
}

#[test]
fn a_live_reading_does_not_wait_behind_every_backlog() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let [mut first, mut second, mut live] = ["first", "second", "live"].map(|name| bench.client(name));
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    for (client, sequence) in [(&mut first, 1_000), (&mut second, 2_000)] {
        bench.burst_of(client, sequence, 5, DAY_MS);
        bench.until("it waits", |bench| bench.is_waiting(client));
    }
    bench.burst(&mut live, 3_000, 1);
    bench.until("it waits", |bench| bench.is_waiting(&live));
    // Room for two: the first had asked before.
    room.truncate(room.len() - 2);
    bench.until("room for the live one", |bench| !bench.is_waiting(&live));
    let pending = [&first, &second, &live].map(|client| bench.pending(client));
    assert_eq!(pending, [2, 1, 1]);
    drop((room, held));
    bench.until("every PUBACK", |_| {
        [first.acknowledged(), second.acknowledged(), live.acknowledged()] == [5, 5, 1]
    });
}

#[test]
fn who_has_to_wait_late_in_a_turn_is_told_of_room() {
    const RATE: u32 = 4;
    let mut bench = Bench::new(RATE);
    let mut client = bench.client("a");
    let held = bench.hold_commits();
    let mut room = bench.take_room(usize::MAX);
    // Above its rate with the last of them; the one behind it is looked at when its time has come.
    room.truncate(room.len() - (RATE as usize + 1));
    bench.burst(&mut client, 1_000, RATE + 2);
    bench.until("the last waits", |bench| bench.is_waiting(&client));
    assert!(!bench.keeper.shared.inbox.take().room);
    room.pop();
    assert!(bench.keeper.shared.inbox.take().room, "the thread is woken");
    drop((room, held));
    bench.until("every PUBACK", |_| client.acknowledged() == 6);
}

#[test]
fn what_one_commit_makes_durable_is_one_acknowledgement_to_the_other_session() {
    const FRAMES: u32 = 6;
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let (mut beside, mut own) = (bench.client("beside"), bench.client("own"));
    let topic = text(Channel::Ack.topic(&bench.device.id).as_str());
    beside.send(0x82, &[&[0, 1][..], &topic, &[0]].concat());
    bench.until("a SUBACK", |_| {
        beside.packets().iter().any(|(first, _)| *first == SUBACK)
    });
    let held = bench.hold_commits();
    bench.burst(&mut own, 1_000, FRAMES);
    bench.until("all are taken", |bench| bench.pending(&own) == FRAMES as usize);
    drop(held);
    let (mut ranges, mut packets): (Vec<RecordRange>, u32) = (Vec::new(), 0);
    bench.until("every acknowledgement", |bench| {
        for (first, body) in beside.packets() {
            assert_eq!(first, PUBLISH);
            let ack = Ack::decode(&body[topic.len()..], &bench.device.key, &bench.device.id).unwrap();
            ranges.extend(ack.ranges.iter());
            packets += 1;
        }
        ranges
            .iter()
            .map(|range| range.last - range.first + 1)
            .sum::<u32>()
            == FRAMES
    });
    // What was taken while the first commit was held is in the second.
    assert!(packets <= 2, "{ranges:?}");
}

#[test]
fn a_session_that_was_not_listened_to_is_not_taken_for_silent() {
    let mut bench = Bench::new(FRAMES_PER_S_MAX);
    let client = bench.client("a");
    let mut turn = Turn::new();
    turn.now += Duration::from_secs(3_600);
    let session = bench.session(&client);
    // Something has come while it waited for room, and is read in the next turn.
    session.readable(false);
    session.on_time(&mut turn).unwrap();
    session.read(&mut turn).unwrap();
    turn.now += Duration::from_secs(3_600);
    assert!(session.on_time(&mut turn).is_err(), "nothing more has come");
}

#[test]
fn after_a_panic_the_next_session_reads_as_ever() {
    let mut turn = Turn::new();
    let panicked = unless_panicked(&mut turn, |turn| {
        let _buffer = std::mem::take(&mut turn.buffer);
        panic!("within a packet");
    });
    assert_eq!(panicked, None::<()>);
    assert_eq!(turn.buffer.len(), READ_LEN);
    assert_eq!(
        unless_panicked(&mut turn, |turn| turn.buffer.len()),
        Some(READ_LEN)
    );
}
