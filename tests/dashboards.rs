//! Every query of the dashboards, run on a real Prometheus and a real VictoriaMetrics beside the demo: none is empty.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::installation::{START_LIMIT, TARAZ};
use serde_json::Value;
use taraz_test_support::{Process, Prometheus, Response, VictoriaMetrics, free_port, get, wait_for};

const DEMO_LIMIT: Duration = Duration::from_secs(240);

/// One query of a panel, with the data source it asks.
struct Query {
    place: String,
    source: String,
    expression: String,
}

fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for file in ["fleet", "balance", "expectation"] {
        let text = std::fs::read_to_string(format!("dashboards/grafana/dashboards/{file}.json")).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(
                panel["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{title}: no description"
            );
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{title}: no unit"
            );
            for target in panel["targets"].as_array().unwrap() {
                queries.push(Query {
                    place: format!("{file}: {title}: {}", target["refId"].as_str().unwrap()),
                    source: target["datasource"]["uid"].as_str().unwrap().to_owned(),
                    expression: target["expr"]
                        .as_str()
                        .unwrap()
                        .replace("$district", ".*")
                        .replace("$site", ".*"),
                });
            }
        }
    }
    queries
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            encoded + &char::from(byte).to_string()
        }
        _ => format!("{encoded}%{byte:02X}"),
    })
}

/// The number of series in the answer of a server that speaks Prometheus' API.
fn series(server: SocketAddr, expression: &str) -> Result<usize, String> {
    let answer: Response = get(server, &format!("/api/v1/query?query={}", encoded(expression)))?;
    let json = answer.json();
    if json["status"] != "success" {
        return Err(format!("{expression}: {}", answer.body));
    }
    Ok(json["data"]["result"].as_array().map_or(0, Vec::len))
}

/// How long until the first quarter-hour of the day in Tehran is closed: before that nothing is known of today by quarter-hours.
fn first_quarter_closes() -> Duration {
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let since_ms = now_ms - taraz_analytics::calendar::day_bounds_ms(now_ms).0;
    Duration::from_millis(u64::try_from(25 * 60_000 - since_ms).unwrap_or(0))
}

#[test]
fn no_query_is_empty() {
    let victoria = VictoriaMetrics::start();
    let folder = tempfile::tempdir().unwrap();
    let http = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let arguments = [
        "up",
        "--demo",
        "--noon",
        "--history-days",
        "3",
        "--data",
        "data",
        "--mqtt",
        "127.0.0.1:0",
        "--http",
        &http.to_string(),
        "--influx",
        &victoria.url(),
    ];
    let mut taraz = Process::taraz(TARAZ, "up", &arguments, folder.path());
    taraz.wait_accepting(START_LIMIT, http);
    let prometheus = Prometheus::start(&format!(
        "global: {{ scrape_interval: 1s }}\n\
         scrape_configs: [{{ job_name: taraz, static_configs: [{{ targets: [\"{http}\"] }}] }}]\n"
    ));
    let queries = queries();
    assert!(queries.len() > 15);
    let limit = DEMO_LIMIT + first_quarter_closes();
    for query in &queries {
        let server = match query.source.as_str() {
            "taraz-prometheus" => prometheus.address(),
            "taraz-history" => victoria.address(),
            other => panic!("{}: no data source {other}", query.place),
        };
        wait_for(limit, &format!("a result of {}", query.place), || {
            match series(server, &query.expression) {
                Ok(0) => Err(format!("empty: {}", query.expression)),
                other => other,
            }
        });
    }
    assert!(taraz.is_running());
}

#[test]
fn the_rules_pass_their_own_tests() {
    let promtool = taraz_test_support::require("promtool");
    let output = std::process::Command::new(promtool)
        .args(["test", "rules", "dashboards/prometheus/taraz.rules.test.yml"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn alertmanager_takes_its_configuration() {
    let amtool = taraz_test_support::require("amtool");
    let output = std::process::Command::new(amtool)
        .args(["check-config", "dashboards/alertmanager/alertmanager.yml"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
