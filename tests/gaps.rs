//! The gap ledger of a real installation: its sums are the device's own queue and the simulator's journal, when a queue was too small
//! for an outage and when one was wiped.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::field::{STOP_LIMIT, stop_services, wait_forwarded};
use common::installation::{Installation, Way};
use common::ledger::{Ledger, QueueLeft};
use common::oracle;
use taraz_simulator::demo;
use taraz_telemetry::DeviceId;
use taraz_test_support::{Process, Road, Signal, Traffic, get, wait_for};

/// Generous for a busy computer.
const LIMIT: Duration = Duration::from_secs(300);
const SMALL: &str = "sari-01";
const WIPED: &str = "sari-02";
const HISTORY_DAYS: u32 = 8;
/// Frames that were damaged are refused, and come again much later: holes.
const BAD: Traffic = Traffic::Corrupt { one_in: 6 };

fn state(installation: &Installation, device: &str) -> PathBuf {
    installation.folder().join(format!("device-{device}"))
}

fn device_id(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

/// What ingest says of a device, as soon as it is as wanted.
fn wait_ledger(
    installation: &Installation,
    device: &str,
    what: &str,
    wanted: impl Fn(&Ledger) -> bool,
) -> Ledger {
    wait_for(LIMIT, what, || {
        let answer = get(installation.http, &format!("/api/v1/gaps?device={device}"))?;
        let answer = answer.json();
        let Some(found) = answer["devices"].get(0) else {
            return Err(format!("{answer}"));
        };
        let ledger = Ledger::of(found);
        if wanted(&ledger) {
            Ok(ledger)
        } else {
            Err(format!(
                "written {}, stored {}, held {}, pending {}, dropped {}, unknown {}",
                ledger.written, ledger.stored, ledger.held, ledger.pending, ledger.dropped, ledger.unknown
            ))
        }
    })
}

fn end(mut device: Process) {
    device.signal(Signal::Interrupt);
    assert!(device.wait(STOP_LIMIT).success());
}

/// How many polls of the history the journal says were answered, and how many of them are stored.
fn served_and_stored(installation: &Installation, device: &str) -> (usize, usize) {
    let journal = oracle::journal(&installation.journal());
    let stored = oracle::store(&installation.store());
    let count = |polls: &oracle::Polls| -> usize {
        let of_device = polls.iter().filter(|(meter, _)| meter.0 == device);
        let of_history =
            of_device.map(|(meter, polls)| polls.range(..journal.history_until_ms(meter)).count());
        of_history.sum()
    };
    (count(&journal.polls), count(&stored.polls))
}

#[test]
fn what_a_small_queue_overwrote_and_what_a_wipe_took_is_told_apart() {
    let mut installation = Installation::new(demo::fleet_toml(), Way::Door);
    let road = Road::start_mqtt(([127, 0, 0, 1], installation.mqtt_port()).into());
    installation.set_road(road.address());
    let ingest = installation.start_ingest();
    let (mut simulator, buses) = installation.start_simulator(demo::simulation_toml());
    let started: Vec<_> = [SMALL, WIPED]
        .map(|id| {
            (
                id,
                installation.start_device(&device_id(id), &buses[id], HISTORY_DAYS),
            )
        })
        .into();

    // Without a gateway the histories stay on the devices, and they go on with the present.
    for (id, mut device) in started {
        device.wait_for_output(LIMIT, "history read; polling live");
        device.kill();
        let room = if id == SMALL { 256 } else { 500_000 };
        let live = format!("poll_interval_s = 1\nqueue_records = {room}\n");
        installation.configure_device(&device_id(id), &buses[id], &live);
    }
    let mut small = installation.run_device(&device_id(SMALL));
    small.wait_for_output(LIMIT, "the queue is full");
    let gateway = installation.start_gateway();

    // The small queue: everything that is left comes, the rest is named.
    wait_ledger(
        &installation,
        SMALL,
        "a ledger without anything pending",
        |ledger| ledger.dropped > 1_000 && ledger.pending == 0,
    );
    end(small);

    // The other one is wiped while its history has holes.
    road.set(BAD);
    let mut wiped = installation.run_device(&device_id(WIPED));
    wait_ledger(&installation, WIPED, "a history with holes", |ledger| {
        ledger.pending > 20
    });
    wiped.kill();
    wait_forwarded(&installation);
    let left = QueueLeft::read(&state(&installation, WIPED));
    let before = Ledger::ask(&installation, WIPED);
    left.assert_is(&before);
    assert_eq!(before.unknown, 0);
    assert!(before.pending > 0, "the holes were filled just then");
    std::fs::remove_dir_all(state(&installation, WIPED).join("queue")).unwrap();
    road.set(Traffic::Free);
    let wiped = installation.run_device(&device_id(WIPED));
    let after = wait_ledger(&installation, WIPED, "the wiped device", |ledger| {
        ledger.unknown > 0
    });
    // The road may have held a frame when the device was killed: it was delivered all the same.
    let (unknown, pending) = (after.identities("unknown"), before.identities("pending"));
    assert!(unknown.is_subset(&pending), "{:?}", unknown.difference(&pending));
    end(wiped);

    wait_forwarded(&installation);
    stop_services(gateway, ingest);
    end_simulator(&mut simulator);
    assert_small_is_whole(&installation);
    assert_wiped_is_told(&installation, &before);
}

fn end_simulator(simulator: &mut Process) {
    simulator.signal(Signal::Interrupt);
    assert!(simulator.wait(STOP_LIMIT).success());
}

fn assert_small_is_whole(installation: &Installation) {
    let ledger = Ledger::ask(installation, SMALL);
    QueueLeft::read(&state(installation, SMALL)).assert_is(&ledger);
    assert_eq!((ledger.pending, ledger.unknown, ledger.held), (0, 0, 0));
    let (served, stored) = served_and_stored(installation, SMALL);
    let lost = served - stored;
    // Beside the history a few records of other kinds and of the present may have been overwritten.
    println!(
        "{served} polls served, {stored} stored, {} records named as dropped",
        ledger.dropped
    );
    assert!(ledger.dropped > 1_000);
    assert!(
        lost.abs_diff(usize::try_from(ledger.dropped).unwrap()) <= 20,
        "{lost} polls of the journal are not stored, {} records are named",
        ledger.dropped
    );
}

fn assert_wiped_is_told(installation: &Installation, before: &Ledger) {
    let ledger = Ledger::ask(installation, WIPED);
    QueueLeft::read(&state(installation, WIPED)).assert_is(&ledger);
    let (unknown, pending) = (ledger.identities("unknown"), before.identities("pending"));
    assert!(unknown.is_subset(&pending), "{:?}", unknown.difference(&pending));
    assert!(ledger.unknown > 0);
    assert_eq!((ledger.pending, ledger.dropped), (0, 0));
    println!(
        "{} records of {} unknown after the wipe",
        ledger.unknown, ledger.written
    );
}
