//! The spool's file: the only SQL of the gateway.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use taraz_telemetry::Hold;

use super::SpoolError;
use super::queue::Removal;
use super::schema::{SCHEMA_VERSION, check_described, is_empty, make_empty, version};

/// What a row costs beside its record bytes, for the bound and the metric.
pub(super) const ROW_OVERHEAD: u64 = 64;
/// How long a statement waits for another connection's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The position that nothing has, or ever had.
pub(super) const NEXT_POSITION: &str = "SELECT max(value, coalesce((SELECT max(position) + 1 FROM items), 0),
    coalesce((SELECT max(position) + 1 FROM quarantine), 0)) FROM meta WHERE key = 'next_position'";

/// Moves a row into the quarantine. A damaged one may hold what its columns can't (a type that one flipped bit has made another): it is
/// kept as the nearest thing that they can. A row of this position that is there already is the same one: positions are given out once.
const KEEP: &str = "INSERT OR IGNORE INTO quarantine
    SELECT position, coalesce(CAST(received_ms AS INTEGER), 0), coalesce(CAST(device AS TEXT), ''),
        coalesce(CAST(incarnation AS INTEGER), 0), coalesce(CAST(boot AS INTEGER), 0), coalesce(CAST(first AS INTEGER), 0),
        coalesce(CAST(count AS INTEGER), 0), CAST(hold AS TEXT), coalesce(CAST(crc AS INTEGER), 0),
        coalesce(CAST(records AS BLOB), x''), ?2, ?3
    FROM items WHERE position = ?1 RETURNING length(records)";

/// Limits that `SQLite` itself enforces.
#[derive(Clone, Debug)]
pub(crate) struct TableLimits {
    /// Pages of the file, set again before every transaction.
    pages_max: Arc<AtomicU32>,
}

impl Default for TableLimits {
    fn default() -> Self {
        // SQLITE_MAX_PAGE_COUNT
        Self {
            pages_max: Arc::new(AtomicU32::new(0xFFFF_FFFE)),
        }
    }
}

impl TableLimits {
    /// Makes the file full at so many pages.
    #[cfg(test)]
    pub(crate) fn set_pages_max(&self, pages: u32) {
        self.pages_max.store(pages, Ordering::Relaxed);
    }
}

/// A row that is to be written.
#[derive(Debug)]
pub(super) struct NewRow<'a> {
    pub(super) position: u64,
    pub(super) received_ms: u64,
    pub(super) device: &'a str,
    pub(super) incarnation: u32,
    pub(super) boot: u32,
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) hold: Option<Hold>,
    pub(super) records: &'a [u8],
}

/// A row as it was read back.
#[derive(Debug)]
pub(crate) struct StoredRow<'a> {
    pub(crate) position: u64,
    pub(crate) received_ms: u64,
    pub(crate) device: &'a str,
    pub(crate) incarnation: u32,
    pub(crate) boot: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) hold: Option<Hold>,
    pub(crate) records: &'a [u8],
    /// The CRC does not fit, or the hold is no known word: the row must not be forwarded.
    pub(crate) damaged: bool,
}

/// How much is in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) items: u64,
    pub(super) item_bytes: u64,
    pub(super) quarantined: u64,
    pub(super) quarantined_bytes: u64,
}

impl Usage {
    pub(super) const fn bytes(&self) -> u64 {
        self.item_bytes + self.quarantined_bytes
    }
}

#[derive(Debug)]
pub(super) struct Table {
    connection: Connection,
    limits: TableLimits,
}

impl Table {
    pub(super) fn open(file: &Path, limits: &TableLimits) -> Result<Self, SpoolError> {
        let at = |error| SpoolError::Open {
            file: file.display().to_string(),
            error,
        };
        let connection = connect(file).map_err(at)?;
        match version(&connection).map_err(at)? {
            SCHEMA_VERSION => check_described(&connection, file)?,
            0 if is_empty(&connection).map_err(at)? => make_empty(&connection).map_err(at)?,
            0 => {
                let file = file.display().to_string();
                return Err(SpoolError::Described { file });
            }
            found => {
                let file = file.display().to_string();
                return Err(SpoolError::Schema {
                    file,
                    found,
                    known: SCHEMA_VERSION,
                });
            }
        }
        Ok(Self {
            connection,
            limits: limits.clone(),
        })
    }

    /// To look at what it has, or to note something, before anybody commits.
    pub(super) const fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    pub(super) fn usage(&self) -> rusqlite::Result<Usage> {
        let of = |table: &str| {
            let sql = format!("SELECT count(*), coalesce(sum(length(records)), 0) FROM {table}");
            self.connection
                .query_row(&sql, [], |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))
        };
        let ((items, item_bytes), (quarantined, quarantined_bytes)) = (of("items")?, of("quarantine")?);
        Ok(Usage {
            items,
            item_bytes: item_bytes + items * ROW_OVERHEAD,
            quarantined,
            quarantined_bytes: quarantined_bytes + quarantined * ROW_OVERHEAD,
        })
    }

    pub(super) fn next_position(&self) -> rusqlite::Result<u64> {
        self.connection
            .query_row(NEXT_POSITION, [], |row| row.get(0))
            .map(unsigned)
    }

    /// Newest first, until `each` says no.
    pub(super) fn newest(&self, each: impl FnMut(&StoredRow<'_>) -> bool) -> rusqlite::Result<()> {
        rows(
            &self.connection,
            "SELECT * FROM items ORDER BY position DESC",
            &[],
            each,
        )
    }

    /// One transaction: writes the rows, carries the removals out. Returns what was removed and quarantined.
    pub(super) fn apply<'a>(
        &mut self,
        new: impl Iterator<Item = NewRow<'a>>,
        removals: &[Removal],
        now_ms: u64,
    ) -> rusqlite::Result<Usage> {
        let pages = self.limits.pages_max.load(Ordering::Relaxed);
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        insert(&transaction, new)?;
        let mut gone = Usage::default();
        for removal in removals {
            remove(&transaction, removal, now_ms, &mut gone)?;
        }
        transaction.commit()?;
        Ok(gone)
    }
}

pub(super) fn connect(file: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // In WAL mode FULL fsyncs the log at every commit (sqlite.org/pragma.html#pragma_synchronous); NORMAL does not.
    connection.pragma_update(None, "synchronous", synchronous())?;
    connection.set_prepared_statement_cache_capacity(16);
    Ok(connection)
}

/// `FULL`, always. In a debug build alone the environment can say OFF: with it what is acknowledged is not durable. It is there for
/// the test that must see the proof of durability fail.
fn synchronous() -> &'static str {
    const UNSAFE: &str = "TARAZ_UNSAFE_NO_FSYNC";
    if cfg!(debug_assertions) && std::env::var_os(UNSAFE).is_some() {
        tracing::error!("{UNSAFE} is set: nothing is synced, and a power cut loses what was acknowledged");
        return "OFF";
    }
    "FULL"
}

fn insert<'a>(transaction: &Transaction<'_>, new: impl Iterator<Item = NewRow<'a>>) -> rusqlite::Result<()> {
    let mut statement =
        transaction.prepare_cached("INSERT INTO items VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for row in new {
        let crc = row_crc(
            row.device,
            [row.incarnation, row.boot, row.first, row.count],
            row.records,
        );
        statement.execute(params![
            signed(row.position),
            signed(row.received_ms),
            row.device,
            row.incarnation,
            row.boot,
            row.first,
            row.count,
            row.hold.map(Hold::as_str),
            crc,
            row.records,
        ])?;
    }
    Ok(())
}

fn remove(
    transaction: &Transaction<'_>,
    removal: &Removal,
    now_ms: u64,
    gone: &mut Usage,
) -> rusqlite::Result<()> {
    let mut keep = transaction.prepare_cached(KEEP)?;
    for (position, reason) in &removal.rejected {
        let len: Option<i64> = keep
            .query_row(params![signed(*position), reason, signed(now_ms)], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(len) = len {
            gone.quarantined += 1;
            gone.quarantined_bytes += unsigned(len) + ROW_OVERHEAD;
        }
    }
    remove_range(transaction, 0, removal.up_to, gone)?;
    for range in &removal.ranges {
        remove_range(transaction, *range.start(), *range.end(), gone)?;
    }
    let newest = removal.ranges.iter().map(|range| *range.end()).max();
    transaction
        .prepare_cached("UPDATE meta SET value = max(value, ?1 + 1) WHERE key = 'next_position'")?
        .execute([signed(removal.up_to.max(newest.unwrap_or(0)))])?;
    Ok(())
}

fn remove_range(
    transaction: &Transaction<'_>,
    first: u64,
    last: u64,
    gone: &mut Usage,
) -> rusqlite::Result<()> {
    let range = [signed(first), signed(last)];
    let (items, bytes) = transaction
        .prepare_cached(
            "SELECT count(*), coalesce(sum(length(records)), 0) FROM items WHERE position BETWEEN ?1 AND ?2",
        )?
        .query_row(range, |row| Ok((unsigned(row.get(0)?), unsigned(row.get(1)?))))?;
    transaction
        .prepare_cached("DELETE FROM items WHERE position BETWEEN ?1 AND ?2")?
        .execute(range)?;
    gone.items += items;
    gone.item_bytes += bytes + items * ROW_OVERHEAD;
    Ok(())
}

/// Rows as they are, until `each` says no.
pub(super) fn rows(
    connection: &Connection,
    sql: &str,
    parameters: &[i64],
    mut each: impl FnMut(&StoredRow<'_>) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    while let Some(row) = rows.next()? {
        if !each(&stored(row)?) {
            break;
        }
    }
    Ok(())
}

/// The columns in the order of `SCHEMA`. A row whose columns can't even be read is a damaged one, so that it can be put aside
/// and nothing behind it has to wait.
pub(super) fn stored<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<StoredRow<'a>> {
    let device = row.get_ref(2)?.as_str().ok();
    let number = |column: usize| row.get_ref(column).ok()?.as_i64().ok()?.try_into().ok();
    let numbers: [Option<u32>; 4] = [3, 4, 5, 6].map(number);
    let word = row.get_ref(7)?.as_str_or_null().unwrap_or(Some(""));
    let hold = word.map(|word| Hold::ALL.into_iter().find(|hold| hold.as_str() == word));
    let records = row.get_ref(9)?.as_blob().ok();
    let (device_text, record_bytes) = (device.unwrap_or(""), records.unwrap_or(&[]));
    let [incarnation, boot, first, count] = numbers.map(Option::unwrap_or_default);
    let is_read = device.is_some() && records.is_some() && numbers.iter().all(Option::is_some);
    let crc = row_crc(device_text, [incarnation, boot, first, count], record_bytes);
    Ok(StoredRow {
        position: unsigned(row.get(0)?),
        received_ms: unsigned(row.get(1).unwrap_or_default()),
        device: device_text,
        incarnation,
        boot,
        first,
        count,
        hold: hold.flatten(),
        records: record_bytes,
        damaged: !is_read || hold == Some(None) || number(8) != Some(crc),
    })
}

/// Rows come in the order of their positions, each once; a damaged tree can lead back.
pub(super) fn in_circles() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(
        code,
        Some("its rows do not stand in the order of their positions".to_owned()),
    )
}

/// CRC-32/ISO-HDLC over identity and bytes: the sum of [`taraz_telemetry::Crc32`], by faster means.
pub(super) fn row_crc(device: &str, numbers: [u32; 4], records: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(device.as_bytes());
    numbers
        .into_iter()
        .for_each(|number| crc.update(&number.to_le_bytes()));
    crc.update(records);
    crc.finalize()
}

/// `SQLite`'s integers are signed; positions and times stay far below 2⁶³.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use taraz_telemetry::Crc32;

    use super::*;

    #[test]
    fn the_fast_sum_is_the_contracts() {
        let records: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        for len in [0, 1, 7, 64, 1_000, 5_000] {
            let slow = Crc32::new()
                .bytes(b"sari-01")
                .word(1)
                .word(u32::MAX)
                .word(3)
                .word(4);
            let slow = slow.bytes(&records[..len]).sum();
            assert_eq!(
                row_crc("sari-01", [1, u32::MAX, 3, 4], &records[..len]),
                slow,
                "{len}"
            );
        }
    }
}
