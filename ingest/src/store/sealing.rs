//! Days that are over become chunks, a few at a time and beside everything else.
//!
//! In: the store, and before which day readings are sealed, or given up. Out: chunks in the place of runs, in bounded commits. What comes late for a
//! sealed day is a run again, and is sealed together with the chunk. A chunk goes in, and its runs out, in one transaction, after its
//! bytes were unpacked and compared.

use rusqlite::Connection;

use super::chunk::{self, CHUNK_READINGS_MAX, Chunk};
use super::runs::{self, DAY_MS, Run, day_of};

/// A commit takes no further device-day once it takes out so many rows: batches wait for that long.
const SWAP_ROWS_MAX: usize = 4_000;
/// Chunks of a device-day with more readings stay as they are, and what comes late is sealed beside them: a device that sends without end
/// must not make all of its day be unpacked with every slice.
const MERGE_READINGS_MAX: i64 = 100_000;
/// The most device-days in one commit.
const SWAP_DAYS_MAX: u64 = 64;

/// One device in one UTC day.
pub(super) type DeviceDay = (i64, i64);

/// The UTC day so many days ago: what is before it ended that long ago.
pub(super) fn day_before(now_ms: i64, days: u32) -> i64 {
    day_of(now_ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS)))
}

/// What sealing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealing {
    /// Days of devices that were sealed.
    pub device_days: u64,
    /// Readings in them, those of chunks that were made anew included.
    pub readings: u64,
    /// Readings among them that could not be put into columns and are kept as they came, compressed.
    pub raw_readings: u64,
    /// Bytes of the records as they came.
    pub records_bytes: u64,
    /// Bytes of the chunks.
    pub chunk_bytes: u64,
    /// Days of devices that stay as they are: their rows are damaged, and `taraz store verify` names them.
    pub unsealable: u64,
    /// Readings of those days that came in runs.
    pub unsealable_readings: u64,
}

impl Sealing {
    /// Adds what was done elsewhere.
    pub fn add(&mut self, other: Self) {
        self.device_days += other.device_days;
        self.readings += other.readings;
        self.raw_readings += other.raw_readings;
        self.records_bytes += other.records_bytes;
        self.chunk_bytes += other.chunk_bytes;
        self.unsealable += other.unsealable;
        self.unsealable_readings += other.unsealable_readings;
    }
}

/// Chunks that stand ready, and what they replace.
#[derive(Debug, Default)]
pub(crate) struct Swap {
    chunks: Vec<Chunk>,
    runs: Vec<i64>,
    old_chunks: Vec<i64>,
    pub(super) sealing: Sealing,
    /// Where the next one goes on.
    pub(super) after: Option<DeviceDay>,
    /// The last device-day has more runs than one commit takes.
    is_sliced: bool,
}

impl Swap {
    /// Puts the chunks in the place of what they replace, in the caller's transaction; 0 of everything when something of it is
    /// not there any more, because somebody else has sealed it.
    pub(super) fn apply(&self, connection: &Connection) -> rusqlite::Result<Sealing> {
        let are_there = |table: &str, ids: &[i64]| -> rusqlite::Result<bool> {
            let sql = format!("SELECT EXISTS (SELECT 1 FROM {table} WHERE id = ?)");
            let mut statement = connection.prepare_cached(&sql)?;
            for id in ids {
                if !statement.query_row([id], |row| row.get(0))? {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        if !are_there("run", &self.runs)? || !are_there("chunk", &self.old_chunks)? {
            return Ok(Sealing::default());
        }
        for (table, ids) in [("run", &self.runs), ("chunk", &self.old_chunks)] {
            let mut delete = connection.prepare_cached(&format!("DELETE FROM {table} WHERE id = ?"))?;
            for id in ids {
                delete.execute([id])?;
            }
        }
        for chunk in &self.chunks {
            chunk.insert(connection)?;
        }
        Ok(self.sealing)
    }

    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    fn is_full(&self) -> bool {
        self.is_sliced || self.runs.len() >= SWAP_ROWS_MAX || self.sealing.device_days >= SWAP_DAYS_MAX
    }
}

/// The next device-days behind `after` with runs of days before `open_day`, sealed in memory: as many as one commit takes.
pub(super) fn prepare(
    connection: &Connection,
    open_day: i64,
    after: Option<DeviceDay>,
) -> rusqlite::Result<Swap> {
    let mut swap = Swap {
        after,
        ..Swap::default()
    };
    while !swap.is_full() {
        let Some(next) = next_due(connection, "run", open_day, swap.after)? else {
            swap.after = None;
            return Ok(swap);
        };
        let before = swap.after.unwrap_or((i64::MIN, i64::MIN));
        seal(connection, next, &mut swap)?;
        // What is left of a slice is there again behind the device-day before it.
        swap.after = Some(if swap.is_sliced { before } else { next });
    }
    Ok(swap)
}

/// Gives up the chunks of the next device-days before a day, as many as one commit takes, and writes down how many readings that
/// were; 0 when there are none left. In the caller's transaction.
pub(super) fn forget(connection: &Connection, before_day: i64) -> rusqlite::Result<u64> {
    let (mut forgotten, mut after) = (0, None);
    for _ in 0..SWAP_DAYS_MAX {
        let Some(next) = next_due(connection, "chunk", before_day, after)? else {
            break;
        };
        let readings = readings_of(connection, next)?;
        connection
            .prepare_cached("DELETE FROM chunk WHERE device = ? AND day = ?")?
            .execute(next)?;
        connection
            .prepare_cached(
                "INSERT INTO forgotten (day, readings) VALUES (?, ?)
                 ON CONFLICT DO UPDATE SET readings = readings + excluded.readings",
            )?
            .execute((next.1, readings))?;
        forgotten += readings.unsigned_abs();
        after = Some(next);
    }
    Ok(forgotten)
}

/// The first device-day behind another one that has rows in this table and is before a day.
fn next_due(
    connection: &Connection,
    table: &str,
    before_day: i64,
    after: Option<DeviceDay>,
) -> rusqlite::Result<Option<DeviceDay>> {
    let sql = format!(
        "SELECT device, day FROM {table} INDEXED BY {table}_day WHERE (device, day) > (?, ?)
             AND typeof(device) = 'integer' AND typeof(day) = 'integer' ORDER BY device, day LIMIT 1"
    );
    let mut next = connection.prepare_cached(&sql)?;
    let mut after = after.unwrap_or((i64::MIN, i64::MIN));
    loop {
        let mut rows = next.query(after)?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let found: DeviceDay = (row.get(0)?, row.get(1)?);
        if found.1 < before_day {
            return Ok(Some(found));
        }
        // The later days of this device are not before it either.
        after = (found.0, i64::MAX);
    }
}

fn seal(connection: &Connection, (device, day): DeviceDay, swap: &mut Swap) -> rusqlite::Result<()> {
    let mut late = runs::of_day(connection, device, day, SWAP_ROWS_MAX + 1)?;
    let has_more = late.len() > SWAP_ROWS_MAX;
    late.truncate(SWAP_ROWS_MAX);
    let late_readings: u64 = late.iter().map(|run| u64::from(run.count)).sum();
    let ids: Vec<_> = late.iter().map(|run| run.id).collect();
    let merged = if has_more {
        None
    } else {
        merge(connection, (device, day), &late)?
    };
    let (chunks, old_chunks) = match merged {
        Some((chunks, old_chunks)) => (Some(chunks), old_chunks),
        // Beside what was sealed, then.
        None => (pack(late), Vec::new()),
    };
    let Some(chunks) = chunks else {
        tracing::error!(
            device,
            day,
            "a day's readings can't be sealed: `taraz store verify` says why"
        );
        swap.sealing.unsealable += 1;
        swap.sealing.unsealable_readings += late_readings;
        return Ok(());
    };
    swap.is_sliced = has_more;
    swap.sealing.device_days += u64::from(!has_more);
    for chunk in &chunks {
        swap.sealing.readings += u64::from(chunk.readings);
        swap.sealing.raw_readings += if chunk.is_raw() {
            u64::from(chunk.readings)
        } else {
            0
        };
        swap.sealing.records_bytes += chunk.records_len;
        swap.sealing.chunk_bytes += chunk.len();
    }
    swap.chunks.extend(chunks);
    swap.runs.extend(ids);
    swap.old_chunks.extend(old_chunks);
    Ok(())
}

/// Late runs together with what is sealed of their device-day, and the chunks that go; `None` when that does not come to chunks of their own
/// places, or is too much.
fn merge(
    connection: &Connection,
    device_day: DeviceDay,
    late: &[Run],
) -> rusqlite::Result<Option<(Vec<Chunk>, Vec<i64>)>> {
    if readings_of(connection, device_day)? > MERGE_READINGS_MAX {
        return Ok(None);
    }
    let (mut all, mut old_chunks) = (late.to_vec(), Vec::new());
    for old in chunk::of_day(connection, device_day.0, device_day.1)? {
        // One that can't be read is left alone; it is not the late readings' fault.
        if let Ok(runs) = old.to_runs() {
            all.extend(runs);
            old_chunks.push(old.id);
        }
    }
    let chunks = pack(all).filter(|chunks| have_own_places(chunks));
    Ok(chunks.map(|chunks| (chunks, old_chunks)))
}

/// How many readings the chunks of a device-day say they have.
fn readings_of(connection: &Connection, device_day: DeviceDay) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT CAST(total(readings) AS INTEGER) FROM chunk INDEXED BY chunk_day WHERE device = ? AND day = ?",
        )?
        .query_row(device_day, |row| row.get(0))
}

/// Packs runs of one device-day, in the order of identities, into as few chunks as hold them.
fn pack(mut runs: Vec<Run>) -> Option<Vec<Chunk>> {
    runs.sort_unstable_by_key(|run| (run.boot, run.first));
    let (mut chunks, mut slice, mut count) = (Vec::new(), Vec::new(), 0);
    for run in runs {
        let more = usize::try_from(run.count).ok()?;
        if count + more > CHUNK_READINGS_MAX {
            chunks.push(Chunk::seal(std::mem::take(&mut slice))?);
            count = 0;
        }
        count += more;
        slice.push(run);
    }
    chunks.push(Chunk::seal(slice)?);
    Some(chunks)
}

fn have_own_places(chunks: &[Chunk]) -> bool {
    let mut ids: Vec<_> = chunks.iter().map(|chunk| chunk.id).collect();
    ids.sort_unstable();
    ids.windows(2).all(|pair| pair[0] != pair[1])
}
