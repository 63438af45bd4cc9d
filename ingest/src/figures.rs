//! What of the present comes from intervals: today's energies, totals, and how each plant does beside its neighbours.
//! Computed from the store every few seconds, shown by [`Live`](crate::Live).

mod balances;
mod expectation;
mod exported;
mod outlook;
mod performance;
mod quality;
mod settlement;
#[cfg(test)]
mod testing;

use std::collections::HashMap;

use taraz_fleet::Plant;
use taraz_telemetry::{MeterDriver, MeterRole};

use crate::analytics::{
    Balance, Contribution, PeerPlant, QUARTER_MS, day_start_ms, elevation_deg, peer_ratios, place_of,
    plant_energy, quarter_of, site_balance, whole_wh,
};
use crate::store::{Store, StoreError};

pub(crate) use balances::{PeriodBalance, is_metered};
pub(crate) use expectation::{neighbours, sensor_of};
pub(crate) use exported::{Point, Value};
pub(crate) use outlook::{DaySchedules, Outlook};
pub(crate) use quality::{OfMeter, PhaseQuarter, StringQuarter};
pub(crate) use settlement::{Schedule, SettlementRow};

/// The sun is low below this elevation: shade and diffuse light tell more about the place than about the plant.
const SUN_LOW_DEG: f64 = 5.0;
/// How many quarter-hours a yield is compared over.
const PEER_QUARTERS: i64 = 4;
/// A quarter-hour is closed this long after its end: by then the polls after its end have arrived.
pub(crate) const CLOSED_AFTER_MS: i64 = 5 * 60_000;

/// So many counts of a register are compared at least: one more or less is a tenth then.
const COUNTS_MIN: f64 = 10.0;

/// Figures as of an instant.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) at_ms: i64,
    pub(crate) day_start_ms: i64,
    pub(crate) plants: HashMap<String, PlantFigures>,
    pub(crate) sites: HashMap<String, Balance>,
    /// Records whose place in time is not settled yet.
    pub(crate) settling_records: u64,
}

#[derive(Debug, Default)]
pub(crate) struct PlantFigures {
    pub(crate) energy_today_wh: Option<i64>,
    pub(crate) completeness_today: f64,
    pub(crate) energy_total_wh: Option<i64>,
    pub(crate) energy_correction_wh: Option<i64>,
    pub(crate) peer_yield_ratio: Option<f64>,
}

impl Figures {
    /// Computes everything as of `now_ms`.
    pub(crate) fn compute(store: &Store, now_ms: i64) -> Result<Self, StoreError> {
        let day_start_ms = day_start_ms(now_ms);
        let today = [(day_start_ms, now_ms.max(day_start_ms + 1))];
        let window_ends = quarter_of(now_ms - CLOSED_AFTER_MS);
        let window: Vec<_> = (window_ends - PEER_QUARTERS..window_ends)
            .map(|quarter| (quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS))
            .collect();
        let fleet = store.fleet();
        let (mut plants, peers, sites, settling_records) = store.snapshot(|snapshot| {
            let (mut plants, mut peers, mut sites) = (Vec::new(), Vec::new(), HashMap::new());
            for plant in &fleet.plants {
                let (energy_today_wh, completeness_today) =
                    plant_energy(&snapshot.inverters(plant, &today)?[0], now_ms - day_start_ms);
                let totals = snapshot.totals(plant)?;
                let own = PlantFigures {
                    energy_today_wh,
                    completeness_today,
                    energy_total_wh: totals.map(|(shown_wh, _)| shown_wh),
                    energy_correction_wh: totals.map(|(_, correction_wh)| correction_wh),
                    peer_yield_ratio: None,
                };
                plants.push((plant.id.clone(), own));
                let specific_yield_h = specific_yield_h(plant, &window, &snapshot.inverters(plant, &window)?);
                peers.push(PeerPlant {
                    district: &plant.district,
                    specific_yield_h,
                    least_yield_h: least_yield_h(plant),
                });
            }
            for site in &fleet.sites {
                sites.insert(
                    site.id.clone(),
                    site_balance(&snapshot.site(&site.id, &today)?[0]),
                );
            }
            Ok((plants, peers, sites, snapshot.settling_records()?))
        })?;
        for ((_, plant), ratio) in plants.iter_mut().zip(peer_ratios(&peers)) {
            plant.peer_yield_ratio = ratio;
        }
        Ok(Self {
            at_ms: now_ms,
            day_start_ms,
            plants: plants.into_iter().collect(),
            sites,
            settling_records,
        })
    }
}

/// Wh per W of rated DC power that are [`COUNTS_MIN`] counts of all its inverters' registers.
fn least_yield_h(plant: &Plant) -> f64 {
    let meters = plant.devices.iter().flat_map(|device| &device.meters);
    let counts = meters
        .filter(|meter| meter.role == MeterRole::Inverter)
        .map(|meter| match meter.driver {
            // Its register counts by 0.1 kWh (docs/meters.md). SunSpec inverters mostly count by 1 Wh, and none says how.
            MeterDriver::Growatt => 100.0,
            MeterDriver::Sunspec | MeterDriver::Sdm630 | MeterDriver::SiRs485 => 1.0,
        });
    // Far below 2^53.
    COUNTS_MIN * counts.sum::<f64>() / (plant.peak_w().max(1) as f64)
}

/// Wh per W of rated DC power over the window; `None` when a quarter of an inverter isn't known whole or the sun is low.
fn specific_yield_h(plant: &Plant, window: &[(i64, i64)], quarters: &[Vec<Contribution>]) -> Option<f64> {
    let place = place_of(plant);
    let high = |time_ms: i64| elevation_deg(place, time_ms) >= SUN_LOW_DEG;
    if !window
        .iter()
        .all(|&(start_ms, end_ms)| high(start_ms) && high(end_ms))
    {
        return None;
    }
    let energies: Option<Vec<i64>> = quarters.iter().map(|parts| whole_wh(parts)).collect();
    let energy_wh: i64 = energies?.into_iter().sum();
    // Both far below 2^53.
    (plant.peak_w() > 0).then(|| energy_wh as f64 / plant.peak_w() as f64)
}
