//! A fault list that is edited while the simulator runs, delays, and inverters that sleep.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of their functions"
)]

mod common;

use std::time::{Duration, Instant};

use common::{NOON_MS, SIMULATION, set_clock, start};
use taraz_simulator::{Options, Simulation, Simulator, StartError};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Context, rtu};
use tokio_modbus::prelude::{ExceptionCode, Reader as _, Slave, SlaveContext as _};
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(15);
const SILENCE: Duration = Duration::from_millis(300);

async fn connect(address: std::net::SocketAddr, unit: u8) -> Context {
    rtu::attach_slave(TcpStream::connect(address).await.unwrap(), Slave(unit))
}

/// Asks until the answer is as wanted.
async fn until(address: std::net::SocketAddr, unit: u8, wanted: impl Fn(&Answer) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // A late answer to the request before would be taken for this one's: a connection each.
        let mut client = connect(address, unit).await;
        let answer = match timeout(SILENCE, client.read_input_registers(0, 33)).await {
            Err(_) => Answer::Silence,
            Ok(Ok(Ok(registers))) => Answer::Registers(registers),
            Ok(Ok(Err(code))) => Answer::Exception(code),
            Ok(Err(error)) => panic!("{error}"),
        };
        if wanted(&answer) {
            return;
        }
        assert!(Instant::now() < deadline, "it stayed {answer:?}");
        tokio::task::yield_now().await;
    }
}

#[derive(Debug)]
enum Answer {
    Silence,
    Registers(Vec<u16>),
    Exception(ExceptionCode),
}

#[tokio::test]
async fn a_fault_list_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.toml");
    let fault = |kind: &str| format!("[[fault]]\nplant = \"plant-1\"\nunit = 3\nkind = \"{kind}\"\n");
    std::fs::write(&path, "").unwrap();
    // The wall clock's noon: the fault holds from now on, and it is light.
    let offset_ms = NOON_MS - jiff::Timestamp::now().as_millisecond();
    let options = Options {
        faults: Some(path.clone()),
        offset_ms,
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let bus = started.address("bus-1");
    let power = |answer: &Answer| match answer {
        Answer::Registers(registers) => Some(u32::from(registers[11]) << 16 | u32::from(registers[12])),
        _ => None,
    };
    until(bus, 3, |answer| power(answer).is_some_and(|power| power > 0)).await;
    std::fs::write(&path, fault("silent")).unwrap();
    until(bus, 3, |answer| matches!(answer, Answer::Silence)).await;
    std::fs::write(&path, fault("busy")).unwrap();
    until(bus, 3, |answer| {
        matches!(answer, Answer::Exception(ExceptionCode::ServerDeviceBusy))
    })
    .await;
    // A bad edit changes nothing.
    std::fs::write(&path, fault("bizarre")).unwrap();
    until(bus, 3, |answer| {
        matches!(answer, Answer::Exception(ExceptionCode::ServerDeviceBusy))
    })
    .await;
    std::fs::write(&path, fault("zero_power")).unwrap();
    until(bus, 3, |answer| power(answer) == Some(0)).await;
    std::fs::write(&path, "").unwrap();
    until(bus, 3, |answer| power(answer).is_some_and(|power| power > 0)).await;
    started.stop().await;
}

#[tokio::test]
async fn a_bad_fault_list_stops_it_before_a_socket_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("faults.toml");
    std::fs::write(&path, "[[fault]]\nplant = \"nowhere\"\nkind = \"silent\"").unwrap();
    let start = async |path: &std::path::Path| {
        let simulation = Simulation::parse(SIMULATION, None).unwrap();
        let options = Options {
            faults: Some(path.to_owned()),
            ..Options::default()
        };
        Simulator::start(simulation, options, CancellationToken::new())
            .await
            .err()
            .unwrap()
    };
    let error = start(&path).await;
    assert_eq!(
        error.to_string(),
        format!(
            "{}: line 2: fault.plant: found \"nowhere\"; allowed: one of plant-1",
            path.display()
        )
    );
    assert!(matches!(
        start(&folder.path().join("missing.toml")).await,
        StartError::ReadFaults { .. }
    ));
}

#[tokio::test]
async fn an_answer_takes_its_time_but_not_in_simulated_time() {
    let slow = SIMULATION.replace("kind = \"growatt\"", "kind = \"growatt\"\ndelay_ms = 250");
    let started = start(
        &slow,
        Options {
            follow_clock: true,
            ..Options::default()
        },
    )
    .await;
    let mut client = connect(started.address("bus-1"), 3).await;
    let asked = Instant::now();
    client.read_input_registers(0, 1).await.unwrap().unwrap();
    assert!(asked.elapsed() >= Duration::from_millis(250));
    set_clock(&mut client, NOON_MS).await;
    client.set_slave(Slave(3));
    let asked = Instant::now();
    for _ in 0..20 {
        client.read_input_registers(0, 1).await.unwrap().unwrap();
    }
    assert!(asked.elapsed() < Duration::from_millis(20 * 250));
    started.stop().await;
}

#[tokio::test]
async fn an_inverter_that_is_silent_at_night_answers_by_day() {
    let silent = SIMULATION.replace("kind = \"growatt\"", "kind = \"growatt\"\nnight = \"silent\"");
    let started = start(
        &silent,
        Options {
            follow_clock: true,
            ..Options::default()
        },
    )
    .await;
    let mut client = connect(started.address("bus-1"), 3).await;
    set_clock(&mut client, NOON_MS + 12 * 3_600_000).await;
    client.set_slave(Slave(3));
    let answer = client.read_input_registers(0, 33).await.unwrap();
    assert_eq!(
        answer.unwrap_err(),
        ExceptionCode::GatewayTargetDevice,
        "silence, said at once"
    );
    set_clock(&mut client, NOON_MS).await;
    client.set_slave(Slave(3));
    let registers = timeout(DEADLINE, client.read_input_registers(0, 33))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(registers[0], 1, "normal");
    started.stop().await;
}
