//! Tests of the present, through the store.

use taraz_telemetry::{DeviceId, Record};

use crate::analytics::{QUARTER_MS, day_start_ms};
use crate::store::Store;
use crate::store::testing::*;
use crate::view::{PlantView, SiteView, View};

const SECOND_MS: i64 = 1_000;

/// One reading per call, each with the next sequence number of a boot.
struct Device<'s> {
    store: &'s Store,
    id: &'static str,
    next: u32,
}

impl<'s> Device<'s> {
    fn new(store: &'s Store, id: &'static str) -> Self {
        Self { store, id, next: 0 }
    }

    async fn send(&mut self, records: &[Record]) {
        deliver(self.store, &[Run::new(self.id, 1, self.next, records)]).await;
        self.next += u32::try_from(records.len()).unwrap();
    }
}

fn plant<'v>(view: &'v View, id: &str) -> &'v PlantView {
    view.plants.iter().find(|plant| plant.id == id).unwrap()
}

fn site<'v>(view: &'v View, id: &str) -> &'v SiteView {
    view.sites.iter().find(|site| site.id == id).unwrap()
}

#[tokio::test]
async fn values_vanish_after_three_missed_polls_of_the_learned_interval() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let (mut quick, mut slow) = (Device::new(&store, "a-01"), Device::new(&store, "b-01"));
    for n in 0..6 {
        quick
            .send(&[inverter(NOON_MS + n * 20 * SECOND_MS, 5_000, 1)])
            .await;
        slow.send(&[inverter(NOON_MS + n * 60 * SECOND_MS, 6_000, 1)])
            .await;
    }
    let power = |plant_id: &str, at_ms: i64| plant(&store.live().view(at_ms), plant_id).power_w;
    let (quick_ms, slow_ms) = (NOON_MS + 100 * SECOND_MS, NOON_MS + 300 * SECOND_MS);
    assert_eq!(power("a", quick_ms + 60 * SECOND_MS), Some(5_000));
    assert_eq!(power("a", quick_ms + 60 * SECOND_MS + 1), None);
    assert_eq!(power("b", slow_ms + 180 * SECOND_MS), Some(6_000));
    assert_eq!(power("b", slow_ms + 180 * SECOND_MS + 1), None);
    let view = store.live().view(slow_ms + 999 * SECOND_MS);
    let gone = plant(&view, "a");
    assert_eq!((gone.meters[0].ac_power_w, gone.meters[0].state), (None, None));
    // That it was read, and when, stays known.
    assert_eq!(
        (gone.meters[0].last_ms, gone.last_reading_ms),
        (Some(quick_ms), Some(quick_ms))
    );
    assert_eq!(plant(&view, "c").power_w, None);
}

#[tokio::test]
async fn a_first_reading_holds_for_half_a_minute() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    Device::new(&store, "a-01")
        .send(&[inverter(NOON_MS, 5_000, 1)])
        .await;
    let power = |at_ms: i64| plant(&store.live().view(at_ms), "a").power_w;
    assert_eq!(
        (
            power(NOON_MS + 30 * SECOND_MS),
            power(NOON_MS + 30 * SECOND_MS + 1)
        ),
        (Some(5_000), None)
    );
}

#[tokio::test]
async fn the_balance_of_a_site_needs_all_that_it_is_made_of() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let (mut c, mut d) = (Device::new(&store, "c-01"), Device::new(&store, "d-01"));
    c.send(&[grid(2, NOON_MS, -1_500, 0, 0)]).await;
    d.send(&[inverter(NOON_MS, 4_000, 0), grid(2, NOON_MS, 900, 0, 0)])
        .await;
    let view = store.live().view(NOON_MS);
    // The grid meter alone states the imbalance; the consumption needs the inverter too.
    let with_grid = site(&view, "c");
    assert_eq!(
        (with_grid.imbalance_w, with_grid.grid_w, with_grid.consumed_w),
        (Some(-1_500), Some(-1_500), None)
    );
    // With a consumption meter, nothing is stated before it is.
    let with_both = site(&view, "d");
    assert_eq!(
        (with_both.imbalance_w, with_both.grid_w, with_both.consumed_w),
        (None, Some(900), None)
    );
    c.send(&[inverter(NOON_MS + 1, 2_000, 0)]).await;
    d.send(&[grid(3, NOON_MS + 1, 5_000, 0, 0)]).await;
    let view = store.live().view(NOON_MS);
    assert_eq!(site(&view, "c").consumed_w, Some(500));
    assert_eq!(
        (site(&view, "d").consumed_w, site(&view, "d").imbalance_w),
        (Some(5_000), Some(1_000))
    );
    assert_eq!(
        (site(&view, "a").consumed_w, site(&view, "a").imbalance_w),
        (None, None)
    );
}

#[tokio::test]
async fn a_backlog_drains_until_its_last_reading_is_ten_seconds_old() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let mut device = Device::new(&store, "a-01");
    device.send(&[inverter(NOON_MS, 5_000, 10_000)]).await;
    store.live().refresh(&store, NOON_MS).unwrap();
    let shown = |at_ms: i64| {
        let view = store.live().view(at_ms);
        (plant(&view, "a").draining, plant(&view, "a").energy_total_wh)
    };
    assert_eq!(shown(NOON_MS), (false, Some(0)));
    clock.set(NOON_MS + 10 * SECOND_MS);
    device.send(&[inverter(NOON_MS - 3_600_000, 5_000, 4_000)]).await;
    let drained_ms = NOON_MS + 20 * SECOND_MS;
    store.live().refresh(&store, drained_ms).unwrap();
    assert_eq!(shown(drained_ms), (true, None));
    assert_eq!(shown(drained_ms + 1), (false, Some(6_000)));
    // What is only a little late is no backlog; neither is another plant's.
    clock.set(drained_ms + MINUTE_MS);
    device
        .send(&[inverter(NOON_MS - 10 * MINUTE_MS, 5_000, 9_000)])
        .await;
    assert!(!shown(drained_ms + MINUTE_MS).0);
    assert!(!plant(&store.live().view(NOON_MS + 10 * SECOND_MS), "b").draining);
}

#[tokio::test]
async fn the_total_never_falls_over_resets_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let mut shown = Vec::new();
    let mut next = 0;
    for (restart, registers) in [[100, 600], [50, 80], [900, 20]].into_iter().enumerate() {
        let store = open(folder.path(), &clock);
        let mut device = Device {
            store: &store,
            id: "a-01",
            next,
        };
        for (n, register) in registers.into_iter().enumerate() {
            let minute = i64::try_from(restart * 2 + n).unwrap();
            device
                .send(&[inverter(NOON_MS + minute * MINUTE_MS, 1, register)])
                .await;
            store.live().refresh(&store, NOON_MS).unwrap();
            shown.push(plant(&store.live().view(NOON_MS), "a").energy_total_wh.unwrap());
        }
        next = device.next;
        store.close().await;
    }
    // 50 and 80 look like a reset until 900 shows that they were dips.
    assert_eq!(shown, [0, 500, 550, 580, 800, 820]);
}

#[tokio::test]
async fn what_turns_out_to_be_a_spike_stays_in_the_total_and_is_corrected_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS);
    let store = open(folder.path(), &clock);
    let mut device = Device {
        store: &store,
        id: "a-01",
        next: 0,
    };
    let mut shown = Vec::new();
    for (minute, register) in (0..).zip([13_000_000, 13_000_500, 13_000_010, 13_000_020]) {
        device
            .send(&[inverter(NOON_MS + minute * MINUTE_MS, 1, register)])
            .await;
        store.live().refresh(&store, NOON_MS).unwrap();
        let view = store.live().view(NOON_MS);
        let plant = plant(&view, "a");
        shown.push((
            plant.energy_total_wh.unwrap(),
            plant.energy_correction_wh.unwrap(),
        ));
    }
    assert_eq!(shown, [(0, 0), (500, 0), (500, -490), (500, -480)]);
}

#[tokio::test]
async fn today_begins_at_midnight_in_tehran_and_ends_with_the_day() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let midnight_ms = day_start_ms(NOON_MS);
    let mut device = Device::new(&store, "c-01");
    for n in -2..=4 {
        let wh = u64::try_from((n + 2) * 250).unwrap();
        let time_ms = midnight_ms + n * 10 * MINUTE_MS;
        device
            .send(&[inverter(time_ms, 1, wh), grid(2, time_ms, 1, wh * 3, wh)])
            .await;
    }
    let now_ms = midnight_ms + 50 * MINUTE_MS;
    store.live().refresh(&store, now_ms).unwrap();
    let view = store.live().view(now_ms);
    assert_eq!(
        (
            plant(&view, "c").energy_today_wh,
            plant(&view, "c").completeness_today
        ),
        (Some(1_000), 0.8)
    );
    let own = site(&view, "c");
    assert_eq!(
        (own.import_today_wh, own.export_today_wh),
        (Some(3_000), Some(1_000))
    );
    assert_eq!(
        (own.imbalance_today_wh, own.consumed_today_wh),
        (Some(2_000), Some(3_000))
    );
    // Figures of another day or of long ago are not today's.
    let tomorrow = store.live().view(now_ms + 24 * 3_600_000);
    assert_eq!(
        (
            plant(&tomorrow, "c").energy_today_wh,
            site(&tomorrow, "c").imbalance_today_wh
        ),
        (None, None)
    );
    let later = store.live().view(now_ms + 2 * MINUTE_MS);
    assert_eq!(plant(&later, "c").energy_today_wh, None);
}

/// Six five-minute readings more than the window, ending now.
async fn hour(store: &Store, id: &'static str, now_ms: i64, wh_per_step: u64) {
    let records: Vec<_> = (0..=18_u64)
        .map(|n| {
            inverter(
                now_ms - (18 - i64::try_from(n).unwrap()) * 5 * MINUTE_MS,
                1,
                n * wh_per_step,
            )
        })
        .collect();
    deliver(store, &[Run::new(id, 1, 0, &records)]).await;
}

#[tokio::test]
async fn a_plant_is_compared_with_its_neighbours_while_the_sun_is_high() {
    let folder = tempfile::tempdir().unwrap();
    let now_ms = NOON_MS + 6 * MINUTE_MS;
    let store = open(folder.path(), &TestClock::new(now_ms));
    hour(&store, "a-01", now_ms, 125).await;
    hour(&store, "b-01", now_ms, 375).await;
    hour(&store, "c-01", now_ms, 125).await;
    let ratios = |now_ms: i64| {
        store.live().refresh(&store, now_ms).unwrap();
        store
            .live()
            .view(now_ms)
            .plants
            .iter()
            .map(|plant| plant.peer_yield_ratio)
            .collect::<Vec<_>>()
    };
    // The window's last quarter-hour ended six minutes ago. "d" has no data and is nobody's peer.
    assert_eq!(ratios(now_ms), [Some(0.5), Some(3.0), Some(0.5), None]);
    // One quarter-hour on, the last one isn't complete.
    assert_eq!(ratios(now_ms + QUARTER_MS), [None; 4]);
}

#[tokio::test]
async fn under_a_low_sun_nobody_is_compared() {
    let folder = tempfile::tempdir().unwrap();
    let night_ms = NOON_MS + 12 * 3_600_000 + 6 * MINUTE_MS;
    let store = open(folder.path(), &TestClock::new(night_ms));
    for id in ["a-01", "b-01", "c-01"] {
        hour(&store, id, night_ms, 100).await;
    }
    store.live().refresh(&store, night_ms).unwrap();
    let view = store.live().view(night_ms);
    assert!(view.plants.iter().all(|plant| plant.peer_yield_ratio.is_none()));
    assert!(view.plants[0].sun_elevation_deg < 0.0);
}

#[tokio::test]
async fn a_restart_remembers_the_newest_readings_and_when_devices_were_heard() {
    let folder = tempfile::tempdir().unwrap();
    let clock = TestClock::new(NOON_MS + 500);
    let store = open(folder.path(), &clock);
    let mut device = Device::new(&store, "a-01");
    device
        .send(&[
            inverter(NOON_MS, 5_000, 1),
            inverter(NOON_MS - MINUTE_MS, 4_000, 1),
        ])
        .await;
    let before = store.live().view(NOON_MS + 600);
    store.close().await;
    let store = open(folder.path(), &clock);
    let view = store.live().view(NOON_MS + 600);
    assert_eq!(view, before);
    assert_eq!(plant(&view, "a").power_w, Some(5_000));
    let id: DeviceId = "a-01".parse().unwrap();
    let device = view.devices.iter().find(|device| device.id == id).unwrap();
    assert_eq!(
        (device.last_reading_ms, device.last_received_ms),
        (Some(NOON_MS), Some(NOON_MS + 500))
    );
}

#[tokio::test]
async fn only_a_reading_with_values_counts_as_read_and_never_in_the_future() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), &TestClock::new(NOON_MS));
    let failed = |time_ms: i64| {
        Record::Reading(taraz_telemetry::Reading {
            meter: meter(1),
            stamp: taraz_telemetry::Stamp {
                ms: time_ms.unsigned_abs(),
                clock: taraz_telemetry::Clock::Synced,
            },
            outcome: taraz_telemetry::Outcome::Failed(taraz_telemetry::PollFailure {
                status: taraz_telemetry::PollStatus::Timeout,
                count: 5,
                span_ms: 30_000,
            }),
        })
    };
    let last_ms = || {
        let view = store.live().view(NOON_MS);
        let id: DeviceId = "a-01".parse().unwrap();
        let device = view.devices.iter().find(|device| device.id == id).unwrap();
        device.last_reading_ms
    };
    let mut device = Device::new(&store, "a-01");
    device.send(&[failed(NOON_MS - MINUTE_MS)]).await;
    assert_eq!(last_ms(), None);
    device.send(&[inverter(NOON_MS - 5 * MINUTE_MS, 1, 1)]).await;
    device.send(&[failed(NOON_MS - MINUTE_MS)]).await;
    assert_eq!(last_ms(), Some(NOON_MS - 5 * MINUTE_MS));
    device.send(&[inverter(NOON_MS + 2 * MINUTE_MS, 1, 1)]).await;
    assert_eq!(last_ms(), Some(NOON_MS));
}
