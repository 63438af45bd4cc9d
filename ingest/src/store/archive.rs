//! The store as an auditor reads it: register values and nothing derived, beside a running ingest and without changing it.
//!
//! In: the store's folder. Out: the values of one register, or the readings of one device, from one consistent state. It opens the file read-only, takes no
//! lock that an ingest would wait for, and migrates nothing.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use taraz_analytics::energy::{Point, Series};
use taraz_telemetry::{DeviceId, MeterAddress};

use super::facts::registers;
use super::history::{self, PlacedReading};
use super::{FILE_NAME, Register, StoreError, schema};
use crate::analytics::QUARTER_MS;

/// A writer that checkpoints holds the file for moments only.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A stored state that no longer changes while it is open.
#[derive(Debug)]
pub struct Archive {
    connection: Connection,
}

impl Archive {
    /// Opens the store in the folder `data` as it is now.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Older`], [`StoreError::Newer`], [`StoreError::Sqlite`].
    pub fn open(data: &Path) -> Result<Self, StoreError> {
        let path = data.join(FILE_NAME);
        if !path.is_file() {
            return Err(StoreError::Missing(path));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // One transaction for as long as it is open: every figure of a report comes from the same state.
        connection.execute_batch("BEGIN")?;
        schema::check_is_present(&connection)?;
        Ok(Self { connection })
    }

    /// Where it is read from.
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// What a register of a meter read up to `until_ms` (UTC ms, included): readings that are placed in time and not held back.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn register(
        &self,
        device: &DeviceId,
        meter: MeterAddress,
        register: Register,
        until_ms: i64,
    ) -> Result<Series, StoreError> {
        let mut series = Series::default();
        let until_ms = until_ms.saturating_add(1);
        history::readings_between(&self.connection, device, i64::MIN, until_ms, |placed| {
            if placed.reading.meter == meter {
                let of_it = registers(&placed.reading).find(|&(stated, _)| stated == register);
                series.extend(of_it.map(|(_, value_wh)| Point {
                    time_ms: placed.time_ms,
                    value_wh,
                }));
            }
            Ok(())
        })
        .map_err(StoreError::Sqlite)?;
        Ok(series)
    }

    /// The readings of a device in `from_ms..to_ms` (UTC ms) to `each`, in the order of time and, at one instant, of identities:
    /// those that are placed in time and not held back, failed polls among them. An error of `each` ends it.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`], and those of `each`.
    pub fn readings_between(
        &self,
        device: &DeviceId,
        from_ms: i64,
        to_ms: i64,
        each: impl FnMut(PlacedReading) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        history::readings_between(&self.connection, device, from_ms, to_ms, each)
    }

    /// The quarter-hours (begin in UTC ms) in which power flowed the way of a register that the meter did not state.
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub(crate) fn unstated_flows(
        &self,
        device: &DeviceId,
        meter: MeterAddress,
        register: Register,
    ) -> Result<Vec<i64>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT quarter FROM unstated JOIN device ON device.id = unstated.device
             WHERE device.name = ? AND meter = ? AND register = ? ORDER BY quarter",
        )?;
        let quarters = statement.query_map((device.as_str(), meter.get(), register as u8), |row| {
            Ok(row.get::<_, i64>(0)? * QUARTER_MS)
        })?;
        Ok(quarters.collect::<rusqlite::Result<_>>()?)
    }
}
