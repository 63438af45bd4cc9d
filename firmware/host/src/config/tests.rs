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
            "device: found \"Sari 1\"; allowed: a device id is",
        ),
        (
            "poll_interval_s",
            0.0.into(),
            "poll_interval_s: found 0.0; allowed: 0.2 to 86400",
        ),
        ("poll_interval_s", f64::NAN.into(), "0.2 to 86400"),
        (
            "bus",
            "tcp:nowhere".into(),
            "bus: found \"tcp:nowhere\"; allowed: tcp://HOST:PORT",
        ),
        (
            "broker",
            "http://x".into(),
            "broker: found \"http://x\"; allowed: mqtt://HOST",
        ),
        ("retries", 9.into(), "retries: found 9; allowed: 0 to 5"),
        (
            "queue_records",
            1.into(),
            "queue_records: found 1; allowed: 256 to 50000000",
        ),
        ("keep_alive_s", 1.into(), "10 to 3600"),
        (
            "poll_intervall_s",
            1.into(),
            "poll_intervall_s: found a key that does not exist; allowed: here one of device",
        ),
        (
            "retries",
            "often".into(),
            "retries: found \"often\"; allowed: 0 to 5, as 1",
        ),
        ("retries", (-1).into(), "retries: found -1; allowed: 0 to 5, as 1"),
        (
            "ack_timeout_s",
            0.into(),
            "ack_timeout_s: found 0; allowed: 1 to 3600 seconds",
        ),
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
    assert!(history(0, 300).contains("history.days: found 0;"));
    assert!(history(30, 7).contains("history.step_s: found 7;"));
    assert!(history(366, 60).contains("so that the history fits"));
}

#[test]
fn a_mistake_has_its_line_and_a_bound_is_told_as_it_is() {
    use super::keys;
    let text = example_config().replace("address = 2", "address = 1");
    let line = example_config()
        .lines()
        .position(|line| line == "address = 2")
        .unwrap()
        + 1;
    let mistake = DeviceConfig::parse(&text).unwrap_err();
    assert_eq!((mistake.line, mistake.key.as_str()), (line, "meter.address"));
    for (said, bound) in [
        (keys::QUEUE, QUEUE_RECORDS_MIN),
        (keys::QUEUE, QUEUE_RECORDS_MAX),
        (keys::RETRIES, RETRIES_MAX.into()),
        (keys::HISTORY_DAYS, HISTORY_DAYS_MAX),
        (keys::HISTORY_STEP, HISTORY_STEP_S_MIN),
        (keys::POLL_INTERVAL, taraz_firmware::POLL_INTERVAL_MS_MAX / 1_000),
    ] {
        assert!(said.contains(&bound.to_string()), "{said}: {bound}");
    }
}

#[test]
fn the_keys_file_is_read_with_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let read = || DeviceConfig::read("sari.toml", example_config(), folder.path());
    let missing = read().unwrap_err().to_string();
    assert!(
        missing.starts_with("sari.toml: line 7: key_file: found \"sari-01.key\"; allowed: a file with"),
        "{missing}"
    );
    let path = folder.path().join("sari-01.key");
    std::fs::write(&path, "sesame").unwrap();
    let wrong = read().unwrap_err().to_string();
    assert!(
        wrong.contains("64 hexadecimal digits") && !wrong.contains("sesame"),
        "{wrong}"
    );
    std::fs::write(&path, "00".repeat(32)).unwrap();
    assert_eq!(read().unwrap().state, folder.path().join("state/sari-01"));
}
