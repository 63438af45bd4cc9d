//! IEC 61724-1 figures of a plant, from one state of the store.
//!
//! In: registers, readings of the irradiance sensor and the inverters. Out: a report per period, each over the quarter-hours of which
//! everything is known that the plant measures.

use taraz_analytics::performance::{Interval, Plant as Rated, Report, report};
use taraz_analytics::sampling::GAP_MS_MAX;
use taraz_fleet::Plant;
use taraz_telemetry::{MeterRole, Quantities};

use super::expectation::{sensor_of, sensor_quarters};
use crate::analytics::{InverterQuarters, Place, QUARTER_H, elevation_deg, place_of, quarters_of, whole_wh};
use crate::store::{ReadResult, Snapshot, Store, StoreError};

/// Irradiance in W/m² from which on a plant should be running.
const IRRADIANCE_MIN_W_M2: f64 = 50.0;
/// Below this elevation the sun gives nothing: its upper rim, refracted, is below the horizon.
const NIGHT_DEG: f64 = -0.9;
const WH_PER_KWH: f64 = 1_000.0;
const W_PER_KW: f64 = 1_000.0;

impl Store {
    /// The figures of a plant over each of these periods (UTC ms; in order, without gaps).
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::Sqlite`].
    pub(crate) fn performance(&self, plant: &str, periods: &[(i64, i64)]) -> Result<Vec<Report>, StoreError> {
        let plant = self
            .fleet()
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))?;
        self.snapshot(|snapshot| reports(snapshot, plant, periods))
    }
}

pub(super) fn reports(
    snapshot: &Snapshot<'_>,
    plant: &Plant,
    periods: &[(i64, i64)],
) -> ReadResult<Vec<Report>> {
    let quarters = quarters_of(periods);
    let intervals = intervals(snapshot, plant, &quarters)?;
    let rated = rated(plant);
    let of_period = |&(start_ms, end_ms): &(i64, i64)| {
        let first = quarters.partition_point(|quarter| quarter.0 < start_ms);
        let after = quarters.partition_point(|quarter| quarter.0 < end_ms);
        report(&rated, &intervals[first..after], QUARTER_H)
    };
    Ok(periods.iter().map(of_period).collect())
}

fn rated(plant: &Plant) -> Rated {
    Rated {
        // Far below 2^53.
        dc_rated_kw: plant.peak_w() as f64 / W_PER_KW,
        ac_rated_kw: Some(f64::from(plant.inverter_ac_w) / W_PER_KW),
        gamma_per_k: plant.temperature_coefficient_per_k,
        annual_module_c: plant.annual_module_c,
        irradiance_min_w_m2: IRRADIANCE_MIN_W_M2,
        has_sensor: sensor_of(plant).is_some(),
    }
}

fn intervals(snapshot: &Snapshot<'_>, plant: &Plant, quarters: &[(i64, i64)]) -> ReadResult<Vec<Interval>> {
    let measured = sensor_quarters(snapshot, plant, quarters)?;
    let made = snapshot.inverters(plant, quarters)?;
    let inverters = inverters(snapshot, plant, quarters)?;
    let place = place_of(plant);
    let of_quarter = |(at, &(start_ms, end_ms)): (usize, &(i64, i64))| {
        let ac_wh = whole_wh(&made[at]);
        let dc_w: Option<f64> = inverters.iter().map(|inverter| inverter.dc_w(at)).sum();
        let states: Option<Vec<bool>> = inverters.iter().map(|inverter| inverter.is_up(at)).collect();
        let plane_w_m2 = measured[at].plane_w_m2;
        // In the dark an inverter sleeps and says nothing: it is not down, nobody asks it to run, and nothing flows.
        let is_dark = is_night(place, start_ms, end_ms);
        let is_weak = is_dark || plane_w_m2.is_some_and(|plane| plane < IRRADIANCE_MIN_W_M2);
        Interval {
            plane_w_m2,
            module_c: measured[at].module_c,
            dc_kwh: dc_w
                .or_else(|| (is_dark && ac_wh == Some(0)).then_some(0.0))
                .map(|dc_w| dc_w * QUARTER_H / W_PER_KW),
            // Far below 2^53.
            ac_kwh: ac_wh.map(|wh| wh as f64 / WH_PER_KWH),
            is_up: states
                .map(|states| states.into_iter().all(|is_up| is_up))
                .or_else(|| is_weak.then_some(true)),
        }
    };
    let mut intervals: Vec<Interval> = quarters.iter().enumerate().map(of_quarter).collect();
    leave_out_what_is_never_stated(&mut intervals, &inverters);
    Ok(intervals)
}

/// What an inverter never states is not measured: it must not look measured because it is known at night.
fn leave_out_what_is_never_stated(intervals: &mut [Interval], inverters: &[InverterQuarters]) {
    let quarters = 0..intervals.len();
    let all = |states: &dyn Fn(&InverterQuarters, usize) -> bool| {
        inverters
            .iter()
            .all(|one| quarters.clone().any(|at| states(one, at)))
    };
    let has_dc = all(&|one, at| one.dc_w(at).is_some());
    let has_state = all(&|one, at| one.is_up(at).is_some());
    for interval in intervals {
        interval.dc_kwh = interval.dc_kwh.filter(|_| has_dc);
        interval.is_up = interval.is_up.filter(|_| has_state);
    }
}

fn inverters(
    snapshot: &Snapshot<'_>,
    plant: &Plant,
    quarters: &[(i64, i64)],
) -> ReadResult<Vec<InverterQuarters>> {
    let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (quarters.first(), quarters.last()) else {
        return Ok(Vec::new());
    };
    let mut inverters = Vec::new();
    for device in &plant.devices {
        for meter in device
            .meters
            .iter()
            .filter(|meter| meter.role == MeterRole::Inverter)
        {
            let mut inverter = InverterQuarters::new(start_ms, quarters.len());
            let mut take = |time_ms: i64, values: &Quantities| inverter.push(time_ms, values);
            let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
            snapshot.readings_between(&device.id, meter.address, from_ms, to_ms, &mut take)?;
            inverters.push(inverter);
        }
    }
    Ok(inverters)
}

fn is_night(place: Place, start_ms: i64, end_ms: i64) -> bool {
    [start_ms, end_ms]
        .into_iter()
        .all(|at_ms| elevation_deg(place, at_ms) < NIGHT_DEG)
}

#[cfg(test)]
#[path = "performance_tests.rs"]
mod tests;
