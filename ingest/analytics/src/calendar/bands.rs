//! Load bands: which hours of a local day are peak, middle and off-peak, by half-year.

use serde::{Deserialize, Serialize};

use super::days::{date_of_ms, day_bounds_ms};
use super::{CalendarError, Jalali};

const MINUTE_MS: i64 = 60_000;
const DAY_MINUTES: u16 = 1_440;

/// A load band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BandKind {
    /// The dearest hours.
    Peak,
    /// The hours between.
    Middle,
    /// The cheapest hours.
    OffPeak,
}

/// A part of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandPeriod {
    /// 1: Farvardin to Shahrivar, 2: Mehr to Esfand.
    pub half_year: u8,
    /// Minutes after local midnight at which it begins, 0 to 1,439. It lasts until the next one's begin.
    pub from_min: u16,
    /// Its band.
    pub band: BandKind,
}

/// The bands of both half-years.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadBands {
    halves: [Vec<(u16, BandKind)>; 2],
}

/// Why periods are no load bands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BandError {
    /// A half-year has no period at midnight.
    #[error("half-year {half_year} has no load band from minute 0: expected the whole day to be covered")]
    Midnight {
        /// 1 or 2.
        half_year: u8,
    },
    /// A period that can't be.
    #[error(
        "expected half_year 1 or 2 and from_min 0 to 1439, each once, got half_year {half_year}, from_min {from_min}"
    )]
    Period {
        /// As given.
        half_year: u8,
        /// As given.
        from_min: u16,
    },
}

impl LoadBands {
    /// Bands from periods in any order.
    ///
    /// # Errors
    /// When a period can't be, stands twice, or a day's begin is not covered.
    pub fn new(periods: &[BandPeriod]) -> Result<Self, BandError> {
        let mut halves = [Vec::new(), Vec::new()];
        for period in periods {
            let refused = BandError::Period {
                half_year: period.half_year,
                from_min: period.from_min,
            };
            if !(1..=2).contains(&period.half_year) || period.from_min >= DAY_MINUTES {
                return Err(refused);
            }
            let half: &mut Vec<(u16, BandKind)> = &mut halves[usize::from(period.half_year) - 1];
            if half.iter().any(|&(from, _)| from == period.from_min) {
                return Err(refused);
            }
            half.push((period.from_min, period.band));
        }
        for (half, half_year) in halves.iter_mut().zip(1..) {
            half.sort_unstable();
            if half.first().is_none_or(|&(from, _)| from != 0) {
                return Err(BandError::Midnight { half_year });
            }
        }
        Ok(Self { halves })
    }

    /// The band at an instant (UTC ms), by the minutes that passed since the local day began.
    ///
    /// # Errors
    /// When the day is outside the Jalali calendar's range.
    pub fn at(&self, time_ms: i64) -> Result<BandKind, CalendarError> {
        let day = Jalali::from_gregorian(date_of_ms(time_ms))?;
        let minute = (time_ms - day_bounds_ms(time_ms).0) / MINUTE_MS;
        let half = &self.halves[usize::from(day.half_year()) - 1];
        let after = half.partition_point(|&(from, _)| i64::from(from) <= minute);
        // The first period begins at 0, so there is always one.
        Ok(half[after.saturating_sub(1)].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(half_year: u8, from_min: u16, band: BandKind) -> BandPeriod {
        BandPeriod {
            half_year,
            from_min,
            band,
        }
    }

    fn bands() -> LoadBands {
        LoadBands::new(&[
            period(1, 0, BandKind::OffPeak),
            period(1, 420, BandKind::Middle),
            period(1, 720, BandKind::Peak),
            period(1, 1_080, BandKind::Middle),
            period(2, 0, BandKind::OffPeak),
            period(2, 1_020, BandKind::Peak),
        ])
        .unwrap()
    }

    fn at(text: &str) -> BandKind {
        bands()
            .at(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
            .unwrap()
    }

    #[test]
    fn bands_follow_local_time_and_half_year() {
        assert_eq!(at("2025-06-21T08:29:59Z"), BandKind::Middle); // 11:59:59
        assert_eq!(at("2025-06-21T08:30:00Z"), BandKind::Peak); // 12:00
        assert_eq!(at("2025-06-20T20:30:00Z"), BandKind::OffPeak); // 00:00
        assert_eq!(at("2025-12-21T08:30:00Z"), BandKind::OffPeak); // winter, 12:00
        assert_eq!(at("2025-12-21T14:00:00Z"), BandKind::Peak); // 17:30
    }

    #[test]
    fn days_with_holes_are_refused() {
        let late = [period(1, 0, BandKind::Peak), period(2, 60, BandKind::Peak)];
        assert_eq!(LoadBands::new(&late), Err(BandError::Midnight { half_year: 2 }));
        for wrong in [period(3, 0, BandKind::Peak), period(1, 1_440, BandKind::Peak)] {
            assert!(matches!(LoadBands::new(&[wrong]), Err(BandError::Period { .. })));
        }
    }
}
