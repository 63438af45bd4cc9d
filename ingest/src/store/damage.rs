//! Rows whose bytes are not what was written: the disk, or whoever wrote into the store's file.
//!
//! In: rows, and what a reader of runs or chunks has found. Out: an error that names the row, for who needs the row itself, and a count for who
//! goes on without it. Damage of one device's day never stops the others.

use rusqlite::Row;
use rusqlite::types::{FromSql, Type};

/// A run, a chunk or a held record can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{table} {id} of the store is damaged: {what}; restore a backup, the readings around it are not affected"
)]
pub(super) struct Damaged {
    pub(super) table: &'static str,
    pub(super) id: i64,
    /// How many readings it says it has.
    pub(super) readings: u32,
    pub(super) what: &'static str,
}

impl From<Damaged> for rusqlite::Error {
    fn from(damaged: Damaged) -> Self {
        Self::FromSqlConversionFailure(0, Type::Blob, Box::new(damaged))
    }
}

impl Damaged {
    /// The damaged row that an error is about, if it is about one.
    pub(super) fn behind(error: &rusqlite::Error) -> Option<&Self> {
        match error {
            rusqlite::Error::FromSqlConversionFailure(_, _, cause) => cause.downcast_ref(),
            _ => None,
        }
    }
}

/// The columns of a row. One flipped bit gives a column another type or a number that its place has no room for: then the column reads as
/// its type's default, and the row as damaged, which is for whoever checks it and stops nobody else.
pub(super) struct Columns<'r, 's> {
    row: &'r Row<'s>,
    is_damaged: bool,
}

impl<'r, 's> Columns<'r, 's> {
    pub(super) const fn new(row: &'r Row<'s>) -> Self {
        Self {
            row,
            is_damaged: false,
        }
    }

    /// A column's value.
    pub(super) fn get<T: FromSql + Default>(&mut self, at: usize) -> rusqlite::Result<T> {
        match self.row.get(at) {
            // Utf8Error comes as a conversion failure.
            Err(
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::FromSqlConversionFailure(..),
            ) => {
                self.is_damaged = true;
                Ok(T::default())
            }
            other => other,
        }
    }

    /// One of the columns that were read so far has another type or is out of range.
    pub(super) const fn is_damaged(&self) -> bool {
        self.is_damaged
    }
}

/// What is wrong with a row that [`Columns`] call damaged.
pub(super) const OTHER_TYPE: &str = "a column has another type or is out of range";

/// What was passed over because it is damaged, until it is counted.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    readings: u64,
    last: Option<(&'static str, i64)>,
}

impl PassedOver {
    /// A damaged row was passed over, whole.
    pub(super) fn row(&mut self, damaged: &Damaged) {
        self.note(damaged, u64::from(damaged.readings));
    }

    /// One reading could not be looked up, because its row is damaged.
    pub(super) fn one(&mut self, damaged: &Damaged) {
        self.note(damaged, 1);
    }

    fn note(&mut self, damaged: &Damaged, readings: u64) {
        self.readings += readings;
        let row = Some((damaged.table, damaged.id));
        if self.last != row {
            tracing::error!(%damaged, "passed over");
            self.last = row;
        }
    }

    /// How many readings that were since the last time.
    pub(super) const fn take(&mut self) -> u64 {
        std::mem::replace(&mut self.readings, 0)
    }
}
