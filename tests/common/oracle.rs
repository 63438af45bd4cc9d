//! What the simulator says it served, and what the store says it holds, in the same shape.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use serde_json::Value;
use taraz_ingest::Archive;
use taraz_telemetry::{DeviceId, Outcome, Quantities, Record};

/// (bus, Modbus unit).
pub(crate) type Meter = (String, u8);
/// One poll's values by field name; an MPPT input's as `mppt0.voltage_dv` and so on.
pub(crate) type Values = BTreeMap<String, i64>;
/// Every poll of every meter by its time, UTC ms.
pub(crate) type Polls = BTreeMap<Meter, BTreeMap<i64, Values>>;

/// What the journal says was answered.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// The reads of one poll put together: those at the same instant of the connection's clock.
    pub(crate) polls: Polls,
    /// Up to here polls of a bus had a clock that their bus master set, so that both sides name the same instants.
    history_until_ms: BTreeMap<String, i64>,
}

impl Journal {
    /// Up to here both sides name the same instants of a meter's polls, UTC ms.
    pub(crate) fn history_until_ms(&self, meter: &Meter) -> i64 {
        self.history_until_ms.get(&meter.0).copied().unwrap_or(0)
    }
}

/// A connection whose clock differs by more than this from the wall's follows its bus master.
const FOLLOWS_MS: i64 = 1_000;

/// Reads the journal; its process should have ended.
pub(crate) fn journal(path: &Path) -> Journal {
    let mut journal = Journal::default();
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    for line in file.lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let Some(values) = line["values"].as_object().filter(|values| !values.is_empty()) else {
            continue;
        };
        let meter = (
            line["bus"].as_str().unwrap().to_owned(),
            u8::try_from(line["unit"].as_u64().unwrap()).unwrap(),
        );
        let (at_ms, wall_ms) = (line["at_ms"].as_i64().unwrap(), line["wall_ms"].as_i64().unwrap());
        if wall_ms - at_ms > FOLLOWS_MS {
            let until_ms = journal.history_until_ms.entry(meter.0.clone()).or_default();
            *until_ms = at_ms.max(*until_ms - 1) + 1;
        }
        let poll = journal.polls.entry(meter).or_default().entry(at_ms).or_default();
        add(poll, values);
    }
    journal
}

/// Adds one read's values. `mppt_first` is the number of the first input that a partial read states.
fn add(poll: &mut Values, values: &serde_json::Map<String, Value>) {
    for (name, value) in values {
        match name.as_str() {
            "mppt_first" => {}
            "mppt" => {
                let first = values.get("mppt_first").and_then(Value::as_u64).unwrap_or(0);
                add_inputs(poll, value, usize::try_from(first).unwrap());
            }
            _ => {
                poll.insert(name.clone(), value.as_i64().unwrap());
            }
        }
    }
}

fn add_inputs(poll: &mut Values, inputs: &Value, first: usize) {
    for (input, parts) in inputs.as_array().unwrap().iter().enumerate() {
        for (part, value) in ["voltage_dv", "current_ca", "power_w"]
            .iter()
            .zip(parts.as_array().unwrap())
        {
            if let Some(value) = value.as_i64() {
                poll.insert(format!("mppt{}.{part}", first + input), value);
            }
        }
    }
}

/// What ingest's store holds.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// Readings with values.
    pub(crate) polls: Polls,
    /// How often an instant of a meter stands in the store beyond the first time.
    pub(crate) repeated: usize,
    /// Records of any kind.
    pub(crate) records: usize,
    /// Conflicts kept.
    pub(crate) conflicts: usize,
    /// Readings held back.
    pub(crate) held: usize,
    /// Readings in sealed days.
    pub(crate) sealed: i64,
    /// Readings with values and without a time of their own.
    pub(crate) unstamped: usize,
}

/// How many records the store holds, while its process runs (or not).
pub(crate) fn stored_so_far(path: &Path) -> f64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let count = rusqlite::Connection::open_with_flags(path, flags).and_then(|store| {
        let sql = "SELECT (SELECT count(*) FROM record) + (SELECT coalesce(sum(count), 0) FROM run) \
                   + (SELECT coalesce(sum(readings), 0) FROM chunk)";
        store.query_row(sql, [], |row| row.get::<_, f64>(0))
    });
    count.unwrap_or(0.0)
}

/// Reads the store's truth; its process should have ended.
pub(crate) fn store(path: &Path) -> Stored {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut stored = Stored::default();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    stored.conflicts = usize::try_from(count("SELECT count(*) FROM conflict")).unwrap();
    stored.sealed = count("SELECT coalesce(sum(readings), 0) FROM chunk");
    stored.held = usize::try_from(count("SELECT count(*) FROM record WHERE hold IS NOT NULL")).unwrap();
    for Identified { device, record, .. } in all_records(path) {
        stored.records += 1;
        let Record::Reading(reading) = record else {
            continue;
        };
        let Outcome::Values(quantities) = reading.outcome else {
            continue;
        };
        // A device whose clock was set back a day can't stamp until its stamps would rise again; anchors place what it reads meanwhile.
        let Some(time_ms) = reading.stamp.utc_ms() else {
            stored.unstamped += 1;
            continue;
        };
        let time_ms = i64::try_from(time_ms).unwrap();
        let polls = stored.polls.entry((device, reading.meter.get())).or_default();
        stored.repeated += usize::from(polls.insert(time_ms, values(&quantities)).is_some());
    }
    stored
}

fn values(quantities: &Quantities) -> Values {
    let mut values: Values = quantities
        .iter()
        .map(|(field, value)| (field.name().to_owned(), value))
        .collect();
    for (input, mppt) in quantities.mppt.iter().enumerate() {
        let parts = [
            ("voltage_dv", mppt.voltage_dv.map(i64::from)),
            ("current_ca", mppt.current_ca.map(i64::from)),
            ("power_w", mppt.power_w.map(i64::from)),
        ];
        for (part, value) in parts {
            if let Some(value) = value {
                values.insert(format!("mppt{input}.{part}"), value);
            }
        }
    }
    values
}

/// Compares the whole history value by value, and returns the number of polls and of values that are equal.
///
/// # Panics
/// At the first difference, saying where.
pub(crate) fn assert_equal_history(journal: &Journal, stored: &Polls) -> (usize, usize) {
    let (mut polls, mut compared) = (0, 0);
    let meters: BTreeSet<_> = journal.polls.keys().chain(stored.keys()).collect();
    let none = BTreeMap::new();
    for meter in meters {
        let until_ms = journal.history_until_ms(meter);
        let served: Vec<_> = journal
            .polls
            .get(meter)
            .unwrap_or(&none)
            .range(..until_ms)
            .collect();
        let kept: Vec<_> = stored.get(meter).unwrap_or(&none).range(..until_ms).collect();
        for (served, kept) in served.iter().zip(&kept) {
            assert_eq!(served, kept, "{meter:?}: served (left) and stored (right) differ");
            compared += served.1.len();
        }
        assert_eq!(
            served.len(),
            kept.len(),
            "{meter:?}: polls served (left) and stored (right)"
        );
        polls += served.len();
    }
    (polls, compared)
}

/// A live poll's reads are answered at most this long before its stamp, ms: what a first look at a slow meter takes.
const LIVE_BEFORE_MS: i64 = 5_000;
/// And at most this long after it: device and simulator read the same clock at slightly different instants.
const LIVE_AFTER_MS: i64 = 1_000;

/// Compares what was polled live, where the device has a clock of its own: every value of every stored poll was served at
/// about that time, no quantity is missing, and what was served is stored, but for a poll that was under way when the device
/// was stopped. Returns the number of polls that are equal.
///
/// # Panics
/// At the first difference, saying where.
pub(crate) fn assert_equal_live(journal: &Journal, stored: &Polls) -> usize {
    let mut polls = 0;
    for (meter, served) in &journal.polls {
        let until_ms = journal.history_until_ms(meter);
        let none = BTreeMap::new();
        let kept = stored.get(meter).unwrap_or(&none);
        for (&at_ms, values) in kept.range(until_ms..) {
            let around = served.range((at_ms - LIVE_BEFORE_MS).max(until_ms)..=at_ms + LIVE_AFTER_MS);
            let read: BTreeSet<_> = around.flat_map(|(_, values)| values.clone()).collect();
            let wrong: Vec<_> = values
                .iter()
                .filter(|(name, value)| !read.contains(&((*name).clone(), **value)))
                .collect();
            assert!(
                wrong.is_empty(),
                "{meter:?}: stored at {at_ms} but not served: {wrong:?}"
            );
            let absent: Vec<_> = read
                .iter()
                .filter(|(name, _)| !values.contains_key(name))
                .collect();
            assert!(
                absent.is_empty(),
                "{meter:?}: served but absent at {at_ms}: {absent:?}"
            );
            polls += 1;
        }
        let last_ms = kept.keys().next_back().copied().unwrap_or(0);
        for at_ms in served
            .range(until_ms..=last_ms.max(until_ms))
            .map(|(at_ms, _)| *at_ms)
        {
            let is_kept = kept
                .range(at_ms - LIVE_AFTER_MS..=at_ms + LIVE_BEFORE_MS)
                .next()
                .is_some();
            assert!(is_kept, "{meter:?}: served at {at_ms} and not stored");
        }
    }
    polls
}

/// One stored record.
#[derive(Debug)]
pub(crate) struct StoredRecord {
    /// Its time as it stands in it.
    pub(crate) at_ms: Option<i64>,
    /// Its values, when it is a reading that has some.
    pub(crate) values: Values,
}

/// The stored records of a device by incarnation, boot and sequence.
pub(crate) fn records_of(path: &Path, device: &str) -> BTreeMap<(i64, i64, i64), StoredRecord> {
    let found = identities(path, device).into_iter().map(|found| {
        let identity = (
            i64::from(found.incarnation),
            i64::from(found.boot),
            i64::from(found.sequence),
        );
        let at_ms = i64::try_from(found.record.stamp().ms).ok();
        let values = match found.record {
            Record::Reading(taraz_telemetry::Reading {
                outcome: Outcome::Values(quantities),
                ..
            }) => values(&quantities),
            _ => Values::new(),
        };
        (identity, StoredRecord { at_ms, values })
    });
    found.collect()
}

/// One answered read that states values.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    /// The device whose bus it was.
    pub(crate) bus: String,
    /// The meter's address.
    pub(crate) unit: u8,
    /// When it was answered, by the wall's clock.
    pub(crate) wall_ms: i64,
    /// What it stated.
    pub(crate) values: Values,
}

/// Every answered read that states values, in the order of the journal.
pub(crate) fn reads(path: &Path) -> Vec<Read> {
    let file = BufReader::new(std::fs::File::open(path).unwrap());
    let lines = file
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    lines
        .filter_map(|line| {
            let stated = line["values"].as_object().filter(|values| !values.is_empty())?;
            let mut values = Values::new();
            add(&mut values, stated);
            Some(Read {
                bus: line["bus"].as_str()?.to_owned(),
                unit: u8::try_from(line["unit"].as_u64()?).ok()?,
                wall_ms: line["wall_ms"].as_i64()?,
                values,
            })
        })
        .collect()
}

/// How many conflicts and how many held records the store has.
pub(crate) fn troubles(path: &Path) -> (i64, i64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    (
        count("SELECT count(*) FROM conflict"),
        count("SELECT count(*) FROM record WHERE hold IS NOT NULL"),
    )
}

/// A stored record with its identity.
#[derive(Debug)]
pub(crate) struct Identified {
    pub(crate) device: String,
    pub(crate) incarnation: u32,
    pub(crate) boot: u32,
    pub(crate) sequence: u32,
    /// Where ingest placed it, UTC ms.
    pub(crate) placed_ms: Option<i64>,
    pub(crate) record: Record,
}

/// Every stored record of a device, in the order of identities; ingest may be running.
pub(crate) fn identities(path: &Path, device: &str) -> Vec<Identified> {
    let mut found = all_records(path);
    found.retain(|found| found.device == device);
    found
}

/// Every record in the store in the order of identities: those with a row of their own, and those of runs.
fn all_records(path: &Path) -> Vec<Identified> {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .busy_timeout(std::time::Duration::from_secs(10))
        .unwrap();
    let mut query = connection
        .prepare(
            "SELECT name, incarnation, boot, sequence, 1, time_ms, bytes FROM record JOIN device ON device.id = device \
             UNION ALL \
             SELECT name, incarnation, boot, first, count, NULL, bytes FROM run JOIN device ON device.id = device",
        )
        .unwrap();
    let (mut rows, mut found) = (query.query([]).unwrap(), Vec::new());
    while let Some(row) = rows.next().unwrap() {
        let (first, count): (u32, u32) = (row.get(3).unwrap(), row.get(4).unwrap());
        let bytes: Vec<u8> = row.get(6).unwrap();
        let mut rest = bytes.as_slice();
        for sequence in first..first + count {
            let (record, after) = Record::decode(rest).unwrap();
            rest = after;
            let is_in_run = row.get_ref(5).unwrap() == rusqlite::types::ValueRef::Null
                && matches!(&record, Record::Reading(reading) if reading.stamp.utc_ms().is_some());
            // What is in a run is placed by its own clock.
            let stated_ms = is_in_run.then(|| i64::try_from(record.stamp().ms).unwrap());
            found.push(Identified {
                device: row.get(0).unwrap(),
                incarnation: row.get(1).unwrap(),
                boot: row.get(2).unwrap(),
                sequence,
                placed_ms: row.get::<_, Option<i64>>(5).unwrap().or(stated_ms),
                record,
            });
        }
        assert!(rest.is_empty());
    }
    add_sealed(path, &connection, &mut found);
    found.sort_by(|a, b| {
        let key = |found: &Identified| (found.incarnation, found.boot, found.sequence);
        (&a.device, key(a)).cmp(&(&b.device, key(b)))
    });
    found
}

/// What is sealed, as an auditor reads it: as many readings as the chunks state.
fn add_sealed(path: &Path, connection: &rusqlite::Connection, found: &mut Vec<Identified>) {
    let mut query = connection
        .prepare("SELECT name, sum(readings) FROM chunk JOIN device ON device.id = device GROUP BY name")
        .unwrap();
    let sealed = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    let sealed: Vec<(String, i64)> = sealed.unwrap().collect::<rusqlite::Result<_>>().unwrap();
    for (device, readings) in sealed {
        let known: BTreeSet<_> = found
            .iter()
            .filter(|found| found.device == device)
            .map(|found| (found.incarnation, found.boot, found.sequence))
            .collect();
        let mut added = 0;
        let archive = Archive::open(path.parent().expect("a store in its folder")).unwrap();
        let id = DeviceId::new(&device).unwrap();
        archive
            .readings_between(&id, 0, i64::MAX, |placed| {
                if !known.contains(&(placed.incarnation, placed.boot, placed.sequence)) {
                    added += 1;
                    found.push(Identified {
                        device: device.clone(),
                        incarnation: placed.incarnation,
                        boot: placed.boot,
                        sequence: placed.sequence,
                        placed_ms: Some(placed.time_ms),
                        record: Record::Reading(placed.reading),
                    });
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(
            added, readings,
            "{device}: sealed readings that can be read (left), and stated (right)"
        );
    }
}

/// The readings with values among them, by meter, each with the instant at which ingest placed it.
pub(crate) fn placed_readings(records: &[Identified]) -> BTreeMap<u8, Vec<(i64, Values)>> {
    let mut readings: BTreeMap<u8, Vec<(i64, Values)>> = BTreeMap::new();
    for identified in records {
        let Record::Reading(reading) = &identified.record else {
            continue;
        };
        let Outcome::Values(quantities) = &reading.outcome else {
            continue;
        };
        let placed_ms = identified.placed_ms.expect("every reading is placed in UTC");
        readings
            .entry(reading.meter.get())
            .or_default()
            .push((placed_ms, values(quantities)));
    }
    readings
}
