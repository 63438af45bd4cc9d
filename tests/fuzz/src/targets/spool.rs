//! A gateway's spool after a bad day of its disk, and what recovery makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use prometheus::Registry;
use rand::Rng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, OpenFlags};
use taraz_fleet::Fleet;
use taraz_gateway::{Repair, SpoolError, SpoolFile, repair_spool};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use super::mqtt::{Client, V5};
use super::rig::{self, Away};
use crate::harness::Target;
use crate::records;

const DEVICES: usize = 4;
/// Frames before each picture of the folder is taken.
const FRAMES: u32 = 20;
const RECORDS_PER_FRAME_MAX: u32 = 4;
/// The spool, its write-ahead log, the log's index, and the mark of how far the spool has come.
const FILES: [&str; 4] = [
    "spool.sqlite",
    "spool.sqlite-wal",
    "spool.sqlite-shm",
    "spool.mark",
];
/// Which of them is the mark.
const MARK: usize = 3;
/// Of a log: its head, and what stands before each page of it (sqlite.org/fileformat2.html, 4.1).
const LOG_HEAD_LEN: usize = 32;
const LOG_PAGE_LEN: usize = 24 + 4_096;
/// The bit of an input's first byte that lets a gateway start instead of a person look and repair.
const STARTED: u8 = 0x80;
const GAUGE: &str = "gateway_spool_missing_rows";
/// An edit: what, which file, where, how much, with what.
const EDIT_LEN: usize = 12;
const SECTOR_LEN: usize = 512;

/// Fuzzes opening, verifying and repairing a spool.
pub(crate) struct Spools {
    pictures: Vec<Picture>,
    /// Rows that were there once: what ingest has taken comes again where the disk forgets that.
    ever: Vec<Row>,
    folder: PathBuf,
    runtime: Runtime,
    fleet: Arc<Fleet>,
}

/// A folder as a power cut would leave it: everything that was acknowledged is in these bytes.
struct Picture {
    files: BTreeMap<&'static str, Vec<u8>>,
    rows: BTreeMap<u64, Row>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    device: String,
    identity: [u32; 4],
    records: Vec<u8>,
}

impl Spools {
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let data = folder.join("gateway");
        let mut pictures = Vec::new();
        let (fleet, _) = rig::fleet(folder, DEVICES)?;
        let (mut acknowledged, mut ever) = (0, BTreeMap::new());
        let runtime = rig::runtime()?;
        for round in 0..2 {
            let (stop, registry) = (CancellationToken::new(), Registry::new());
            let ingest = rig::Sometimes::default();
            let fleet = fleet.clone();
            let gateway = rig::gateway_on(&runtime, &data, fleet, ingest.clone(), &registry, &stop)?;
            let at = gateway.mqtt_addr.context("a gateway with a door")?;
            for frame in 0..FRAMES {
                // Some has been taken already.
                if round == 1 && frame == FRAMES / 2 {
                    ever.extend(rows(&data, "items")?);
                    ingest.take_all(&registry)?;
                    acknowledged = 0;
                }
                let (device, key) = rig::device(usize::try_from(frame)? % DEVICES)?;
                let mut client = Client::open(at, V5, &device, &key).map_err(anyhow::Error::msg)?;
                let count = 1 + frame % RECORDS_PER_FRAME_MAX;
                let bytes = rig::frame(&key, &device, 7, round, frame * RECORDS_PER_FRAME_MAX, count);
                client.publish(&bytes).map_err(anyhow::Error::msg)?;
                acknowledged += 1;
            }
            // What is new is in the log, what is older in the file.
            pictures.push(Picture::take(&data, folder)?);
            stop.cancel();
            runtime.block_on(gateway.stopped())?;
            pictures.push(Picture::take(&data, folder)?);
        }
        for picture in &pictures {
            ever.extend(picture.rows.clone());
        }
        let rows = pictures.last().map_or(0, |picture| picture.rows.len());
        ensure!(rows >= acknowledged, "{rows} rows of {acknowledged} frames");
        Ok(Self {
            pictures,
            ever: ever.into_values().collect(),
            folder: folder.join("tried"),
            runtime,
            fleet,
        })
    }
}

impl Picture {
    fn take(data: &Path, folder: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        for name in FILES {
            if let Ok(bytes) = std::fs::read(data.join(name)) {
                files.insert(name, bytes);
            }
        }
        let mut picture = Self {
            files,
            rows: BTreeMap::new(),
        };
        let look = folder.join("look");
        picture.lay_out(&look)?;
        picture.rows = rows(&look, "items")?;
        Ok(picture)
    }

    fn lay_out(&self, folder: &Path) -> Result<()> {
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder)?;
        for (name, bytes) in &self.files {
            std::fs::write(folder.join(name), bytes)?;
        }
        Ok(())
    }
}

/// The rows of a table by position.
fn rows(folder: &Path, table: &str) -> rusqlite::Result<BTreeMap<u64, Row>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(folder.join(FILES[0]), flags)?;
    let sql = format!("SELECT position, device, incarnation, boot, first, count, records FROM {table}");
    let mut statement = connection.prepare(&sql)?;
    let found = statement.query_map([], |row| {
        let number = |column| row.get::<_, u32>(column).unwrap_or(u32::MAX);
        let read = Row {
            device: row.get(1).unwrap_or_default(),
            identity: [number(2), number(3), number(4), number(5)],
            records: row.get(6).unwrap_or_default(),
        };
        Ok((row.get::<_, i64>(0)?.cast_unsigned(), read))
    })?;
    found.collect()
}

impl Target for Spools {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let started = if random.random_ratio(1, 4) { STARTED } else { 0 };
        vec![random.random_range(0..4) | started]
    }

    fn damage(&mut self, input: &mut Vec<u8>, random: &mut StdRng) {
        let mut edit: [u8; EDIT_LEN] = random.random();
        // Mostly in the file or its log: the index is made anew.
        edit[1] = [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3][random.random_range(0..11)];
        input.extend(edit);
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let (&which, edits) = input.split_first().unwrap_or((&0, &[]));
        let picture = &self.pictures[usize::from(which) % self.pictures.len()];
        let mut files = picture.files.clone();
        for edit in edits.chunks_exact(EDIT_LEN) {
            apply(&mut files, edit);
        }
        let is_marked = files.get(FILES[MARK]) == picture.files.get(FILES[MARK]);
        let damaged = Picture {
            files,
            rows: BTreeMap::new(),
        };
        if which & STARTED != 0 {
            return self.start(&damaged, picture, is_marked);
        }
        damaged.lay_out(&self.folder).map_err(|error| error.to_string())?;
        let verified =
            SpoolFile::open(&self.folder).and_then(|spool| spool.map(|spool| spool.verify()).transpose());
        let told = match &verified {
            Ok(None) => "no spool",
            Ok(Some(found)) if found.is_good() => "good",
            Ok(Some(_)) => "findings",
            Err(_) => "can't be opened",
        };
        let repair = match repair_spool(&self.folder, records::NOW_MS) {
            Ok(repair) => repair,
            // It says that another version has written it.
            Err(error @ SpoolError::Schema { .. }) => {
                return Ok(format!("{told}, not repaired: {}", word_of(&error.to_string())));
            }
            Err(error) => return Err(format!("{told}, and it can't be repaired: {error}")),
        };
        let lost = self.missing(picture, &repair)?;
        lost.check(told != "good" && told != "no spool", is_marked)
            .map_err(|what| format!("{what} ({told}, {repair:?})"))?;
        let how = if repair.damaged_file.is_some() {
            "a new file"
        } else {
            "the same file"
        };
        let what = match (lost.unnamed.len() + lost.named, repair.put_aside) {
            (0, 0) => "everything is there",
            (0, _) => "some put aside",
            _ => "some lost, by name",
        };
        Ok(format!("{told}, {how}, {what}"))
    }
}

impl Spools {
    /// A gateway starts on what the disk has left of a spool, with nobody having looked at it before.
    fn start(&self, damaged: &Picture, picture: &Picture, is_marked: bool) -> Result<String, String> {
        damaged.lay_out(&self.folder).map_err(|error| error.to_string())?;
        let (stop, registry) = (CancellationToken::new(), Registry::new());
        let started = rig::gateway_on(
            &self.runtime,
            &self.folder,
            self.fleet.clone(),
            Away,
            &registry,
            &stop,
        );
        let gateway = match started {
            Ok(gateway) => gateway,
            Err(error) => return Ok(format!("not started: {}", word_of(&error.to_string()))),
        };
        let gauge = rig::gauge(&registry, GAUGE);
        stop.cancel();
        self.runtime
            .block_on(gateway.stopped())
            .map_err(|error| format!("a gateway that started can't stop: {error}"))?;
        // What it said must still be known: to the next one who looks, and to the next gateway.
        let found =
            SpoolFile::open(&self.folder).and_then(|spool| spool.map(|spool| spool.verify()).transpose());
        let found = match found {
            Ok(found) => found.unwrap_or_default(),
            Err(error) => {
                return Ok(format!(
                    "started, can't be opened: {}",
                    word_of(&error.to_string())
                ));
            }
        };
        if found.missing_rows as f64 != gauge {
            return Err(format!("{GAUGE} {gauge}, and a look afterwards finds {found:?}"));
        }
        let is_told = !found.is_good();
        let repair = repair_spool(&self.folder, records::NOW_MS).map_err(|error| error.to_string())?;
        let lost = self.missing(picture, &repair)?;
        lost.check(is_told, is_marked)
            .map_err(|what| format!("{what} (started, {GAUGE} {gauge}, {repair:?})"))?;
        Ok(match (lost.named + lost.unnamed.len(), is_told) {
            (0, false) => "started, everything is there".to_owned(),
            (0, true) => "started, findings, everything is there".to_owned(),
            (_, _) => "started, some lost, by name".to_owned(),
        })
    }

    /// Nothing that stands in a repaired spool was altered or invented; what is missing.
    fn missing(&self, picture: &Picture, repair: &Repair) -> Result<Lost, String> {
        let read = |table| {
            rows(&self.folder, table).map_err(|error| format!("a repaired spool can't be read: {error}"))
        };
        let (items, aside) = (read("items")?, read("quarantine")?);
        for (position, row) in &items {
            let [incarnation, boot, first, count] = row.identity;
            let mut ever = self.ever.iter();
            let was = ever.any(|was| was.device == row.device && was.identity == row.identity);
            let held = rig::check_records(incarnation, boot, first, &row.records);
            if !was || held != Ok(count) {
                return Err(format!(
                    "position {position} holds what was never there: {row:?}; {held:?}"
                ));
            }
        }
        let is_there = |position: &u64| items.contains_key(position) || aside.contains_key(position);
        let within = |stretches: &[(u64, u64)], position: u64| {
            stretches
                .iter()
                .any(|&(first, last)| (first..=last).contains(&position))
        };
        let (named, unnamed): (Vec<u64>, Vec<u64>) = picture
            .rows
            .keys()
            .filter(|position| !is_there(position))
            .partition(|&&position| {
                within(&repair.unreadable, position) || within(&repair.missing, position)
            });
        let there = items.keys().chain(aside.keys());
        Ok(Lost {
            named: named.len(),
            unnamed,
            false_alarms: there
                .copied()
                .filter(|&position| within(&repair.missing, position))
                .collect(),
        })
    }
}

struct Lost {
    /// Within what the repair named.
    named: usize,
    unnamed: Vec<u64>,
    /// Positions that were named as missing, and are there.
    false_alarms: Vec<u64>,
}

impl Lost {
    /// Everything that is gone is named; where the mark is damaged too, it must at least be told that something is wrong.
    fn check(&self, is_told: bool, is_marked: bool) -> Result<(), String> {
        let Self {
            unnamed,
            false_alarms,
            ..
        } = self;
        if !false_alarms.is_empty() {
            return Err(format!(
                "positions {false_alarms:?} are called missing, and are there"
            ));
        }
        if unnamed.is_empty() || (!is_marked && is_told) {
            return Ok(());
        }
        Err(format!("positions {unnamed:?} are gone, and nobody says so"))
    }
}

/// One edit of one file.
fn apply(files: &mut BTreeMap<&'static str, Vec<u8>>, edit: &[u8]) {
    let name = FILES[usize::from(edit[1]) % FILES.len()];
    let Some(bytes) = files.get_mut(name).filter(|bytes| !bytes.is_empty()) else {
        return;
    };
    let number = |at: usize| {
        edit[at..at + 4]
            .iter()
            .fold(0_usize, |n, &byte| n << 8 | usize::from(byte))
    };
    let at = number(2) % bytes.len();
    let piece = 1 + number(6) % 300;
    let end = (at + piece).min(bytes.len());
    match edit[0] % 9 {
        0 => bytes.truncate(at),
        // Where a page of a log ends: nothing in it tells that more was there.
        7 => {
            let pages = bytes.len().saturating_sub(LOG_HEAD_LEN) / LOG_PAGE_LEN;
            bytes.truncate(LOG_HEAD_LEN + number(2) % (pages + 1) * LOG_PAGE_LEN);
        }
        8 => bytes.clear(),
        1 => bytes[at] ^= 1 << (edit[10] % 8),
        2 => bytes[at..end].fill(0),
        3 => bytes[at..end].fill(edit[11]),
        4 => bytes.extend(edit.iter().cycle().take(piece)),
        5 => {
            let sectors = bytes.len() / SECTOR_LEN;
            if sectors > 1 {
                let (a, b) = (at / SECTOR_LEN % sectors, number(6) % sectors);
                for byte in 0..SECTOR_LEN {
                    bytes.swap(a * SECTOR_LEN + byte, b * SECTOR_LEN + byte);
                }
            }
        }
        _ => bytes[at] = edit[11],
    }
}

/// A message without its file.
fn word_of(message: &str) -> String {
    let last = message.split(':').nth(1).unwrap_or(message);
    last.split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .chars()
        .take(40)
        .collect()
}
