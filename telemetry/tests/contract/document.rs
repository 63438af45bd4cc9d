//! `docs/protocol.md` holds: its vectors, its worked example, its table of quantities, its limits.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use taraz_telemetry::{
    ACK_LEN_MAX, ACK_RANGES_MAX, BATCH_LEN_MAX, Channel, DEVICE_ID_LEN_MAX, DIAGNOSTICS_METERS_MAX,
    DROPPED_RANGES_MAX, DeviceId, FRAME_LEN_MAX, FRAME_LEN_MIN, Field, HOLDOVER_ERROR_MS_MAX, KEY_LEN,
    MPPT_MAX, MasterKey, PASSWORD_LEN, RECORD_LEN_MAX, SYNCED_ERROR_MS_MAX, TAG_LEN, VERSION,
};

use crate::golden;

fn document() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md"))
        .expect("docs/protocol.md")
}

/// The lines `name = value` of the blocks fenced as `vectors`; a value may go on in lines that begin with a space.
fn vectors(document: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for block in document.split("```vectors\n").skip(1) {
        let block = block
            .split("```")
            .next()
            .expect("split yields one")
            .replace("\n ", "");
        for line in block.lines() {
            let (name, value) = line.split_once(" = ").expect("name = value");
            found.insert(name.trim().to_owned(), value.split_whitespace().collect());
        }
    }
    found
}

/// The rows of the table whose head begins with the given cells.
fn table(document: &str, head: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let (_, after) = document
        .split_once(head)
        .unwrap_or_else(|| panic!("no table {head}"));
    after
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

#[test]
fn its_vectors_are_the_golden_bytes() {
    let vectors = vectors(&document());
    let goldens: BTreeMap<_, _> = golden::all()
        .into_iter()
        .map(|golden| (golden.name, golden.bytes))
        .collect();
    let mut compared = 0;
    for (name, value) in &vectors {
        if let Some(golden) = goldens.get(name) {
            assert_eq!(*value, hex::encode(golden), "{name}");
            compared += 1;
        }
    }
    assert!(
        compared >= 10,
        "only {compared} golden files stand in the document"
    );

    let master = MasterKey::from_hex(&vectors["master_key"]).expect("a master key");
    let key = master.device_key(&DeviceId::new(&vectors["device"]).expect("an id"), 1);
    assert_eq!(vectors["device_key"], hex::encode(key.bytes()));
    assert_eq!(vectors["password"], key.mqtt_password().as_str());
}

#[test]
fn its_worked_example_adds_up() {
    let document = document();
    let bytes: String = table(&document, "| Bytes | Part | Meaning |")
        .iter()
        .map(|row| row[0].replace(' ', ""))
        .collect();
    assert_eq!(bytes, vectors(&document)["frame-twelve-fields"]);
}

#[test]
fn its_quantities_are_ours() {
    let rows = table(&document(), "| Bit | Name | Unit | Form | Meaning |");
    assert_eq!(
        rows.len(),
        Field::ALL.len() + 1,
        "every field, then the MPPT list"
    );
    for (bit, (row, field)) in rows.iter().zip(Field::ALL).enumerate() {
        assert_eq!(
            (row[0].as_str(), row[1].as_str()),
            (bit.to_string().as_str(), field.name())
        );
    }
    assert_eq!(rows[Field::ALL.len()][1], "mppt");
}

#[test]
fn its_limits_are_ours() {
    let stated: BTreeMap<String, usize> = table(&document(), "| Limit | Value | Of what |")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].replace(',', "").parse().expect("a number")))
        .collect();
    let ours = [
        ("FRAME_LEN_MIN", FRAME_LEN_MIN),
        ("FRAME_LEN_MAX", FRAME_LEN_MAX),
        ("RECORD_LEN_MAX", RECORD_LEN_MAX),
        ("ACK_LEN_MAX", ACK_LEN_MAX),
        ("ACK_RANGES_MAX", ACK_RANGES_MAX),
        ("DROPPED_RANGES_MAX", DROPPED_RANGES_MAX),
        ("DIAGNOSTICS_METERS_MAX", DIAGNOSTICS_METERS_MAX),
        ("MPPT_MAX", MPPT_MAX),
        ("DEVICE_ID_LEN_MAX", DEVICE_ID_LEN_MAX),
        ("KEY_LEN", KEY_LEN),
        ("TAG_LEN", TAG_LEN),
        ("PASSWORD_LEN", PASSWORD_LEN),
        ("SYNCED_ERROR_MS_MAX", SYNCED_ERROR_MS_MAX as usize),
        ("HOLDOVER_ERROR_MS_MAX", HOLDOVER_ERROR_MS_MAX as usize),
        ("BATCH_LEN_MAX", BATCH_LEN_MAX),
        ("VERSION", usize::from(VERSION)),
    ];
    assert_eq!(stated, ours.map(|(name, value)| (name.to_owned(), value)).into());
}

#[test]
fn its_topics_are_ours() {
    let document = document();
    for channel in [Channel::Up, Channel::Ack, Channel::State, Channel::Cmd] {
        assert!(
            document.contains(&format!("`taraz/1/{{device}}/{}`", channel.as_str())),
            "{channel:?}"
        );
    }
}
