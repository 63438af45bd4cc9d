//! How a device is, out of its diagnostics and the record of its start.

use taraz_telemetry::{Clock, Diagnostics, MeterDiagnostics, Record, ResetCause, Stamp, Start};

use super::super::testing::*;
use crate::view::{DeviceHealth, MeterHealth};

const HOUR_MS: i64 = 3_600_000;

fn start(reset_cause: ResetCause) -> Record {
    Record::Start(Start {
        stamp: Stamp {
            ms: 12,
            clock: Clock::Unsynced,
        },
        reset_cause,
        recovered: None,
        firmware: "0.1.0".try_into().unwrap(),
    })
}

fn diagnostics(time_ms: i64, timeouts: u32) -> Record {
    let inverter = MeterDiagnostics {
        meter: meter(1),
        requests: 400,
        crc_errors: 3,
        timeouts,
        exceptions: 1,
    };
    Record::Diagnostics(Diagnostics {
        stamp: Stamp {
            ms: u64::try_from(time_ms).unwrap(),
            clock: Clock::Synced,
        },
        uptime_s: 60,
        queue_records: 7,
        queue_capacity_records: 9_000,
        dropped_records: 0,
        link_connects: 2,
        stack_high_water_bytes: Some(6_144),
        meters: [inverter].into_iter().collect(),
    })
}

fn health(store: &super::super::Store, now_ms: i64) -> Option<DeviceHealth> {
    let view = store.live().view(now_ms);
    let device = view
        .devices
        .into_iter()
        .find(|device| device.id.as_str() == "a-01");
    device.unwrap().health
}

#[tokio::test]
async fn the_newest_diagnostics_hold_with_the_start_of_their_boot() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    assert_eq!(health(&store, NOON_MS), None);
    let boot_4 = [start(ResetCause::Watchdog), diagnostics(NOON_MS - MINUTE_MS, 20)];
    deliver(&store, &[Run::new("a-01", 4, 0, &boot_4)]).await;
    // A backlog of the boot before, which was not counted down since.
    let boot_3 = [start(ResetCause::PowerOn), diagnostics(NOON_MS - HOUR_MS, 999)];
    deliver(&store, &[Run::new("a-01", 3, 0, &boot_3)]).await;
    let expected = DeviceHealth {
        time_ms: NOON_MS - MINUTE_MS,
        boot: 4,
        reset_cause: Some("watchdog"),
        firmware: Some("0.1.0".into()),
        uptime_s: 60,
        queue_records: 7,
        queue_capacity_records: 9_000,
        dropped_records: 0,
        link_connects: 2,
        stack_high_water_bytes: Some(6_144),
        meters: vec![MeterHealth {
            meter: meter(1),
            requests: 400,
            crc_errors: 3,
            timeouts: 20,
            exceptions: 1,
        }],
    };
    assert_eq!(health(&store, NOON_MS), Some(expected));
    let stale_ms = NOON_MS - MINUTE_MS + 3 * HOUR_MS;
    assert!(health(&store, stale_ms).is_some());
    assert_eq!(
        health(&store, stale_ms + 1),
        None,
        "what was true hours ago is not known now"
    );
}

#[tokio::test]
async fn after_a_restart_of_ingest_the_next_diagnostics_find_their_start_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    deliver(&store, &[Run::new("a-01", 1, 0, &[start(ResetCause::BrownOut)])]).await;
    store.close().await;
    let store = open(folder.path(), &clock);
    deliver(&store, &[Run::new("a-01", 1, 1, &[diagnostics(NOON_MS, 0)])]).await;
    let health = health(&store, NOON_MS).unwrap();
    assert_eq!(
        (health.boot, health.reset_cause, health.firmware.as_deref()),
        (1, Some("brown_out"), Some("0.1.0"))
    );
}
