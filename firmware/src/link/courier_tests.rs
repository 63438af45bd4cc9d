//! The courier against a network that loses, repeats, reorders and delays, and a gateway that acknowledges what it got.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use taraz_telemetry::{
    ACK_RANGES_MAX, Ack, Anchor, DeviceId, FRAME_LEN_MAX, Frame, MasterKey, RECORD_LEN_MAX, Record,
    RecordRange,
};

use super::{
    BACKFILL_IN_FLIGHT_MAX, Courier, CourierSettings, LIVE_IN_FLIGHT_MAX, LIVE_KEPT_RECORDS, Lane,
    PARKED_IN_FLIGHT_MAX,
};
use crate::queue::{MemoryQueue, Position, Queue};

const SETTINGS: CourierSettings = CourierSettings {
    ack_timeout_ms: 30_000,
    ack_timeout_ms_max: 240_000,
};

/// The courier, its queue, and everything beyond.
struct World {
    now_ms: u64,
    queue: MemoryQueue,
    courier: Courier,
    appended: u64,
    /// Frames under way.
    frames: Vec<Vec<u8>>,
    /// Acknowledgements under way, encoded.
    acks: Vec<Vec<u8>>,
    /// What the gateway committed: identity → bytes.
    committed: BTreeMap<Position, Vec<u8>>,
    /// What was acknowledged to the device (the acknowledgement arrived).
    acknowledged: BTreeSet<Position>,
    published: Vec<(RecordRange, Lane, u32)>,
}

impl World {
    fn new(live: bool) -> Self {
        let device = DeviceId::new("sari-01").unwrap();
        let key = MasterKey::new([7; 32]).device_key(&device, 1);
        Self {
            now_ms: 0,
            queue: MemoryQueue::new(4_000, 32),
            courier: Courier::new(device, key, SETTINGS, 5, live.then_some(1)),
            appended: 0,
            frames: Vec::new(),
            acks: Vec::new(),
            committed: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            published: Vec::new(),
        }
    }

    fn append(&mut self, count: u64) {
        for _ in 0..count {
            self.appended += 1;
            let n = self.appended;
            let record = Record::Anchor(Anchor {
                boot: 1,
                monotonic_ms: n,
                utc_ms: n * 1_000_000_007,
                error_ms: 1,
            });
            let mut buffer = [0; RECORD_LEN_MAX];
            self.queue.append(record.encode(&mut buffer).unwrap()).unwrap();
        }
    }

    /// Publishes one frame if there is one.
    fn pump(&mut self) -> bool {
        let mut buffer = [0; FRAME_LEN_MAX];
        let Some(outgoing) = self
            .courier
            .next(self.now_ms, &mut self.queue, &mut buffer)
            .unwrap()
        else {
            return false;
        };
        assert!(outgoing.attempt >= 1);
        self.published
            .push((outgoing.range, outgoing.lane, outgoing.attempt));
        self.frames.push(outgoing.frame.to_vec());
        assert!(
            self.courier.in_flight() <= LIVE_IN_FLIGHT_MAX + BACKFILL_IN_FLIGHT_MAX + PARKED_IN_FLIGHT_MAX
        );
        true
    }

    fn pump_all(&mut self) {
        for _ in 0..1_000 {
            if !self.pump() {
                return;
            }
        }
        panic!("the courier never stops publishing");
    }

    /// A frame arrives at the gateway, which commits it and acknowledges it, in two parts if told so.
    fn deliver(&mut self, index: usize, split: bool) {
        if self.frames.is_empty() {
            return;
        }
        let frame = self.frames.swap_remove(index % self.frames.len());
        let opened = Frame::open(&frame, self.courier.key(), self.courier.device()).unwrap();
        let range = opened.range();
        let mut records = opened.records();
        let mut sequence = range.first;
        while let Some(item) = records.next_with_bytes() {
            let (_, bytes) = item.unwrap();
            let position = Position {
                boot: range.boot,
                sequence,
            };
            let known = self.committed.insert(position, bytes.to_vec());
            assert!(
                known.is_none_or(|known| known == bytes),
                "one identity, two contents"
            );
            sequence += 1;
        }
        let middle = range.first + (range.last - range.first) / 2;
        if split && middle < range.last {
            self.acknowledge(&[RecordRange {
                last: middle,
                ..range
            }]);
            self.acknowledge(&[RecordRange {
                first: middle + 1,
                ..range
            }]);
        } else {
            self.acknowledge(&[range]);
        }
    }

    fn acknowledge(&mut self, ranges: &[RecordRange]) {
        let ack = Ack {
            ranges: ranges.iter().copied().take(ACK_RANGES_MAX).collect(),
        };
        let mut buffer = [0; taraz_telemetry::ACK_LEN_MAX];
        let bytes = ack
            .encode(&mut buffer, self.courier.key(), self.courier.device())
            .unwrap();
        self.acks.push(bytes.to_vec());
    }

    /// An acknowledgement arrives at the device.
    fn receive_ack(&mut self, index: usize) {
        if self.acks.is_empty() {
            return;
        }
        let bytes = self.acks.swap_remove(index % self.acks.len());
        let ack = Ack::decode(&bytes, self.courier.key(), self.courier.device()).unwrap();
        self.courier
            .acknowledge(self.now_ms, &ack, &mut self.queue)
            .unwrap();
        for range in &ack.ranges {
            let positions = (range.first..=range.last).map(|sequence| Position {
                boot: range.boot,
                sequence,
            });
            self.acknowledged.extend(positions);
        }
    }

    /// Pending are exactly those that were not acknowledged.
    fn check(&mut self) {
        let mut pending = BTreeSet::new();
        let mut at = Position::START;
        while let Some(position) = self.queue.next_pending(at).unwrap() {
            pending.insert(position);
            at = position.after();
        }
        let unacknowledged: BTreeSet<Position> = self
            .queue
            .ever()
            .difference(&self.acknowledged)
            .copied()
            .collect();
        assert_eq!(pending, unacknowledged);
    }

    /// From now on nothing is lost; returns how long it took until everything was acknowledged.
    fn heal(&mut self) -> u64 {
        let began_ms = self.now_ms;
        for _ in 0..5_000 {
            self.pump_all();
            while !self.frames.is_empty() {
                self.deliver(0, false);
            }
            while !self.acks.is_empty() {
                self.receive_ack(0);
            }
            if self.queue.pending_records() == 0 {
                return self.now_ms - began_ms;
            }
            self.now_ms = self
                .courier
                .next_due_ms()
                .map_or(self.now_ms + 1, |due_ms| due_ms.max(self.now_ms + 1));
        }
        panic!("{} records were never acknowledged", self.queue.pending_records());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(u64),
    Pump(usize),
    Deliver(usize, bool),
    LoseFrame(usize),
    RepeatFrame(usize),
    ReceiveAck(usize),
    LoseAck(usize),
    RepeatAck(usize),
    Pass(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u64..40).prop_map(Step::Append),
        8 => (1usize..6).prop_map(Step::Pump),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(index, split)| Step::Deliver(index, split)),
        2 => any::<usize>().prop_map(Step::LoseFrame),
        1 => any::<usize>().prop_map(Step::RepeatFrame),
        8 => any::<usize>().prop_map(Step::ReceiveAck),
        2 => any::<usize>().prop_map(Step::LoseAck),
        1 => any::<usize>().prop_map(Step::RepeatAck),
        4 => (1u64..60_000).prop_map(Step::Pass),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    /// Loss, repetition and reordering of frames and acknowledgements: nothing is freed without an acknowledgement, the
    /// flights stay bounded, and everything is acknowledged in the end.
    #[test]
    fn everything_is_acknowledged_and_nothing_freed_before(live in any::<bool>(), steps in proptest::collection::vec(step(), 1..300)) {
        let mut world = World::new(live);
        for step in steps {
            match step {
                Step::Append(count) => world.append(count),
                Step::Pump(count) => { for _ in 0..count { world.pump(); } }
                Step::Deliver(index, split) => world.deliver(index, split),
                Step::ReceiveAck(index) => world.receive_ack(index),
                Step::Pass(ms) => world.now_ms += ms,
                Step::Reconnect => world.courier.reconnected(world.now_ms),
                Step::LoseFrame(index) => lose(&mut world.frames, index),
                Step::LoseAck(index) => lose(&mut world.acks, index),
                Step::RepeatFrame(index) => repeat(&mut world.frames, index),
                Step::RepeatAck(index) => repeat(&mut world.acks, index),
            }
            let count = |lane| world.published.iter().filter(|(_, of, _)| *of == lane).count();
            prop_assert!(live || count(Lane::Live) == 0);
        }
        world.check();
        world.courier.go_live(1);
        world.heal();
        world.check();
        prop_assert_eq!(world.committed.len() as u64, world.appended);
        prop_assert_eq!(world.courier.in_flight(), 0);
    }
}

fn lose(packets: &mut Vec<Vec<u8>>, index: usize) {
    if !packets.is_empty() {
        packets.swap_remove(index % packets.len());
    }
}

fn repeat(packets: &mut Vec<Vec<u8>>, index: usize) {
    if !packets.is_empty() {
        let again = packets[index % packets.len()].clone();
        packets.push(again);
    }
}

#[test]
fn under_a_backlog_a_new_reading_is_the_next_frame_and_the_backlog_drains_oldest_first() {
    let mut world = World::new(false);
    world.append(30_000);
    world.queue.restart();
    world.courier.go_live(2);
    for round in 0..100 {
        world.append(1);
        assert!(world.pump());
        let (range, lane, _) = *world.published.last().unwrap();
        assert_eq!(
            (range.boot, range.first, range.last, lane),
            (2, round, round, Lane::Live)
        );
        // The link has room for two more frames, then the acknowledgements come.
        assert!(world.pump() && world.pump());
        while !world.frames.is_empty() {
            world.deliver(0, false);
        }
        while !world.acks.is_empty() {
            world.receive_ack(0);
        }
        world.now_ms += 1_000;
    }
    let backfill: Vec<RecordRange> = world
        .published
        .iter()
        .filter(|(_, lane, _)| *lane == Lane::Backfill)
        .map(|(range, ..)| *range)
        .collect();
    assert_eq!(backfill[0].first, 0);
    let follow_each_other = |pair: &[RecordRange]| pair[1].first == pair[0].last + 1 || pair[1].boot == 2;
    assert!(
        backfill.windows(2).all(follow_each_other),
        "oldest first, without a hole"
    );
    assert!(backfill[0].len() > 50, "full frames: {}", backfill[0].len());
}

#[test]
fn a_flood_of_live_records_does_not_starve_the_backlog() {
    let mut world = World::new(false);
    world.append(2_000);
    world.queue.restart();
    world.courier.go_live(2);
    for _ in 0..100 {
        // More live records than the link has room for.
        world.append(2);
        assert!(world.pump());
        world.deliver(0, false);
        world.receive_ack(0);
    }
    let live = world
        .published
        .iter()
        .filter(|(_, lane, _)| *lane == Lane::Live)
        .count();
    assert!(
        (70..=85).contains(&live),
        "four of five frames are live, not {live} of 100"
    );
}

#[test]
fn far_behind_the_live_lane_leaves_the_older_records_to_the_backlog() {
    let mut world = World::new(true);
    world.append(10_000);
    assert!(world.pump());
    let (range, lane, _) = world.published[0];
    assert_eq!((lane, range.last), (Lane::Live, 9_999));
    assert_eq!(range.len(), u64::from(LIVE_KEPT_RECORDS));
    assert!(world.pump());
    assert_eq!(
        (world.published[1].0.first, world.published[1].1),
        (0, Lane::Backfill)
    );
    world.heal();
    assert_eq!(world.committed.len(), 10_000);
}

#[test]
fn a_silent_gateway_is_asked_less_and_less_often_and_at_once_when_it_is_back() {
    let mut world = World::new(true);
    world.append(1);
    let mut sent_ms = Vec::new();
    while world.now_ms < 3_600_000 {
        if world.pump() {
            sent_ms.push(world.now_ms);
        }
        world.now_ms += 1_000;
    }
    let waits: Vec<u64> = sent_ms.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((22_000..=39_000).contains(&waits[0]), "{waits:?}");
    assert!(
        waits[3..].iter().all(|ms| (180_000..=301_000).contains(ms)),
        "{waits:?}"
    );
    // Another record's acknowledgement shows that the gateway lives.
    world.frames.clear();
    world.append(1);
    assert!(world.pump());
    world.deliver(0, false);
    world.receive_ack(0);
    assert!(world.courier.next_due_ms().unwrap() <= world.now_ms + SETTINGS.ack_timeout_ms);
    assert!(world.heal() <= 40_000);
}

#[test]
fn frames_wait_until_they_are_full_while_records_are_written_in_bulk() {
    let mut world = World::new(false);
    world.append(10);
    assert!(!world.pump(), "ten small records do not fill a frame");
    world.append(300);
    assert!(world.pump());
    assert!(world.frames[0].len() > FRAME_LEN_MAX - 50);
    world.pump_all();
    world.queue.restart();
    world.courier.go_live(2);
    assert!(world.pump(), "then the rest goes out as it is");
}

#[test]
fn records_that_were_evicted_are_forgotten() {
    let mut world = World::new(true);
    world.append(40);
    world.pump_all();
    assert!(world.courier.in_flight() > 0);
    let range = RecordRange {
        incarnation: world.queue.incarnation(),
        boot: 1,
        first: 0,
        last: 39,
    };
    world.queue.release(range).unwrap();
    world.now_ms += 60_000;
    assert!(!world.pump());
    assert_eq!(world.courier.in_flight(), 0);
}

#[test]
fn refused_frames_do_not_stop_the_others() {
    let mut world = World::new(false);
    world.append(20_000);
    world.queue.restart();
    world.courier.go_live(2);
    // The gateway refuses every frame with one of the first 3,000 records: more than may be in flight at once.
    let refused = |frame: &[u8], world: &World| {
        let range = Frame::open(frame, world.courier.key(), world.courier.device())
            .unwrap()
            .range();
        range.boot == 1 && range.first < 3_000
    };
    for _ in 0..2_000 {
        world.append(1);
        world.pump_all();
        let frames = core::mem::take(&mut world.frames);
        world.frames = frames
            .into_iter()
            .filter(|frame| !refused(frame, &world))
            .collect();
        while !world.frames.is_empty() {
            world.deliver(0, false);
        }
        while !world.acks.is_empty() {
            world.receive_ack(0);
        }
        world.now_ms += 10_000;
    }
    let pending = world.queue.pending_records();
    assert!(
        (2_900..3_300).contains(&pending),
        "{pending} records are left, not the 3,000 refused"
    );
    let first = world
        .published
        .iter()
        .filter(|(range, ..)| range.boot == 1 && range.first == 0)
        .count();
    assert!(
        first > 10,
        "what is refused is tried again now and then, not only {first} times"
    );
    // The registry is corrected.
    world.heal();
    world.check();
}
