//! Every table is held against the SunSpec Alliance's own definition of its model (`firmware/tests/sunspec`).

use std::collections::BTreeMap;
use std::path::Path;
use std::string::String;
use std::{format, fs};

use serde_json::Value;

use super::models::MODELS;
use super::mppt::{HEAD_LEN, MODULE_LEN, MPPT_ID};
use super::value::Kind;

/// What a definition says of a point: its offset from the ID register, its type, the name of its scale factor.
#[derive(Debug, PartialEq, Eq)]
struct Defined {
    offset: u64,
    kind: String,
    scale: Option<String>,
}

/// The points of a group, and how many registers they take.
fn points(group: &Value) -> (BTreeMap<String, Defined>, u64) {
    let mut offset = 0;
    let mut points = BTreeMap::new();
    for point in group["points"].as_array().expect("a group has points") {
        let text = |key: &str| point[key].as_str().map(String::from);
        let defined = Defined {
            offset,
            kind: text("type").unwrap(),
            scale: text("sf"),
        };
        points.insert(text("name").unwrap(), defined);
        offset += point["size"].as_u64().unwrap();
    }
    (points, offset)
}

fn definition(id: u16) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sunspec/model_{id}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let model: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(model["id"].as_u64(), Some(u64::from(id)));
    model
}

/// Models 202 to 204 write `PhVphAB` where all others write `PPVphAB`.
fn respelt(name: &str) -> String {
    name.replacen("PPVph", "PhVph", 1)
}

const fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Int16 => "int16",
        Kind::Uint16 => "uint16",
        Kind::Acc32 => "acc32",
        Kind::Enum16 => "enum16",
        Kind::Bitfield32 => "bitfield32",
        Kind::Float32 | Kind::Float32PowerFactor => "float32",
    }
}

#[test]
fn every_table_agrees_with_the_definitions_of_its_models() {
    let mut checked = 0;
    for model in &MODELS {
        for id in model.ids.clone() {
            let (defined, len) = points(&definition(id)["group"]);
            assert!(u64::from(model.extent) <= len, "model {id} has {len} registers");
            for point in model.points {
                let name = point.name;
                let expected = defined
                    .get(name)
                    .or_else(|| defined.get(&respelt(name)))
                    .unwrap_or_else(|| panic!("model {id} has no {name}"));
                assert_eq!(
                    u64::from(point.offset),
                    expected.offset,
                    "offset of {name} in model {id}"
                );
                assert_eq!(
                    type_name(point.kind),
                    expected.kind,
                    "type of {name} in model {id}"
                );
                let scale_at = expected.scale.as_ref().map(|scale| {
                    assert_eq!(defined[scale].kind, "sunssf");
                    defined[scale].offset
                });
                assert_eq!(
                    point.scale_at.map(u64::from),
                    scale_at,
                    "scale factor of {name} in model {id}"
                );
                checked += 1;
            }
        }
    }
    // 3 models of 22 points in two forms, 4 of 19 in two forms.
    assert_eq!(checked, 2 * 3 * 22 + 2 * 4 * 19);
}

#[test]
fn units_are_the_ones_the_tables_scale_from() {
    let units = [
        ("Aph", "A"),
        ("PhV", "V"),
        ("PPV", "V"),
        ("Hz", "Hz"),
        ("VA", "VA"),
        ("TotWh", "Wh"),
        ("WH", "Wh"),
        ("Tmp", "C"),
        ("DCA", "A"),
        ("DCV", "V"),
        ("DCW", "W"),
    ];
    for model in &MODELS {
        for id in model.ids.clone() {
            for point in definition(id)["group"]["points"].as_array().unwrap() {
                let name = point["name"].as_str().unwrap();
                let carried = model.points.iter().any(|carried| carried.name == name);
                let Some((_, unit)) = units.iter().find(|(prefix, _)| name.starts_with(prefix)) else {
                    continue;
                };
                let is_reactive = name.eq_ignore_ascii_case("var");
                if carried && !is_reactive {
                    assert_eq!(point["units"].as_str(), Some(*unit), "{name} of model {id}");
                }
            }
        }
    }
}

#[test]
fn model_160_agrees_with_its_definition() {
    let model = definition(MPPT_ID);
    let (head, head_len) = points(&model["group"]);
    assert_eq!(head_len, u64::from(HEAD_LEN));
    for (name, offset, kind) in [
        ("DCA_SF", 2, "sunssf"),
        ("DCV_SF", 3, "sunssf"),
        ("DCW_SF", 4, "sunssf"),
        ("N", 8, "count"),
    ] {
        assert_eq!(
            (head[name].offset, head[name].kind.as_str()),
            (offset, kind),
            "{name}"
        );
    }
    let (module, module_len) = points(&model["group"]["groups"][0]);
    assert_eq!(module_len, u64::from(MODULE_LEN));
    for (name, offset, scale) in [("DCA", 9, "DCA_SF"), ("DCV", 10, "DCV_SF"), ("DCW", 11, "DCW_SF")] {
        let defined = &module[name];
        assert_eq!(
            (defined.offset, defined.kind.as_str(), defined.scale.as_deref()),
            (offset, "uint16", Some(scale))
        );
    }
}
