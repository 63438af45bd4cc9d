//! The gap ledger from the store: what devices said, what came, what is held, and the same after a restart and in the archive.

use std::path::Path;

use taraz_telemetry::{
    Clock, Diagnostics, Dropped, FirmwareVersion, Hold, MeterAddress, Outcome, PollFailure, PollStatus,
    Reading, Record, Recovered, ResetCause, Stamp, Start,
};

use super::super::testing::{
    MINUTE_MS, NOON_MS, Run, TestClock, anchor, deliver, inverter, open, raw, rows, unsynced,
};
use crate::Archive;
use crate::gaps::{DeviceGaps, Fate, GapSpan};

/// Before any plant was there.
const YEARS_S: i64 = 10 * 365 * 86_400;

fn stamp(ms: i64) -> Stamp {
    Stamp {
        ms: u64::try_from(ms).unwrap(),
        clock: Clock::Synced,
    }
}

fn start(recovered: Option<(u32, u32)>) -> Record {
    Record::Start(Start {
        stamp: stamp(NOON_MS),
        reset_cause: ResetCause::PowerOn,
        recovered: recovered.map(|(boot, sequence)| Recovered { boot, sequence }),
        firmware: FirmwareVersion::try_from("0.1.0").unwrap(),
    })
}

fn dropped(ranges: &[(u32, u32, u32)]) -> Record {
    Record::Dropped(Dropped {
        stamp: stamp(NOON_MS),
        ranges: ranges.iter().copied().collect(),
    })
}

fn diagnostics(queue_records: u32) -> Record {
    Record::Diagnostics(Diagnostics {
        stamp: stamp(NOON_MS + 10 * MINUTE_MS),
        uptime_s: 600,
        queue_records,
        queue_capacity_records: 1_000,
        dropped_records: 0,
        link_connects: 1,
        stack_high_water_bytes: None,
        meters: std::iter::empty().collect(),
    })
}

fn readings(first: i64, count: i64) -> Vec<Record> {
    let of = |n: i64| inverter(NOON_MS + n * 1_000, 5_000, 1_000 + n.unsigned_abs());
    (first..first + count).map(of).collect()
}

fn counts(device: &DeviceGaps) -> (u64, [u64; 5]) {
    (
        device.counts.written,
        device.counts.states().map(|(_, records)| records),
    )
}

#[tokio::test]
async fn every_written_record_is_in_one_state() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + 60 * MINUTE_MS);
    let store = open(folder.path(), &clock);
    let runs = [
        Run::new("a-01", 1, 0, &[start(None)]),
        // 1 to 9 are here, 10 to 14 are named as dropped, 15 to 19 come later, 20 to 22 are held.
        Run::new("a-01", 1, 1, &readings(1, 9)),
        Run::new("a-01", 1, 20, &readings(-YEARS_S, 3)).held(Hold::ImplausibleTime),
        Run::new("a-01", 2, 0, &[start(Some((1, 29))), dropped(&[(1, 10, 14)])]),
        Run::new("b-01", 1, 0, &[start(None)]),
    ];
    deliver(&store, &runs).await;
    let live = store.live();
    assert!(live.gaps().devices().is_none(), "nobody has looked yet");
    let ledger = live.gaps().refresh(&store).unwrap();
    assert_eq!(ledger.len(), 2);
    // 15 to 19 and 23 to 29 of boot 1 may still come.
    assert_eq!(counts(&ledger[0]), (32, [12, 3, 12, 5, 0]));
    assert_eq!(ledger[0].held_by_reason, [("implausible_time".to_owned(), 3)]);
    assert_eq!(counts(&ledger[1]), (1, [1, 0, 0, 0, 0]));

    // Some come; then the device says that four records are left, of which it has sent none but this.
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 15, &readings(15, 5)),
            Run::new("a-01", 2, 2, &[diagnostics(4)]),
        ],
    )
    .await;
    let ledger = live.gaps().refresh(&store).unwrap();
    assert_eq!(counts(&ledger[0]), (33, [18, 3, 4, 5, 3]));
    let fates: Vec<_> = ledger[0].boots[0]
        .gaps
        .iter()
        .map(|gap| (gap.first, gap.last, gap.fate))
        .collect();
    assert_eq!(
        fates,
        [
            (10, 14, Fate::Dropped),
            (23, 25, Fate::Unknown),
            (26, 29, Fate::Pending)
        ]
    );

    // The same to an auditor beside, and after a restart.
    let same = |found: &[DeviceGaps]| assert_eq!(found, &ledger[..]);
    same(&Archive::open(folder.path()).unwrap().gaps().unwrap());
    store.close().await;
    let store = open(folder.path(), &clock);
    same(&store.live().gaps().refresh(&store).unwrap());

    // What nobody expected any more is stored when it comes.
    deliver(&store, &[Run::new("a-01", 1, 23, &readings(23, 7))]).await;
    let ledger = store.live().gaps().refresh(&store).unwrap();
    assert_eq!(counts(&ledger[0]), (33, [25, 3, 0, 5, 0]));
}

/// A poll that failed since an instant, for so long.
fn asleep(from_ms: i64, span_ms: i64) -> Record {
    Record::Reading(Reading {
        meter: MeterAddress::new(1).unwrap(),
        stamp: stamp(from_ms),
        outcome: Outcome::Failed(PollFailure {
            status: PollStatus::Timeout,
            count: 10,
            span_ms: u32::try_from(span_ms).unwrap(),
        }),
    })
}

fn at(second: i64) -> i64 {
    NOON_MS + second * 1_000
}

/// The span of each gap, in seconds since noon, as the archive tells it.
fn spans(folder: &Path) -> Vec<(u32, Option<i64>, Option<i64>)> {
    let archive = Archive::open(folder).unwrap();
    let mut ledger = archive.gaps().unwrap();
    archive.time_gaps(&mut ledger[0]).unwrap();
    let gaps = ledger[0].boots.iter().flat_map(|boot| &boot.gaps);
    let second = |ms: Option<i64>| ms.map(|ms| (ms - NOON_MS) / 1_000);
    gaps.map(|gap| {
        let GapSpan { after_ms, before_ms } = gap.span.unwrap();
        (gap.first, second(after_ms), second(before_ms))
    })
    .collect()
}

#[tokio::test]
async fn a_gap_lies_between_the_records_around_it_before_and_after_sealing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + 60 * MINUTE_MS);
    let store = open(folder.path(), &clock);
    let mut night = vec![asleep(at(-600), 630_000)];
    night.extend(readings(30, 5));
    deliver(
        &store,
        &[
            // Nothing in front of the first gap; nothing is known of the time of what an implausible record names.
            Run::new("a-01", 1, 2, &readings(2, 8)),
            Run::new("a-01", 1, 12, &readings(-YEARS_S, 3)).held(Hold::ImplausibleTime),
            Run::new("a-01", 1, 20, &readings(20, 5)),
            // Written at 30, although it has the time of its first poll.
            Run::new("a-01", 1, 29, &night),
            // A boot further, up to what its start names.
            Run::new("a-01", 2, 5, &[diagnostics(100)]),
        ],
    )
    .await;
    let expected = [
        (0, None, Some(2)),
        (10, Some(9), Some(20)),
        (15, Some(9), Some(20)),
        (25, Some(24), Some(30)),
        (0, Some(34), Some(600)),
    ];
    assert_eq!(spans(folder.path()), expected);
    store.keep(NOON_MS + 5 * 86_400_000, 2, None).await.unwrap();
    let chunks = rows(&raw(folder.path()), "SELECT count(*) FROM run");
    assert_eq!(chunks, ["[Integer(0)]"], "all of it is sealed");
    assert_eq!(spans(folder.path()), expected);
}

#[tokio::test]
async fn a_gap_with_nothing_placed_around_it_has_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let unset = |n: i64| unsynced(n * 1_000, 100 + n.unsigned_abs());
    deliver(
        &store,
        &[
            Run::new("a-01", 1, 0, &[unset(0)]),
            Run::new("a-01", 1, 5, &[unset(5)]),
        ],
    )
    .await;
    assert_eq!(spans(folder.path()), [(1, None, None)]);
    // Once an anchor places the boot, its gap has a time too.
    deliver(&store, &[Run::new("a-01", 1, 6, &[anchor(1, 6_000, at(6), 10)])]).await;
    assert_eq!(spans(folder.path()), [(1, Some(0), Some(5))]);
}
