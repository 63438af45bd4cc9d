//! A gateway's spool after a bad day of its disk, and what recovery makes of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use rand::rngs::StdRng;
use rusqlite::{Connection, OpenFlags};
use taraz_gateway::{Repair, SpoolFile, repair_spool};
use tokio_util::sync::CancellationToken;

use super::mqtt::{Client, V5};
use super::rig::{self, Away};
use crate::harness::Target;
use crate::records;

const DEVICES: usize = 4;
/// Frames before each picture of the folder is taken.
const FRAMES: u32 = 20;
const RECORDS_PER_FRAME_MAX: u32 = 4;
/// The spool, its write-ahead log, and the log's index.
const FILES: [&str; 3] = ["spool.sqlite", "spool.sqlite-wal", "spool.sqlite-shm"];
/// An edit: what, which file, where, how much, with what.
const EDIT_LEN: usize = 12;
const SECTOR_LEN: usize = 512;

/// Fuzzes opening, verifying and repairing a spool.
pub(crate) struct Spools {
    pictures: Vec<Picture>,
    folder: PathBuf,
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
        let mut acknowledged = 0;
        for round in 0..2 {
            let (runtime, stop) = (rig::runtime()?, CancellationToken::new());
            let gateway = rig::gateway(&runtime, &data, fleet.clone(), Away, &stop)?;
            let at = gateway.mqtt_addr.context("a gateway with a door")?;
            for frame in 0..FRAMES {
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
        let rows = pictures.last().map_or(0, |picture| picture.rows.len());
        ensure!(rows >= acknowledged, "{rows} rows of {acknowledged} frames");
        Ok(Self {
            pictures,
            folder: folder.join("tried"),
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
        vec![random.random_range(0..4)]
    }

    fn damage(&mut self, input: &mut Vec<u8>, random: &mut StdRng) {
        let mut edit: [u8; EDIT_LEN] = random.random();
        // Mostly in the file or its log: the index is made anew.
        edit[1] = [0, 0, 0, 1, 1, 1, 1, 2][random.random_range(0..8)];
        input.extend(edit);
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let (&which, edits) = input.split_first().unwrap_or((&0, &[]));
        let picture = &self.pictures[usize::from(which) % self.pictures.len()];
        let mut files = picture.files.clone();
        for edit in edits.chunks_exact(EDIT_LEN) {
            apply(&mut files, edit);
        }
        let damaged = Picture {
            files,
            rows: BTreeMap::new(),
        };
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
            Err(error) => return Ok(format!("{told}, not repaired: {}", word_of(&error.to_string()))),
        };
        let lost = missing(&self.folder, picture, &repair)?;
        if let (Some(first), "good" | "no spool") = (lost.unnamed.first(), told) {
            return Err(format!(
                "positions from {first} on ({} of them) are gone, and nobody says so ({told})",
                lost.unnamed.len()
            ));
        }
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

struct Lost {
    /// Within what the repair said it could not read.
    named: usize,
    unnamed: Vec<u64>,
}

/// Nothing that stands in a repaired spool was altered or invented; what is missing.
fn missing(folder: &Path, picture: &Picture, repair: &Repair) -> Result<Lost, String> {
    let read =
        |table| rows(folder, table).map_err(|error| format!("a repaired spool can't be read: {error}"));
    let (items, aside) = (read("items")?, read("quarantine")?);
    for (position, row) in &items {
        let [incarnation, boot, first, count] = row.identity;
        let was = picture
            .rows
            .values()
            .any(|was| was.device == row.device && was.identity == row.identity);
        let held = rig::check_records(incarnation, boot, first, &row.records);
        if !was || held != Ok(count) {
            return Err(format!(
                "position {position} holds what was never there: {row:?}; {held:?}"
            ));
        }
    }
    let is_unreadable = |position: u64| {
        repair
            .unreadable
            .iter()
            .any(|&(first, last)| (first..=last).contains(&position))
    };
    let (named, unnamed): (Vec<u64>, Vec<u64>) = picture
        .rows
        .keys()
        .filter(|position| !items.contains_key(position) && !aside.contains_key(position))
        .partition(|&&position| is_unreadable(position));
    Ok(Lost {
        named: named.len(),
        unnamed,
    })
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
    match edit[0] % 7 {
        0 => bytes.truncate(at),
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
