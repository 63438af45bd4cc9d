//! Figures from the store into real servers: late readings, a sink that is away, a killed process, a changed registry.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use taraz_telemetry::Record;

use super::super::Sink;
use super::super::look::days_over_ms;
use super::super::testing::{Server, Told, config, eventually};
use super::*;
use crate::analytics::{PeriodStep, periods};
use crate::store::testing::{
    MINUTE_MS, NOON_MS, Run, TestClock, deliver, fleet_of, fleet_text, inverter, open,
};
use crate::view::Step;

pub(super) const HOUR_MS: i64 = 60 * MINUTE_MS;
/// 20:30 UTC before noon: midnight in Tehran.
pub(super) const DAY_MS: i64 = NOON_MS - 11 * HOUR_MS - 30 * MINUTE_MS;

/// A sink that the store knows, worked by hand.
pub(super) async fn sink(store: &Store, clock: &TestClock, url: &str, overwrites: bool) -> FigureSink {
    let mut config = config(url);
    config.overwrites = overwrites;
    let closed_ms = days_over_ms(clock.now()());
    store
        .set_figure_sinks(vec![config.name.clone()], closed_ms)
        .await
        .unwrap();
    Sink::new(&config, store.clone()).unwrap().figures(clock.now())
}

impl FigureSink {
    /// Sends until there is nothing to do.
    pub(super) async fn drain(&self) {
        let fleet = self.store.fleet();
        let (followers, facts) = (Followers::of(fleet), facts_of(fleet));
        let cancel = CancellationToken::new();
        loop {
            match self.round(&followers, &facts, &cancel).await {
                Ok(true) => {}
                // A round of changes ends with a look that finds none.
                Ok(false) => {
                    let found = self.look(&facts, (self.now)(), false).await;
                    match found.map(|found| found.next) {
                        Ok(Next::Nothing) => return,
                        Ok(_) => {}
                        Err(_) => panic!("the store can't be read"),
                    }
                }
                Err(_) => panic!("the sink can't work"),
            }
        }
    }
}

/// The lines that a new sink of this store gets.
pub(crate) async fn lines_of(store: &Store, clock: &TestClock) -> Vec<String> {
    let server = Told::start(|_, _| (204, String::new())).await;
    let sink = sink(store, clock, &server.url, true).await;
    sink.drain().await;
    store.set_figure_sinks(Vec::new(), 0).await.unwrap();
    let bodies = server.bodies.lock().unwrap().clone();
    let mut lines: Vec<String> = bodies
        .iter()
        .flat_map(|body| body.lines())
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// (measurement with field, tags, begin of the period) → value.
type Figures = BTreeMap<(String, String, i64), i64>;

/// What the store says of plant `a` over every quarter-hour and day that a sink should have by now.
fn stated(store: &Store, clock: &TestClock) -> Figures {
    let (fleet, now_ms) = (store.fleet(), clock.now()());
    let sites: Vec<_> = fleet
        .sites
        .iter()
        .filter(|site| site.id == "a")
        .cloned()
        .collect();
    let closed_ms = quarter_of(now_ms - CLOSED_AFTER_MS) * QUARTER_MS;
    // From the first UTC day with readings on.
    let from_ms = utc_day_of(DAY_MS + 300 * MINUTE_MS) * 24 * HOUR_MS;
    let mut points = store
        .quarter_figures(&sites, &periods(from_ms, closed_ms, PeriodStep::Quarter))
        .unwrap();
    points.extend(
        store
            .day_figures(&sites, &periods(from_ms, days_over_ms(now_ms), PeriodStep::Day))
            .unwrap(),
    );
    let mut all = Figures::new();
    for point in points {
        let tags: Vec<String> = point
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut put = |name: String, value| {
            all.insert(
                (
                    format!("{}_{name}", point.measurement),
                    tags.join(","),
                    point.start_ms,
                ),
                value,
            );
        };
        for (name, value) in point.fields {
            match value {
                crate::figures::Value::Is(value) => put(name.to_owned(), value),
                crate::figures::Value::Maybe(value) => {
                    put(format!("{name}_known"), i64::from(value.is_some()));
                    if let Some(value) = value {
                        put(name.to_owned(), value);
                    }
                }
            }
        }
    }
    all
}

/// What VictoriaMetrics has: of each quarter-hour the last point, as docs/operations.md says it is to be read; values that are said to be
/// unknown are left out.
async fn exported(server: &Server) -> Figures {
    server.get("/internal/force_flush", &[]).await;
    let query = [
        ("match[]", "{__name__=~\"(plant|site|meter)_(interval|day)_.+\"}"),
        ("start", "1781000000"),
        ("end", "1783000000"),
        ("reduce_mem_usage", "0"),
    ];
    let text = server.get("/api/v1/export", &query).await;
    let mut all = Figures::new();
    for line in text.lines() {
        let series: Value = serde_json::from_str(line).unwrap();
        let labels: BTreeMap<String, String> = serde_json::from_value(series["metric"].clone()).unwrap();
        let tags: Vec<String> = labels
            .iter()
            .filter(|(key, _)| *key != "__name__" && *key != "db")
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let (times, values) = (
            series["timestamps"].as_array().unwrap(),
            series["values"].as_array().unwrap(),
        );
        for (time, value) in times.iter().zip(values) {
            let start_ms = quarter_of(time.as_i64().unwrap()) * QUARTER_MS;
            let key = (labels["__name__"].clone(), tags.join(","), start_ms);
            // In the order of their times: the last one stays.
            all.insert(key, value.as_i64().unwrap());
        }
    }
    let is_of_a = |tags: &str| {
        ["plant=a", "site=a"]
            .iter()
            .any(|tag| tags.split(',').any(|one| one == *tag))
    };
    all.retain(|(_, tags, _), _| is_of_a(tags));
    without_unknown(all)
}

fn without_unknown(all: Figures) -> Figures {
    let is_unknown = |(name, tags, start_ms): &(String, String, i64)| {
        all.get(&(format!("{name}_known"), tags.clone(), *start_ms)) == Some(&0)
    };
    all.iter()
        .filter(|(key, _)| !is_unknown(key))
        .map(|(key, &value)| (key.clone(), value))
        .collect()
}

async fn arrives(server: &Server, expected: &Figures) {
    eventually("the sink's figures are the store's", || async {
        let found = exported(server).await;
        (found == *expected).then_some(())
    })
    .await;
}

fn minutes(from: i64, to: i64) -> Vec<Record> {
    let minute = |minute: i64| {
        inverter(
            DAY_MS + minute * MINUTE_MS,
            6_000,
            100_000 + minute.unsigned_abs() * 100,
        )
    };
    (from..to).map(minute).collect()
}

pub(super) fn run(first: u32, from: i64, to: i64) -> Run {
    Run::new("a-01", 1, first, &minutes(from, to))
}

/// From minute 600 on with 4.8 kW.
fn slow(from: i64, to: i64) -> Vec<Record> {
    let wh = |minute: i64| 159_900 + (minute - 599).unsigned_abs() * 80;
    (from..to)
        .map(|minute| inverter(DAY_MS + minute * MINUTE_MS, 4_800, wh(minute)))
        .collect()
}

fn generated_at(minute: i64) -> (String, String, i64) {
    let start_ms = quarter_of(DAY_MS + minute * MINUTE_MS) * QUARTER_MS;
    (
        "plant_interval_generated_wh".to_owned(),
        "plant=a".to_owned(),
        start_ms,
    )
}

/// A morning with an hour's hole, as of the next night.
pub(super) async fn with_a_hole(folder: &Path, clock: &TestClock) -> Store {
    let store = open(folder, clock);
    deliver(&store, &[run(0, 300, 600), run(400, 660, 700)]).await;
    store
}

fn the_hole() -> Run {
    Run::new("a-01", 1, 300, &slow(600, 645))
}

/// The next night.
pub(super) fn night() -> TestClock {
    TestClock::new(DAY_MS + 26 * HOUR_MS)
}

#[tokio::test]
async fn a_late_reading_sends_its_quarter_hours_and_its_day_again() {
    let (folder, server, clock) = (
        tempfile::tempdir().unwrap(),
        Server::victoria_metrics().await,
        night(),
    );
    let store = with_a_hole(folder.path(), &clock).await;
    let sink = sink(&store, &clock, &server.url, false).await;
    sink.drain().await;
    let before = stated(&store, &clock);
    assert_eq!(before[&generated_at(630)], 1_500, "spread over the hole");
    arrives(&server, &before).await;
    deliver(&store, &[the_hole()]).await;
    sink.drain().await;
    let after = stated(&store, &clock);
    // 14 minutes of 80 Wh, and one of the 16 over which 2,500 Wh are spread.
    assert_eq!(after[&generated_at(630)], 1_276, "less than before");
    let api = store
        .intervals("a", DAY_MS, DAY_MS + 12 * HOUR_MS, Step::Quarter)
        .unwrap();
    for row in api.iter().filter(|row| row.generated_wh.is_some()) {
        let (name, tags, _) = generated_at(0);
        assert_eq!(after.get(&(name, tags, row.start_ms)).copied(), row.generated_wh);
    }
    arrives(&server, &after).await;
}

#[tokio::test]
async fn influxdb_keeps_one_point_of_each_time() {
    let (folder, server, clock) = (tempfile::tempdir().unwrap(), Server::influxdb().await, night());
    // This InfluxDB has no v2 API: what the sink sends there goes to its own door, in the same order.
    let told = Told::start(|_, _| (204, String::new())).await;
    let store = with_a_hole(folder.path(), &clock).await;
    let sink = sink(&store, &clock, &told.url, true).await;
    sink.drain().await;
    deliver(&store, &[the_hole()]).await;
    sink.drain().await;
    let (status, text) = server
        .post("/query", &[("q", "CREATE DATABASE taraz")], String::new())
        .await;
    assert_eq!(status, 200, "{text}");
    let bodies = told.bodies.lock().unwrap().clone();
    for body in bodies {
        let (status, text) = server
            .post("/write", &[("db", "taraz"), ("precision", "ms")], body)
            .await;
        assert_eq!((status, text.as_str()), (204, ""));
    }
    let q = "SELECT generated_wh FROM plant_interval WHERE plant = 'a'";
    let text = server
        .get("/query", &[("db", "taraz"), ("epoch", "ms"), ("q", q)])
        .await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let found: Vec<(i64, i64)> =
        serde_json::from_value(answer["results"][0]["series"][0]["values"].clone()).unwrap();
    let expected = stated(&store, &clock).into_iter().filter(|((name, tags, _), _)| {
        let (of_name, of_tags, _) = generated_at(0);
        (name, tags) == (&of_name, &of_tags)
    });
    let expected: Vec<(i64, i64)> = expected
        .map(|((.., start_ms), value)| (start_ms, value))
        .collect();
    assert!(expected.contains(&(generated_at(630).2, 1_276)));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_quarter_hour_is_sent_when_it_is_closed_and_a_day_when_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let told = Told::start(|_, _| (204, String::new())).await;
    let clock = TestClock::new(DAY_MS + 320 * MINUTE_MS);
    let store = open(folder.path(), &clock);
    let sink = sink(&store, &clock, &told.url, true).await;
    sink.drain().await;
    deliver(&store, &[run(0, 300, 320)]).await;
    let times = |measurement: &str| -> Vec<i64> {
        let bodies = told.bodies.lock().unwrap();
        let lines = bodies.iter().flat_map(|body| body.lines());
        let of_a = lines.filter(|line| line.starts_with(&format!("{measurement},plant=a ")));
        let minute =
            |line: &str| (line.rsplit(' ').next().unwrap().parse::<i64>().unwrap() - DAY_MS) / MINUTE_MS;
        of_a.map(minute).collect()
    };
    sink.drain().await;
    // A device that is new is sent from the begin of its first day of UTC on; 300 to 315 is closed at 320.
    assert_eq!(times("plant_interval"), [210, 225, 240, 255, 270, 285, 300]);
    // Nothing new is read, but time passes.
    clock.set(DAY_MS + 340 * MINUTE_MS);
    sink.drain().await;
    assert_eq!(times("plant_interval")[7..], [315]);
    assert_eq!(times("plant_day"), [] as [i64; 0]);
    clock.set(DAY_MS + 24 * HOUR_MS + 5 * MINUTE_MS);
    sink.drain().await;
    assert_eq!(times("plant_day"), [0]);
}

#[tokio::test]
async fn a_killed_process_and_a_server_that_is_away_cost_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), night());
    let server = Server::victoria_metrics().await;
    let store = with_a_hole(folder.path(), &clock).await;
    let away = Told::start(|count, _| {
        if count <= 1 {
            (204, String::new())
        } else {
            (503, "away".to_owned())
        }
    })
    .await;
    let first = sink(&store, &clock, &away.url, false).await;
    let status = Arc::clone(&first.status);
    let task = tokio::spawn(first.run(CancellationToken::new()));
    eventually("it is in the middle", || async {
        (status.snapshot().failed_writes > 0).then_some(())
    })
    .await;
    deliver(&store, &[the_hole()]).await;
    // As when the process is killed: nothing is ended in order.
    task.abort();
    let _ = task.await;
    store.close().await;

    let store = open(folder.path(), &clock);
    sink(&store, &clock, &server.url, false).await.drain().await;
    arrives(&server, &stated(&store, &clock)).await;
}

#[tokio::test]
async fn what_another_registry_says_is_sent_again_for_its_sites_alone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), night());
    let store = with_a_hole(folder.path(), &clock).await;
    let told = Told::start(|_, _| (204, String::new())).await;
    sink(&store, &clock, &told.url, true).await.drain().await;
    store.close().await;
    let sent = || std::mem::take(&mut *told.bodies.lock().unwrap()).concat();
    sent();

    let store = open(folder.path(), &clock);
    sink(&store, &clock, &told.url, true).await.drain().await;
    assert_eq!(sent(), "", "nothing has changed");
    store.close().await;

    let text = fleet_text().replacen("peak_w = 10000", "peak_w = 20000", 1);
    let store = Store::open(folder.path(), fleet_of(&text), clock.now()).unwrap();
    sink(&store, &clock, &told.url, true).await.drain().await;
    assert!(sent().contains("plant_day,plant=a "));
}

#[tokio::test]
async fn a_sink_that_comes_back_gets_everything() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), night());
    let store = with_a_hole(folder.path(), &clock).await;
    let before = lines_of(&store, &clock).await;
    deliver(&store, &[the_hole()]).await;
    let after = lines_of(&store, &clock).await;
    assert_eq!(before.len(), after.len());
    assert_ne!(before, after, "what changed while there was no sink");
}
