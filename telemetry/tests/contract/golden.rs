//! The golden bytes of version 1: `golden/v1/NAME.bin` are the bytes, `golden/v1/NAME.json` says in words what they say.
//!
//! If a test here fails, revert your change, not the test: devices in the field speak these bytes, and stored records
//! are compared with them for ever. A change of the format is a new version with golden bytes of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use taraz_telemetry::{
    ACK_LEN_MAX, Ack, Batch, BatchWriter, DeviceId, DeviceKey, FRAME_LEN_MAX, Field, Frame, FrameWriter,
    MasterKey, RECORD_LEN_MAX, Record,
};

use crate::describe;

pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) description: Value,
}

impl Golden {
    fn text(&self, name: &str) -> &str {
        self.description[name]
            .as_str()
            .unwrap_or_else(|| panic!("{}: no text {name}", self.name))
    }

    fn key(&self) -> DeviceKey {
        let bytes = hex::decode(self.text("key_hex"))
            .expect("hex")
            .try_into()
            .expect("32 bytes");
        let generation = self.description["key_generation"].as_u64().expect("a number");
        DeviceKey::new(bytes, u8::try_from(generation).expect("a generation"))
    }

    fn device(&self) -> DeviceId {
        DeviceId::new(self.text("device")).expect("an id")
    }
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

pub(crate) fn all() -> Vec<Golden> {
    let mut all: Vec<_> = fs::read_dir(folder())
        .expect("golden/v1")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| Golden {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            bytes: fs::read(path.with_extension("bin")).expect("the bytes beside the description"),
            description: serde_json::from_slice(&fs::read(&path).expect("readable")).expect("JSON"),
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

fn of_type(kind: &str) -> Vec<Golden> {
    let found: Vec<_> = all()
        .into_iter()
        .filter(|golden| golden.text("type") == kind)
        .collect();
    assert!(!found.is_empty(), "no golden {kind}");
    found
}

/// Everything that the bytes say must be in the description; it may say more (the key, a remark).
fn assert_describes(golden: &Golden, said: &Value) {
    for (name, value) in said.as_object().expect("an object") {
        assert_eq!(&golden.description[name], value, "{}: {name}", golden.name);
    }
}

#[test]
fn records() {
    for golden in of_type("record") {
        let (record, rest) = Record::decode(&golden.bytes).expect("a record");
        assert!(rest.is_empty(), "{}", golden.name);
        assert_eq!(
            golden.description["record"],
            describe::record(&record),
            "{}",
            golden.name
        );
        assert_eq!(
            record.encode(&mut [0; RECORD_LEN_MAX]),
            Ok(&golden.bytes[..]),
            "{}",
            golden.name
        );
    }
}

#[test]
fn frames() {
    for golden in of_type("frame") {
        let (key, device) = (golden.key(), golden.device());
        let frame = Frame::open(&golden.bytes, &key, &device).expect("a frame");
        assert_describes(&golden, &describe::frame(&frame));

        let mut buffer = [0; FRAME_LEN_MAX];
        let range = frame.range();
        let mut writer = FrameWriter::new(
            &mut buffer,
            key.generation(),
            range.incarnation,
            range.boot,
            range.first,
        )
        .expect("room for a head");
        for record in frame.records() {
            writer.push(&record.expect("a record")).expect("room");
        }
        assert_eq!(writer.finish(&key, &device), golden.bytes, "{}", golden.name);
    }
}

#[test]
fn acknowledgements() {
    for golden in of_type("ack") {
        let (key, device) = (golden.key(), golden.device());
        let ack = Ack::decode(&golden.bytes, &key, &device).expect("an acknowledgement");
        assert_describes(&golden, &describe::ack(&ack));
        assert_eq!(
            ack.encode(&mut [0; ACK_LEN_MAX], &key, &device),
            Ok(&golden.bytes[..]),
            "{}",
            golden.name
        );
    }
}

#[test]
fn batches() {
    for golden in of_type("batch") {
        let batch = Batch::decode(&golden.bytes).expect("a batch");
        let items: Value = batch.items().iter().map(describe::batch_item).collect();
        assert_eq!(golden.description["items"], items, "{}", golden.name);
        let mut writer = BatchWriter::new();
        for item in batch.items() {
            assert!(writer.push(item));
        }
        assert_eq!(writer.finish(), golden.bytes, "{}", golden.name);
    }
}

#[test]
fn keys() {
    for golden in of_type("key") {
        let master = MasterKey::from_hex(golden.text("master_hex")).expect("a master key");
        let generation = golden.description["key_generation"].as_u64().expect("a number");
        let key = master.device_key(&golden.device(), u8::try_from(generation).expect("a generation"));
        let derived = [&key.bytes()[..], key.mqtt_password().as_bytes()].concat();
        assert_eq!(derived, golden.bytes, "{}: key, then password", golden.name);
    }
}

#[test]
fn nothing_of_version_1_is_without_golden_bytes() {
    let text = all()
        .iter()
        .map(|golden| golden.description.to_string())
        .collect::<String>();
    let words = ["reading", "failed", "start", "dropped", "anchor", "diagnostics"]
        .into_iter()
        .chain(["synced", "holdover", "unsynced"])
        .chain(["timeout", "bad_frame", "exception", "not_understood", "unstable"])
        .chain([
            "unknown",
            "power_on",
            "watchdog",
            "panic",
            "requested",
            "brown_out",
        ])
        .chain(["implausible_time", "implausible_value", "unknown_meter"]);
    let missing: BTreeSet<_> = words
        .filter(|word| !text.contains(&format!("\"{word}\"")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    let fields: BTreeSet<_> = Field::ALL
        .iter()
        .map(|field| field.name())
        .filter(|name| !text.contains(&format!("\"{name}\":")))
        .collect();
    assert!(fields.is_empty(), "{fields:?}");
}
