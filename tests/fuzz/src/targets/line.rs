//! The line protocol's encoder against a parser written from InfluxDB's description of it.

use std::collections::BTreeMap;

use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_ingest::{StoredReading, line_protocol};
use taraz_telemetry::{DeviceId, MeterAddress, MeterRole, Outcome, RECORD_LEN_MAX, Record};

use crate::harness::Target;
use crate::records;

const ROLES: [MeterRole; 4] = [
    MeterRole::Inverter,
    MeterRole::Grid,
    MeterRole::Consumption,
    MeterRole::Irradiance,
];
/// In front of the name and the record: role, time, length of the name.
const HEAD_LEN: usize = 1 + 8 + 1;

/// Fuzzes the encoder of a reading.
pub(crate) struct Lines;

impl Target for Lines {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let names = [
            "sari-roof-1",
            "a b,c=d",
            "با",
            "\\",
            "\n",
            "a\\ b",
            "",
            "\"x\"",
            "a\\",
        ];
        let name = names[random.random_range(0..names.len())].as_bytes();
        let time = records::number(random).to_le_bytes();
        let mut buffer = [0; RECORD_LEN_MAX];
        let reading = Record::Reading(records::reading(random));
        let record = reading.encode(&mut buffer).unwrap_or_default();
        let len = name.len().to_le_bytes()[0];
        [&[random.random()], &time[..], &[len], name, record].concat()
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let Some(reading) = reading_of(input) else {
            return Ok("no reading".to_owned());
        };
        let Some(line) = line_protocol(&reading) else {
            let is_empty = reading.quantities.is_empty() || reading.quantities.iter().next().is_none();
            return if is_empty {
                Ok("no values".to_owned())
            } else {
                Err("values, and no line".to_owned())
            };
        };
        let found = parse(&line).ok_or_else(|| format!("not one line of the protocol: {line:?}"))?;
        let expected = expected(&reading);
        if found != expected {
            return Err(format!("read back {found:?}, expected {expected:?}"));
        }
        Ok(format!("a line with {} tags", found.tags.len()))
    }
}

fn reading_of(input: &[u8]) -> Option<StoredReading> {
    let (head, rest) = input.split_at_checked(HEAD_LEN)?;
    let (name, record) = rest.split_at_checked(usize::from(head[HEAD_LEN - 1]))?;
    let (Record::Reading(reading), _) = Record::decode(record).ok()? else {
        return None;
    };
    let Outcome::Values(quantities) = reading.outcome else {
        return None;
    };
    Some(StoredReading {
        rowid: 1,
        device: DeviceId::new("sari-01").ok()?,
        meter: MeterAddress::new(reading.meter.get())?,
        plant: String::from_utf8_lossy(name).into_owned(),
        role: ROLES[usize::from(head[0]) % ROLES.len()],
        time_ms: i64::from_le_bytes(head[1..9].try_into().ok()?),
        quantities,
    })
}

/// A line as whoever reads it sees it.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    measurement: String,
    tags: BTreeMap<String, String>,
    fields: BTreeMap<String, i64>,
    time: i64,
}

fn expected(reading: &StoredReading) -> Line {
    // What has no form in the protocol that all engines read alike stands as an underscore.
    let plain = |c: char| if c == '\\' || c.is_control() { '_' } else { c };
    let tags = [
        ("device", reading.device.to_string()),
        ("meter", reading.meter.to_string()),
        ("plant", reading.plant.chars().map(plain).collect()),
        ("role", reading.role.as_str().to_owned()),
    ];
    let mut fields: BTreeMap<String, i64> = reading
        .quantities
        .iter()
        .map(|(field, value)| (field.name().to_owned(), value))
        .collect();
    for (at, input) in reading.quantities.mppt.iter().enumerate() {
        let values = [
            ("voltage_dv", input.voltage_dv.map(i64::from)),
            ("current_ca", input.current_ca.map(i64::from)),
            ("power_w", input.power_w.map(i64::from)),
        ];
        for (name, value) in values {
            fields.extend(value.map(|value| (format!("mppt{}_{name}", at + 1), value)));
        }
    }
    Line {
        measurement: "reading".to_owned(),
        tags: tags
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        fields,
        time: reading.time_ms,
    }
}

/// measurement[,key=value…] key=value[,key=value…] time ("Line protocol", InfluxDB v2): a comma, an equals sign or a space that means
/// itself has a backslash before it, and a line ends with a line feed.
fn parse(text: &str) -> Option<Line> {
    let line = text.strip_suffix('\n')?;
    if line.contains('\n') {
        return None;
    }
    let parts = split(line, ' ');
    let [head, fields, time] = parts.as_slice() else {
        return None;
    };
    let mut head = split(head, ',').into_iter();
    let measurement = plain(&head.next()?);
    let mut tags = BTreeMap::new();
    for tag in head {
        let (key, value) = pair(&tag)?;
        tags.insert(key, value).is_none().then_some(())?;
    }
    let mut values = BTreeMap::new();
    for field in split(fields, ',') {
        let (key, value) = pair(&field)?;
        let value = value.strip_suffix('i')?.parse().ok()?;
        values.insert(key, value).is_none().then_some(())?;
    }
    Some(Line {
        measurement,
        tags,
        fields: values,
        time: time.parse().ok()?,
    })
}

fn pair(text: &str) -> Option<(String, String)> {
    let parts = split(text, '=');
    let [key, value] = parts.as_slice() else {
        return None;
    };
    (!key.is_empty() && !value.is_empty()).then(|| (plain(key), plain(value)))
}

/// Cuts where `at` stands without a backslash; backslashes stay.
fn split(text: &str, at: char) -> Vec<String> {
    let (mut parts, mut is_escaped) = (vec![String::new()], false);
    for c in text.chars() {
        if c == at && !is_escaped {
            parts.push(String::new());
            continue;
        }
        is_escaped = c == '\\' && !is_escaped;
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// Without the backslashes before what they escape.
fn plain(text: &str) -> String {
    ["\\,", "\\=", "\\ "]
        .iter()
        .fold(text.to_owned(), |text, escaped| {
            text.replace(escaped, &escaped[1..])
        })
}
