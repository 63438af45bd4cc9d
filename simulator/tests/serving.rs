//! Each kind of server, read with tokio-modbus' own client; the journal says what the client read.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests stand outside of their functions"
)]
#![allow(clippy::cast_possible_truncation, reason = "values that registers hold")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{NOON_MS, SIMULATION, Started, lines, set_clock, start};
use taraz_simulator::{Options, Simulation, Transport};
use tokio::time::timeout;
use tokio_modbus::client::{Context, rtu, tcp};
use tokio_modbus::prelude::{Client as _, ExceptionCode, Reader as _, Slave, SlaveContext as _, Writer as _};

/// Longer than any answer takes here.
const ANSWERED: Duration = Duration::from_secs(10);
/// A unit that has not answered by then is silent.
const SILENCE: Duration = Duration::from_millis(400);

async fn read(client: &mut Context, start: u16, count: u16) -> Vec<u16> {
    timeout(ANSWERED, client.read_holding_registers(start, count))
        .await
        .unwrap()
        .unwrap()
        .unwrap()
}

/// The models of a SunSpec chain with their lengths and addresses.
async fn chain(client: &mut Context, base: u16) -> Vec<(u16, u16, u16)> {
    assert_eq!(read(client, base, 2).await, [0x5375, 0x6E53]);
    let mut models = Vec::new();
    let mut at = base + 2;
    loop {
        let [id, length] = read(client, at, 2).await[..] else {
            panic!("two registers")
        };
        if id == 0xFFFF {
            assert_eq!(length, 0);
            return models;
        }
        models.push((id, length, at));
        at += 2 + length;
    }
}

/// Reads everything that the simulation serves, and compares the journal with it.
async fn reads_everything(client: &mut Context, journal: &std::path::Path, started: Started) {
    set_clock(client, NOON_MS).await;
    let mut read_here = Vec::new();
    client.set_slave(Slave(1));
    let models = chain(client, 40_000).await;
    let ids: Vec<(u16, u16)> = models.iter().map(|&(id, length, _)| (id, length)).collect();
    assert_eq!(ids, [(1, 66), (64_110, 5), (103, 50), (160, 48)]);
    for &(_, length, at) in &models {
        read_here.push((1, 3, at, read(client, at, length + 2).await));
    }
    client.set_slave(Slave(2));
    let registers = timeout(ANSWERED, client.read_input_registers(0, 76))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(
        (2_000..2_500).contains(&volts(&registers)),
        "{}",
        volts(&registers)
    );
    read_here.push((2, 4, 0, registers));
    client.set_slave(Slave(3));
    read_here.push((
        3,
        4,
        0,
        client.read_input_registers(0, 33).await.unwrap().unwrap(),
    ));
    client.set_slave(Slave(4));
    read_here.push((4, 4, 0, client.read_input_registers(0, 9).await.unwrap().unwrap()));
    client.set_slave(Slave(5));
    let meter = chain(client, 0).await;
    assert_eq!(meter.iter().map(|model| model.0).collect::<Vec<_>>(), [1, 213]);
    read_here.push((5, 3, 69, read(client, 69, 124).await));
    started.stop().await;
    let lines = lines(journal);
    for (unit, function, start, registers) in read_here {
        let found = lines.iter().find(|line| {
            line["unit"] == unit
                && line["function"] == function
                && line["start"] == start
                && line["count"] == registers.len()
        });
        let line = found.unwrap_or_else(|| panic!("no line for unit {unit}, start {start}"));
        let hex: String = registers
            .iter()
            .map(|register| format!("{register:04x}"))
            .collect();
        assert_eq!(line["hex"], hex);
        assert_eq!(line["at_ms"], NOON_MS);
        assert_eq!(line["bus"], "bus-1");
    }
    for (index, line) in lines.iter().enumerate() {
        assert_eq!(line["n"], index + 1);
    }
}

/// An SDM630's first voltage in 0.1 V.
fn volts(registers: &[u16]) -> i64 {
    let value = f32::from_bits(u32::from(registers[0]) << 16 | u32::from(registers[1]));
    (value * 10.0).round() as i64
}

#[tokio::test]
async fn rtu_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let options = Options {
        follow_clock: true,
        journal: Some(journal.clone()),
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let stream = tokio::net::TcpStream::connect(started.address("bus-1"))
        .await
        .unwrap();
    let mut client = rtu::attach(stream);
    reads_everything(&mut client, &journal, started).await;
}

#[tokio::test]
async fn rtu_over_a_pty() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let options = Options {
        follow_clock: true,
        pty: true,
        journal: Some(journal.clone()),
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let path = started.pty("bus-1");
    let stream = tokio_serial::SerialStream::open(&tokio_serial::new(path, 9_600)).unwrap();
    let mut client = rtu::attach(stream);
    reads_everything(&mut client, &journal, started).await;
}

#[tokio::test]
async fn modbus_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let transport = Transport::ModbusTcp;
    let options = Options {
        transport,
        follow_clock: true,
        journal: Some(journal.clone()),
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let mut client = tcp::connect(started.address("bus-1")).await.unwrap();
    reads_everything(&mut client, &journal, started).await;
}

#[tokio::test]
async fn noise_on_a_line_does_not_end_it() {
    use tokio::io::AsyncWriteExt as _;
    let options = Options {
        follow_clock: true,
        pty: true,
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let mut stream =
        tokio_serial::SerialStream::open(&tokio_serial::new(started.pty("bus-1"), 9_600)).unwrap();
    stream.write_all(&[0xFF; 100]).await.unwrap();
    let mut client = rtu::attach(stream);
    client.set_slave(Slave(1));
    let deadline = tokio::time::Instant::now() + ANSWERED;
    loop {
        // The first tries may fall into the noise.
        if let Ok(Ok(Ok(words))) = timeout(SILENCE, client.read_holding_registers(40_000, 2)).await {
            assert_eq!(words, [0x5375, 0x6E53]);
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the line never came back");
    }
    started.stop().await;
}

#[tokio::test]
async fn whoever_is_not_there_does_not_answer() {
    let started = start(SIMULATION, Options::default()).await;
    let stream = tokio::net::TcpStream::connect(started.address("bus-1"))
        .await
        .unwrap();
    let mut client = rtu::attach_slave(stream, Slave(99));
    assert!(
        timeout(SILENCE, client.read_holding_registers(40_000, 2))
            .await
            .is_err(),
        "no unit 99"
    );
    client.set_slave(Slave(1));
    assert_eq!(
        read(&mut client, 40_000, 2).await,
        [0x5375, 0x6E53],
        "the bus goes on"
    );
    // Without the option there is no bus clock either.
    client.set_slave(Slave(247));
    assert!(
        timeout(SILENCE, client.write_multiple_registers(0, &[0, 0, 0, 0]))
            .await
            .is_err()
    );
    started.stop().await;
}

#[tokio::test]
async fn what_can_not_be_read_is_an_exception() {
    let started = start(SIMULATION, Options::default()).await;
    let stream = tokio::net::TcpStream::connect(started.address("bus-1"))
        .await
        .unwrap();
    let mut client = rtu::attach_slave(stream, Slave(1));
    let exception = |answer: tokio_modbus::Result<Vec<u16>>| answer.unwrap().unwrap_err();
    assert_eq!(
        exception(client.read_holding_registers(50_000, 2).await),
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(client.read_holding_registers(40_000, 126).await),
        ExceptionCode::IllegalDataValue
    );
    assert_eq!(
        exception(client.read_holding_registers(40_100, 120).await),
        ExceptionCode::IllegalDataAddress
    );
    assert_eq!(
        exception(client.read_input_registers(40_000, 2).await),
        ExceptionCode::IllegalFunction
    );
    client.set_slave(Slave(2));
    assert_eq!(
        exception(client.read_input_registers(0, 81).await),
        ExceptionCode::IllegalDataValue,
        "40 parameters"
    );
    let answer = client.call(tokio_modbus::Request::ReadCoils(0, 1)).await.unwrap();
    assert_eq!(answer.unwrap_err(), ExceptionCode::IllegalFunction);
    started.stop().await;
}

#[tokio::test]
async fn each_connection_has_its_own_clock() {
    let options = Options {
        follow_clock: true,
        ..Options::default()
    };
    let started = start(SIMULATION, options).await;
    let connect = async || {
        rtu::attach(
            tokio::net::TcpStream::connect(started.address("bus-1"))
                .await
                .unwrap(),
        )
    };
    let (mut noon, mut night) = (connect().await, connect().await);
    set_clock(&mut noon, NOON_MS).await;
    set_clock(&mut night, NOON_MS + 12 * 3_600_000).await;
    let mut watts = BTreeMap::new();
    for (name, client) in [("noon", &mut noon), ("night", &mut night)] {
        client.set_slave(Slave(3));
        watts.insert(name, client.read_input_registers(11, 2).await.unwrap().unwrap());
    }
    assert_eq!(watts["night"], [0, 0]);
    assert!(watts["noon"][1] > 0 || watts["noon"][0] > 0);
    // A clock that is no clock.
    noon.set_slave(Slave(247));
    let refused = noon.write_multiple_registers(0, &[1, 2, 3]).await.unwrap();
    assert_eq!(refused.unwrap_err(), ExceptionCode::IllegalDataValue);
    started.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let first_port = Some(taken.local_addr().unwrap().port());
    let simulation = Simulation::parse(SIMULATION, None).unwrap();
    let options = Options {
        first_port,
        ..Options::default()
    };
    let cancel = tokio_util::sync::CancellationToken::new();
    let error = taraz_simulator::Simulator::start(simulation, options, cancel)
        .await
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains(&taken.local_addr().unwrap().port().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn ports_follow_in_the_order_of_the_ids() {
    let three: String = ["b", "a", "c"]
        .iter()
        .map(|id| {
            SIMULATION
                .replace("bus-1", id)
                .replace("plant-1", &format!("plant-{id}"))
        })
        .collect();
    // A run of free ports is found by trying: others take ports too.
    for first in (20_000..60_000).step_by(97) {
        let simulation = Simulation::parse(&three, None).unwrap();
        let cancel = tokio_util::sync::CancellationToken::new();
        let options = Options {
            first_port: Some(first),
            ..Options::default()
        };
        let Ok(running) = taraz_simulator::Simulator::start(simulation, options, cancel.clone()).await else {
            continue;
        };
        let ports: Vec<u16> = running.buses.values().map(|address| address.port()).collect();
        assert_eq!(ports, [first, first + 1, first + 2]);
        assert!(running.buses.keys().map(String::as_str).eq(["a", "b", "c"]));
        cancel.cancel();
        running.stopped().await.unwrap();
        return;
    }
    panic!("no three free ports in a row");
}
