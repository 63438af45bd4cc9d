//! Whole runs against a server of the test's own, which knows MQTT and frames only from their documents and the contract.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::Parser;
use taraz_load::{Options, master_key};
use taraz_telemetry::{ACK_LEN_MAX, Ack, Channel, DeviceId, Frame, Record, parse_topic};

/// What the server does with a publish.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Acknowledge,
    Refuse,
    HangUp,
}

#[derive(Default)]
struct Heard {
    /// Device and sequence of every record.
    identities: BTreeSet<(String, u32)>,
    readings: u64,
    twice: u64,
    json: Vec<serde_json::Value>,
}

type Shared = Arc<Mutex<Heard>>;

fn serve(mood: Mood) -> (SocketAddr, Shared) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("what the test sends");
    let address = listener.local_addr().expect("what the test sends");
    let heard = Shared::default();
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = Arc::clone(&kept);
            std::thread::spawn(move || session(stream, mood, &heard));
        }
    });
    (address, heard)
}

/// Until the client goes.
fn session(mut stream: TcpStream, mood: Mood, heard: &Shared) -> Option<()> {
    let mut v5 = true;
    loop {
        let mut first = [0];
        stream.read_exact(&mut first).ok()?;
        let (mut length, mut shift) = (0_usize, 0);
        loop {
            let mut byte = [0];
            stream.read_exact(&mut byte).ok()?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let answer = match first[0] >> 4 {
            1 => {
                v5 = body[6] == 5;
                if v5 {
                    vec![0x20, 3, 0, 0, 0]
                } else {
                    vec![0x20, 2, 0, 0]
                }
            }
            3 if mood == Mood::HangUp && !is_state(&body) => return None,
            3 => published(&body, v5, mood, heard),
            8 if v5 => vec![0x90, 4, body[0], body[1], 0, 1],
            8 => vec![0x90, 3, body[0], body[1], 1],
            14 => return None,
            _ => Vec::new(),
        };
        stream.write_all(&answer).ok()?;
    }
}

fn topic(body: &[u8]) -> &str {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    std::str::from_utf8(&body[2..2 + length]).expect("what the test sends")
}

fn is_state(body: &[u8]) -> bool {
    topic(body).ends_with("/state")
}

fn published(body: &[u8], v5: bool, mood: Mood, heard: &Shared) -> Vec<u8> {
    let topic = topic(body);
    let id_at = 2 + topic.len();
    let (id, payload) = (&body[id_at..id_at + 2], &body[id_at + 2 + usize::from(v5)..]);
    if mood == Mood::Refuse && !is_state(body) {
        return vec![0x40, 4, id[0], id[1], 0x87, 0];
    }
    let mut answer = vec![0x40, 2, id[0], id[1]];
    let mut heard = heard.lock().expect("what the test sends");
    match parse_topic(topic) {
        Some((device, Channel::Up)) => answer.extend(acknowledge(&device, payload, v5, &mut heard)),
        Some(_) => {}
        None => heard
            .json
            .push(serde_json::from_slice(payload).expect("what the test sends")),
    }
    answer
}

/// Takes a frame and publishes its acknowledgement at `QoS` 0.
fn acknowledge(device: &DeviceId, payload: &[u8], v5: bool, heard: &mut Heard) -> Vec<u8> {
    let key = master_key().device_key(device, 1);
    let frame = Frame::open(payload, &key, device).expect("what the test sends");
    let range = frame.range();
    for (sequence, record) in (range.first..).zip(frame.records()) {
        heard.readings += u64::from(matches!(record, Ok(Record::Reading(_))));
        heard.twice += u64::from(!heard.identities.insert((device.to_string(), sequence)));
    }
    let mut ack = Ack::default();
    ack.ranges.push(range).expect("what the test sends");
    let mut buffer = [0; ACK_LEN_MAX];
    let bytes = ack
        .encode(&mut buffer, &key, device)
        .expect("what the test sends");
    let topic = Channel::Ack.topic(device);
    let length = 2 + topic.len() + usize::from(v5) + bytes.len();
    let mut packet = vec![0x30, u8::try_from(length).expect("what the test sends")];
    assert!(length < 128);
    packet.extend([0, u8::try_from(topic.len()).expect("what the test sends")]);
    packet.extend_from_slice(topic.as_bytes());
    packet.extend(v5.then_some(0));
    packet.extend_from_slice(bytes);
    packet
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn run(address: SocketAddr, arguments: &str) -> anyhow::Result<serde_json::Value> {
    let folder = tempfile::tempdir().expect("what the test sends");
    taraz_load::lay_out(folder.path(), 30, 1).expect("what the test sends");
    let key = folder.path().join("master.key");
    let line = format!("x --broker {address} {arguments}");
    let mut options = Cli::parse_from(line.split_whitespace()).options;
    options.master_key = Some(key);
    taraz_load::run(&options)
}

#[test]
fn every_reading_is_published_once_and_acknowledged() {
    for more in [
        "--mqtt 5",
        "--mqtt 3.1.1",
        "--mqtt 5 --rate 20000",
        "--mqtt 5 --times backlog",
    ] {
        let (address, heard) = serve(Mood::Acknowledge);
        let amount = "--connections 30 --window 3 --readings-per-frame 2 --readings 3000";
        let figures = run(address, &format!("{amount} {more}")).unwrap();
        let load = &figures["load"];
        assert_eq!(load["readings"], 3_000, "{more}");
        for name in [
            "messages_without_puback",
            "frames_without_ack",
            "messages_refused",
        ] {
            assert_eq!(load[name], 0, "{more}: {name}");
        }
        for name in ["publish_to_puback", "publish_to_ack"] {
            assert_eq!(load[name]["count"], 1_500, "{more}: {name}");
        }
        let heard = heard.lock().unwrap();
        // Each of the 30 devices also said that it started.
        assert_eq!(
            (heard.readings, heard.twice, heard.identities.len()),
            (3_000, 0, 3_030)
        );
    }
}

#[test]
fn other_brokers_get_one_json_object_for_each_reading() {
    let (address, heard) = serve(Mood::Acknowledge);
    let figures = run(address, "--payload json --connections 4 --window 5 --readings 40").unwrap();
    assert_eq!(figures["load"]["publish_to_puback"]["count"], 40);
    let heard = heard.lock().unwrap();
    assert_eq!(heard.json.len(), 40);
    let plants: BTreeSet<&str> = heard
        .json
        .iter()
        .filter_map(|json| json["plant"].as_str())
        .collect();
    assert_eq!(plants.len(), 4);
}

#[test]
fn refusals_are_counted_and_a_broken_connection_is_an_error() {
    let (address, _) = serve(Mood::Refuse);
    // Nobody acknowledges what was refused; the patience for it would only cost time here, so JSON, which asks for none.
    let figures = run(address, "--payload json --connections 2 --window 2 --readings 10").unwrap();
    assert_eq!(figures["load"]["messages_refused"], 10);
    let (address, _) = serve(Mood::HangUp);
    let error = run(address, "--connections 2 --window 2 --readings 10").unwrap_err();
    let said = format!("{error:#}");
    assert!(
        said.contains("closed connection") || said.contains("connection "),
        "{said}"
    );
}
