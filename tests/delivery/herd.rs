//! Devices that all come back at once with a backlog, beside live ones, and a gateway that is killed in the middle of it.

use taraz_load::{HerdOptions, herd};
use taraz_test_support::get;

use crate::client::LIMIT;
use crate::common::field::{stop_services, wait_forwarded};
use crate::common::installation::{Installation, Way};
use crate::common::oracle;

/// Below the open files that most shells allow.
const CONNECTIONS: usize = 400;
const LIVE: usize = 20;
const BACKLOG_READINGS: u64 = 100;

#[test]
fn a_herd_that_comes_back_at_once_loses_nothing_and_live_readings_flow() {
    let laid_out = tempfile::tempdir().unwrap();
    taraz_load::lay_out(laid_out.path(), CONNECTIONS + LIVE + 1, 1).unwrap();
    let fleet = std::fs::read_to_string(laid_out.path().join("fleet.toml")).unwrap();
    // The same key as every installation of a test has.
    let installation = Installation::new(&fleet, Way::Door);
    let ingest = installation.start_ingest();
    let mut gateway = Some(installation.start_gateway());
    let options = HerdOptions {
        broker: ([127, 0, 0, 1], installation.mqtt_port()).into(),
        master_key: installation.folder().join("master.key"),
        connections: CONNECTIONS,
        backlog_readings: BACKLOG_READINGS,
        seconds: None,
        window: 7,
        live: LIVE,
        mad: 1,
        strangers: 2,
        limit_seconds: LIMIT.as_secs(),
        half_file: None,
        stored: None,
        json: None,
    };
    let mut at_half = || {
        if let Some(mut killed) = gateway.take() {
            killed.kill();
        }
        gateway = Some(installation.start_gateway());
        Ok(())
    };
    let figures = herd(&options, &mut at_half).unwrap();
    println!("{figures:#}");
    wait_forwarded(&installation);
    // Whoever was there when the gateway was killed has come again: the live ones certainly were.
    let connects = figures["connects"].as_u64().unwrap();
    assert!(connects >= (CONNECTIONS + 2 * LIVE) as u64, "{connects} connects");
    assert!(
        figures["live_publish_to_puback"]["count"].as_u64() > Some(0),
        "{figures:#}"
    );
    let page = get(installation.gateway_http(), "/metrics").unwrap().body;
    assert!(page.contains("gateway_backlog_frames 0\n"), "{page}");
    stop_services(gateway.expect("a gateway that was started again"), ingest);
    let stored = oracle::store(&installation.store());
    let polls: usize = stored.polls.values().map(std::collections::BTreeMap::len).sum();
    assert_eq!(polls as u64, figures["published_readings"].as_u64().unwrap());
    assert_eq!(
        (stored.repeated, stored.conflicts, stored.held),
        (0, 0, 0),
        "repeated, conflicts, held"
    );
    let backlog = (CONNECTIONS as u64) * BACKLOG_READINGS;
    assert_eq!(figures["backlog_readings"].as_u64(), Some(backlog));
}
