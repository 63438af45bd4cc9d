//! Accepted frames → one durable commit for many → acknowledgements.
//!
//! Constraints: acknowledged means fsynced; a full or failing disk stops acknowledging and drops nothing; what is
//! acknowledged leaves only after ingest has it, or into the quarantine.
//!
//! Layout: one `SQLite` file in WAL mode with `synchronous = FULL`; a row is a run of consecutive records of one device
//! with one hold, under a position that only grows, with a CRC over identity and bytes.
//!
//! Operation: doors reserve room (bytes) and submit; the committer, a thread of its own, takes everything that came
//! during the commit before (natural group commit) and writes it with one fsync; forwarding reads with a connection of
//! its own, live rows before a backlog, and asks the committer to remove what ingest has.

mod committer;
mod durable;
mod fair;
mod inspect;
mod live;
mod lock;
mod log;
mod mark;
mod missing;
mod quarantine;
mod queue;
mod reader;
mod recent;
mod removals;
mod repair;
mod reserve;
mod rows;
mod schema;
mod table;
mod transfer;
mod trouble;
mod verify;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::metrics::Metrics;
use crate::time::now_ms;
use crate::validate::Fingerprints;

use committer::{Committer, Opened};
pub(crate) use durable::{Done, Durable, Receipt, durable_channel};
pub use inspect::{DeviceQuarantined, DeviceWaiting, LANES_SHOWN_MAX, Lane, SpoolFile, SpoolListing};
use live::{LiveRows, News};
use lock::{LOCK_NAME, lock};
use missing::Before;
pub use missing::MISSING_NAMED_MAX;
pub use quarantine::{Quarantine, QuarantinedItem};
pub(crate) use queue::{DAMAGED, Room, Submission};
use queue::{QUEUE_BYTES_MAX, Queue, Removal};
pub(crate) use reader::SpoolReader;
use repair::refuse_half_repaired;
pub use repair::{Repair, repair};
pub(crate) use table::StoredRow;
use table::{Table, TableLimits};
pub use transfer::{Exported, Imported, TransferError, export, import};
pub use verify::{FINDINGS_MAX, Finding, FindingKind, Verification};

/// The spool's file in the data folder.
const FILE_NAME: &str = "spool.sqlite";

/// The spool can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder can't be made or written.
    #[error("can't use the spool's folder {folder}: {error}")]
    Folder {
        /// Which.
        folder: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// The file can't be opened or read.
    #[error(
        "can't open or read the spool {file}: {error}; where its disk is well, `taraz spool repair` makes a new one of what can still be read"
    )]
    Open {
        /// Which.
        file: String,
        /// What `SQLite` says.
        error: rusqlite::Error,
    },
    /// Another process works on it.
    #[error("another gateway works on the spool in {folder}: stop it, or use another data folder")]
    InUse {
        /// Which.
        folder: String,
    },
    /// Its tables are not what this program makes.
    #[error(
        "the tables of the spool {file} are not described as they were made: its file is damaged, or somebody changed it; stop the gateway and run `taraz spool repair`, which makes a new one of what can still be read"
    )]
    Described {
        /// Which.
        file: String,
    },
    /// The file is gone, and what it held.
    #[error(
        "the spool {file} is gone, with {rows} acknowledged rows that waited for ingest: put it back; without it, start the gateway, which begins a new one and tells what is missing"
    )]
    Gone {
        /// Which.
        file: String,
        /// How many rows it held.
        rows: u64,
    },
    /// A repair was killed before its new file was in place.
    #[error(
        "a repair of the spool was interrupted, or is under way: {file} waits to be put in place; run `taraz spool repair`"
    )]
    HalfRepaired {
        /// The new file.
        file: String,
    },
    /// Written by another version of this program.
    #[error("the spool {file} has schema {found}, this program knows {known}: use the program that wrote it")]
    Schema {
        /// Which.
        file: String,
        /// What stands in it.
        found: i64,
        /// What is expected.
        known: i64,
    },
    /// There is no spool where one was expected.
    #[error("there is no spool at {file}: expected the data folder of a gateway that has run")]
    Missing {
        /// Which.
        file: String,
    },
    /// The committer has ended; nothing can be committed any more.
    #[error("the spool is closed")]
    Closed,
}

/// Bounds of one spool.
#[derive(Clone, Debug)]
pub(crate) struct SpoolLimits {
    /// Live bytes above which nothing is taken in.
    pub(crate) bytes_max: u64,
    /// Bytes that wait for a commit, all doors together: above it, doors stop reading from their sockets.
    pub(crate) queue_bytes_max: usize,
    /// Passed to `SQLite`; tests make the disk full with it.
    pub(crate) table: TableLimits,
}

impl SpoolLimits {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            queue_bytes_max: QUEUE_BYTES_MAX,
            table: TableLimits::default(),
        }
    }
}

fn unusable(folder: &Path, error: std::io::Error) -> SpoolError {
    SpoolError::Folder {
        folder: folder.display().to_string(),
        error,
    }
}

/// The handle that doors and forwarding share.
#[derive(Debug)]
pub(crate) struct Spool {
    queue: Arc<Queue>,
    committed: watch::Receiver<u64>,
    live: Arc<LiveRows>,
    file: std::path::PathBuf,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens or makes the spool in `folder`, recovers what it holds, and starts the committer.
    ///
    /// # Errors
    /// [`SpoolError`] when the folder or the file can't be used.
    pub(crate) fn open(
        folder: &Path,
        limits: SpoolLimits,
        fingerprints: Fingerprints,
        metrics: Metrics,
    ) -> Result<Self, SpoolError> {
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, error))?;
        let lock = lock(folder)?;
        refuse_half_repaired(folder)?;
        let file = folder.join(FILE_NAME);
        let before = Before::look(folder, &file, false)?;
        let mut table = Table::open(&file, &limits.table)?;
        let missing = before.account(table.connection(), &file, now_ms())?;
        metrics
            .missing
            .set(i64::try_from(missing.rows).unwrap_or(i64::MAX));
        let queue = Arc::new(Queue::new(limits.queue_bytes_max));
        let (sender, committed) = watch::channel(0);
        let live = Arc::new(LiveRows::default());
        let opened = Opened {
            table,
            file: file.clone(),
            marked: before.marked,
        };
        let news = News {
            live: Arc::clone(&live),
            committed: sender,
        };
        let committer = Committer::recover(opened, limits, fingerprints, metrics, Arc::clone(&queue), news)?;
        let thread = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || {
                committer.run();
                // Given up when nothing is written any more.
                drop(lock);
            })
            .map_err(|error| unusable(folder, error))?;
        Ok(Self {
            queue,
            committed,
            live,
            file,
            thread: std::sync::Mutex::new(Some(thread)),
        })
    }

    /// Waits for room in the queue of the committer: this is where back-pressure begins.
    ///
    /// # Errors
    /// [`SpoolError::Closed`] when the committer has ended.
    pub(crate) async fn reserve(&self, len: usize) -> Result<Room, SpoolError> {
        self.queue.reserve(len).await
    }

    /// Room at once, or `None` when there is none now (or never again: [`Self::reserve`] tells).
    pub(crate) fn try_reserve(&self, len: usize) -> Option<Room> {
        self.queue.try_reserve(len)
    }

    /// Hands frames to the committer, in their order; each is told of once it is durable, and never otherwise.
    pub(crate) fn submit(&self, submissions: impl IntoIterator<Item = Submission>) {
        self.queue.submit(submissions);
    }

    /// Removes everything up to a position and these ranges above it, except that the rejected items among it go into the quarantine.
    ///
    /// # Errors
    /// [`SpoolError::Closed`] when the committer ended before it was durable.
    pub(crate) async fn remove(
        &self,
        up_to: u64,
        ranges: Vec<RangeInclusive<u64>>,
        rejected: Vec<(u64, String)>,
    ) -> Result<(), SpoolError> {
        let (done, removed) = oneshot::channel();
        self.queue.remove(Removal {
            up_to,
            ranges: ranges.clone(),
            rejected,
            done,
        });
        removed.await.map_err(|_| SpoolError::Closed)?;
        self.live.removed(up_to, &ranges);
        Ok(())
    }

    /// Rows of the present that something else stands in front of, when everything up to a position has been taken: oldest first, as far
    /// as they are known.
    pub(crate) fn live_behind(&self, position: u64) -> Vec<RangeInclusive<u64>> {
        self.live.behind(position)
    }

    /// A reading connection of its own.
    ///
    /// # Errors
    /// [`SpoolError::Open`].
    pub(crate) fn reader(&self) -> Result<SpoolReader, SpoolError> {
        SpoolReader::open(&self.file)
    }

    /// Changes to the position of the newest committed row.
    pub(crate) fn committed(&self) -> watch::Receiver<u64> {
        self.committed.clone()
    }

    /// Resolves when the committer has ended, for whatever reason.
    pub(crate) async fn ended(&self) {
        self.queue.ended().await;
    }

    /// The committer has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.queue.has_ended()
    }

    /// Commits what was submitted, ends the committer and waits for it. Blocks: not for async code.
    pub(crate) fn close(&self) {
        self.queue.close();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the spool's committer panicked");
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.queue.close();
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fair_tests;
#[cfg(test)]
mod missing_tests;
#[cfg(test)]
mod quarantine_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
