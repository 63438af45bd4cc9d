//! The store: every record once, intervals as a cache of them, cursors of the sinks.
//!
//! In: batches, through one writer thread that commits several at once (WAL, `synchronous=FULL`) and answers only after the
//! commit. Out: intervals, the feed of readings, cursors, from read connections that never wait for the writer. It never
//! changes or forgets a record; what contradicts a stored one is kept beside it.

mod account;
mod anchors;
mod archive;
mod backup;
mod blocked;
mod changes;
mod chunk;
mod conflicts;
mod damage;
mod exports;
mod facts;
mod feed;
mod group;
mod history;
mod keeping;
mod naming;
mod notes;
mod placing;
mod plausible;
mod quarantine;
mod read;
mod rebuild;
mod record_fields;
mod record_sum;
mod repeated;
mod retry;
mod rows;
mod runs;
mod sampled;
mod schema;
mod sealing;
mod spans;
mod state;
mod tally;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod unstated;
mod unsynced_rows;
mod upgrade;
mod verify;
mod writer;

use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use taraz_fleet::Fleet;
use tokio::sync::{mpsc, oneshot, watch};

use crate::analytics::{QUARTER_MS, day_end_ms, day_start_ms, quarter_of};
use crate::counters::{Counters, StoreEvent};
use crate::live::Live;
use crate::receive::Receiver;
use crate::view::{IntervalRow, Step, StoredReading};

pub use archive::Archive;
pub use backup::backup;
pub(crate) use changes::{Quarters, Stretches};
pub use conflicts::{CONFLICTS_MAX, CONFLICTS_SHOWN_MAX, Conflict, Conflicts, Stated};
use damage::PassedOver;
pub(crate) use exports::{Counted, Done, REVISION_MAX};
pub use history::PlacedReading;
pub use keeping::{Compacted, Progress, compact};
pub(crate) use naming::{AllHere, NamingPage};
pub use quarantine::{HeldFilter, HeldGroup, HeldRecord, drop_held, held_groups, held_records};
pub(crate) use read::Snapshot;
pub use record_fields::RecordFields;
pub(crate) use runs::day_of as utc_day_of;
pub(crate) use sampled::ReadResult;
pub use sealing::Sealing;
pub use state::Register;
pub use verify::{Verified, verify};
pub(crate) use writer::Command;
use writer::Writer;

/// The most intervals that one request gets: a leap year of quarter-hours.
pub const INTERVALS_MAX: usize = 366 * 96;
/// The most readings that one request gets.
pub const READINGS_MAX: usize = 10_000;

/// The store's file in its folder.
const FILE_NAME: &str = "store.sqlite";
/// Locked while an ingest works on the folder: two of them would each store the same record.
const LOCK_NAME: &str = "store.lock";
/// The most read connections that are kept open.
const READERS_MAX: usize = 4;
/// The most batches that wait for the writer; more wait at the door.
const WRITE_QUEUE_MAX: usize = 16;

/// Where the present time comes from, UTC ms: the system's clock, or a test's.
pub type Now = Arc<dyn Fn() -> i64 + Send + Sync>;

/// The store can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: disk, permissions, a damaged file.
    #[error("the store failed: {0}")]
    Sqlite(rusqlite::Error),
    /// Its file can't be opened: permissions, a damaged file, no store at all.
    #[error("the store {path} can't be opened: {error}")]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        error: rusqlite::Error,
    },
    /// The folder can't be made.
    #[error("the store's folder {path} can't be made: {error}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process, or another store of this one, works on the folder.
    #[error("another ingest works on the store in {0}: stop it, or use another data folder")]
    InUse(PathBuf),
    /// A later version of the program has written it.
    #[error(
        "the store has schema version {found}, this program knows up to {known}: use a later version of the program"
    )]
    Newer {
        /// The store's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// An earlier version of the program has written it, and it was opened to be read only.
    #[error(
        "the store has schema version {found}, this program reads {known}: start its ingest once, which brings it up to date"
    )]
    Older {
        /// The store's version.
        found: i64,
        /// The version that this program reads.
        known: i64,
    },
    /// Its intervals would have to be made anew, and readings behind them were given up.
    #[error(
        "schema version {version} makes all intervals anew, but {readings} readings behind them were given up by store.keep_readings_days, and their energy would be lost: \
         nothing was changed; go on with the program that wrote the store, or start with an empty data folder and keep this one"
    )]
    GivenUp {
        /// How many readings were given up.
        readings: u64,
        /// The version that makes the intervals anew.
        version: i64,
    },
    /// There is no store to read.
    #[error("there is no store at {0}: expected the data folder of an ingest that has run")]
    Missing(PathBuf),
    /// The registry has no plant of this id.
    #[error("no plant \"{0}\" in the registry")]
    UnknownPlant(String),
    /// More intervals than are given at once.
    #[error("the period has {0} intervals, at most {INTERVALS_MAX} are given at once: ask for less")]
    TooLong(u64),
    /// A commit failed; the log says why.
    #[error("the store could not commit: {0}")]
    Failed(String),
    /// A backup can't be written.
    #[error("the backup {path} can't be written: {reason}")]
    Backup {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The writer has ended; the program is stopping.
    #[error("the store is closing")]
    Closed,
}

impl StoreError {
    /// What was asked for is damaged; whatever is stored beside it is not.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Sqlite(error) if damage::Damaged::behind(error).is_some())
    }
}

/// A handle on the store; cheap to clone. Reading blocks on the disk: from async code, through `spawn_blocking`.
#[derive(Clone)]
pub struct Store {
    fleet: Arc<Fleet>,
    path: Arc<PathBuf>,
    readers: Arc<Mutex<Vec<Connection>>>,
    commands: mpsc::Sender<Command>,
    commits: watch::Receiver<u64>,
    live: Live,
    counters: Arc<Counters>,
}

impl Store {
    /// Opens the store in the folder `data`, makes or migrates it, and starts its writer.
    ///
    /// # Errors
    /// [`StoreError::Folder`], [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Open`].
    pub fn open(data: &Path, fleet: Arc<Fleet>, now: Now) -> Result<Self, StoreError> {
        let lock = lock(data)?;
        let path = data.join(FILE_NAME);
        Self::open_file(path.clone(), lock, fleet, now).map_err(|error| match error {
            StoreError::Sqlite(error) => StoreError::Open { path, error },
            other => other,
        })
    }

    fn open_file(path: PathBuf, lock: File, fleet: Arc<Fleet>, now: Now) -> Result<Self, StoreError> {
        let mut connection = Connection::open(&path)?;
        // Counts for a file that is made now; `taraz store compact` gives its free pages back.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        schema::prepare(&connection)?;
        schema::migrate(&mut connection, now())?;
        upgrade::rows_to_runs(&mut connection)?;
        let remembered = Snapshot {
            connection: &connection,
            fleet: &fleet,
        }
        .remembered()?;
        let live = Live::new(Arc::clone(&fleet), remembered);
        let counters = Arc::new(Counters::default());
        let (commands, queue) = mpsc::channel(WRITE_QUEUE_MAX);
        let (committed, commits) = watch::channel(0);
        let writer = Writer::new(
            connection,
            Arc::clone(&fleet),
            live.clone(),
            Arc::clone(&counters),
            now,
            lock,
        )?;
        std::thread::Builder::new()
            .name("ingest-store".to_owned())
            .spawn(move || writer.run(queue, &committed))
            .map_err(|error| StoreError::Folder {
                path: path.clone(),
                error,
            })?;
        let readers = Arc::new(Mutex::new(Vec::new()));
        Ok(Self {
            fleet,
            path: Arc::new(path),
            readers,
            commands,
            commits,
            live,
            counters,
        })
    }

    /// The present of what is stored.
    #[must_use]
    pub fn live(&self) -> Live {
        self.live.clone()
    }

    /// What the store counts.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.counters)
    }

    /// The door for batches.
    #[must_use]
    pub fn receiver(&self) -> Receiver {
        Receiver::new(self.commands.clone(), Arc::clone(&self.counters))
    }

    /// The registry that it works with.
    #[must_use]
    pub fn fleet(&self) -> &Arc<Fleet> {
        &self.fleet
    }

    /// The intervals of a plant that overlap `from_ms..to_ms` (UTC ms), whole and in order, unknown ones included.
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::TooLong`], [`StoreError::Sqlite`].
    pub fn intervals(
        &self,
        plant: &str,
        from_ms: i64,
        to_ms: i64,
        step: Step,
    ) -> Result<Vec<IntervalRow>, StoreError> {
        let plant = self
            .fleet
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))?;
        let periods = periods(from_ms, to_ms, step)?;
        self.snapshot(|snapshot| snapshot.intervals(plant, &periods))
    }

    /// The readings behind a cursor in the order of the feed, at most `limit` and [`READINGS_MAX`]; empty when there is
    /// none. What was sealed since the cursor stood there is given a device and day at a time, whole, even beyond `limit`. A reading that is placed, settled or released later comes (again) at the end of the feed.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn readings_after(&self, cursor: i64, limit: usize) -> Result<Vec<StoredReading>, StoreError> {
        let mut passed = PassedOver::default();
        let readings =
            self.snapshot(|snapshot| snapshot.readings_after(cursor, limit.min(READINGS_MAX), &mut passed))?;
        self.counters.store(StoreEvent::Damaged, passed.take());
        Ok(readings)
    }

    /// The durable cursor of a sink; 0 when it never set one.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn cursor(&self, sink: &str) -> Result<i64, StoreError> {
        self.snapshot(|snapshot| snapshot.cursor(sink))
    }

    /// Makes a sink's cursor durable; returns after the commit.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Closed`].
    pub async fn set_cursor(&self, sink: &str, cursor: i64) -> Result<(), StoreError> {
        let sink = sink.to_owned();
        self.ask(|reply| Command::Cursor { sink, cursor, reply }).await?
    }

    /// How many records stand behind a cursor (an upper bound of the readings).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn behind(&self, cursor: i64) -> Result<u64, StoreError> {
        self.snapshot(|snapshot| snapshot.behind(cursor))
    }

    /// Judges again what is held because its time was ahead, by the time of now; returns how many records were released.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Closed`].
    pub async fn judge_times(&self) -> Result<u64, StoreError> {
        self.ask(|reply| Command::JudgeTimes { reply }).await?
    }

    /// Makes intervals, totals, placements and what else is a cache again from the records; they come out the same.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Closed`].
    pub async fn rebuild(&self) -> Result<(), StoreError> {
        self.ask(|reply| Command::Rebuild { reply }).await?
    }

    /// Counts commits: resolves (`changed`) when anything was stored since the receiver last looked.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.commits.clone()
    }

    /// The bytes that the store takes on the disk, its log included.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let log = format!("{}-wal", self.path.display());
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        length(&self.path) + length(Path::new(&log))
    }

    /// Ends the writer after what it is doing; what is delivered afterwards is refused. Returns when the file is closed.
    pub async fn close(&self) {
        // The last connection that closes folds the log into the file.
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        // A writer that is gone already is closed.
        let _ = self.ask(|reply| Command::Close { reply }).await;
    }

    /// Reads from one consistent state.
    pub(crate) fn snapshot<T>(
        &self,
        read: impl FnOnce(&Snapshot<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.open_reader()?,
        };
        let transaction = connection.transaction()?;
        let result = read(&Snapshot {
            connection: &transaction,
            fleet: &self.fleet,
        })?;
        transaction.finish()?;
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() < READERS_MAX {
            readers.push(connection);
        }
        Ok(result)
    }

    fn open_reader(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open(&*self.path)?;
        schema::prepare(&connection)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Makes the folder and takes it for this store alone.
fn lock(data: &Path) -> Result<File, StoreError> {
    let at = |error| StoreError::Folder {
        path: data.to_owned(),
        error,
    };
    std::fs::create_dir_all(data).map_err(at)?;
    let lock = File::create(data.join(LOCK_NAME)).map_err(at)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(at(error)),
    }
}

/// The periods of a step that overlap `from_ms..to_ms`.
fn periods(from_ms: i64, to_ms: i64, step: Step) -> Result<Vec<(i64, i64)>, StoreError> {
    if to_ms <= from_ms {
        return Ok(Vec::new());
    }
    // A day has at least 23 hours.
    let shortest_ms = match step {
        Step::Quarter => QUARTER_MS,
        Step::Day => 23 * 3_600_000,
    };
    let about = to_ms.abs_diff(from_ms) / shortest_ms.unsigned_abs();
    if about > INTERVALS_MAX as u64 {
        return Err(StoreError::TooLong(about));
    }
    let mut periods = Vec::new();
    let mut start_ms = match step {
        Step::Quarter => quarter_of(from_ms) * QUARTER_MS,
        Step::Day => day_start_ms(from_ms),
    };
    while start_ms < to_ms {
        let end_ms = match step {
            Step::Quarter => start_ms + QUARTER_MS,
            Step::Day => day_end_ms(start_ms),
        };
        // Outside the calendar days have no end.
        if end_ms <= start_ms {
            break;
        }
        periods.push((start_ms, end_ms));
        start_ms = end_ms;
    }
    Ok(periods)
}
