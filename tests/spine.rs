//! The whole path, every part its own process, twelve devices with thirty days in their queues: what the simulator's
//! journal says it served is what is stored, value by value, whatever is killed in the middle.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use common::field::{
    Field, assert_energy_is_the_sources, assert_whole, end_services, wait_forwarded, wait_stored,
};
use common::fleet::{PYTHON_DEVICE, demo_with_python};
use common::installation::{Installation, Way};
use common::oracle;
use taraz_simulator::demo;
use taraz_telemetry::DeviceId;
use taraz_test_support::{Mosquitto, MosquittoOptions, Process};

const PYTHON_LIMIT: Duration = Duration::from_secs(300);
const PYTHON_READINGS: usize = 3_000;

#[test]
fn thirty_days_through_mosquitto_with_kills() {
    let mosquitto = Mosquitto::start(MosquittoOptions::default());
    let installation = Installation::new(demo::fleet_toml(), Way::Broker(mosquitto.url()));
    let mut ingest = installation.start_ingest();
    let mut gateway = installation.start_gateway();
    let mut field = Field::start(&installation);

    wait_stored(&installation, 20_000.0);
    gateway.kill();
    let gateway = installation.start_gateway();
    wait_stored(&installation, 60_000.0);
    ingest.kill();
    let ingest = installation.start_ingest();

    field.deliver();
    wait_forwarded(&installation);
    assert_energy_is_the_sources(&installation);
    let stored = end_services(&installation, gateway, ingest);
    assert_whole(&field.end(&installation), &stored);
}

#[test]
fn thirty_days_through_our_own_door_with_kills_and_a_python_device_beside() {
    let installation = Installation::new(&demo_with_python(), Way::Door);
    let mut ingest = installation.start_ingest();
    let mut gateway = installation.start_gateway();
    let mut field = Field::start(&installation);
    let mut python = start_python(&installation);

    wait_stored(&installation, 20_000.0);
    ingest.kill();
    let ingest = installation.start_ingest();
    wait_stored(&installation, 60_000.0);
    gateway.kill();
    let gateway = installation.start_gateway();

    assert!(python.wait(PYTHON_LIMIT).success(), "{}", python.output());
    field.deliver();
    wait_forwarded(&installation);
    assert_energy_is_the_sources(&installation);
    let stored = end_services(&installation, gateway, ingest);
    assert_python_is_whole(&installation);
    let journal = field.end(&installation);
    let mut simulated = stored;
    simulated.polls.retain(|(device, _), _| device != PYTHON_DEVICE);
    assert_whole(&journal, &simulated);
}

fn start_python(installation: &Installation) -> Process {
    let device = DeviceId::new(PYTHON_DEVICE).unwrap();
    let key = installation.master.device_key(&device, 1);
    let key = key
        .bytes()
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/taraz_device.py");
    let mut command = Command::new(taraz_test_support::python());
    command.current_dir(installation.folder()).args([
        "-B",
        script,
        "--device",
        PYTHON_DEVICE,
        "--key-hex",
        &key,
    ]);
    command.args([
        "--port",
        &installation.mqtt_port().to_string(),
        "--readings",
        &PYTHON_READINGS.to_string(),
    ]);
    command.args(["--rate", "100", "--ack-timeout-s", "5", "--deadline-s", "240"]);
    command.args(["--state", "python.state", "--out", "python.jsonl"]);
    Process::start("python", &mut command, &installation.folder().join("python.log"))
}

/// What the Python device says it wrote is what is stored under the same identities.
fn assert_python_is_whole(installation: &Installation) {
    let written = std::fs::read_to_string(installation.folder().join("python.jsonl")).unwrap();
    let number = |line: &serde_json::Value, key: &str| line[key].as_i64().unwrap();
    let written: BTreeMap<_, _> = written
        .lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let identity = (
                number(&line, "incarnation"),
                number(&line, "boot"),
                number(&line, "sequence"),
            );
            (identity, line["record"].as_object().unwrap().clone())
        })
        .collect();
    let stored = oracle::records_of(&installation.store(), PYTHON_DEVICE);
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        stored.keys().collect::<Vec<_>>(),
        "identities"
    );
    assert!(written.len() > PYTHON_READINGS);
    let mut values = 0;
    for (identity, written) in &written {
        let stored = &stored[identity];
        assert_eq!(
            written.get("ms").and_then(serde_json::Value::as_i64),
            stored.at_ms,
            "{identity:?}"
        );
        for (name, value) in written
            .get("values")
            .and_then(|v| v.as_object())
            .into_iter()
            .flatten()
        {
            assert_eq!(
                value.as_i64(),
                stored.values.get(name).copied(),
                "{identity:?}: {name}"
            );
            values += 1;
        }
    }
    println!(
        "{} records with {values} values of the Python device equal",
        written.len()
    );
}
