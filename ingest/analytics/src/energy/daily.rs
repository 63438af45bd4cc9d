//! A register's energy by local day.

use jiff::civil::Date;

use super::{Ledger, PeriodEnergy};
use crate::calendar::{date_of_ms, day_bounds_ms};

/// One local day (Asia/Tehran) of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayEnergy {
    /// The day.
    pub date: Date,
    /// Its length in ms: 23, 24 or 25 hours.
    pub length_ms: i64,
    /// What the register states about it.
    pub energy: PeriodEnergy,
}

impl DayEnergy {
    /// The share of the day of which the total is known, 0 to 1.
    #[must_use]
    pub fn completeness(&self) -> f64 {
        self.energy.known_ms as f64 / self.length_ms as f64
    }
}

impl Ledger {
    /// Every local day from the first reading's to the last one's, in order; a day that begins as the last reading ends is left out.
    #[must_use]
    pub fn days(&self) -> Vec<DayEnergy> {
        let mut days = Vec::new();
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return days;
        };
        let mut at_ms = first.from.time_ms;
        while at_ms < last.to.time_ms {
            let (start_ms, end_ms) = day_bounds_ms(at_ms);
            days.push(DayEnergy {
                date: date_of_ms(at_ms),
                length_ms: end_ms - start_ms,
                energy: self.period(start_ms, end_ms),
            });
            // Days have 23 to 25 hours, so this always goes on.
            at_ms = end_ms;
        }
        days
    }
}
