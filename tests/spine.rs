//! The whole path, every part its own process, twelve devices with thirty days in their queues: what the simulator's
//! journal says it served is what is stored, value by value, whatever is killed in the middle.

mod common;

use std::time::Duration;

use common::installation::{Installation, Way};
use common::oracle::{self, Journal, Stored};
use taraz_simulator::demo;
use taraz_telemetry::DeviceId;
use taraz_test_support::{Mosquitto, MosquittoOptions, Process, Signal, wait_for};

const HISTORY_DAYS: u32 = 30;
/// Generous: two cores may be busy with other tests, in an unoptimised build.
const BACKFILL_LIMIT: Duration = Duration::from_secs(600);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// The processes of a run, but for gateway and ingest, which are killed in between.
struct Field {
    devices: Vec<Process>,
    simulator: Process,
}

fn start_field(installation: &Installation) -> Field {
    let (simulator, buses) = installation.start_simulator(demo::simulation_toml());
    let start = |(device, bus): (&String, &String)| {
        installation.start_device(&DeviceId::new(device).unwrap(), bus, HISTORY_DAYS)
    };
    let devices: Vec<_> = buses.iter().map(start).collect();
    assert_eq!(devices.len(), 12);
    Field { devices, simulator }
}

/// Every reading that arrives is stored; waits until at least `readings` are.
fn wait_stored(installation: &Installation, readings: f64) {
    wait_for(BACKFILL_LIMIT, "readings in the store", || {
        let stored = oracle::stored_so_far(&installation.store());
        if stored >= readings { Ok(()) } else { Err(format!("{stored} of {readings}")) }
    });
}

/// Stops everything from the source on, so that nothing is under way, and reads both sides.
fn finish(installation: &Installation, field: Field, gateway: Process, ingest: Process) -> (Journal, Stored) {
    let Field { devices, mut simulator } = field;
    wait_for(BACKFILL_LIMIT, "empty queues on all devices", || {
        let busy: Vec<_> = devices.iter().filter(|device| !device.output().contains("history delivered")).collect();
        if busy.is_empty() { Ok(()) } else { Err(format!("{} devices still have history", busy.len())) }
    });
    for mut process in devices {
        process.signal(Signal::Interrupt);
        assert!(process.wait(STOP_LIMIT).success());
    }
    wait_for(BACKFILL_LIMIT, "an empty spool", || {
        let backlog = installation.gateway_metric("gateway_backlog_frames", "");
        if backlog == 0.0 { Ok(()) } else { Err(format!("{backlog} frames")) }
    });
    for mut process in [gateway, ingest] {
        process.signal(Signal::Terminate);
        assert!(process.wait(STOP_LIMIT).success());
    }
    simulator.signal(Signal::Interrupt);
    assert!(simulator.wait(STOP_LIMIT).success());
    (oracle::journal(&installation.journal()), oracle::store(&installation.store()))
}

fn assert_whole(journal: &Journal, stored: &Stored) {
    let (polls, values) = oracle::assert_equal_history(journal, &stored.polls);
    println!("{polls} polls with {values} values equal, {} records", stored.records);
    assert!(polls > 100_000, "only {polls} polls: the history is missing");
    assert_eq!((stored.repeated, stored.conflicts, stored.held), (0, 0, 0), "repeated, conflicts, held");
}

#[test]
fn thirty_days_through_mosquitto_with_kills() {
    let mosquitto = Mosquitto::start(MosquittoOptions::default());
    let installation = Installation::new(demo::fleet_toml(), Way::Broker(mosquitto.url()));
    let mut ingest = installation.start_ingest();
    let mut gateway = installation.start_gateway();
    let field = start_field(&installation);

    wait_stored(&installation, 20_000.0);
    gateway.kill();
    let mut gateway = installation.start_gateway();
    wait_stored(&installation, 60_000.0);
    ingest.kill();
    ingest = installation.start_ingest();
    wait_stored(&installation, 100_000.0);
    assert!(gateway.is_running());

    let (journal, stored) = finish(&installation, field, gateway, ingest);
    assert_whole(&journal, &stored);
}
