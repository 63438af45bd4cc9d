//! What is done with the days that are over: sealed, in time given up, and the file's free pages given back.
//!
//! Inside ingest, beside its batches, by [`Store::keep`]; by hand, beside a running ingest or without one, by [`compact`].

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use super::runs::DAY_MS;
use super::sealing::{self, Sealing};
use super::writer::Command;
use super::{FILE_NAME, Store, StoreError, lock, schema};
use crate::counters::StoreEvent;

/// How many pages are given back in one transaction.
const VACUUM_PAGES: i64 = 2_000;

/// A night without readings, and a day of a fault, are no reason to doubt the clock.
const AHEAD_MS_MAX: i64 = 2 * DAY_MS;

impl Store {
    /// Seals the days that ended `seal_after_days` ago, and gives up those that ended `keep_readings_days` ago. Batches are taken
    /// meanwhile: each commit of it is bounded.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Failed`], [`StoreError::Closed`].
    pub(crate) async fn keep(
        &self,
        now_ms: i64,
        seal_after_days: u32,
        keep_readings_days: Option<u32>,
    ) -> Result<Sealing, StoreError> {
        let open_day = sealing::day_before(now_ms, seal_after_days);
        let sealed = self.seal(open_day).await;
        // What can't be sealed keeps nothing that is due from going.
        if let Some(days) = keep_readings_days {
            let believed_ms = self.believed_ms(now_ms).await?;
            self.forget(sealing::day_before(believed_ms, days)).await?;
        }
        sealed
    }

    /// The time that readings are given up by, UTC ms: the system's, but not later than devices state by their own clocks. What a clock
    /// that is years ahead would delete can't be had again.
    async fn believed_ms(&self, now_ms: i64) -> Result<i64, StoreError> {
        let store = self.clone();
        let stated =
            tokio::task::spawn_blocking(move || store.snapshot(|snapshot| stated_ms(snapshot.connection)));
        let stated_ms = stated.await.map_err(|_| StoreError::Closed)??.unwrap_or(now_ms);
        let is_ahead = now_ms.saturating_sub(stated_ms) > AHEAD_MS_MAX;
        if self.counters.clock_is_ahead(is_ahead) != is_ahead {
            let ahead_days = now_ms.saturating_sub(stated_ms) / DAY_MS;
            if is_ahead {
                tracing::warn!(
                    ahead_days,
                    "the system's clock is ahead of every newest reading: days are given up by the readings' time; set the clock, or \
                     see why no device sends"
                );
            } else {
                tracing::info!("the system's clock and the newest readings agree again");
            }
        }
        Ok(now_ms.min(stated_ms))
    }

    async fn seal(&self, open_day: i64) -> Result<Sealing, StoreError> {
        let (mut done, mut after) = (Sealing::default(), None);
        loop {
            let store = self.clone();
            let prepared = tokio::task::spawn_blocking(move || {
                store.snapshot(|snapshot| sealing::prepare(snapshot.connection, open_day, after))
            });
            let swap = prepared.await.map_err(|_| StoreError::Closed)??;
            after = swap.after;
            if swap.is_empty() {
                done.add(swap.sealing);
            } else {
                let swap = Box::new(swap);
                done.add(self.ask(|reply| Command::Swap { swap, reply }).await??);
            }
            if after.is_none() {
                break;
            }
        }
        self.counters
            .store(StoreEvent::Unsealable, done.unsealable_readings);
        if done.device_days > 0 {
            tracing::info!(
                device_days = done.device_days,
                readings = done.readings,
                bytes = done.chunk_bytes,
                "days are sealed"
            );
        }
        Ok(done)
    }

    async fn forget(&self, before_day: i64) -> Result<(), StoreError> {
        let mut readings = 0;
        loop {
            match self.ask(|reply| Command::Forget { before_day, reply }).await?? {
                0 => break,
                more => readings += more,
            }
        }
        if readings > 0 {
            tracing::warn!(
                readings,
                "readings are given up, as store.keep_readings_days says"
            );
        }
        Ok(())
    }
}

/// When the newest readings were taken, UTC ms: a tenth of the devices state this time or a later one, so that in a fleet one clock that
/// is ahead as well proves nothing. `None` while nothing was read.
fn stated_ms(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let newest = connection.query_row(
        "SELECT last_reading_ms FROM device WHERE typeof(last_reading_ms) = 'integer' ORDER BY last_reading_ms DESC
         LIMIT 1 OFFSET (SELECT count(*) / 10 FROM device WHERE typeof(last_reading_ms) = 'integer')",
        (),
        |row| row.get(0),
    );
    newest.optional()
}

/// What [`compact`] is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Sealed so far.
    Sealing(Sealing),
    /// Free pages of the file that are still to be given back.
    FreePages(u64),
}

/// What [`compact`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// What was sealed.
    pub sealing: Sealing,
    /// The file's length before, in bytes.
    pub bytes_before: u64,
    /// The file's length afterwards, in bytes.
    pub bytes_after: u64,
    /// The file was made by a version that gives no pages back, and an ingest works on it: stop it and compact again. Free pages are
    /// used again all the same.
    pub is_stuck: bool,
}

/// Seals the days that ended `seal_after_days` ago and gives free pages back. An ingest may run beside; its batches wait for moments.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Newer`], [`StoreError::Sqlite`].
pub fn compact(
    data: &Path,
    seal_after_days: u32,
    now_ms: i64,
    mut progress: impl FnMut(Progress),
) -> Result<Compacted, StoreError> {
    let mut connection = open(data)?;
    let open_day = sealing::day_before(now_ms, seal_after_days);
    let bytes_before = bytes(&connection)?;
    let (mut done, mut after) = (Sealing::default(), None);
    loop {
        let swap = {
            let reading = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            sealing::prepare(&reading, open_day, after)?
        };
        after = swap.after;
        if swap.is_empty() {
            done.add(swap.sealing);
        } else {
            let transaction = connection.transaction()?;
            done.add(swap.apply(&transaction)?);
            transaction.commit()?;
            progress(Progress::Sealing(done));
        }
        if after.is_none() {
            break;
        }
    }
    let is_stuck = !give_back(&connection, data, &mut progress)?;
    Ok(Compacted {
        sealing: done,
        bytes_before,
        bytes_after: bytes(&connection)?,
        is_stuck,
    })
}

fn open(data: &Path) -> Result<Connection, StoreError> {
    let path = data.join(FILE_NAME);
    if !path.is_file() {
        return Err(StoreError::Missing(path));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags)?;
    schema::prepare(&connection)?;
    schema::check_is_present(&connection)?;
    connection.set_transaction_behavior(TransactionBehavior::Immediate);
    Ok(connection)
}

/// Gives free pages back; false when that would take the file away from a running ingest for too long.
fn give_back(
    connection: &Connection,
    data: &Path,
    progress: &mut impl FnMut(Progress),
) -> Result<bool, StoreError> {
    const INCREMENTAL: i64 = 2;
    if pragma(connection, "auto_vacuum")? != INCREMENTAL {
        let Ok(_lock) = lock(data) else {
            return Ok(false);
        };
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        connection.execute_batch("VACUUM")?;
    }
    let mut free = pragma(connection, "freelist_count")?;
    while free > 0 {
        progress(Progress::FreePages(free.unsigned_abs()));
        // It gives one page back per step.
        let mut vacuum = connection.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
        let mut steps = vacuum.query(())?;
        while steps.next()?.is_some() {}
        drop(steps);
        let left = pragma(connection, "freelist_count")?;
        if left >= free {
            break;
        }
        free = left;
    }
    // The log is folded into the file as far as readers let it be.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?;
    Ok(true)
}

/// The length of the file as SQLite has it, in bytes.
fn bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = pragma(connection, "page_count")?;
    Ok((pages * pragma(connection, "page_size")?).unsigned_abs())
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
