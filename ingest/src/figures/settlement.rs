//! Settlement imbalance of a plant: what it generated against what was scheduled, uploaded by somebody or made by us.
//!
//! In: registers, an uploaded schedule or none. Out: per settlement period both energies and their deviation, and the errors of all. Our
//! schedules for a day use the day before only, as they would have been known.

use taraz_analytics::imbalance::{
    Deviation, clear_sky_schedule, deviation, persistence_schedule, settlement_periods,
};

use super::expectation::Board;
use crate::analytics::{PeriodStep, QUARTER_H, QUARTER_MS, day_start_ms, periods};
use crate::schedules::Scheduled;
use crate::store::{Store, StoreError};

const WH_PER_KWH: f64 = 1_000.0;
const MINUTE_MS: i64 = 60_000;

/// Whose schedule.
#[derive(Clone, Debug)]
pub(crate) enum Schedule {
    /// As uploaded, in the order of time.
    Uploaded(Vec<Scheduled>),
    /// The same quarter-hour of the day before.
    Persistence,
    /// A clear day, times how clear the day before was.
    ClearSky,
}

/// One settlement period in kWh; `None` is unknown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SettlementRow {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) actual_kwh: Option<f64>,
    pub(crate) scheduled_kwh: Option<f64>,
}

impl Store {
    /// The settlement periods of `minutes` (15, 30 or 60) of the days in Tehran that overlap `from_ms..to_ms` (UTC ms), and how they were met.
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::Sqlite`].
    pub(crate) fn settlement(
        &self,
        plant: &str,
        (from_ms, to_ms): (i64, i64),
        minutes: i64,
        schedule: &Schedule,
    ) -> Result<(Vec<SettlementRow>, Deviation), StoreError> {
        let fleet = self.fleet();
        let plant = fleet
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))?;
        let days = periods(from_ms, to_ms, PeriodStep::Day);
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            return Ok((Vec::new(), Deviation::default()));
        };
        let quarters = periods(day_start_ms(first.0 - 1), last.1, PeriodStep::Quarter);
        let expected = self.snapshot(|snapshot| Board::new(snapshot, fleet, &quarters).own(plant))?;
        // Far below 2^53.
        let made: Vec<_> = expected
            .0
            .iter()
            .map(|wh| wh.map(|wh| wh as f64 / WH_PER_KWH))
            .collect();
        let clear: Vec<_> = expected.1.iter().map(|wh| Some(wh / WH_PER_KWH)).collect();
        let at = |time_ms: i64| quarters.partition_point(|quarter| quarter.0 < time_ms);
        let count = usize::try_from(minutes * MINUTE_MS / QUARTER_MS).unwrap_or(1);
        let (mut rows, mut daylight) = (Vec::new(), Vec::new());
        for &(start_ms, end_ms) in &days {
            let day = at(start_ms)..at(end_ms);
            let before = at(day_start_ms(start_ms - 1))..at(start_ms);
            let scheduled = match schedule {
                Schedule::Persistence => same_length(persistence_schedule(&made[before]), day.len()),
                Schedule::ClearSky => {
                    clear_sky_schedule(&clear[day.clone()], &made[before.clone()], &clear[before])
                        .map_or_else(|| vec![None; day.len()], |(schedule, _)| schedule)
                }
                Schedule::Uploaded(_) => Vec::new(),
            };
            let scheduled = match schedule {
                Schedule::Uploaded(entries) => uploaded(entries, start_ms, end_ms, minutes),
                _ => settlement_periods(&scheduled, count),
            };
            let actual = settlement_periods(&made[day.clone()], count);
            let light = clear[day]
                .chunks(count)
                .map(|part| part.iter().flatten().sum::<f64>() > 0.0);
            daylight.extend(light);
            for (number, (actual_kwh, scheduled_kwh)) in (0..).zip(actual.into_iter().zip(scheduled)) {
                let start_ms = start_ms + number * minutes * MINUTE_MS;
                rows.push(SettlementRow {
                    start_ms,
                    end_ms: (start_ms + minutes * MINUTE_MS).min(end_ms),
                    actual_kwh,
                    scheduled_kwh,
                });
            }
        }
        let actual: Vec<_> = rows.iter().map(|row| row.actual_kwh).collect();
        let scheduled: Vec<_> = rows.iter().map(|row| row.scheduled_kwh).collect();
        // A handful of quarter-hours.
        let hours = QUARTER_H * count as f64;
        Ok((rows, deviation(&actual, &scheduled, &daylight, hours)))
    }
}

/// The day before may have had another number of hours.
fn same_length(mut schedule: Vec<Option<f64>>, length: usize) -> Vec<Option<f64>> {
    schedule.resize(length, None);
    schedule
}

/// The uploaded energy of each settlement period of a day: one entry of that length, or shorter ones that fill it. A longer entry says
/// nothing of a part of it.
pub(super) fn uploaded(entries: &[Scheduled], start_ms: i64, end_ms: i64, minutes: i64) -> Vec<Option<f64>> {
    let mut periods = Vec::new();
    let mut begin_ms = start_ms;
    while begin_ms < end_ms {
        let until_ms = begin_ms + minutes * MINUTE_MS;
        let first = entries.partition_point(|entry| entry.start_ms < begin_ms);
        let (mut at_ms, mut energy_wh) = (begin_ms, 0);
        for entry in entries[first..]
            .iter()
            .take_while(|entry| entry.start_ms < until_ms)
        {
            if entry.start_ms != at_ms {
                break;
            }
            at_ms += entry.minutes * MINUTE_MS;
            energy_wh += entry.energy_wh;
        }
        // Far below 2^53.
        periods.push((at_ms == until_ms).then(|| energy_wh as f64 / WH_PER_KWH));
        begin_ms = until_ms;
    }
    periods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shorter_entries_fill_a_period_and_longer_ones_do_not() {
        let entry = |minute: i64, minutes, energy_wh| Scheduled {
            start_ms: minute * MINUTE_MS,
            minutes,
            energy_wh,
        };
        let entries = [
            entry(0, 15, 100),
            entry(15, 15, 200),
            entry(30, 30, 300),
            entry(60, 60, 1_000),
            entry(120, 15, 5),
            entry(150, 30, 7),
        ];
        let hour_ms = 60 * MINUTE_MS;
        let read = |minutes| uploaded(&entries, 0, 3 * hour_ms, minutes);
        assert_eq!(read(60), [Some(0.6), Some(1.0), None]);
        assert_eq!(read(30), [Some(0.3), Some(0.3), None, None, None, Some(0.007)]);
        assert_eq!(read(15)[..5], [Some(0.1), Some(0.2), None, None, None]);
    }
}
