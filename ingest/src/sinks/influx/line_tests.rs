use proptest::prelude::*;
use taraz_telemetry::{Field, MeterAddress, MeterRole, Mppt, Quantities};

use super::*;

/// A line as an independent reader sees it, written from InfluxDB's description of the protocol and nothing else.
#[derive(Debug, PartialEq)]
struct Parsed {
    measurement: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, i64)>,
    time: i64,
}

/// Splits at unescaped `at` and keeps the escapes.
fn split(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c == '\\' {
            parts.last_mut().unwrap().push(c);
            parts.last_mut().unwrap().extend(characters.next());
        } else if c == at {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    text.replace("\\,", ",").replace("\\=", "=").replace("\\ ", " ")
}

fn pair(text: &str) -> (String, String) {
    let parts = split(text, '=');
    assert_eq!(parts.len(), 2, "a key, an equals sign, a value: {text}");
    (unescape(&parts[0]), unescape(&parts[1]))
}

fn parse(line: &str) -> Parsed {
    let sections = split(line, ' ');
    assert_eq!(sections.len(), 3, "measurement and tags, fields, time: {line}");
    let mut head = split(&sections[0], ',').into_iter();
    let fields = split(&sections[1], ',');
    let integer = |text: String| {
        text.strip_suffix('i')
            .expect("an integer")
            .parse::<i64>()
            .unwrap()
    };
    Parsed {
        measurement: head.next().unwrap(),
        tags: head.map(|tag| pair(&tag)).collect(),
        fields: fields
            .iter()
            .map(|field| pair(field))
            .map(|(k, v)| (k, integer(v)))
            .collect(),
        time: sections[2].parse().unwrap(),
    }
}

/// What of a text survives every engine.
fn carried(text: &str) -> String {
    text.chars()
        .map(|c| if c == '\\' || c.is_control() { '_' } else { c })
        .collect()
}

fn reading(quantities: Quantities) -> StoredReading {
    StoredReading {
        rowid: 1,
        device: "sari-01".parse().unwrap(),
        meter: MeterAddress::new(3).unwrap(),
        plant: "sari-roof-1".into(),
        role: MeterRole::Inverter,
        time_ms: 1_795_000_000_123,
        quantities,
    }
}

#[test]
fn a_reading_is_one_line_with_its_units_in_the_names() {
    let mut quantities = Quantities {
        ac_power_w: Some(-12),
        energy_wh: Some(123_456_789),
        ..Quantities::default()
    };
    let input = Mppt {
        voltage_dv: Some(6_301),
        current_ca: None,
        power_w: Some(0),
    };
    quantities.mppt.push(input).unwrap();
    let mut out = String::new();
    assert!(encode(&reading(quantities), &mut out));
    assert_eq!(
        out,
        "reading,device=sari-01,meter=3,plant=sari-roof-1,role=inverter \
         ac_power_w=-12i,energy_wh=123456789i,mppt1_voltage_dv=6301i,mppt1_power_w=0i 1795000000123\n"
    );
}

#[test]
fn a_reading_without_values_leaves_no_trace() {
    let mut out = "before\n".to_owned();
    assert!(!encode(&reading(Quantities::default()), &mut out));
    assert_eq!(out, "before\n");
}

fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\t".to_owned()),
        Just(",".to_owned()),
        Just(" ".to_owned()),
        Just("=".to_owned()),
        Just("\"".to_owned()),
        Just("#".to_owned()),
        Just("i".to_owned()),
        Just("\u{7f}".to_owned()),
        Just("\u{2028}".to_owned()),
        Just("ساری".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_ends_its_place_or_its_line(
        tags in prop::collection::vec((nasty(), nasty()), 0..5),
        key in nasty(),
        value: i64,
        time: i64,
    ) {
        let mut out = String::new();
        let mut line = Line::new(&mut out, MEASUREMENT);
        for (key, value) in &tags {
            line.tag(key, value);
        }
        line.field(&format!("f{key}"), value);
        prop_assert!(line.finish(time));
        prop_assert!(out.ends_with('\n'));
        let body = &out[..out.len() - 1];
        prop_assert!(!body.contains(|c: char| c.is_control()));
        let expected: Vec<_> = tags.iter().filter(|(k, v)| !k.is_empty() && !v.is_empty())
            .map(|(k, v)| (carried(k), carried(v))).collect();
        let parsed = parse(body);
        prop_assert_eq!(parsed, Parsed {
            measurement: MEASUREMENT.into(), tags: expected, fields: vec![(format!("f{}", carried(&key)), value)], time,
        });
    }

    #[test]
    fn every_value_of_a_reading_is_in_its_line(values in prop::collection::vec((0..Field::ALL.len(), any::<i64>()), 1..20)) {
        let mut quantities = Quantities::default();
        for (index, value) in values {
            quantities.set(Field::ALL[index], value);
        }
        let expected: Vec<_> = quantities.iter().map(|(f, v)| (f.name().to_owned(), v)).collect();
        let mut out = String::new();
        prop_assert_eq!(encode(&reading(quantities), &mut out), !expected.is_empty());
        if !expected.is_empty() {
            prop_assert_eq!(parse(out.trim_end_matches('\n')).fields, expected);
        }
    }
}
