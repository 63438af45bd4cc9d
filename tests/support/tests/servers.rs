//! Every server starts, serves and is asked, for real.

use std::process::Command;
use std::time::Duration;

use taraz_test_support::{
    Alertmanager, Influxd, Mosquitto, MosquittoOptions, Prometheus, VictoriaMetrics, Webhook, request,
    require, wait_for,
};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a Mosquitto client to its end; gives whether it succeeded and what it printed.
fn client(program: &str, broker: &Mosquitto, arguments: &[&str]) -> (bool, String) {
    let port = broker.address().port().to_string();
    let output = Command::new(require(program))
        .args(["-h", "127.0.0.1", "-p", &port, "-V", "mqttv5", "-q", "1"])
        .args(arguments)
        .output()
        .expect("a client that starts");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
fn mosquitto_keeps_retained_messages_over_a_restart() {
    let mut broker = Mosquitto::start(MosquittoOptions::default());
    assert!(client("mosquitto_pub", &broker, &["-t", "a/b", "-m", "kept", "-r"]).0);
    let address = broker.address();
    broker.stop();
    broker.start_again();
    assert_eq!(broker.address(), address);
    let (_, output) = client("mosquitto_sub", &broker, &["-t", "a/#", "-C", "1", "-W", "20"]);
    assert_eq!(output, "kept\n");
    broker.kill();
    broker.start_again();
    assert!(broker.process().is_running());
}

#[test]
fn mosquitto_lets_in_only_whom_it_knows() {
    let users = vec![("sari-01".to_owned(), "secret".to_owned())];
    let broker = Mosquitto::start(MosquittoOptions {
        users,
        more: String::new(),
    });
    let publish = |password| {
        client(
            "mosquitto_pub",
            &broker,
            &["-t", "a", "-m", "b", "-u", "sari-01", "-P", password],
        )
        .0
    };
    assert!(publish("secret"));
    assert!(!publish("wrong"));
    assert!(!client("mosquitto_pub", &broker, &["-t", "a", "-m", "b"]).0);
}

/// Prometheus evaluates a rule, Alertmanager routes it, the webhook receives it.
#[test]
fn an_alert_goes_from_prometheus_to_the_webhook() {
    let webhook = Webhook::start();
    let alertmanager = Alertmanager::start(&format!(
        "route: {{receiver: test, group_wait: 0s}}\nreceivers: [{{name: test, webhook_configs: [{{url: '{}'}}]}}]\n",
        webhook.url()
    ));
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yml");
    std::fs::write(
        &rules,
        "groups: [{name: g, rules: [{alert: Always, expr: vector(1)}]}]",
    )
    .unwrap();
    let prometheus = Prometheus::start(&format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{address}']}}]}}]}}\n\
         scrape_configs: [{{job_name: alertmanager, static_configs: [{{targets: ['{address}']}}]}}]\n",
        rules.display(),
        address = alertmanager.address(),
    ));
    let sample = wait_for(LIMIT, "a scraped target", || match prometheus.query("up == 1") {
        Ok(samples) => samples.first().cloned().ok_or_else(|| "no sample".to_owned()),
        Err(error) => Err(error),
    });
    assert_eq!(
        (sample.labels["job"].as_str(), sample.value),
        ("alertmanager", 1.0)
    );
    assert_eq!(prometheus.query("1 + 1").unwrap()[0].value, 2.0);
    assert!(prometheus.query("up{").unwrap_err().contains("parse error"));
    let now_s = prometheus.query("time()").unwrap()[0].value;
    assert!(
        !prometheus
            .query_range("up", now_s - 60.0, now_s, 1)
            .unwrap()
            .is_empty()
    );
    let body = webhook.wait_for(LIMIT, "the alert", |body| body["status"] == "firing");
    assert_eq!(body["alerts"][0]["labels"]["alertname"], "Always");
    assert_eq!(prometheus.firing().unwrap()[0]["alertname"], "Always");
    std::fs::write(&rules, "groups: []").unwrap();
    prometheus.reload();
    assert!(prometheus.firing().unwrap().is_empty());
}

#[test]
fn victoria_metrics_takes_line_protocol_and_gives_it_back() {
    let server = VictoriaMetrics::start();
    let line = b"reading,plant=sari,device=sari-01 ac_power_w=1500i 1700000000000";
    let path = "/api/v2/write?org=taraz&bucket=taraz&precision=ms";
    assert_eq!(
        request("POST", server.address(), path, &[], line).unwrap().status,
        204
    );
    let series = server.export("reading_ac_power_w");
    assert_eq!(series.len(), 1, "{series:?}");
    assert_eq!(series[0]["values"][0], 1500);
    assert_eq!(series[0]["timestamps"][0], 1_700_000_000_000_i64);
    assert_eq!(series[0]["metric"]["device"], "sari-01");
}

#[test]
fn influxd_is_strict() {
    let server = Influxd::start();
    server.create_database("taraz");
    assert_eq!(
        server
            .write("taraz", "reading,plant=sari ac_power_w=1500i 1700000000000")
            .status,
        204
    );
    let refused = server.write("taraz", "reading,plant=sari ac_power_w=NaN 1700000000001");
    assert_eq!(refused.status, 400, "{}", refused.body);
    let answer = server.query("taraz", "SELECT ac_power_w FROM reading");
    let values = &answer["results"][0]["series"][0]["values"];
    assert_eq!(
        values,
        &serde_json::json!([[1_700_000_000_000_i64, 1500]]),
        "{answer}"
    );
}
