//! The file queue against a model: appends, releases, evictions, restarts, torn tails, damage.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use taraz_firmware::{Position, Queue, store};
use taraz_telemetry::{Anchor, Clock, RECORD_LEN_MAX, Record, RecordRange, Recovered, Stamp};

use super::{FileQueue, FileQueueError, QUEUE_RECORDS_MIN};

const STAMP: Stamp = Stamp {
    ms: 1,
    clock: Clock::Synced,
};

fn open(dir: &Path) -> FileQueue {
    let mut queue = FileQueue::open(dir, QUEUE_RECORDS_MIN).unwrap();
    queue.begin_boot().unwrap();
    queue
}

fn pending(queue: &mut FileQueue) -> BTreeMap<Position, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut at = Position::START;
    while let Some(position) = queue.next_pending(at).unwrap() {
        let mut buffer = [0; RECORD_LEN_MAX];
        found.insert(
            position,
            queue.read(position, &mut buffer).unwrap().unwrap().to_vec(),
        );
        at = position.after();
    }
    assert_eq!(found.len(), queue.pending_records() as usize);
    found
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|suffix| suffix == "seg"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn records_outlive_a_restart_and_released_ones_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    let incarnation = queue.incarnation();
    for n in 0..10u8 {
        assert_eq!(queue.append(&[n; 20]).unwrap(), u32::from(n));
    }
    assert_eq!(
        queue
            .release(RecordRange {
                incarnation,
                boot: 1,
                first: 2,
                last: 4
            })
            .unwrap(),
        3
    );
    assert_eq!(
        queue
            .release(RecordRange {
                incarnation: !incarnation,
                boot: 1,
                first: 0,
                last: 9
            })
            .unwrap(),
        0
    );
    let before = pending(&mut queue);
    drop(queue);

    let mut queue = open(dir.path());
    assert_eq!(
        (queue.incarnation(), queue.boot(), queue.next_sequence()),
        (incarnation, 2, 0)
    );
    assert_eq!(
        queue.recovery().recovered,
        Some(Recovered { boot: 1, sequence: 9 })
    );
    assert!(queue.recovery().lost.is_empty());
    assert_eq!(pending(&mut queue), before);
}

#[test]
fn sequences_that_are_left_out_stay_so_and_are_lost() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    queue.append(b"before").unwrap();
    assert_eq!(queue.skip(3).unwrap(), 1);
    assert_eq!(queue.append(b"behind").unwrap(), 4);
    let before = pending(&mut queue);
    drop(queue);
    let mut queue = open(dir.path());
    assert_eq!(pending(&mut queue), before);
    assert_eq!(queue.recovery().lost.as_slice(), [(1, 1, 3)]);
    let newest = Some(Recovered { boot: 1, sequence: 4 });
    assert_eq!(queue.recovery().recovered, newest);
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _queue = open(dir.path());
    let second = FileQueue::open(dir.path(), QUEUE_RECORDS_MIN);
    assert!(matches!(second, Err(FileQueueError::InUse(_))), "{second:?}");
}

#[test]
fn what_was_staged_and_not_committed_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    queue.stage(&[[1u8; 4], [2; 4]], 100).unwrap();
    queue.commit().unwrap();
    queue.stage(&[[3u8; 4]], 200).unwrap();
    assert_eq!(
        (queue.pending_records(), queue.mark(), queue.next_sequence()),
        (2, 100, 2)
    );
    drop(queue);
    let mut queue = FileQueue::open(dir.path(), QUEUE_RECORDS_MIN).unwrap();
    assert_eq!(
        (queue.boot(), queue.next_sequence(), queue.mark()),
        (1, 2, 100),
        "the boot can be gone on with"
    );
    assert_eq!(queue.stage(&[[4u8; 4]], 300).unwrap(), 2);
    queue.commit().unwrap();
    assert_eq!(pending(&mut queue).len(), 3);
}

#[test]
fn the_counters_outlive_the_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    let incarnation = queue.incarnation();
    for n in 0..200u32 {
        let sequence = queue.append(&[7; 30]).unwrap();
        assert_eq!(sequence, n);
        queue
            .release(RecordRange {
                incarnation,
                boot: 1,
                first: n,
                last: n,
            })
            .unwrap();
    }
    assert!(segments(dir.path()).len() <= 2, "space is given back");
    drop(queue);
    let queue = open(dir.path());
    assert_eq!((queue.incarnation(), queue.boot()), (incarnation, 2));
    assert_eq!(
        queue.recovery().recovered,
        Some(Recovered {
            boot: 1,
            sequence: 199
        })
    );
}

#[test]
fn a_torn_tail_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    for n in 0..5u8 {
        queue.append(&[n; 50]).unwrap();
    }
    drop(queue);
    let path = segments(dir.path()).pop().unwrap();
    let len = std::fs::metadata(&path).unwrap().len();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(len - 17)
        .unwrap();
    let mut queue = open(dir.path());
    assert_eq!(pending(&mut queue).len(), 4);
    assert_eq!(
        queue.recovery().recovered,
        Some(Recovered { boot: 1, sequence: 3 })
    );
    queue.append(&[9; 50]).unwrap();
    drop(queue);
    assert_eq!(pending(&mut open(dir.path())).len(), 5);
}

#[test]
fn a_tail_of_noise_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    queue.append(&[1; 50]).unwrap();
    drop(queue);
    let path = segments(dir.path()).pop().unwrap();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&[0; 4_096])
        .unwrap();
    let mut queue = open(dir.path());
    assert_eq!(pending(&mut queue).len(), 1);
    drop(queue);
    // A segment that was torn while it was created.
    std::fs::write(dir.path().join("0000000002.seg"), b"tar").unwrap();
    assert_eq!(pending(&mut open(dir.path())).len(), 1);
}

#[test]
fn damage_in_the_middle_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut queue = open(dir.path());
    for n in 0..60u8 {
        queue.append(&[n; 40]).unwrap();
    }
    drop(queue);
    let paths = segments(dir.path());
    assert!(paths.len() >= 3, "{paths:?}");
    let mut bytes = std::fs::read(&paths[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&paths[1], bytes).unwrap();
    let mut queue = open(dir.path());
    let left = pending(&mut queue);
    let lost: BTreeSet<Position> = queue
        .recovery()
        .lost
        .as_slice()
        .iter()
        .flat_map(|&(boot, first, last)| (first..=last).map(move |sequence| Position { boot, sequence }))
        .collect();
    assert!(!lost.is_empty() && lost.len() < 20);
    let all: BTreeSet<Position> = (0..60).map(|sequence| Position { boot: 1, sequence }).collect();
    assert_eq!(
        left.keys()
            .copied()
            .collect::<BTreeSet<_>>()
            .union(&lost)
            .copied()
            .collect::<BTreeSet<_>>(),
        all
    );
}

#[derive(Clone, Debug)]
enum Step {
    Store(usize),
    Run(usize),
    Release { back: u32, count: u32 },
    Restart,
    Tear(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (1usize..12).prop_map(Step::Store),
        2 => (1usize..20).prop_map(Step::Run),
        6 => (0u32..300, 1u32..80).prop_map(|(back, count)| Step::Release { back, count }),
        2 => Just(Step::Restart),
        1 => (1u64..200).prop_map(Step::Tear),
    ]
}

/// What the queue must hold: all that was written, less what was released or evicted.
#[derive(Default)]
struct Model {
    pending: BTreeMap<Position, Vec<u8>>,
    n: u64,
}

impl Model {
    fn record(&mut self) -> Record {
        self.n += 1;
        Record::Anchor(Anchor {
            boot: 1,
            monotonic_ms: self.n,
            utc_ms: self.n << 20,
            error_ms: 3,
        })
    }
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut buffer = [0; RECORD_LEN_MAX];
    record.encode(&mut buffer).unwrap().to_vec()
}

/// Stores a record and takes over what that evicts: `Dropped` records and the loss of the oldest.
fn store_one(queue: &mut FileQueue, model: &mut Model) {
    let record = model.record();
    let stored = store(queue, &record, STAMP).unwrap();
    let now = pending(queue);
    if stored.dropped_records == 0 {
        model.pending.insert(
            Position {
                boot: queue.boot(),
                sequence: stored.sequence,
            },
            encoded(&record),
        );
        return;
    }
    let gone: Vec<&Position> = model
        .pending
        .keys()
        .filter(|position| !now.contains_key(position))
        .collect();
    assert_eq!(gone.len(), stored.dropped_records as usize);
    assert!(
        gone.iter()
            .zip(model.pending.keys())
            .all(|(gone, oldest)| *gone == oldest),
        "the oldest go first"
    );
    let named: BTreeSet<Position> = now.values().flat_map(|bytes| names(bytes)).collect();
    assert!(
        gone.iter().all(|position| named.contains(position)),
        "what is gone is named"
    );
    assert!(
        now.iter()
            .filter(|(position, _)| model.pending.contains_key(position))
            .all(|(p, b)| model.pending[p] == *b)
    );
    model.pending = now;
}

fn names(bytes: &[u8]) -> Vec<Position> {
    let Ok((Record::Dropped(dropped), _)) = Record::decode(bytes) else {
        return Vec::new();
    };
    let ranges = dropped.ranges.into_iter();
    ranges
        .flat_map(|(boot, first, last)| (first..=last).map(move |sequence| Position { boot, sequence }))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_queue_holds_what_the_model_holds(steps in proptest::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let mut queue = open(dir.path());
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Store(count) => for _ in 0..count { store_one(&mut queue, &mut model); },
                Step::Run(count) if !queue.is_full() => {
                    let records: Vec<Vec<u8>> = (0..count.min(3)).map(|_| encoded(&model.record())).collect();
                    let first = queue.stage(&records, model.n).unwrap();
                    queue.commit().unwrap();
                    for (sequence, record) in (first..).zip(records) {
                        model.pending.insert(Position { boot: queue.boot(), sequence }, record);
                    }
                }
                Step::Run(_) => {}
                Step::Release { back, count } => {
                    let first = queue.next_sequence().saturating_sub(back);
                    let (boot, last) = (queue.boot(), first + count - 1);
                    let before = model.pending.len();
                    model.pending.retain(|p, _| p.boot != boot || p.sequence < first || p.sequence > last);
                    let incarnation = queue.incarnation();
                    let released = queue.release(RecordRange { incarnation, boot, first, last }).unwrap();
                    prop_assert_eq!(released as usize, before - model.pending.len());
                }
                Step::Restart => {
                    drop(queue);
                    queue = open(dir.path());
                }
                Step::Tear(len) => {
                    drop(queue);
                    // A write that was under way when the power went.
                    let path = segments(dir.path()).pop().unwrap();
                    let torn: Vec<u8> = (0..len).map(|n| u8::try_from(n * 37 % 251).unwrap()).collect();
                    OpenOptions::new().append(true).open(&path).unwrap().write_all(&torn).unwrap();
                    queue = open(dir.path());
                }
            }
            prop_assert!(queue.pending_records() <= queue.capacity_records());
        }
        prop_assert_eq!(pending(&mut queue), model.pending);
        prop_assert!(queue.recovery().lost.is_empty());
    }
}
