//! A second implementation as the oracle: Python's standard library, written from `docs/protocol.md` alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::json;
use taraz_telemetry::{ACK_LEN_MAX, Ack, FRAME_LEN_MAX, Frame, FrameWriter, MasterKey};

use crate::{describe, golden, strategies};

const FRAMES: usize = 300;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn python(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("python3")
        .args(arguments)
        .current_dir(root())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for the second implementation: apt-get install -y python3");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().expect("it ran");
    // A script that ends before it read everything has said why; that is what the caller looks at.
    let _ = writer.join().expect("the writer does not panic");
    output
}

fn succeed(output: &Output) -> String {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

#[test]
fn the_codec_passes_its_own_tests() {
    succeed(&python(
        &[
            "-m",
            "unittest",
            "discover",
            "-s",
            "tests/python",
            "-p",
            "test_*.py",
        ],
        "",
    ));
}

#[test]
fn the_golden_bytes_are_what_it_writes_and_reads() {
    let said = succeed(&python(
        &["tests/python/golden.py", "--check", "telemetry/golden/v1"],
        "",
    ));
    assert_eq!(said.trim(), format!("{} golden files hold", golden::all().len()));
}

#[test]
fn it_writes_any_message_as_we_do() {
    let mut runner = TestRunner::deterministic();
    let message = (
        strategies::device_id(),
        (any::<[u8; 32]>(), any::<u8>()),
        (any::<u32>(), any::<u32>(), 0..u32::MAX - 8),
        proptest::collection::vec(strategies::record(), 1..4),
        proptest::collection::vec(strategies::record_range(), 0..5),
    );
    let (mut descriptions, mut expected) = (String::new(), Vec::new());
    for _ in 0..FRAMES {
        let (device, (master, generation), (incarnation, boot, first), records, ranges) =
            message.new_tree(&mut runner).expect("a message").current();
        let key = MasterKey::new(master).device_key(&device, generation);
        let mut buffer = [0; FRAME_LEN_MAX];
        let mut writer = FrameWriter::new(&mut buffer, generation, incarnation, boot, first).expect("room");
        for record in records {
            writer.push(&record).expect("three records fit");
        }
        let frame_bytes = writer.finish(&key, &device);
        let frame = Frame::open(frame_bytes, &key, &device).expect("a frame");
        let ack = Ack {
            ranges: ranges.into_iter().collect(),
        };
        let mut buffer = [0; ACK_LEN_MAX];
        let ack_bytes = ack.encode(&mut buffer, &key, &device).expect("room");

        let common = json!({ "master_hex": hex::encode(master), "key_generation": generation, "device": device.as_str() });
        for (kind, said) in [
            ("frame", describe::frame(&frame)),
            ("ack", describe::ack(&ack)),
            ("key", json!({})),
        ] {
            let mut description = common.clone();
            description["type"] = json!(kind);
            for (name, value) in said.as_object().expect("an object") {
                description[name] = value.clone();
            }
            descriptions += &format!("{description}\n");
        }
        expected.push(hex::encode(frame_bytes));
        expected.push(hex::encode(ack_bytes));
        expected.push(hex::encode(
            [&key.bytes()[..], key.mqtt_password().as_bytes()].concat(),
        ));
    }
    let written = succeed(&python(&["tests/python/golden.py", "--encode"], &descriptions));
    for (n, (written, expected)) in written.lines().zip(&expected).enumerate() {
        assert_eq!(
            written,
            expected,
            "{}",
            descriptions.lines().nth(n).unwrap_or_default()
        );
    }
    assert_eq!(written.lines().count(), expected.len());
}
