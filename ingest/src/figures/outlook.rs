//! What of today is computed from quarter-hours: expectations, performance ratios, how sites balance. It changes every 15 minutes.

use std::collections::HashMap;

use taraz_analytics::imbalance::EnergyBalance;
use taraz_fleet::Plant;

use super::CLOSED_AFTER_MS;
use super::balances::site_quarters;
use super::expectation::{Board, row, sensor_of, whole};
use super::performance::reports;
use super::settlement::uploaded;
use crate::analytics::{
    PeriodStep, QUARTER_H, QUARTER_MS, QuarterExpectation, day_start_ms, periods, quarter_of, whole_wh,
};
use crate::store::{ReadResult, Snapshot, Store, StoreError};

/// How long an index of the sky's clearness stands for the present.
const INDEX_AGE_MS_MAX: i64 = 60 * 60_000;
const DAY_MS: i64 = 86_400_000;

/// Today's closed quarter-hours as of an instant.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) at_ms: i64,
    pub(crate) day_start_ms: i64,
    pub(crate) plants: HashMap<String, PlantOutlook>,
    pub(crate) sites: HashMap<String, EnergyBalance>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlantOutlook {
    pub(crate) expected_wh: Option<i64>,
    pub(crate) made_wh: Option<i64>,
    pub(crate) made_of_wh: Option<i64>,
    pub(crate) completeness: f64,
    pub(crate) performance_ratio: Option<f64>,
    pub(crate) uploaded_deviation_w: Option<f64>,
    pub(crate) persistence_deviation_w: Option<f64>,
    /// The newest index of the sky's clearness, and the end of its quarter-hour in UTC ms.
    index: Option<(f64, i64)>,
}

impl PlantOutlook {
    /// How clear the sky is, as of an instant.
    pub(crate) fn index_at(&self, now_ms: i64) -> Option<f64> {
        self.index
            .filter(|(_, end_ms)| (0..=INDEX_AGE_MS_MAX).contains(&(now_ms - end_ms)))
            .map(|(index, _)| index)
    }
}

impl Outlook {
    /// Computes everything as of `now_ms`.
    pub(crate) fn compute(store: &Store, now_ms: i64) -> Result<Self, StoreError> {
        let start_ms = day_start_ms(now_ms);
        let closed_ms = quarter_of(now_ms - CLOSED_AFTER_MS) * QUARTER_MS;
        // The sky of the last hour is looked at too just after midnight, which need not be dark where a clock is another's.
        let first_ms = start_ms.min(closed_ms - INDEX_AGE_MS_MAX);
        let quarters = periods(first_ms, closed_ms, PeriodStep::Quarter);
        let today = quarters.partition_point(|quarter| quarter.0 < start_ms);
        let fleet = store.fleet();
        let (plants, sites) = store.snapshot(|snapshot| {
            let mut board = Board::new(snapshot, fleet, &quarters);
            let (mut plants, mut sites) = (HashMap::new(), HashMap::new());
            for plant in &fleet.plants {
                let expected = board.expected(plant)?;
                let day = row(
                    (start_ms, closed_ms),
                    &expected.quarters[today..],
                    &expected.made_wh[today..],
                );
                let performance_ratio = match sensor_of(plant) {
                    Some(_) if today < quarters.len() => {
                        let periods = [(start_ms, closed_ms)];
                        reports(snapshot, plant, &periods)?
                            .first()
                            .and_then(|report| report.pr)
                    }
                    _ => None,
                };
                let newest = quarters.last().zip(expected.made_wh.last().copied().flatten());
                let deviations = match newest {
                    Some((&quarter, made_wh)) => deviations_w(store, snapshot, plant, quarter, made_wh)?,
                    None => (None, None),
                };
                let own = PlantOutlook {
                    expected_wh: day.expected_wh,
                    made_wh: day.made_wh,
                    made_of_wh: day.made_of_wh,
                    uploaded_deviation_w: deviations.0,
                    persistence_deviation_w: deviations.1,
                    completeness: if quarters.is_empty() {
                        0.0
                    } else {
                        day.completeness
                    },
                    performance_ratio,
                    index: newest_index(&quarters, &expected.quarters),
                };
                plants.insert(plant.id.clone(), own);
            }
            for site in &fleet.sites {
                let intervals = site_quarters(snapshot, &site.id, &quarters[today..])?;
                let balance = taraz_analytics::imbalance::energy_balance(&intervals, QUARTER_H);
                sites.insert(site.id.clone(), balance);
            }
            Ok((plants, sites))
        })?;
        Ok(Self {
            at_ms: now_ms,
            day_start_ms: start_ms,
            plants,
            sites,
        })
    }
}

/// Generation of a quarter-hour minus what was uploaded for it, and minus that of a day before, as mean powers in W.
fn deviations_w(
    store: &Store,
    snapshot: &Snapshot<'_>,
    plant: &Plant,
    (start_ms, end_ms): (i64, i64),
    made_wh: i64,
) -> ReadResult<(Option<f64>, Option<f64>)> {
    // Far below 2^53.
    let watts = |scheduled_wh: i64| (made_wh - scheduled_wh) as f64 / QUARTER_H;
    // A schedule that can't be read is no schedule; whoever asks for it is told why.
    let entries = store.schedules().read(&plant.id).unwrap_or_default();
    let uploaded_kwh = uploaded(&entries, start_ms, end_ms, QUARTER_MS / 60_000);
    let uploaded_wh = uploaded_kwh
        .first()
        .copied()
        .flatten()
        .map(|kwh| whole(kwh * 1e3));
    let before = snapshot.inverters(plant, &[(start_ms - DAY_MS, end_ms - DAY_MS)])?;
    let before_wh = before.first().and_then(|parts| whole_wh(parts));
    Ok((uploaded_wh.map(watts), before_wh.map(watts)))
}

fn newest_index(quarters: &[(i64, i64)], expected: &[QuarterExpectation]) -> Option<(f64, i64)> {
    let known = quarters.iter().zip(expected).rev();
    known
        .filter_map(|(&(_, end_ms), one)| Some((one.clear_sky_index?, end_ms)))
        .next()
}
