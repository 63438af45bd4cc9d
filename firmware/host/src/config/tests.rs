//! What parses, and what every refusal says.

use super::*;

#[test]
fn the_example_parses() {
    let config = DeviceConfig::parse(example_config()).unwrap();
    assert_eq!(config.device.as_str(), "sari-01");
    assert_eq!(config.meters.len(), 2);
}

#[test]
fn every_key_of_the_example_is_known_and_none_is_missing() {
    let keys: Vec<&str> = example_config()
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(" = "))
        .map(|(key, _)| key.trim())
        .collect();
    for key in [
        "device",
        "key_generation",
        "key_file",
        "key",
        "bus",
        "broker",
        "state",
        "poll_interval_s",
        "response_timeout_ms",
        "retries",
        "queue_records",
        "clock_error_ms",
        "keep_alive_s",
        "ack_timeout_s",
        "history",
        "address",
        "driver",
    ] {
        assert!(keys.contains(&key), "the example does not explain {key}");
    }
}

fn with(change: impl Fn(&mut toml::Table)) -> String {
    let mut table: toml::Table = example_config().parse().unwrap();
    change(&mut table);
    DeviceConfig::parse(&table.to_string()).unwrap_err().to_string()
}

#[test]
fn a_wrong_value_names_key_value_and_what_is_allowed() {
    let set = |key: &'static str, value: toml::Value| {
        with(move |table| {
            table.insert(key.into(), value.clone());
        })
    };
    for (key, value, shown) in [
        (
            "device",
            toml::Value::from("Sari 1"),
            "device = Sari 1: a device id is",
        ),
        ("poll_interval_s", 0.0.into(), "poll_interval_s = 0: 0.2 to 86400"),
        ("poll_interval_s", f64::NAN.into(), "0.2 to 86400"),
        ("bus", "tcp:nowhere".into(), "bus = \"tcp:nowhere\": "),
        ("broker", "http://x".into(), "broker = \"http://x\": "),
        ("retries", 9.into(), "retries = 9: 0 to 5"),
        ("queue_records", 1.into(), "queue_records = 1: 256 to"),
        ("keep_alive_s", 1.into(), "10 to 3600"),
        ("poll_intervall_s", 1.into(), "poll_intervall_s"),
        ("key", "ab".into(), "either key or key_file"),
    ] {
        let message = set(key, value);
        assert!(message.contains(shown), "{key}: {message}");
    }
    let message = with(|table| {
        table.remove("key_file");
        table.insert("key".into(), "secret".into());
    });
    assert!(
        message.contains("64 hexadecimal digits") && !message.contains("secret"),
        "{message}"
    );
}

#[test]
fn a_history_must_fit() {
    let history = |days: i64, step_s: i64| {
        with(move |table| {
            let mut history = toml::Table::new();
            history.insert("days".into(), days.into());
            history.insert("step_s".into(), step_s.into());
            table.insert("bus".into(), "tcp://127.0.0.1:5020".into());
            table.insert("history".into(), history.into());
        })
    };
    assert!(history(0, 300).contains("history.days = 0"));
    assert!(history(30, 7).contains("history.step_s = 7"));
    assert!(history(366, 60).contains("so that the history fits"));
}
