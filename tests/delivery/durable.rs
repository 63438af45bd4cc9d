//! Durable means durable: the order of system calls of the real processes, as strace saw them.
//!
//! A frame's bytes are written into the spool's log, the log is synced, and only then PUBACK and `/ack` leave; a batch's bytes
//! are written into the store's log, the log is synced, and only then the answer leaves. The same proof fails for a program that
//! does not sync, and nothing is acknowledged while the disk refuses to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use taraz_telemetry::Channel;
use taraz_test_support::{Process, Signal, require, wait_for};

use super::client::{Client, Device, LIMIT, Packet, Written, fleet_toml};
use super::common::installation::{Installation, Way};
use super::common::oracle;

const FRAMES: usize = 5;
/// Understood by a debug build alone.
const UNSAFE: (&str, &str) = ("TARAZ_UNSAFE_NO_FSYNC", "1");
const CALLS: &str = "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,fsync,fdatasync";

/// The arguments of a strace that leaves the process id to the program it watches.
fn strace(log: &Path, more: &[&str]) -> Vec<String> {
    let log = log.to_str().unwrap();
    let fixed = ["-D", "-f", "-q", "-yy", "-xx", "-s", "70000", "-o", log];
    let program = require("strace").to_str().unwrap().to_owned();
    [program]
        .into_iter()
        .chain(fixed.iter().chain(more).map(|word| (*word).to_owned()))
        .collect()
}

/// What a run under strace leaves behind.
struct Traced {
    frames: Vec<Written>,
    device: Device,
    gateway: Vec<Event>,
    ingest: Vec<Event>,
    gateway_log: String,
}

fn trace(environment: &[(&str, &str)]) -> Traced {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let log = |name: &str| installation.folder().join(name);
    let (gateway_log, ingest_log) = (log("gateway.strace"), log("ingest.strace"));
    let mut ingest = installation.start_ingest_under(&strace(&ingest_log, &["-e", CALLS]), environment);
    let mut gateway = installation.start_gateway_under(&strace(&gateway_log, &["-e", CALLS]), environment);
    let mut device = Device::new(&installation.master, 1);
    let mut client = Client::reach(installation.mqtt_port(), &device);
    let mut frames = Vec::new();
    for _ in 0..FRAMES {
        let frame = device.frame(2);
        client.deliver(&frame);
        frames.push(frame);
    }
    let wanted = 2.0 * FRAMES as f64;
    wait_for(LIMIT, "records in the store", || {
        let stored = installation.ingest_metric("ingest_readings_total", "result=\"stored\"");
        (stored >= wanted)
            .then_some(())
            .ok_or(format!("{stored} of {wanted}"))
    });
    end(&mut gateway);
    end(&mut ingest);
    Traced {
        frames,
        device,
        gateway: events(&gateway_log),
        ingest: events(&ingest_log),
        gateway_log: gateway.output(),
    }
}

fn end(process: &mut Process) {
    process.signal(Signal::Terminate);
    process.wait(LIMIT);
}

/// A system call that succeeded, at the place in the log where it began or ended: whichever makes the proof harder.
#[derive(Debug)]
struct Event {
    kind: Kind,
    /// File or socket, in hexadecimal digits where it is a file.
    target: String,
    /// What was written, in hexadecimal digits.
    data: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Has returned.
    Sync,
    /// Has begun.
    Write,
}

/// Reads a log of strace. A call that others interrupted stands in two lines: a write counts at its first, a sync at its second.
fn events(log: &Path) -> Vec<Event> {
    let deadline = std::time::Instant::now() + LIMIT;
    // The tracer ends after the program.
    while !std::fs::read_to_string(log)
        .unwrap_or_default()
        .contains("+++ exited")
    {
        assert!(std::time::Instant::now() < deadline, "strace has not ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let text = std::fs::read_to_string(log).unwrap();
    let mut begun = std::collections::HashMap::new();
    let mut events = Vec::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let is_sync = |call: &str| call.starts_with("fdatasync(") || call.starts_with("fsync(");
        if let Some(rest) = call.strip_prefix("<... ") {
            if rest.starts_with("fdatasync") || rest.starts_with("fsync") {
                let target = begun.remove(thread).unwrap_or_default();
                if rest.ends_with("= 0") {
                    events.push(Event {
                        kind: Kind::Sync,
                        target,
                        data: String::new(),
                    });
                }
            }
        } else if is_sync(call) && call.contains("<unfinished") {
            begun.insert(thread.to_owned(), target(call));
        } else if is_sync(call) {
            if call.ends_with("= 0") {
                events.push(Event {
                    kind: Kind::Sync,
                    target: target(call),
                    data: String::new(),
                });
            }
        } else if call.contains('(') && !call.contains("= -1") {
            events.push(Event {
                kind: Kind::Write,
                target: target(call),
                data: hex_data(call),
            });
        }
    }
    events
}

/// What stands between the brackets behind the descriptor: a path in hexadecimal digits, or a socket.
fn target(call: &str) -> String {
    let Some((_, rest)) = call.split_once('<') else {
        return String::new();
    };
    let name = rest.split_once(['>', ')']).map_or(rest, |(name, _)| name);
    name.replace("\\x", "")
}

/// All strings of a call, one behind the other.
fn hex_data(call: &str) -> String {
    call.split('"')
        .skip(1)
        .step_by(2)
        .map(|text| text.replace("\\x", ""))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// From the write of `bytes` into the log `file`: a sync of that log comes before `answer` is sent.
fn synced_before(
    events: &[Event],
    file: &str,
    bytes: &[u8],
    answer: impl Fn(&Event) -> bool,
) -> Result<(), String> {
    let (file, bytes) = (hex(file.as_bytes()), hex(bytes));
    let is_log = |event: &Event| event.target.ends_with(&file);
    let written = events
        .iter()
        .position(|event| event.kind == Kind::Write && is_log(event) && event.data.contains(&bytes))
        .ok_or("the bytes were never written")?;
    let answered = events[written..]
        .iter()
        .position(|event| event.kind == Kind::Write && event.target.starts_with("TCP:") && answer(event))
        .ok_or("no answer was sent behind the write")?;
    let between = &events[written..written + answered];
    let is_synced = between
        .iter()
        .any(|event| event.kind == Kind::Sync && is_log(event));
    is_synced
        .then_some(())
        .ok_or_else(|| "no sync between write and answer".to_owned())
}

/// The whole proof for a run.
fn prove(traced: &Traced) -> Result<(), String> {
    let ack_topic = hex(traced.device.topic(Channel::Ack).as_bytes());
    for (n, frame) in traced.frames.iter().enumerate() {
        let id = u8::try_from(n + 1).unwrap();
        let puback = hex(&[0x40, 2, 0, id]);
        let spool = |what: &str, answer: &dyn Fn(&Event) -> bool| {
            frame.records.iter().try_for_each(|record| {
                synced_before(&traced.gateway, "spool.sqlite-wal", record, answer)
                    .map_err(|error| format!("frame {id}, {what}: {error}"))
            })
        };
        spool("PUBACK", &|event| event.data.contains(&puback))?;
        spool("/ack", &|event| event.data.contains(&ack_topic))?;
        let accepted = hex(b"HTTP/1.1 200 OK");
        let is_verdict =
            |event: &Event| event.data.contains(&accepted) && event.data.contains(&hex(b"\"accepted\":"));
        for record in &frame.records {
            synced_before(&traced.ingest, "store.sqlite-wal", record, is_verdict)
                .map_err(|error| format!("frame {id}, ingest: {error}"))?;
        }
    }
    Ok(())
}

#[test]
fn every_acknowledgement_comes_after_the_sync_of_what_it_acknowledges() {
    let traced = trace(&[]);
    prove(&traced).unwrap();
    assert!(!traced.gateway_log.contains(UNSAFE.0));
}

/// The proof can fail: it does for a program that does not sync.
#[test]
fn the_proof_fails_for_a_program_that_does_not_sync() {
    let traced = trace(&[UNSAFE]);
    let error = prove(&traced).unwrap_err();
    assert!(error.contains("no sync between write and answer"), "{error}");
    assert!(traced.gateway_log.contains(UNSAFE.0), "it must say so");
}

/// A disk that refuses for a while: nothing is acknowledged meanwhile, and everything afterwards.
fn refusing(inject: &str) {
    let installation = Installation::new(&fleet_toml(1), Way::Door);
    let log: PathBuf = installation.folder().join("gateway.strace");
    let call = inject.split(':').next().unwrap();
    let (traced, injected) = (format!("trace={call}"), format!("inject={inject}"));
    let wrapper = strace(&log, &["-e", &traced, "-e", &injected]);
    let mut gateway = installation.start_gateway_under(&wrapper, &[]);
    let mut device = Device::new(&installation.master, 1);
    let mut client = Client::reach(installation.mqtt_port(), &device);
    let mut acknowledged = 0;
    let mut listen = |client: &mut Client| {
        if let Some(Packet::Ack(ranges)) = client.next().unwrap() {
            acknowledged = ranges
                .iter()
                .map(|range| range.last + 1)
                .fold(acknowledged, u32::max);
        }
        acknowledged
    };
    // Until the injected failures have begun.
    while installation.gateway_metric("gateway_spool_commit_failures_total", "") == 0.0 {
        client.publish(&device.frame(1).bytes).unwrap();
        listen(&mut client);
        assert!(device.written() < 5_000, "no commit has failed");
    }
    let deadline = std::time::Instant::now() + LIMIT;
    while listen(&mut client) < device.written() {
        assert!(
            std::time::Instant::now() < deadline,
            "not everything is acknowledged"
        );
    }
    assert_eq!(installation.gateway_metric("gateway_spool_blocked", ""), 0.0);
    gateway.kill();
    let ingest = installation.start_ingest();
    let gateway = installation.start_gateway();
    super::common::field::wait_forwarded(&installation);
    super::common::field::stop_services(gateway, ingest);
    let stored: Vec<u32> = oracle::identities(&installation.store(), "dev-1")
        .iter()
        .map(|record| record.sequence)
        .collect();
    assert_eq!(stored, (0..device.written()).collect::<Vec<_>>());
}

#[test]
fn a_disk_that_can_not_be_written_for_a_while_stops_acknowledging_and_loses_nothing() {
    refusing("pwrite64:error=EROFS:when=60..75");
}

#[test]
fn a_disk_that_fails_to_sync_for_a_while_stops_acknowledging_and_loses_nothing() {
    refusing("fsync,fdatasync:error=EIO:when=20..24");
}
