//! A simulated fault reaches a webhook through a real Prometheus and a real Alertmanager, and is resolved after the repair.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::installation::{START_LIMIT, TARAZ};
use serde_json::Value;
use taraz_test_support::{Alertmanager, Process, Prometheus, Webhook, free_port, get, wait_until};

const ALERT_LIMIT: Duration = Duration::from_secs(240);

/// The rules with their patience cut from minutes and hours to seconds; expressions stay as they are.
fn impatient_rules() -> String {
    let rules = std::fs::read_to_string("dashboards/prometheus/taraz.rules.yml").unwrap();
    let shorter = |line: &str| match line.trim_start().split_once(": ") {
        Some(("for", _)) => line.replace(line.trim_start(), "for: 3s"),
        Some(("interval", _)) => line.replace(line.trim_start(), "interval: 1s"),
        _ => line.to_owned(),
    };
    rules.lines().map(shorter).collect::<Vec<_>>().join("\n")
}

fn prometheus(
    alertmanager: &Alertmanager,
    rules: &std::path::Path,
    http: std::net::SocketAddr,
) -> Prometheus {
    Prometheus::start(&format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
         rule_files: [{}]\n\
         alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: [\"{}\"] }}] }}] }}\n\
         scrape_configs: [{{ job_name: taraz, static_configs: [{{ targets: [\"{http}\"] }}] }}]\n",
        rules.display(),
        alertmanager.address(),
    ))
}

fn alertmanager(webhook: &Webhook) -> Alertmanager {
    let config = std::fs::read_to_string("dashboards/alertmanager/alertmanager.yml").unwrap();
    let config = config
        .replace("http://127.0.0.1:9095/alerts", &webhook.url())
        .replace("group_wait: 30s", "group_wait: 1s")
        .replace("group_wait: 10s", "group_wait: 1s")
        .replace("group_interval: 5m", "group_interval: 1s");
    Alertmanager::start(&config)
}

/// A notification in which the alert has this state for this plant.
fn says(body: &Value, alert: &str, plant: &str, state: &str) -> bool {
    body["alerts"].as_array().is_some_and(|alerts| {
        alerts.iter().any(|one| {
            one["labels"]["alertname"] == alert && one["labels"]["plant"] == plant && one["status"] == state
        })
    })
}

#[test]
fn a_fault_is_named_and_its_repair_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let http = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let arguments = [
        "up",
        "--demo",
        "--noon",
        "--history-days",
        "1",
        "--data",
        "data",
        "--mqtt",
        "127.0.0.1:0",
        "--http",
        &http.to_string(),
    ];
    let mut taraz = Process::taraz(TARAZ, "up", &arguments, folder.path());
    taraz.wait_accepting(START_LIMIT, http);
    let generating = || {
        get(http, "/metrics").is_ok_and(|r| r.body.matches("\nsolar_generation_power_watts{").count() == 12)
    };
    wait_until(ALERT_LIMIT, "twelve plants that generate", generating);

    let webhook = Webhook::start();
    let alertmanager = alertmanager(&webhook);
    let rules = folder.path().join("rules.yml");
    std::fs::write(&rules, impatient_rules()).unwrap();
    let prometheus = prometheus(&alertmanager, &rules, http);
    let plant = taraz_fleet::Fleet::parse(taraz_simulator::demo::fleet_toml())
        .unwrap()
        .plants[0]
        .id
        .clone();

    let faults = folder.path().join("data/faults.toml");
    let before = std::fs::read_to_string(&faults).unwrap();
    std::fs::write(
        &faults,
        format!("[[fault]]\nplant = \"{plant}\"\nkind = \"zero_power\"\n"),
    )
    .unwrap();
    webhook.wait_for(ALERT_LIMIT, "PlantZeroPower firing", |body| {
        says(body, "PlantZeroPower", &plant, "firing")
    });
    assert!(
        prometheus
            .firing()
            .unwrap()
            .iter()
            .any(|labels| labels.get("plant") == Some(&plant))
    );

    std::fs::write(&faults, before).unwrap();
    webhook.wait_for(ALERT_LIMIT, "PlantZeroPower resolved", |body| {
        says(body, "PlantZeroPower", &plant, "resolved")
    });

    std::fs::write(
        &faults,
        format!("[[fault]]\nplant = \"{plant}\"\nkind = \"silent\"\n"),
    )
    .unwrap();
    webhook.wait_for(ALERT_LIMIT, "PlantOffline firing", |body| {
        says(body, "PlantOffline", &plant, "firing")
    });
}
