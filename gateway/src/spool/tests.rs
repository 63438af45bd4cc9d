use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use prometheus::Registry;
use proptest::prelude::*;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    Clock, DeviceId, FRAME_LEN_MAX, FrameWriter, Hold, MasterKey, MeterAddress, Outcome, Quantities, Reading,
    Record, Stamp,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::validate::{Accepted, Validator};

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);
const NOW_MS: u64 = 1_750_000_000_000;

/// A spool in a folder, with whoever fills it.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    runtime: Runtime,
    validator: Validator,
    fingerprints: Fingerprints,
    limits: SpoolLimits,
    pub(super) metrics: Metrics,
    spool: Option<Spool>,
    done: Done,
    heard: mpsc::UnboundedReceiver<Vec<Receipt>>,
    /// Heard of, and not asked for yet.
    told: std::collections::VecDeque<u64>,
}

impl Bench {
    pub(super) fn new(bytes_max: u64) -> Self {
        let fleet = Fleet::parse(taraz_fleet::EXAMPLE).unwrap();
        let fingerprints = Fingerprints::default();
        let validator = Validator::new(&fleet, &MasterKey::new([7; 32]), fingerprints.clone());
        let (done, heard) = durable_channel();
        let mut bench = Self {
            folder: tempfile::tempdir().unwrap(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            validator,
            fingerprints,
            limits: SpoolLimits::new(bytes_max),
            metrics: Metrics::new(&Registry::new()).unwrap(),
            spool: None,
            done,
            heard,
            told: std::collections::VecDeque::new(),
        };
        bench.open();
        bench
    }

    pub(super) fn open(&mut self) {
        self.spool = Some(self.try_open().unwrap());
    }

    pub(super) fn try_open(&self) -> Result<Spool, SpoolError> {
        Spool::open(
            self.folder.path(),
            self.limits.clone(),
            self.fingerprints.clone(),
            self.metrics.clone(),
        )
    }

    pub(super) fn close(&mut self) {
        self.spool.take().unwrap().close();
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().unwrap()
    }

    pub(super) fn file(&self) -> std::path::PathBuf {
        self.folder.path().join(FILE_NAME)
    }

    fn accepted(&self, first: u32, powers_w: &[i32]) -> Accepted {
        let id: DeviceId = "sari-01".parse().unwrap();
        let key = MasterKey::new([7; 32]).device_key(&id, 1);
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, 1, 5, 2, first).unwrap();
        for power_w in powers_w {
            let values = Quantities {
                ac_power_w: Some(*power_w),
                ..Quantities::default()
            };
            let stamp = Stamp {
                ms: NOW_MS,
                clock: Clock::Synced,
            };
            let meter = MeterAddress::new(1).unwrap();
            writer
                .push(&Record::Reading(Reading {
                    meter,
                    stamp,
                    outcome: Outcome::Values(values),
                }))
                .unwrap();
        }
        let frame = writer.finish(&key, &id).to_vec();
        self.validator
            .validate(None, "taraz/1/sari-01/up", &frame, NOW_MS)
            .unwrap()
    }

    pub(super) fn submit(&self, number: u64, first: u32, powers_w: &[i32]) {
        let accepted = self.accepted(first, powers_w);
        let room = self
            .runtime
            .block_on(self.spool().reserve(accepted.bytes.len()))
            .unwrap();
        let submission = Submission::new(room, accepted, NOW_MS, self.done.clone(), number);
        self.spool().submit([submission]);
    }

    /// The next commit that is heard of.
    pub(super) fn hear(&mut self) -> u64 {
        if let Some(number) = self.told.pop_front() {
            return number;
        }
        let heard = async { tokio::time::timeout(DEADLINE, self.heard.recv()).await };
        let receipts = self.runtime.block_on(heard).expect("a commit").unwrap();
        self.told.extend(receipts.iter().map(|receipt| receipt.number));
        self.told.pop_front().unwrap()
    }

    fn silent(&mut self) -> bool {
        let heard = async { tokio::time::timeout(Duration::from_millis(300), self.heard.recv()).await };
        self.runtime.block_on(heard).is_err()
    }

    pub(super) fn put(&mut self, number: u64, first: u32, powers_w: &[i32]) {
        self.submit(number, first, powers_w);
        assert_eq!(self.hear(), number);
    }

    pub(super) fn remove(&self, up_to: u64, rejected: Vec<(u64, String)>) {
        self.runtime
            .block_on(self.spool().remove(up_to, Vec::new(), rejected))
            .unwrap();
    }

    /// Ingest has taken these before others.
    pub(super) fn remove_ahead(&self, up_to: u64, range: std::ops::RangeInclusive<u64>) {
        let removed = self.spool().remove(up_to, vec![range], Vec::new());
        self.runtime.block_on(removed).unwrap();
    }

    /// The same without waiting for it; it is told when it is done.
    pub(super) fn begin_removal(&self, up_to: u64, rejected: Vec<(u64, String)>) -> oneshot::Receiver<()> {
        let (done, removed) = oneshot::channel();
        self.spool().queue.remove(queue::Removal {
            up_to,
            ranges: Vec::new(),
            rejected,
            done,
        });
        removed
    }

    /// Position, first sequence, count and hold of every row, and whether it is damaged.
    pub(super) fn rows(&self) -> Vec<(u64, u32, u32, Option<Hold>, bool)> {
        let mut rows = Vec::new();
        let reader = self.spool().reader().unwrap();
        reader
            .after(0, |row| {
                rows.push((row.position, row.first, row.count, row.hold, row.damaged));
                true
            })
            .unwrap();
        rows
    }

    /// Position and reason of everything in the quarantine.
    pub(super) fn quarantine(&self) -> Vec<(u64, String)> {
        let items = Quarantine::list(self.folder.path()).unwrap();
        items
            .into_iter()
            .map(|item| (item.position, item.reason))
            .collect()
    }

    pub(super) fn until(&self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !so(self) {
            assert!(Instant::now() < deadline, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn runs_are_cut_where_the_hold_changes_and_duplicates_are_left_out() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2, 90_000, 90_000, 3]);
    let held = Some(Hold::ImplausibleValue);
    assert_eq!(
        bench.rows(),
        [
            (1, 0, 2, None, false),
            (2, 2, 2, held, false),
            (3, 4, 1, None, false)
        ]
    );
    bench.put(2, 0, &[1, 2, 90_000, 90_000, 3]);
    assert_eq!(bench.rows().len(), 3, "acknowledged again, stored once");
    bench.put(3, 3, &[90_000, 3, 4, 5]);
    assert_eq!(bench.rows()[3..], [(4, 5, 2, None, false)], "only what is new");
    bench.put(4, 0, &[7]);
    assert_eq!(
        bench.rows()[4..],
        [(5, 0, 1, None, false)],
        "other bytes are a conflict for ingest to see"
    );
    assert_eq!(bench.metrics.backlog.get(), 5);
}

#[test]
fn removal_truncates_quarantines_and_outlives_a_restart() {
    let mut bench = Bench::new(1 << 20);
    for n in 0..6 {
        bench.put(n, u32::try_from(n).unwrap(), &[i32::try_from(n).unwrap()]);
    }
    bench.remove(4, vec![(2, "bad".to_owned()), (99, "not there".to_owned())]);
    assert_eq!(bench.rows().iter().map(|row| row.0).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(bench.quarantine(), [(2, "bad".to_owned())]);
    assert_eq!(
        (bench.metrics.backlog.get(), bench.metrics.quarantined.get()),
        (2, 1)
    );
    bench.remove(4, vec![(2, "bad".to_owned())]);
    assert_eq!(bench.metrics.quarantined.get(), 1, "twice is once");
    bench.remove(6, Vec::new());
    let bytes = bench.metrics.spool_bytes.get();
    assert!(bytes > 0, "the quarantine counts");
    bench.close();
    bench.open();
    assert_eq!(bench.metrics.spool_bytes.get(), bytes);
    bench.put(9, 100, &[1]);
    assert_eq!(bench.rows()[0].0, 7, "positions never come again");
}

#[test]
fn what_was_committed_is_there_after_a_crash_and_is_still_known() {
    let mut bench = Bench::new(1 << 20);
    bench.put(1, 0, &[1, 2, 3]);
    // As after a kill: the file and its log are taken as they are while the spool is open.
    let crashed = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(bench.folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), crashed.path().join(file.file_name())).unwrap();
    }
    bench.close();
    bench.folder = crashed;
    bench.open();
    assert_eq!(bench.rows(), [(1, 0, 3, None, false)]);
    bench.put(2, 0, &[1, 2, 3]);
    assert_eq!(bench.rows().len(), 1, "recovered rows are known as duplicates");
}

#[test]
fn a_torn_log_loses_nothing_but_its_torn_end() {
    for cut in [1_u64, 100, 3_000, 4_200] {
        let mut bench = Bench::new(1 << 20);
        for n in 0..5 {
            bench.put(n, u32::try_from(n).unwrap(), &[1]);
        }
        let crashed = tempfile::tempdir().unwrap();
        for name in ["spool.sqlite", "spool.sqlite-wal"] {
            std::fs::copy(bench.folder.path().join(name), crashed.path().join(name)).unwrap();
        }
        bench.close();
        let log = crashed.path().join("spool.sqlite-wal");
        let len = std::fs::metadata(&log).unwrap().len();
        std::fs::OpenOptions::new()
            .write(true)
            .open(&log)
            .unwrap()
            .set_len(len - cut)
            .unwrap();
        bench.folder = crashed;
        bench.open();
        let rows = bench.rows();
        assert!(
            (3..=4).contains(&rows.len()),
            "{cut}: the last commits only, in their order: {rows:?}"
        );
        assert!(
            rows.iter()
                .zip(1..)
                .all(|(row, position)| row.0 == position && !row.4)
        );
    }
}

#[test]
fn a_full_disk_stops_acknowledging_until_there_is_room() {
    let mut bench = Bench::new(1 << 30);
    bench.put(1, 0, &[1]);
    // No page more than there are: SQLITE_FULL, as from a full disk.
    bench.limits.table.set_pages_max(1);
    let mut number = 1;
    // What fits into the pages that are there still goes.
    while bench.metrics.blocked.get() == 0 {
        number += 1;
        bench.submit(number, u32::try_from(number).unwrap() * 100, &[5; 90]);
        let deadline = Instant::now() + DEADLINE;
        while bench.metrics.blocked.get() == 0 && bench.heard.is_empty() {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        if !bench.heard.is_empty() {
            assert_eq!(bench.hear(), number);
        }
    }
    assert!(bench.silent(), "nothing is acknowledged");
    bench.submit(number + 1, 1_000_000, &[6]);
    // Ingest goes on taking, and what it has leaves, without anything new coming in.
    bench.remove(1, Vec::new());
    assert!(bench.metrics.commit_failures.get() > 0);
    bench.limits.table.set_pages_max(u32::MAX - 1);
    assert_eq!(bench.hear(), number);
    assert_eq!(bench.hear(), number + 1);
    assert_eq!(bench.metrics.blocked.get(), 0);
    let rows = bench.rows();
    assert_eq!(rows.last().unwrap().1, 1_000_000);
    assert_eq!(rows.len() as u64, number, "one was taken by ingest");
}

#[test]
fn a_full_spool_takes_nothing_in_and_gives_out() {
    let mut bench = Bench::new(300);
    bench.put(1, 0, &[1]);
    bench.put(2, 1, &[1; 80]);
    bench.until("full", |bench| bench.metrics.blocked.get() == 1);
    bench.submit(3, 500, &[1]);
    assert!(bench.silent());
    bench.remove(2, Vec::new());
    assert_eq!(bench.hear(), 3);
    bench.until("taking again", |bench| bench.metrics.blocked.get() == 0);
    assert_eq!(bench.rows().len(), 1);
}

#[test]
fn closing_commits_what_waits() {
    let mut bench = Bench::new(1 << 20);
    let lock = rusqlite::Connection::open(bench.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    for n in 0..50 {
        bench.submit(n, u32::try_from(n).unwrap(), &[1]);
    }
    assert!(bench.silent());
    let closing = std::thread::spawn({
        let spool = bench.spool.take().unwrap();
        move || spool.close()
    });
    drop(lock);
    closing.join().unwrap();
    let heard: BTreeSet<u64> = (0..50).map(|_| bench.hear()).collect();
    assert_eq!(heard.len(), 50);
    bench.open();
    let count: u32 = bench.rows().iter().map(|row| row.2).sum();
    assert_eq!(count, 50);
    assert!(bench.rows().len() < 50, "what continues is one row");
}

#[test]
fn many_wait_for_one_fsync() {
    let mut bench = Bench::new(1 << 24);
    let lock = rusqlite::Connection::open(bench.file()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = bench.metrics.commits.get();
    for n in 0..500 {
        bench.submit(n, u32::try_from(n).unwrap(), &[1]);
    }
    drop(lock);
    for n in 0..500 {
        assert_eq!(bench.hear(), n, "in the order in which they came");
    }
    assert!(bench.metrics.commits.get() - before <= 3);
}

#[test]
fn a_folder_belongs_to_one_gateway() {
    let mut bench = Bench::new(1 << 20);
    let again = || {
        let limits = SpoolLimits::new(1 << 20);
        Spool::open(
            bench.folder.path(),
            limits,
            Fingerprints::default(),
            bench.metrics.clone(),
        )
    };
    assert!(matches!(again(), Err(SpoolError::InUse { .. })));
    bench.close();
    bench.open();
}

#[test]
fn another_schema_is_refused_by_name() {
    let mut bench = Bench::new(1 << 20);
    bench.close();
    rusqlite::Connection::open(bench.file())
        .unwrap()
        .pragma_update(None, "user_version", 7)
        .unwrap();
    let opened = Spool::open(
        bench.folder.path(),
        SpoolLimits::new(1),
        Fingerprints::default(),
        bench.metrics.clone(),
    );
    assert!(matches!(
        opened,
        Err(SpoolError::Schema {
            found: 7,
            known: 1,
            ..
        })
    ));
}

#[derive(Clone, Debug)]
enum Step {
    Put(u32, u8),
    Remove(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u32..60, 1_u8..6).prop_map(|(first, count)| Step::Put(first, count)),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(25))]

    /// Against a model: after any puts, removals and restarts, what was acknowledged and not removed is there, once
    /// per sequence within what the spool remembers.
    #[test]
    fn nothing_acknowledged_is_missing(steps in steps()) {
        let mut bench = Bench::new(1 << 20);
        let (mut acknowledged, mut taken, mut number) = (BTreeSet::new(), BTreeSet::new(), 0);
        for step in steps {
            match step {
                Step::Put(first, count) => {
                    number += 1;
                    bench.put(number, first, &vec![1; usize::from(count)]);
                    acknowledged.extend(first..first + u32::from(count));
                }
                Step::Remove(part) => {
                    let rows = bench.rows();
                    let up_to = rows.len() * usize::from(part) / 255;
                    if let Some(last) = up_to.checked_sub(1) {
                        taken.extend(rows[..up_to].iter().flat_map(|row| row.1..row.1 + row.2));
                        bench.remove(rows[last].0, Vec::new());
                    }
                }
                Step::Reopen => {
                    bench.close();
                    bench.open();
                }
            }
            let there: Vec<u32> = bench.rows().iter().flat_map(|row| row.1..row.1 + row.2).collect();
            let all: BTreeSet<u32> = there.iter().copied().chain(taken.iter().copied()).collect();
            prop_assert_eq!(&all, &acknowledged);
            prop_assert_eq!(there.iter().collect::<BTreeSet<_>>().len(), there.len(), "no sequence twice");
        }
    }
}
