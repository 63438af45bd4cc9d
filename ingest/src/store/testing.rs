//! What tests of the store share: a small fleet, records, batches, and the tables as text.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use rusqlite::types::Value;
use taraz_fleet::Fleet;
use taraz_telemetry::{
    Anchor, BatchItem, BatchVerdict, BatchWriter, Clock, Hold, MeterAddress, Outcome, Quantities,
    RECORD_LEN_MAX, Reading, Record, Sequence, Stamp,
};

use super::{FILE_NAME, Now, Store};
use crate::analytics::QUARTER_MS;

/// 2026-06-21T08:00:00Z: 11:30 in Tehran, the sun stands high.
pub(crate) const NOON_MS: i64 = 1_782_028_800_000;
/// The minute in ms.
pub(crate) const MINUTE_MS: i64 = 60_000;

/// Plants `a`, `b`, `c` (with a grid meter) and `d` (with a consumption and a grid meter) of one district; device `x-01`
/// has an inverter at 1, a grid meter at 2, a consumption meter at 3.
pub(crate) fn fleet() -> Arc<Fleet> {
    fleet_of(&fleet_text())
}

/// The registry that a text states.
pub(crate) fn fleet_of(text: &str) -> Arc<Fleet> {
    Arc::new(Fleet::parse(text).unwrap())
}

/// The text of [`fleet`].
pub(crate) fn fleet_text() -> String {
    let mut text = String::from(
        "[[district]]\nid = \"sari\"\nname = \"Sari\"\nname_fa = \"ساری\"\n\
         [[owner]]\nid = \"town\"\nname = \"Town\"\nname_fa = \"شهر\"\nkind = \"municipality\"\n",
    );
    for (plant, meters) in [("a", "1"), ("b", "1"), ("c", "12"), ("d", "123")] {
        text += &format!(
            "[[plant]]\nid = \"{plant}\"\nname = \"{plant}\"\nname_fa = \"{plant}\"\nowner = \"town\"\ndistrict = \"sari\"\n\
             latitude_deg = 36.56\nlongitude_deg = 53.06\naltitude_m = 50.0\ninverter_ac_w = 10000\n\
             commissioned = \"2024-03-20\"\narrays = [{{ tilt_deg = 30.0, azimuth_deg = 180.0, peak_w = 10000 }}]\n\
             [[plant.device]]\nid = \"{plant}-01\"\n"
        );
        for meter in meters.chars() {
            let (role, driver) = match meter {
                '1' => ("inverter", "sunspec"),
                '2' => ("grid", "sunspec"),
                _ => ("consumption", "sdm630"),
            };
            text += &format!(
                "[[plant.device.meter]]\naddress = {meter}\nrole = \"{role}\"\ndriver = \"{driver}\"\nrated_w = 10000\n"
            );
        }
    }
    text
}

/// A clock that a test sets.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(now_ms)))
    }

    pub(crate) fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> Now {
        let clock = Arc::clone(&self.0);
        Arc::new(move || clock.load(Ordering::SeqCst))
    }
}

pub(crate) fn open(folder: &Path, clock: &TestClock) -> Store {
    Store::open(folder, fleet(), clock.now()).unwrap()
}

pub(crate) fn meter(address: u8) -> MeterAddress {
    MeterAddress::new(address).unwrap()
}

fn at(clock: Clock, ms: i64) -> Stamp {
    Stamp {
        ms: u64::try_from(ms).unwrap(),
        clock,
    }
}

/// An inverter's reading: power and energy register.
pub(crate) fn inverter(time_ms: i64, ac_power_w: i32, energy_wh: u64) -> Record {
    let values = Quantities {
        ac_power_w: Some(ac_power_w),
        energy_wh: Some(energy_wh),
        ..Quantities::default()
    };
    reading(1, at(Clock::Synced, time_ms), values)
}

/// A meter's reading: power, import and export register.
pub(crate) fn grid(address: u8, time_ms: i64, ac_power_w: i32, import_wh: u64, export_wh: u64) -> Record {
    let values = Quantities {
        ac_power_w: Some(ac_power_w),
        import_wh: Some(import_wh),
        export_wh: Some(export_wh),
        ..Quantities::default()
    };
    reading(address, at(Clock::Synced, time_ms), values)
}

/// A grid meter's reading after SunSpec, whose registers are "not accumulated" while they stand at 0.
pub(crate) fn acc32(time_ms: i64, ac_power_w: i32, import_wh: u64, export_wh: u64) -> Record {
    let stated = |wh: u64| (wh > 0).then_some(wh);
    let values = Quantities {
        ac_power_w: Some(ac_power_w),
        import_wh: stated(import_wh),
        export_wh: stated(export_wh),
        ..Quantities::default()
    };
    reading(2, at(Clock::Synced, time_ms), values)
}

/// An inverter's reading by the boot's monotonic time.
pub(crate) fn unsynced(monotonic_ms: i64, energy_wh: u64) -> Record {
    let values = Quantities {
        energy_wh: Some(energy_wh),
        ..Quantities::default()
    };
    reading(1, at(Clock::Unsynced, monotonic_ms), values)
}

pub(crate) fn reading(address: u8, stamp: Stamp, values: Quantities) -> Record {
    Record::Reading(Reading {
        meter: meter(address),
        stamp,
        outcome: Outcome::Values(values),
    })
}

pub(crate) fn anchor(boot: u32, monotonic_ms: u64, utc_ms: i64, error_ms: u32) -> Record {
    Record::Anchor(Anchor {
        boot,
        monotonic_ms,
        utc_ms: u64::try_from(utc_ms).unwrap(),
        error_ms,
    })
}

pub(crate) fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.extend_from_slice(record.encode(&mut [0; RECORD_LEN_MAX]).unwrap());
    }
    bytes
}

/// A run of records of one boot, as it stands in a batch.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) device: &'static str,
    pub(crate) boot: u32,
    pub(crate) first: Sequence,
    pub(crate) hold: Option<Hold>,
    pub(crate) bytes: Vec<u8>,
}

impl Run {
    pub(crate) fn new(device: &'static str, boot: u32, first: Sequence, records: &[Record]) -> Self {
        Self {
            device,
            boot,
            first,
            hold: None,
            bytes: encode(records),
        }
    }

    pub(crate) fn held(self, hold: Hold) -> Self {
        Self {
            hold: Some(hold),
            ..self
        }
    }
}

pub(crate) fn batch(runs: &[Run]) -> Vec<u8> {
    let mut writer = BatchWriter::new();
    for (position, run) in (1..).zip(runs) {
        assert!(writer.push(&BatchItem {
            position,
            received_ms: u64::try_from(NOON_MS).unwrap(),
            device: run.device,
            incarnation: 77,
            boot: run.boot,
            first: run.first,
            hold: run.hold,
            records: &run.bytes,
        }));
    }
    writer.finish()
}

/// Delivers runs as one batch.
pub(crate) async fn deliver(store: &Store, runs: &[Run]) -> BatchVerdict {
    store.receiver().receive(batch(runs)).await.unwrap()
}

/// The count of a result or a kind.
pub(crate) fn count(counts: &[(&'static str, u64)], label: &str) -> u64 {
    counts.iter().find(|(name, _)| *name == label).unwrap().1
}

/// `ingest_readings_total` of a result.
pub(crate) fn readings(store: &Store, result: &str) -> u64 {
    count(&store.counters().snapshot().readings, result)
}

/// A connection of the test's own.
pub(crate) fn raw(folder: &Path) -> Connection {
    Connection::open(folder.join(FILE_NAME)).unwrap()
}

/// Every cache table row by row, with names instead of keys, which depend on who came first.
pub(crate) fn caches(folder: &Path) -> Vec<String> {
    const NAMED: &str = "JOIN series ON series.id = t.series JOIN device ON device.id = series.device";
    let connection = raw(folder);
    let mut dump = Vec::new();
    for sql in [
        "SELECT 'series', name, meter, register, total_wh, handed_wh, first_ms, first_wh, hex(state) FROM series
         JOIN device ON device.id = series.device".to_owned(),
        format!("SELECT 'interval', name, meter, register, quarter, energy_wh, known_ms, covered_ms, flags FROM interval t {NAMED}"),
        format!("SELECT 'segment', name, meter, register, from_ms, from_wh, to_ms, to_wh, energy_wh, cause FROM segment t {NAMED}"),
        format!("SELECT 'ignored', name, meter, register, time_ms, value_wh, why FROM ignored t {NAMED}"),
        format!("SELECT 'checkpoint', name, meter, register, day, hex(t.state) FROM checkpoint t {NAMED}"),
        "SELECT 'late', name, day FROM late JOIN device ON device.id = late.device".to_owned(),
        "SELECT 'held', name, meter, quarter, readings FROM held JOIN device ON device.id = held.device".to_owned(),
        "SELECT 'unstated', name, meter, register, quarter, readings FROM unstated
         JOIN device ON device.id = unstated.device".to_owned(),
        "SELECT 'anchor', name, incarnation, boot, monotonic_ms, utc_ms, error_ms FROM anchor
         JOIN device ON device.id = anchor.device".to_owned(),
        "SELECT 'received', name, incarnation, boot, first, last FROM received
         JOIN device ON device.id = received.device".to_owned(),
    ] {
        dump.extend(rows(&connection, &sql));
    }
    dump.extend(records(folder));
    dump
}

/// Every record, in whatever way it is kept, as its row of `record` would be: device, incarnation, boot, sequence, kind, meter,
/// clock, time, hold, whether it waits for nothing, its bytes.
pub(crate) fn records(folder: &Path) -> Vec<String> {
    let connection = raw(folder);
    let mut dump = rows(
        &connection,
        "SELECT 'record', name, incarnation, boot, sequence, kind, meter, clock, time_ms, hold, waiting_ms IS NULL, hex(bytes)
         FROM record JOIN device ON device.id = record.device",
    );
    for (name, run) in kept_runs(&connection) {
        let mut rest = run.bytes.as_slice();
        let mut times_ms = Vec::new();
        for sequence in i64::from(run.first)..i64::from(run.first) + i64::from(run.count) {
            let (record, after) = Record::decode(rest).unwrap();
            let Record::Reading(reading) = record else {
                panic!("a run holds another record than a reading")
            };
            let time_ms = i64::try_from(reading.stamp.ms).unwrap();
            times_ms.push(time_ms);
            let hex: String = rest[..rest.len() - after.len()]
                .iter()
                .map(|byte| format!("{byte:02X}"))
                .collect();
            let integers = [
                i64::from(run.boot.incarnation),
                i64::from(run.boot.boot),
                sequence,
                i64::from(matches!(reading.outcome, Outcome::Failed(_))),
                i64::from(reading.meter.get()),
                reading.stamp.clock as i64,
                time_ms,
            ];
            let values: Vec<_> = [Value::Text("record".to_owned()), Value::Text(name.clone())]
                .into_iter()
                .chain(integers.map(Value::Integer))
                .chain([Value::Null, Value::Integer(1), Value::Text(hex)])
                .collect();
            dump.push(format!("{values:?}"));
            rest = after;
        }
        assert!(rest.is_empty(), "a run of {} records has more bytes", run.count);
        let within = run.from_ms..=run.to_ms;
        assert!(
            times_ms
                .iter()
                .all(|time_ms| within.contains(time_ms) && time_ms.div_euclid(86_400_000) == run.day)
        );
    }
    dump.sort();
    dump
}

/// Every run with its device's id, those of chunks included.
fn kept_runs(connection: &Connection) -> Vec<(String, super::runs::Run)> {
    use super::{chunk, runs};
    let select = |columns: &str, table: &str| {
        format!("SELECT {columns}, name FROM {table} JOIN device ON device.id = {table}.device")
    };
    let mut of_runs = connection.prepare(&select(runs::COLUMNS, "run")).unwrap();
    let mut found: Vec<_> = of_runs
        .query_map((), |row| Ok((row.get(runs::COLUMNS_LEN)?, runs::Run::read(row)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut of_chunks = connection.prepare(&select(chunk::COLUMNS, "chunk")).unwrap();
    let chunks = of_chunks.query_map((), |row| {
        Ok((
            row.get::<_, String>(chunk::COLUMNS_LEN)?,
            chunk::Chunk::read(row)?,
        ))
    });
    for (name, chunk) in chunks.unwrap().map(Result::unwrap) {
        found.extend(
            chunk
                .to_runs()
                .unwrap()
                .into_iter()
                .map(|run| (name.clone(), run)),
        );
    }
    found
}

/// The rows of a query as text, sorted.
pub(crate) fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let text = |row: &rusqlite::Row<'_>| {
        let values: rusqlite::Result<Vec<_>> = (0..columns).map(|at| row.get::<_, Value>(at)).collect();
        values.map(|values| format!("{values:?}"))
    };
    let mut rows: Vec<_> = statement
        .query_map((), text)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    rows.sort();
    rows
}

/// The quarter-hour that begins at a time, as a period.
pub(crate) fn quarter_at(time_ms: i64) -> (i64, i64) {
    assert_eq!(time_ms % QUARTER_MS, 0);
    (time_ms, time_ms + QUARTER_MS)
}
