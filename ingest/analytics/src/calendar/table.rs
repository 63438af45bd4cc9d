//! Tables of what changes with time: each row is in force from its date until the next row's.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

/// A row and the local date from whose begin on it is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dated<T> {
    /// The first day.
    pub from: Date,
    /// What is in force.
    #[serde(flatten)]
    pub value: T,
}

/// Rows in the order of their dates, each date once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedTable<T> {
    rows: Vec<Dated<T>>,
}

/// Why rows are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A date stands twice.
    #[error("two rows of a dated table begin on {from}: expected each date once; remove one")]
    Twice {
        /// The date.
        from: Date,
    },
}

impl<T> DatedTable<T> {
    /// A table of rows in any order.
    ///
    /// # Errors
    /// When two rows begin on one date.
    pub fn new(mut rows: Vec<Dated<T>>) -> Result<Self, TableError> {
        rows.sort_by_key(|row| row.from);
        match rows.windows(2).find(|pair| pair[0].from == pair[1].from) {
            Some(pair) => Err(TableError::Twice { from: pair[0].from }),
            None => Ok(Self { rows }),
        }
    }

    /// What is in force on a date; `None` before the first row.
    #[must_use]
    pub fn at(&self, date: Date) -> Option<&T> {
        let after = self.rows.partition_point(|row| row.from <= date);
        Some(&self.rows[after.checked_sub(1)?].value)
    }

    /// The rows, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[Dated<T>] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn row(from: Date, value: u8) -> Dated<u8> {
        Dated { from, value }
    }

    #[test]
    fn the_newest_row_that_has_begun_is_in_force() {
        let table = DatedTable::new(vec![row(date(2025, 3, 21), 2), row(date(2024, 3, 20), 1)]).unwrap();
        assert_eq!(table.at(date(2024, 3, 19)), None);
        assert_eq!(table.at(date(2024, 3, 20)), Some(&1));
        assert_eq!(table.at(date(2025, 3, 20)), Some(&1));
        assert_eq!(table.at(date(2030, 1, 1)), Some(&2));
        assert!(DatedTable::new(vec![row(date(2025, 3, 21), 2), row(date(2025, 3, 21), 1)]).is_err());
    }
}
