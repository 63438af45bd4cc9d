//! Which share is due, and how much of it is covered.

use serde::{Deserialize, Serialize};

/// All of the consumption, in ten-thousandths.
pub const SHARE_PER_MYRIAD_MAX: u16 = 10_000;

/// From a Jalali year on, owners of a kind owe a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyRow {
    /// The first Jalali year.
    pub from_year: i16,
    /// The kind of owner (`municipality`, `village`, `agency`); left out, every kind that has no row of its own for that year.
    #[serde(default)]
    pub owner_kind: Option<String>,
    /// The share in ten-thousandths of the consumption: 500 is 5 %.
    pub share_per_myriad: u16,
}

/// The shares by year and kind of owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyTable {
    rows: Vec<DutyRow>,
}

/// Why rows are no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DutyTableError {
    /// Two rows state the same.
    #[error("two rows state the share of {} from {from_year} on: remove one", owner_kind.as_deref().unwrap_or("every kind of owner"))]
    Twice {
        /// Their year.
        from_year: i16,
        /// Their kind.
        owner_kind: Option<String>,
    },
    /// More than everything.
    #[error("expected a share of 0 to 10000 ten-thousandths, got {share_per_myriad} from {from_year} on")]
    Share {
        /// Its year.
        from_year: i16,
        /// As given.
        share_per_myriad: u16,
    },
}

impl DutyTable {
    /// A table of rows in any order.
    ///
    /// # Errors
    /// When two rows state the same year and kind, or a share is above the whole.
    pub fn new(mut rows: Vec<DutyRow>) -> Result<Self, DutyTableError> {
        rows.sort_by(|a, b| (a.from_year, &a.owner_kind).cmp(&(b.from_year, &b.owner_kind)));
        if let Some(row) = rows
            .iter()
            .find(|row| row.share_per_myriad > SHARE_PER_MYRIAD_MAX)
        {
            return Err(DutyTableError::Share {
                from_year: row.from_year,
                share_per_myriad: row.share_per_myriad,
            });
        }
        let same = |pair: &&[DutyRow]| {
            (pair[0].from_year, &pair[0].owner_kind) == (pair[1].from_year, &pair[1].owner_kind)
        };
        if let Some(pair) = rows.windows(2).find(same) {
            return Err(DutyTableError::Twice {
                from_year: pair[0].from_year,
                owner_kind: pair[0].owner_kind.clone(),
            });
        }
        Ok(Self { rows })
    }

    /// The shares of public owners in Iran: 5, 10, 15 and 20 % of the consumption for 1403 to 1406; the last stays in force until a
    /// table says otherwise.
    #[must_use]
    pub fn iran() -> Self {
        let rows = (1_403..).zip([500, 1_000, 1_500, 2_000]);
        Self {
            rows: rows
                .map(|(from_year, share_per_myriad)| DutyRow {
                    from_year,
                    owner_kind: None,
                    share_per_myriad,
                })
                .collect(),
        }
    }

    /// The share of a kind of owner in a Jalali year, in ten-thousandths: the newest row of that kind, else the newest for every
    /// kind; `None` before the first.
    #[must_use]
    pub fn share_per_myriad(&self, owner_kind: &str, year: i16) -> Option<u16> {
        let newest = |kind: Option<&str>| {
            let mut rows = self.rows.iter().rev();
            rows.find(|row| row.from_year <= year && row.owner_kind.as_deref() == kind)
        };
        newest(Some(owner_kind))
            .or_else(|| newest(None))
            .map(|row| row.share_per_myriad)
    }
}

/// How far a share of a period's consumption is covered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coverage {
    /// The share in ten-thousandths.
    pub share_per_myriad: u16,
    /// What had to be generated in Wh, rounded up.
    pub due_wh: i64,
    /// What was generated in Wh.
    pub generated_wh: i64,
    /// What is missing in Wh, 0 or more.
    pub gap_wh: i64,
    /// Generated over consumed, 1 is all of it; `None` without consumption.
    pub ratio: Option<f64>,
}

/// What `share_per_myriad` of a consumption demands of a generation, both in Wh and not negative.
#[must_use]
pub fn coverage(share_per_myriad: u16, generated_wh: i64, consumed_wh: i64) -> Coverage {
    let exact = i128::from(consumed_wh.max(0)) * i128::from(share_per_myriad);
    let due = (exact + i128::from(SHARE_PER_MYRIAD_MAX) - 1) / i128::from(SHARE_PER_MYRIAD_MAX);
    // At most the consumption itself, which is an i64.
    let due_wh = i64::try_from(due).unwrap_or(i64::MAX);
    Coverage {
        share_per_myriad,
        due_wh,
        generated_wh,
        gap_wh: due_wh.saturating_sub(generated_wh).max(0),
        ratio: (consumed_wh > 0).then(|| generated_wh as f64 / consumed_wh as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(from_year: i16, owner_kind: Option<&str>, share_per_myriad: u16) -> DutyRow {
        DutyRow {
            from_year,
            owner_kind: owner_kind.map(str::to_owned),
            share_per_myriad,
        }
    }

    #[test]
    fn the_law_rises_year_by_year() {
        let table = DutyTable::iran();
        let shares: Vec<_> = (1_402..=1_408)
            .map(|year| table.share_per_myriad("agency", year))
            .collect();
        assert_eq!(
            shares,
            [
                None,
                Some(500),
                Some(1_000),
                Some(1_500),
                Some(2_000),
                Some(2_000),
                Some(2_000)
            ]
        );
    }

    #[test]
    fn a_kind_of_its_own_goes_first() {
        let table = DutyTable::new(vec![
            row(1_403, None, 500),
            row(1_404, None, 1_000),
            row(1_403, Some("village"), 200),
        ])
        .unwrap();
        assert_eq!(table.share_per_myriad("village", 1_404), Some(200));
        assert_eq!(table.share_per_myriad("agency", 1_404), Some(1_000));
        assert!(DutyTable::new(vec![row(1_403, None, 1), row(1_403, None, 2)]).is_err());
        assert!(DutyTable::new(vec![row(1_403, None, 10_001)]).is_err());
    }

    #[test]
    fn the_gap_is_what_is_missing() {
        let covered = coverage(1_500, 100, 1_001);
        assert_eq!((covered.due_wh, covered.gap_wh), (151, 51));
        assert_eq!(
            (coverage(1_500, 200, 1_000).gap_wh, coverage(500, 5, 0).ratio),
            (0, None)
        );
    }
}
