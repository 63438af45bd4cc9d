//! The gap ledger from the store: what devices said, what came, what is held, and the same after a restart and in the archive.

use taraz_telemetry::{
    Clock, Diagnostics, Dropped, FirmwareVersion, Hold, Record, Recovered, ResetCause, Stamp, Start,
};

use super::super::testing::{MINUTE_MS, NOON_MS, Run, TestClock, deliver, inverter, open};
use crate::Archive;
use crate::gaps::{DeviceGaps, Fate};

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
