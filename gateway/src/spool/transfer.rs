//! A spool's rows as a file, for another gateway's spool, or to be sent to ingest by hand.
//!
//! ```text
//! "TARAZ-SX" ‖ version u8 ‖ blocks … ‖ end
//! block = length u32 LE, above 0 ‖ CRC-32 of the batch, u32 LE ‖ batch, as docs/protocol.md has it (section 17)
//! end   = 0 u32 LE ‖ items u64 LE
//! ```

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use rusqlite::params;
use serde::Serialize;
use taraz_telemetry::{BATCH_LEN_MAX, Batch, BatchItem, BatchWriter, Crc32, Hold, Records};

use crate::time::now_ms;

use super::inspect::{SpoolFile, failed};
use super::missing::Before;
use super::table::{NEXT_POSITION, StoredRow, Table, TableLimits, connect, row_crc, signed, unsigned};
use super::verify::wrong_with;
use super::{FILE_NAME, SpoolError, lock, refuse_half_repaired, unusable};

const MAGIC: &[u8; 8] = b"TARAZ-SX";
const VERSION: u8 = 1;

/// An export or an import failed; what was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The export's file can't be written or read.
    #[error("{file}: {error}")]
    File {
        /// Which.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// Nothing waits of the device that was asked for.
    #[error(
        "nothing of a device \"{device}\" waits for ingest; `taraz spool list` names the devices of which something does; no file was written"
    )]
    NothingOf {
        /// Which.
        device: String,
    },
    /// The file is no export, or not a whole one.
    #[error("{file} is not a whole export of a spool: {what}; nothing of it was imported")]
    Malformed {
        /// Which.
        file: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What was exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Rows in the file.
    pub rows: u64,
    /// Records in them.
    pub records: u64,
    /// Rows that are damaged and not in the file.
    pub left_out: u64,
}

/// What was imported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Rows that now wait for ingest.
    pub rows: u64,
    /// Records in them.
    pub records: u64,
}

/// Writes what waits for ingest (of one device, or all) into a new file; durable when this returns. A gateway may run beside.
///
/// # Errors
/// [`TransferError::Spool`], also without a spool; [`TransferError::File`], also when the file exists already;
/// [`TransferError::NothingOf`] when nothing waits of the one device; no file is there then.
pub fn export(data_dir: &Path, device: Option<&str>, out: &Path) -> Result<Exported, TransferError> {
    let missing = || SpoolError::Missing {
        file: data_dir.join(FILE_NAME).display().to_string(),
    };
    let spool = SpoolFile::open(data_dir)?.ok_or_else(missing)?;
    let at = at(out);
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(out)
        .map_err(&at)?;
    let written = Exporter::new(file).map_err(&at).and_then(|mut exporter| {
        let mut result = Ok(());
        spool.each("items", |row| {
            let is_wanted = device.is_none_or(|device| row.device == device);
            if result.is_ok() && is_wanted {
                result = exporter.add(row);
            }
        })?;
        let exported = result.and_then(|()| exporter.finish()).map_err(&at)?;
        match device {
            Some(device) if exported.rows == 0 && exported.left_out == 0 => Err(TransferError::NothingOf {
                device: device.to_owned(),
            }),
            _ => Ok(exported),
        }
    });
    if written.is_err() {
        // A part of an export must not be taken for one.
        let _ = std::fs::remove_file(out);
    }
    written
}

struct Exporter {
    file: BufWriter<File>,
    batch: BatchWriter,
    exported: Exported,
}

impl Exporter {
    fn new(file: File) -> std::io::Result<Self> {
        let mut file = BufWriter::new(file);
        file.write_all(MAGIC)?;
        file.write_all(&[VERSION])?;
        Ok(Self {
            file,
            batch: BatchWriter::new(),
            exported: Exported::default(),
        })
    }

    fn add(&mut self, row: &StoredRow<'_>) -> std::io::Result<()> {
        if wrong_with(row).is_some() {
            self.exported.left_out += 1;
            return Ok(());
        }
        let item = BatchItem {
            position: row.position,
            received_ms: row.received_ms,
            device: row.device,
            incarnation: row.incarnation,
            boot: row.boot,
            first: row.first,
            hold: row.hold,
            records: row.records,
        };
        if !self.batch.push(&item) {
            self.block()?;
            if !self.batch.push(&item) {
                self.exported.left_out += 1;
                return Ok(());
            }
        }
        self.exported.rows += 1;
        self.exported.records += u64::from(row.count);
        Ok(())
    }

    fn block(&mut self) -> std::io::Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let bytes = batch.finish();
        // At most BATCH_LEN_MAX.
        let len = u32::try_from(bytes.len()).map_err(std::io::Error::other)?;
        self.file.write_all(&len.to_le_bytes())?;
        self.file
            .write_all(&Crc32::new().bytes(&bytes).sum().to_le_bytes())?;
        self.file.write_all(&bytes)
    }

    fn finish(mut self) -> std::io::Result<Exported> {
        self.block()?;
        self.file.write_all(&0_u32.to_le_bytes())?;
        self.file.write_all(&self.exported.rows.to_le_bytes())?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.exported)
    }
}

/// Puts an export's rows behind everything that waits in the spool of a gateway that does not run; it delivers them when it runs
/// again. Rows that are there already come twice, and ingest takes them once. Everything or nothing.
///
/// # Errors
/// [`TransferError::Malformed`] when the file is not a whole export; [`TransferError::Spool`], also while a gateway runs;
/// [`TransferError::File`].
pub fn import(data_dir: &Path, from: &Path) -> Result<Imported, TransferError> {
    let file = File::open(from).map_err(at(from))?;
    let mut reader = BufReader::new(file);
    std::fs::create_dir_all(data_dir).map_err(|error| unusable(data_dir, error))?;
    let _lock = lock(data_dir)?;
    refuse_half_repaired(data_dir)?;
    let spool = data_dir.join(FILE_NAME);
    let before = Before::look(data_dir, &spool, false)?;
    drop(Table::open(&spool, &TableLimits::default())?);
    let broken = failed(&spool);
    let mut connection = connect(&spool).map_err(&broken)?;
    before.account(&mut connection, &spool, now_ms())?;
    let transaction = connection.transaction().map_err(&broken)?;
    let next = transaction
        .query_row(NEXT_POSITION, [], |row| row.get(0))
        .map(unsigned);
    let mut next = next.map_err(&broken)?;
    let mut imported = Imported::default();
    head(&mut reader).map_err(|stop| stop.at(from))?;
    while let Some(bytes) = block(&mut reader, imported.rows).map_err(|stop| stop.at(from))? {
        let batch = Batch::decode(&bytes).map_err(|error| Stop::Wrong(error.to_string()).at(from))?;
        for item in batch.items() {
            let count = count_of(item).ok_or_else(|| {
                Stop::Wrong(format!("the item of position {} can't be read", item.position)).at(from)
            })?;
            put(&transaction, next, item, count).map_err(&broken)?;
            next += 1;
            imported.rows += 1;
            imported.records += u64::from(count);
        }
    }
    transaction.commit().map_err(&broken)?;
    Ok(imported)
}

fn put(
    transaction: &rusqlite::Transaction<'_>,
    position: u64,
    item: &BatchItem<'_>,
    count: u32,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO items VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let crc = row_crc(
        item.device,
        [item.incarnation, item.boot, item.first, count],
        item.records,
    );
    transaction.prepare_cached(sql)?.execute(params![
        signed(position),
        signed(item.received_ms),
        item.device,
        item.incarnation,
        item.boot,
        item.first,
        count,
        item.hold.map(Hold::as_str),
        crc,
        item.records,
    ])?;
    Ok(())
}

/// How many records an item holds. `None` when one of them, or its device, can't be read.
fn count_of(item: &BatchItem<'_>) -> Option<u32> {
    taraz_telemetry::DeviceId::new(item.device).ok()?;
    let mut count = 0_u32;
    for record in Records::new(item.records) {
        record.ok()?;
        count = count.checked_add(1)?;
    }
    item.first.checked_add(count.checked_sub(1)?)?;
    Some(count)
}

/// Why reading an export stops.
enum Stop {
    File(std::io::Error),
    Wrong(String),
}

impl Stop {
    fn at(self, file: &Path) -> TransferError {
        let name = file.display().to_string();
        match self {
            Self::File(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                TransferError::Malformed {
                    file: name,
                    what: "it ends too early".to_owned(),
                }
            }
            Self::File(error) => TransferError::File { file: name, error },
            Self::Wrong(what) => TransferError::Malformed { file: name, what },
        }
    }
}

fn head(reader: &mut impl Read) -> Result<(), Stop> {
    let mut head = [0; MAGIC.len() + 1];
    reader.read_exact(&mut head).map_err(Stop::File)?;
    match head.split_last() {
        Some((&VERSION, magic)) if magic == MAGIC => Ok(()),
        Some((version, magic)) if magic == MAGIC => {
            Err(Stop::Wrong(format!("version {version}, expected {VERSION}")))
        }
        _ => Err(Stop::Wrong("it does not begin with TARAZ-SX".to_owned())),
    }
}

/// The next batch; `None` at the end, which must be the file's and tell the number of `items`.
fn block(reader: &mut impl Read, items: u64) -> Result<Option<Vec<u8>>, Stop> {
    let len = u32::from_le_bytes(read(reader)?) as usize;
    if len == 0 {
        let told = u64::from_le_bytes(read(reader)?);
        let mut rest = [0; 1];
        let more = reader.read(&mut rest).map_err(Stop::File)?;
        return match (told == items, more) {
            (true, 0) => Ok(None),
            (true, _) => Err(Stop::Wrong("something stands behind its end".to_owned())),
            (false, _) => Err(Stop::Wrong(format!("it says {told} items and holds {items}"))),
        };
    }
    if len > BATCH_LEN_MAX {
        return Err(Stop::Wrong(format!(
            "a block of {len} bytes, at most {BATCH_LEN_MAX} were expected"
        )));
    }
    let crc = u32::from_le_bytes(read(reader)?);
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).map_err(Stop::File)?;
    if Crc32::new().bytes(&bytes).sum() == crc {
        Ok(Some(bytes))
    } else {
        Err(Stop::Wrong(format!(
            "a block behind item {items} does not fit its check sum"
        )))
    }
}

fn read<const N: usize>(reader: &mut impl Read) -> Result<[u8; N], Stop> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes).map(|()| bytes).map_err(Stop::File)
}

fn at(file: &Path) -> impl Fn(std::io::Error) -> TransferError + use<> {
    let file = file.display().to_string();
    move |error| TransferError::File {
        file: file.clone(),
        error,
    }
}
