//! A memory that fails: what it does not take waits, and what can't wait is named.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::string::ToString;

use embassy_time::Instant;
use proptest::prelude::*;
use taraz_telemetry::{
    Boot, DeviceId, FirmwareVersion, Incarnation, MasterKey, MeterAddress, MeterDriver, Outcome, Quantities,
    RECORD_LEN_MAX, Record, RecordRange, ResetCause, Sequence,
};

use super::{Device, DeviceEvent, DeviceParts, Observer};
use crate::config::{DeviceSettings, Identity, MeterSettings};
use crate::link::{CourierSettings, LinkSettings};
use crate::queue::{DroppedRanges, MemoryQueue, Position, Queue, Recovery};

/// The memory does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory does not answer")]
struct Dead;

/// A queue whose writes fail when they are told to. (An eviction writes nothing.)
struct Flaky {
    queue: MemoryQueue,
    /// Which of the next writes fail, the last one first; when there are none left, none fails.
    failing: Rc<RefCell<Vec<bool>>>,
    /// What it found lost at its start, of which boots.
    lost: Recovery,
    lost_boots: core::ops::Range<Boot>,
    /// It was told that all of that is named.
    named: Rc<Cell<bool>>,
}

impl Flaky {
    fn write<T>(&mut self, access: impl FnOnce(&mut MemoryQueue) -> T) -> Result<T, Dead> {
        if self.failing.borrow_mut().pop() == Some(true) {
            return Err(Dead);
        }
        Ok(access(&mut self.queue))
    }
}

impl Queue for Flaky {
    type Error = Dead;

    fn incarnation(&self) -> Incarnation {
        self.queue.incarnation()
    }

    fn boot(&self) -> Boot {
        self.queue.boot()
    }

    fn next_sequence(&self) -> Sequence {
        self.queue.next_sequence()
    }

    fn recovery(&self) -> &Recovery {
        &self.lost
    }

    fn lost_from(&mut self, from: Boot) -> Result<(DroppedRanges, Option<Boot>), Dead> {
        assert!(self.lost_boots.contains(&from) && !self.named.get());
        Ok(lost_of(from..self.lost_boots.end))
    }

    fn lost_is_named(&mut self) {
        self.named.set(true);
    }

    fn append(&mut self, record: &[u8]) -> Result<Sequence, Dead> {
        self.write(|queue| queue.append(record).unwrap())
    }

    fn skip(&mut self, count: u32) -> Result<Sequence, Dead> {
        self.write(|queue| queue.skip(count).unwrap())
    }

    fn next_pending(&mut self, from: Position) -> Result<Option<Position>, Dead> {
        Ok(self.queue.next_pending(from).unwrap())
    }

    fn read<'b>(&mut self, at: Position, buffer: &'b mut [u8]) -> Result<Option<&'b [u8]>, Dead> {
        Ok(self.queue.read(at, buffer).unwrap())
    }

    fn release(&mut self, range: RecordRange) -> Result<u32, Dead> {
        self.write(|queue| queue.release(range).unwrap())
    }

    fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    fn oldest_block_end(&mut self) -> Result<Position, Dead> {
        Ok(self.queue.oldest_block_end().unwrap())
    }

    fn evict(&mut self) -> Result<u32, Dead> {
        Ok(self.queue.evict().unwrap())
    }

    fn pending_records(&self) -> u32 {
        self.queue.pending_records()
    }

    fn capacity_records(&self) -> u32 {
        self.queue.capacity_records()
    }
}

/// One record of each of these boots, as many as one `Dropped` holds.
fn lost_of(boots: core::ops::Range<Boot>) -> (DroppedRanges, Option<Boot>) {
    let mut ranges = DroppedRanges::new();
    let left = boots.clone().find(|boot| !ranges.add(*boot, 3, 3));
    (ranges, left)
}

/// What the device said about its memory.
#[derive(Clone, Default)]
struct Heard(Rc<RefCell<(Vec<String>, u32)>>);

impl Observer for Heard {
    fn event(&self, event: &DeviceEvent<'_>) {
        match event {
            DeviceEvent::QueueFailed { error } => self.0.borrow_mut().0.push(error.to_string()),
            DeviceEvent::Dropped { records } => self.0.borrow_mut().1 += records,
            _ => {}
        }
    }
}

struct Bench {
    device: Device<Flaky, Heard>,
    heard: Heard,
    failing: Rc<RefCell<Vec<bool>>>,
    named: Rc<Cell<bool>>,
    polls: u64,
}

fn meter() -> MeterSettings {
    MeterSettings {
        address: MeterAddress::new(1).unwrap(),
        driver: MeterDriver::Sunspec,
    }
}

impl Bench {
    fn new(blocks_max: usize) -> Self {
        Self::with_lost(blocks_max, 0..0)
    }

    /// Its queue found a record of each of these boots lost.
    fn with_lost(blocks_max: usize, lost_boots: core::ops::Range<Boot>) -> Self {
        let (lost, lost_more_from) = lost_of(lost_boots.clone());
        let named = Rc::new(Cell::new(false));
        let id = DeviceId::new("sari-01").unwrap();
        let identity = Identity::new(id.clone(), MasterKey::new([7; 32]).device_key(&id, 1));
        let (heard, failing) = (Heard::default(), Rc::new(RefCell::new(Vec::new())));
        let parts = DeviceParts {
            settings: DeviceSettings {
                meters: heapless::Vec::from_slice(&[meter()]).unwrap(),
                poll_interval_ms: 10_000,
                firmware: FirmwareVersion::new(),
                link: LinkSettings::default(),
                courier: CourierSettings::default(),
            },
            queue: Flaky {
                queue: MemoryQueue::new(blocks_max, 32),
                failing: failing.clone(),
                lost: Recovery {
                    lost,
                    lost_more_from,
                    ..Recovery::default()
                },
                lost_boots,
                named: named.clone(),
            },
            observer: heard.clone(),
            started: Instant::from_millis(0),
            reset_cause: ResetCause::PowerOn,
            seed: 3,
            live: true,
        };
        Self {
            device: Device::new(parts, &identity),
            heard,
            failing,
            named,
            polls: 0,
        }
    }

    fn fail(&self, writes: impl IntoIterator<Item = bool>) {
        *self.failing.borrow_mut() = writes.into_iter().collect();
    }

    fn start(&self) {
        let mut core = self.device.core.borrow_mut();
        core.record_start(0, ResetCause::PowerOn, FirmwareVersion::new(), &self.heard);
    }

    /// A meter answers with the number of the poll.
    fn poll(&mut self) {
        self.polls += 1;
        let quantities = Quantities {
            energy_wh: Some(self.polls),
            ..Quantities::default()
        };
        let mut core = self.device.core.borrow_mut();
        core.record_poll(0, meter(), self.polls * 1_000, Ok(quantities), &self.heard);
    }

    /// The polls in the queue, in order, and the sequences that its `Dropped` records name.
    fn stored(&self) -> (Vec<u64>, BTreeSet<Sequence>) {
        self.device.with_queue(|queue| {
            let (mut polls, mut named, mut ever) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
            let mut buffer = [0; RECORD_LEN_MAX];
            let mut from = Position::START;
            while let Some(position) = queue.next_pending(from).unwrap() {
                let bytes = queue.read(position, &mut buffer).unwrap().unwrap();
                match Record::decode(bytes).unwrap().0 {
                    Record::Reading(reading) => match reading.outcome {
                        Outcome::Values(values) => polls.push(values.energy_wh.unwrap()),
                        Outcome::Failed(_) => panic!("no poll failed"),
                    },
                    Record::Dropped(dropped) => {
                        named.extend(dropped.ranges.iter().flat_map(|&(_, first, last)| first..=last));
                    }
                    Record::Start(_) => assert_eq!(position.sequence, 0),
                    other => panic!("{other:?}"),
                }
                ever.insert(position.sequence);
                from = position.after();
            }
            // Every number that was given is a record, or named.
            assert!(
                (0..queue.next_sequence())
                    .all(|sequence| ever.contains(&sequence) || named.contains(&sequence))
            );
            (polls, named)
        })
    }
}

#[test]
fn a_short_failure_delays_records_and_loses_none() {
    let mut bench = Bench::new(100);
    bench.fail([true; 3]);
    bench.start();
    for _ in 0..10 {
        bench.poll();
    }
    let (polls, named) = bench.stored();
    assert_eq!(polls, (1..=10).collect::<Vec<_>>());
    assert!(named.is_empty());
    assert_eq!(bench.device.status().dropped_records, 0);
    let failures = bench.heard.0.borrow().0.clone();
    assert_eq!(
        failures,
        vec!["the queue's memory failed: the memory does not answer"; 3]
    );
}

#[test]
fn what_can_not_wait_is_counted_and_named_when_the_memory_works_again() {
    let mut bench = Bench::new(100);
    bench.start();
    bench.poll();
    bench.fail([true; 1_000]);
    for _ in 0..500 {
        bench.poll();
    }
    let lost = bench.device.status().dropped_records;
    assert!(lost > 350, "{lost}");
    bench.fail([]);
    bench.poll();
    let (polls, named) = bench.stored();
    // Those that waited are there, in order, then the newest; those between are named.
    let kept = 501 - u64::from(lost);
    assert_eq!(polls, (1..=kept).chain([502]).collect::<Vec<_>>());
    assert_eq!(named.len(), lost as usize);
    assert_eq!(bench.heard.0.borrow().1, lost);
    assert_eq!(bench.device.status().dropped_records, lost);
}

#[test]
fn what_waits_is_written_without_a_new_record() {
    let mut bench = Bench::new(100);
    bench.start();
    bench.fail([true; 2]);
    bench.poll();
    assert!(bench.stored().0.is_empty());
    // The next turn of the poll loop fails once more, the one after it does not.
    for _ in 0..2 {
        let mut core = bench.device.core.borrow_mut();
        core.retry(5_000, &bench.heard);
    }
    assert_eq!(bench.stored().0, [1]);
}

#[test]
fn losses_that_a_full_backlog_can_not_take_are_asked_for_later() {
    let mut bench = Bench::with_lost(100, 1..41);
    bench.start();
    bench.fail([true; 1_000]);
    for _ in 0..500 {
        bench.poll();
        bench.device.core.borrow_mut().retry(5_000, &bench.heard);
        assert!(!bench.named.get());
        if bench.device.status().dropped_records > 0 {
            break;
        }
    }
    for _ in 0..3 {
        bench.device.core.borrow_mut().retry(5_000, &bench.heard);
    }
    bench.fail([]);
    for _ in 0..4 {
        bench.device.core.borrow_mut().retry(6_000, &bench.heard);
    }
    assert!(bench.named.get());
    let named = bench.device.with_queue(|queue| {
        let (mut named, mut buffer, mut from) = (BTreeSet::new(), [0; RECORD_LEN_MAX], Position::START);
        while let Some(position) = queue.next_pending(from).unwrap() {
            let bytes = queue.read(position, &mut buffer).unwrap().unwrap();
            if let Record::Dropped(dropped) = Record::decode(bytes).unwrap().0 {
                let ranges = dropped
                    .ranges
                    .iter()
                    .filter(|(_, first, last)| (*first, *last) == (3, 3));
                named.extend(ranges.map(|(boot, _, _)| *boot));
            }
            from = position.after();
        }
        named
    });
    assert_eq!(named, (1..41).collect());
}

#[test]
fn losses_of_more_boots_than_a_dropped_holds_are_named_in_several() {
    let bench = Bench::with_lost(100, 1..41);
    bench.start();
    let retry = || bench.device.core.borrow_mut().retry(5_000, &bench.heard);
    assert!(!bench.named.get());
    retry();
    // The last of them waits: it is not named yet.
    bench.fail([true; 3]);
    retry();
    assert!(!bench.named.get());
    bench.fail([]);
    retry();
    assert!(bench.named.get());
    retry();
    let named = bench.device.with_queue(|queue| {
        let (mut named, mut buffer, mut from) = (Vec::new(), [0; RECORD_LEN_MAX], Position::START);
        while let Some(position) = queue.next_pending(from).unwrap() {
            let bytes = queue.read(position, &mut buffer).unwrap().unwrap();
            if let Record::Dropped(dropped) = Record::decode(bytes).unwrap().0 {
                named.push(dropped.ranges.to_vec());
            }
            from = position.after();
        }
        named
    });
    assert_eq!(named.iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
    assert_eq!(
        named.concat(),
        (1..41).map(|boot| (boot, 3, 3)).collect::<Vec<_>>()
    );
}

proptest! {
    /// Whichever writes fail, in a queue that overflows or not: every poll is stored in order or counted as dropped, and every
    /// number is stored or named.
    #[test]
    fn every_record_is_accounted_for(
        failing in proptest::collection::vec(any::<bool>(), 0..600),
        polls in 1u32..400,
        blocks_max in 4usize..20,
    ) {
        let mut bench = Bench::new(blocks_max);
        bench.fail(failing);
        bench.start();
        for _ in 0..polls {
            bench.poll();
        }
        bench.fail([]);
        bench.device.core.borrow_mut().retry(5_000, &bench.heard);
        let (stored, named) = bench.stored();
        prop_assert!(stored.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(bench.heard.0.borrow().1, bench.device.status().dropped_records);
        // A `Dropped` and the `Start` may have been dropped as well, so that more is counted than polls are missing.
        let missing = polls - u32::try_from(stored.len()).unwrap();
        prop_assert!(bench.device.status().dropped_records >= missing);
        prop_assert!(named.len() >= missing as usize);
    }
}
