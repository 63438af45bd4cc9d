//! `taraz device scan` finds on every bus of the simulated fleet what the registry says is there: the simulator knows
//! nothing of how the firmware recognises a meter.

// clippy.toml allows it in tests, but does not take the helpers of an integration test for one.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use taraz_fleet::Fleet;
use taraz_simulator::{Options, Simulation, Simulator, demo};
use tokio_util::sync::CancellationToken;

const DAY_MS: i64 = 86_400_000;
/// 12:00 in Tehran.
const NOON_MS: i64 = 30_600_000;

/// What the clock must be ahead so that it is noon: at night inverters sleep.
fn until_noon_ms() -> i64 {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    (NOON_MS - i64::try_from(now_ms).unwrap()).rem_euclid(DAY_MS)
}

fn scan(bus: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_taraz"))
        .args(["device", "scan", bus])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The units that a search names, with how they are read, and all that it said.
fn found(child: Child) -> (BTreeSet<(u8, String)>, String) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let unit = |line: &str| {
        let (address, rest) = line.strip_prefix("unit ")?.trim_start().split_once(' ')?;
        let driver = rest.trim_start().split(',').next()?;
        Some((address.parse().unwrap(), driver.to_owned()))
    };
    (said.lines().filter_map(unit).collect(), said)
}

#[test]
fn a_bus_that_is_not_there_says_what_to_look_for() {
    for (bus, part) in [
        ("serial:/dev/no-such-line", "is the adaptor plugged in?"),
        (
            "tcp://127.0.0.1:1",
            "is it the address and port of the RS-485 gateway?",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_taraz"))
            .args(["device", "scan", bus])
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && told.contains(part), "{told}");
    }
}

#[test]
fn every_bus_of_the_fleet_is_recognised() {
    let fleet = Fleet::parse(demo::fleet_toml()).unwrap();
    let simulation = Simulation::read("simulation.toml", demo::simulation_toml(), &fleet).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stop = CancellationToken::new();
    let options = Options {
        pty: true,
        offset_ms: until_noon_ms(),
        ..Options::default()
    };
    let running = runtime
        .block_on(Simulator::start(simulation, options, stop.clone()))
        .unwrap();
    // One bus by its serial side, the others over TCP, all at once: a search waits for silent addresses most of its time.
    let serial = running.ptys.keys().next().unwrap().clone();
    let searches: BTreeMap<_, _> = running
        .buses
        .iter()
        .map(|(device, address)| {
            let bus = if *device == serial {
                format!("serial:{}", running.ptys[device])
            } else {
                format!("tcp://{address}")
            };
            (device.to_string(), scan(&bus))
        })
        .collect();
    let mut devices = 0;
    for (device, child) in searches {
        let (units, said) = found(child);
        let registered = fleet.devices().find(|found| found.device.id.as_str() == device);
        let expected: BTreeSet<_> = registered
            .unwrap()
            .device
            .meters
            .iter()
            .map(|meter| (meter.address.get(), meter.driver.as_str().to_owned()))
            .collect();
        assert_eq!(units, expected, "{device}:\n{said}");
        devices += 1;
    }
    assert_eq!(devices, fleet.devices().count());
    stop.cancel();
    runtime.block_on(running.stopped()).unwrap();
}

#[test]
fn a_bus_that_is_not_there_is_an_error_with_its_name() {
    let output = scan("serial:/dev/no-such-line").wait_with_output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("/dev/no-such-line"), "{said}");
}
