//! `taraz up --demo` as a newcomer starts it: a backfill through the real path, a clean stop, a second start that continues.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::installation::{START_LIMIT, TARAZ};
use common::oracle;
use serde_json::Value;
use taraz_test_support::{Process, Signal, free_port, get, wait_for};

const READY_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const HISTORY_DAYS: i64 = 5;
const DAY_MS: i64 = 86_400_000;

fn start(folder: &Path, name: &str, http: SocketAddr) -> Process {
    let (http_text, days) = (http.to_string(), HISTORY_DAYS.to_string());
    let arguments = [
        "up",
        "--demo",
        "--noon",
        "--data",
        "data",
        "--http",
        &http_text,
        "--mqtt",
        "127.0.0.1:0",
        "--history-days",
        &days,
    ];
    let mut process = Process::taraz(TARAZ, name, &arguments, folder);
    process.wait_accepting(START_LIMIT, http);
    process
}

fn plants(http: SocketAddr) -> Vec<Value> {
    get(http, "/api/v1/plants").map_or_else(
        |_| Vec::new(),
        |r| r.json()["plants"].as_array().cloned().unwrap_or_default(),
    )
}

fn wait_live(http: SocketAddr) {
    wait_for(READY_LIMIT, "twelve live plants", || {
        let plants = plants(http);
        let live = plants
            .iter()
            .filter(|plant| plant["ac_power_w"].is_i64() && plant["draining"] == false)
            .count();
        if live == 12 {
            Ok(())
        } else {
            Err(format!("{live} of {} plants", plants.len()))
        }
    });
}

/// The instants in the store by device and meter; none of them is there twice.
fn stored(folder: &Path) -> BTreeSet<(String, u8, i64)> {
    let stored = oracle::store(&folder.join("data/ingest/store.sqlite"));
    assert_eq!(stored.repeated, 0, "a reading is there twice");
    let polls = stored.polls.into_iter();
    polls
        .flat_map(|((device, meter), times)| {
            times.into_keys().map(move |at_ms| (device.clone(), meter, at_ms))
        })
        .collect()
}

fn stop(mut process: Process) {
    process.signal(Signal::Interrupt);
    assert!(process.wait(STOP_LIMIT).success());
    assert!(
        process.output().contains("taraz: stopped"),
        "it says nothing of its end"
    );
}

#[test]
fn a_second_start_continues_without_duplicate_and_gap_but_the_downtime() {
    let folder = tempfile::tempdir().unwrap();
    let http = SocketAddr::from(([127, 0, 0, 1], free_port()));

    let mut first = start(folder.path(), "first", http);
    first.wait_for_output(READY_LIMIT, "ready after");
    wait_live(http);
    assert_history_is_there(http);
    stop(first);
    let before = stored(folder.path());
    let first_end_ms = before.iter().map(|(_, _, at_ms)| *at_ms).max().unwrap();

    let second = start(folder.path(), "second", http);
    wait_live(http);
    // Live again, after the downtime, on every meter that was read before.
    wait_for(READY_LIMIT, "readings after the downtime", || {
        let plants = plants(http);
        let again = plants
            .iter()
            .filter(|plant| plant["last_reading_ms"].as_i64() > Some(first_end_ms))
            .count();
        if again == 12 {
            Ok(())
        } else {
            Err(format!("{again} plants"))
        }
    });
    assert!(second.output().contains("continuing; the newest reading is"));
    stop(second);
    let after = stored(folder.path());
    assert!(before.is_subset(&after), "a reading of the first start is gone");
    assert!(after.len() > before.len());
    // The history was not read a second time: everything new is newer.
    assert!(
        after
            .difference(&before)
            .all(|(_, _, at_ms)| *at_ms > first_end_ms)
    );
}

/// Thirty (here fewer) days of intervals: each whole day of each plant has all its quarter-hours.
fn assert_history_is_there(http: SocketAddr) {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let (from_ms, to_ms) = (now_ms - (HISTORY_DAYS - 1) * DAY_MS, now_ms - DAY_MS);
    let [from, to] = [from_ms, to_ms].map(|ms| jiff::Timestamp::from_millisecond(ms - ms % 900_000).unwrap());
    for plant in plants(http) {
        let id = plant["id"].as_str().unwrap();
        let answer = get(
            http,
            &format!("/api/v1/plants/{id}/intervals?from={from}&to={to}&step=15m"),
        )
        .unwrap();
        let json = answer.json();
        let intervals = json["intervals"]
            .as_array()
            .unwrap_or_else(|| panic!("{id}: {}", answer.body));
        assert_eq!(
            intervals.len(),
            usize::try_from((HISTORY_DAYS - 2) * 96).unwrap(),
            "{id}"
        );
        let unknown: Vec<_> = intervals
            .iter()
            .filter(|interval| interval["generated_wh"].is_null())
            .collect();
        assert!(
            unknown.is_empty(),
            "{id}: {} unknown, first {}",
            unknown.len(),
            unknown[0]
        );
    }
}
