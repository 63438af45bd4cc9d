//! The store: every record once, intervals as a cache of them, cursors of the sinks.

use std::path::Path;
use std::sync::Arc;

use taraz_fleet::Fleet;

use crate::view::{IntervalRow, Step, StoredReading};

/// The most intervals that one request gets.
pub const INTERVALS_MAX: usize = 10_000;
/// The most readings that one request gets.
pub const READINGS_MAX: usize = 10_000;

/// The store can't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite failed: disk, permissions, a damaged file.
    #[error("the store failed: {0}")]
    Sqlite(rusqlite::Error),
    /// The registry has no plant of this id.
    #[error("no plant \"{0}\" in the registry")]
    UnknownPlant(String),
    /// More intervals than are given at once.
    #[error("the period has {0} intervals, at most {INTERVALS_MAX} are given at once: ask for less")]
    TooLong(usize),
    /// The writer has ended; the program is stopping.
    #[error("the store is closing")]
    Closed,
}

/// A handle on the store; cheap to clone. Reading blocks on the disk: from async code, through `spawn_blocking`.
#[derive(Clone, Debug)]
pub struct Store {
    fleet: Arc<Fleet>,
}

impl Store {
    /// Opens the store in the folder `data`.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn open(_data: &Path, fleet: Arc<Fleet>) -> Result<Self, StoreError> {
        Ok(Self { fleet })
    }

    /// The intervals of a plant that overlap `from_ms..to_ms` (UTC ms), whole and in order, unknown ones included.
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::TooLong`], [`StoreError::Sqlite`].
    pub fn intervals(
        &self,
        plant: &str,
        _from_ms: i64,
        _to_ms: i64,
        _step: Step,
    ) -> Result<Vec<IntervalRow>, StoreError> {
        self.fleet
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))?;
        Ok(Vec::new())
    }

    /// The readings behind a cursor in the order of the feed, at most `limit` and [`READINGS_MAX`]; empty when there is
    /// none. A reading that is placed or released later comes (again) at the end of the feed.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn readings_after(&self, _cursor: i64, _limit: usize) -> Result<Vec<StoredReading>, StoreError> {
        Ok(Vec::new())
    }

    /// The durable cursor of a sink; 0 when it never set one.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn cursor(&self, _sink: &str) -> Result<i64, StoreError> {
        Ok(0)
    }

    /// Makes a sink's cursor durable; returns after the commit.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], [`StoreError::Closed`].
    #[allow(clippy::unused_async)]
    pub async fn set_cursor(&self, _sink: &str, _cursor: i64) -> Result<(), StoreError> {
        Ok(())
    }

    /// How many records stand behind a cursor (an upper bound of the readings).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn behind(&self, _cursor: i64) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// Resolves when anything was committed after the last time this handle's receiver looked.
    #[must_use]
    pub fn commits(&self) -> tokio::sync::watch::Receiver<u64> {
        tokio::sync::watch::channel(0).1
    }

    /// The bytes that the store takes on the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        0
    }
}
