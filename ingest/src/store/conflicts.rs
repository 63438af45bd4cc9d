//! Conflicts: records that came under an identity which another record has already. The first one counts; these are kept beside it.
//!
//! In: the table `conflict`. Out: each with the record that is stored in its place, both field by field. It decides nothing.

use rusqlite::Connection;
use serde::Serialize;
use taraz_telemetry::{Boot, DeviceId, Incarnation, Record, Sequence};

use super::archive::Archive;
use super::damage::{Damaged, PassedOver};
use super::read::Snapshot;
use super::record_fields::{RecordFields, record_fields};
use super::repeated::stated_ms;
use super::rows::{self, boot_key};
use super::runs::{self, Run, day_of};
use super::state::BootKey;
use super::{StoreError, chunk};

/// The most conflicting records that are kept; more are only counted, since the start (`ingest_readings_total{result="conflict"}`).
pub const CONFLICTS_MAX: u64 = 100_000;
/// The most of them that are given at once.
pub const CONFLICTS_SHOWN_MAX: u32 = 1_000;

/// The kept conflicts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflicts {
    /// How many are kept, of all devices.
    pub kept: u64,
    /// How many can be kept: [`CONFLICTS_MAX`].
    pub kept_max: u64,
    /// No more are kept, only counted.
    pub is_full: bool,
    /// Those that were asked for, the newest first.
    pub conflicts: Vec<Conflict>,
}

/// One record that contradicts the stored one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    /// The device's id.
    pub device: String,
    /// Their identity.
    pub incarnation: Incarnation,
    /// Their identity.
    pub boot: Boot,
    /// Their identity.
    pub sequence: Sequence,
    /// What came first and counts; `None` when it can't be read any more.
    pub stored: Option<Stated>,
    /// Why there is nothing in `stored`.
    pub missing: Option<String>,
    /// What came later.
    pub came: Stated,
}

/// One of two records.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stated {
    /// When the gateway had taken it in, UTC ms; of a sealed one, when it had all that was sealed with it.
    pub received_ms: i64,
    /// What it states, by name with unit.
    pub fields: RecordFields,
}

impl Archive {
    /// The newest kept conflicts of a device, or of all; at most `limit` and [`CONFLICTS_SHOWN_MAX`].
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub fn conflicts(&self, device: Option<&DeviceId>, limit: u32) -> Result<Conflicts, StoreError> {
        Ok(conflicts(self.connection(), device.map(DeviceId::as_str), limit)?)
    }
}

impl Snapshot<'_> {
    /// As [`Archive::conflicts`].
    pub(crate) fn conflicts(&self, device: Option<&str>, limit: u32) -> rusqlite::Result<Conflicts> {
        conflicts(self.connection, device, limit)
    }
}

fn conflicts(connection: &Connection, device: Option<&str>, limit: u32) -> rusqlite::Result<Conflicts> {
    let kept: i64 = connection.query_row("SELECT count(*) FROM conflict", (), |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "SELECT name, conflict.device, incarnation, boot, sequence, received_ms, bytes
         FROM conflict JOIN device ON device.id = conflict.device
         WHERE ?1 IS NULL OR name = ?1 ORDER BY conflict.id DESC LIMIT ?2",
    )?;
    let mut found = Vec::new();
    let mut rows = statement.query((device, limit.min(CONFLICTS_SHOWN_MAX)))?;
    while let Some(row) = rows.next()? {
        let (boot, sequence, bytes): (BootKey, _, Vec<u8>) = (boot_key(row, 1)?, row.get(4)?, row.get(6)?);
        let (stored, missing) = match stored(connection, boot, sequence, &bytes) {
            Ok(Some(stored)) => (Some(stored), None),
            Ok(None) => (
                None,
                Some("it was given up by store.keep_readings_days".to_owned()),
            ),
            Err(error) => match Damaged::behind(&error) {
                Some(damaged) => (None, Some(damaged.to_string())),
                None => return Err(error),
            },
        };
        found.push(Conflict {
            device: row.get(0)?,
            incarnation: boot.incarnation,
            boot: boot.boot,
            sequence,
            stored,
            missing,
            came: Stated {
                received_ms: row.get(5)?,
                fields: record_fields(&bytes),
            },
        });
    }
    let kept = kept.unsigned_abs();
    Ok(Conflicts {
        kept,
        kept_max: CONFLICTS_MAX,
        is_full: kept >= CONFLICTS_MAX,
        conflicts: found,
    })
}

/// The record that stands under an identity. That of most conflicts is of the same day; a day is looked at before all.
fn stored(
    connection: &Connection,
    boot: BootKey,
    sequence: Sequence,
    came: &[u8],
) -> rusqlite::Result<Option<Stated>> {
    if let Some(row) = rows::find(connection, boot, sequence)? {
        if let Some(damaged) = row.damaged {
            return Err(damaged.into());
        }
        return Ok(Some(Stated {
            received_ms: row.received_ms,
            fields: record_fields(&row.bytes),
        }));
    }
    let came = Record::decode(came).ok();
    let day = came.and_then(|(record, _)| stated_ms(&record)).map(day_of);
    for day in day.map(Some).into_iter().chain([None]) {
        if let Some(run) = run_of(connection, boot, sequence, day)? {
            return Ok(run
                .records()
                .find(|record| record.sequence == sequence)
                .map(|record| Stated {
                    received_ms: run.received_ms,
                    fields: record_fields(record.bytes),
                }));
        }
    }
    Ok(None)
}

fn run_of(
    connection: &Connection,
    boot: BootKey,
    sequence: Sequence,
    day: Option<i64>,
) -> rusqlite::Result<Option<Run>> {
    let run = match runs::find(connection, boot, sequence, day)? {
        Some(run) => Some(run),
        None => chunk::find(connection, boot, sequence, day, &mut PassedOver::default())?,
    };
    if let Some(run) = &run {
        run.check()?;
    }
    Ok(run)
}
