use taraz_telemetry::Quantities;

use super::super::testing::{QUARTERS, START_MS, follow_the_sun, follow_the_sun_from, start, synced};
use super::*;
use crate::figures::{Outlook, Schedule};
use crate::store::testing::{NOON_MS, Run, deliver};

fn rows(store: &Store, plant: &str, step: PeriodStep) -> Vec<ExpectationRow> {
    store.expectation(plant, START_MS, NOON_MS, step).unwrap()
}

#[tokio::test]
async fn healthy_neighbours_say_what_an_ill_plant_should_have_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    // Half the clear sky's energy over the district; `a` makes a tenth.
    for (device, share) in [("a-01", 0.1), ("b-01", 0.5), ("c-01", 0.5)] {
        follow_the_sun(&store, device, share).await;
    }
    let unknown = rows(&store, "a", PeriodStep::Quarter);
    assert_eq!(unknown.len(), usize::try_from(QUARTERS).unwrap());
    assert!(
        unknown
            .iter()
            .all(|row| row.expected_wh.is_none() && row.method.is_none())
    );
    assert!(
        unknown
            .iter()
            .all(|row| row.clear_sky_wh > 1_000 && row.completeness == 0.0)
    );

    follow_the_sun(&store, "d-01", 0.5).await;
    for row in rows(&store, "a", PeriodStep::Quarter) {
        assert_eq!(row.method, Some(ExpectationMethod::Neighbours));
        assert!((row.clear_sky_index.unwrap() - 0.5).abs() < 0.002, "{row:?}");
        // Cooler cells and a less loaded inverter: a little more than half.
        let share = row.expected_wh.unwrap() as f64 / row.clear_sky_wh as f64;
        assert!((0.5..0.56).contains(&share), "{share}");
        let made = row.made_wh.unwrap() as f64 / row.made_of_wh.unwrap() as f64;
        assert!((0.17..0.21).contains(&made), "{made}");
    }
    let day = &rows(&store, "a", PeriodStep::Day)[0];
    let quarters: i64 = rows(&store, "a", PeriodStep::Quarter)
        .iter()
        .map(|row| row.expected_wh.unwrap())
        .sum();
    assert!((day.expected_wh.unwrap() - quarters).abs() <= QUARTERS, "{day:?}");
    // Two hours of readings, and the dark of the night.
    assert!((0.4..0.6).contains(&day.completeness), "{day:?}");
}

#[tokio::test]
async fn a_sensor_goes_before_the_neighbours_and_its_silence_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    for device in ["a-01", "b-01", "c-01"] {
        follow_the_sun(&store, device, 0.5).await;
    }
    let values = Quantities {
        irradiance_dwm2: Some(6_000),
        module_temperature_dc: Some(400),
        ..Quantities::default()
    };
    let records: Vec<_> = (0..=12)
        .map(|step| synced(4, START_MS + step * 300_000, values.clone()))
        .collect();
    deliver(&store, &[Run::new("s-01", 1, 0, &records)]).await;
    let rows = rows(&store, "s", PeriodStep::Quarter);
    for row in &rows[..4] {
        assert_eq!(row.method, Some(ExpectationMethod::Measured));
        assert!((row.plane_w_m2.unwrap() - 600.0).abs() < 1e-9, "{row:?}");
        // 10 kWp · 0.6 · (1 − 0.004 · 15) · 0.859243 for a quarter-hour, then the inverter at about 0.96.
        let dc_wh = 10_000.0 * 0.6 * 0.94 * 0.859_243 * 0.25;
        let efficiency = row.expected_wh.unwrap() as f64 / dc_wh;
        assert!((0.95..0.97).contains(&efficiency), "{efficiency}");
    }
    for row in &rows[4..] {
        assert_eq!(row.method, Some(ExpectationMethod::Neighbours), "{row:?}");
    }
}

#[tokio::test]
async fn the_present_shows_todays_expectation_and_forgets_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    for (device, share) in [("a-01", 0.25), ("b-01", 0.5), ("c-01", 0.5), ("d-01", 0.5)] {
        follow_the_sun(&store, device, share).await;
    }
    let now_ms = NOON_MS + 6 * 60_000;
    let (asked, live) = (store.clone(), store.live());
    let expected = |at_ms: i64| {
        let view = live.view(at_ms);
        view.plants.iter().find(|plant| plant.id == "a").unwrap().expected
    };
    assert_eq!(expected(now_ms).today_wh, None);
    live.refresh_outlook(&asked, now_ms).unwrap();
    let shown = expected(now_ms);
    assert_eq!(shown.method, Some(ExpectationMethod::Neighbours));
    assert!((shown.clear_sky_index.unwrap() - 0.5).abs() < 0.002);
    assert!((3_000.0..6_000.0).contains(&shown.power_w.unwrap()), "{shown:?}");
    let ratio = shown.made_today_wh.unwrap() as f64 / shown.made_of_today_wh.unwrap() as f64;
    assert!((0.4..0.5).contains(&ratio), "{ratio}");
    assert!(shown.today_wh.unwrap() >= shown.made_of_today_wh.unwrap());
    assert_eq!((shown.performance_ratio_today, shown.plane_w_m2), (None, None));
    // Without another computation it is unknown, not old.
    let later = expected(now_ms + 21 * 60_000);
    assert_eq!(
        (later.power_w, later.today_wh, later.clear_sky_index),
        (None, None, None)
    );
    assert_eq!(Outlook::default().plants.len(), 0);
}

#[tokio::test]
async fn the_present_and_the_past_deviate_from_the_same_clear_sky_schedule() {
    const DAY_MS: i64 = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    let now_ms = NOON_MS + 6 * 60_000;
    let (asked, live) = (store.clone(), store.live());
    let shown = || {
        live.refresh_outlook(&asked, now_ms).unwrap();
        let view = live.view(now_ms);
        let plant = view.plants.iter().find(|plant| plant.id == "a").unwrap();
        plant.expected.clear_sky_deviation_w
    };
    follow_the_sun(&store, "a-01", 0.5).await;
    assert_eq!(shown(), None, "nothing is known of yesterday");
    follow_the_sun_from(&store, "a-01", (START_MS - DAY_MS, 900_000.0), 0.25).await;
    let (rows, _) = store
        .settlement("a", (START_MS, NOON_MS), 15, &Schedule::ClearSky)
        .unwrap();
    let newest = rows.iter().find(|row| row.end_ms == NOON_MS).unwrap();
    let off_kwh = newest.actual_kwh.unwrap() - newest.scheduled_kwh.unwrap();
    // Twice as clear as yesterday.
    assert!(
        (0.9..1.1).contains(&(off_kwh / newest.scheduled_kwh.unwrap())),
        "{newest:?}"
    );
    assert!((shown().unwrap() - off_kwh * 4_000.0).abs() < 1e-6, "{newest:?}");
}

#[tokio::test]
async fn a_year_is_answered_in_blocks_that_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = start(folder.path());
    for device in ["a-01", "b-01", "c-01", "d-01"] {
        follow_the_sun(&store, device, 0.5).await;
    }
    // Two months and a bit, with the readings in a later block.
    let from_ms = NOON_MS - 70 * 86_400_000;
    let days = store.expectation("a", from_ms, NOON_MS, PeriodStep::Day).unwrap();
    assert_eq!(days.len(), 71);
    assert!(days.windows(2).all(|pair| pair[0].end_ms == pair[1].start_ms));
    assert_eq!(days.last(), rows(&store, "a", PeriodStep::Day).last());
    assert_eq!(days.last().unwrap().method, Some(ExpectationMethod::Neighbours));
    let month = (0, 40 * 86_400_000);
    let lengths = |periods: &[(i64, i64)]| blocks(periods).map(<[_]>::len).collect::<Vec<_>>();
    let day = |n: i64| (n * 86_400_000, (n + 1) * 86_400_000);
    assert_eq!(lengths(&(0..63).map(day).collect::<Vec<_>>()), [31, 31, 1]);
    assert_eq!(lengths(&[month]), [1], "a period is never cut");
    assert_eq!(lengths(&[]), [0_usize; 0]);
}
