//! IEC 61724-1 figures of a plant, from one state of the store.
//!
//! In: registers, readings of the irradiance sensor and the inverters. Out: a report per period, each over the quarter-hours of which
//! everything is known that the plant measures.

use taraz_analytics::performance::{Interval, Plant as Rated, Report, report};
use taraz_analytics::sampling::GAP_MS_MAX;
use taraz_analytics::solar::Zenith;
use taraz_fleet::Plant;
use taraz_telemetry::{MeterAddress, MeterRole, Quantities};

use super::expectation::sensor_of;
use crate::analytics::{
    Contribution, InverterQuarters, Measured, Place, QUARTER_H, SensorQuarters, day_end_ms, is_sun_below,
    place_of, quarters_of, whole_wh,
};
use crate::store::{ReadResult, Snapshot, Store, StoreError};

/// Irradiance in W/m² from which on a plant should be running.
const IRRADIANCE_MIN_W_M2: f64 = 50.0;
/// Below this elevation the sun gives nothing: its upper rim, refracted, is below the horizon.
const NIGHT_DEG: f64 = -0.9;
/// The readings of so many quarter-hours are looked at together: of a month, however long the period.
const QUARTERS_AT_ONCE: usize = 31 * 96;
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

/// All intervals, a month of readings at a time.
fn intervals(snapshot: &Snapshot<'_>, plant: &Plant, quarters: &[(i64, i64)]) -> ReadResult<Vec<Interval>> {
    let mut intervals = Vec::with_capacity(quarters.len());
    // Of each local day, by its end, what each inverter states in it.
    let mut days: Vec<(i64, Vec<Stated>)> = Vec::new();
    for some in quarters.chunks(QUARTERS_AT_ONCE) {
        let measured = measured(snapshot, plant, some)?;
        let made = snapshot.inverters(plant, some)?;
        intervals.extend(intervals_of(plant, some, &measured, &made));
        for (at, &(start_ms, _)) in some.iter().enumerate() {
            if days.last().is_none_or(|(end_ms, _)| *end_ms <= start_ms) {
                let none = vec![Stated::default(); measured.inverters.len()];
                days.push((day_end_ms(start_ms), none));
            }
            let stated = days.last_mut().into_iter().flat_map(|(_, stated)| stated);
            for (stated, inverter) in stated.zip(&measured.inverters) {
                stated.dc |= inverter.dc_w(at).is_some();
                stated.state |= inverter.is_up(at).is_some();
            }
        }
    }
    // What an inverter never states in a day is not measured in it: it must not look measured because it is known at night. By days, so that a
    // day is the same whatever it is asked with.
    let mut days = days.iter().peekable();
    for (interval, &(start_ms, _)) in intervals.iter_mut().zip(quarters) {
        while days.next_if(|(end_ms, _)| *end_ms <= start_ms).is_some() {}
        let stated = days.peek().map_or(&[][..], |(_, stated)| stated);
        let has_dc = stated.iter().all(|one| one.dc);
        let has_state = stated.iter().all(|one| one.state);
        interval.dc_kwh = interval.dc_kwh.filter(|_| has_dc);
        interval.is_up = interval.is_up.filter(|_| has_state);
    }
    Ok(intervals)
}

/// What an inverter ever states in a day.
#[derive(Clone, Copy, Default)]
struct Stated {
    dc: bool,
    state: bool,
}

fn intervals_of(
    plant: &Plant,
    quarters: &[(i64, i64)],
    measured: &MeasuredQuarters,
    made: &[Vec<Contribution>],
) -> Vec<Interval> {
    let place = place_of(plant);
    let zenith = Zenith::of(place);
    let inverters = &measured.inverters;
    let of_quarter = |(at, &(start_ms, end_ms)): (usize, &(i64, i64))| {
        let ac_wh = whole_wh(&made[at]);
        let dc_w: Option<f64> = inverters.iter().map(|inverter| inverter.dc_w(at)).sum();
        let states: Option<Vec<bool>> = inverters.iter().map(|inverter| inverter.is_up(at)).collect();
        let sensor = measured
            .sensor
            .as_ref()
            .map_or_else(Measured::default, |sensor| sensor.quarter(at));
        let plane_w_m2 = sensor.plane_w_m2;
        // In the dark an inverter sleeps and says nothing: it is not down, nobody asks it to run, and nothing flows.
        let is_dark = is_night(place, &zenith, start_ms, end_ms);
        let is_weak = is_dark || plane_w_m2.is_some_and(|plane| plane < IRRADIANCE_MIN_W_M2);
        Interval {
            plane_w_m2,
            module_c: sensor.module_c,
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
    quarters.iter().enumerate().map(of_quarter).collect()
}

/// What a plant's sensor and inverters state per quarter-hour.
struct MeasuredQuarters {
    sensor: Option<SensorQuarters>,
    inverters: Vec<InverterQuarters>,
}

/// Reads each device once, for its sensor and its inverters.
fn measured(snapshot: &Snapshot<'_>, plant: &Plant, quarters: &[(i64, i64)]) -> ReadResult<MeasuredQuarters> {
    let mut found = MeasuredQuarters {
        sensor: None,
        inverters: Vec::new(),
    };
    let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (quarters.first(), quarters.last()) else {
        return Ok(found);
    };
    let sensor = sensor_of(plant);
    for device in &plant.devices {
        let sensor = sensor
            .filter(|(its, _)| its.id == device.id)
            .map(|(_, meter)| meter.address);
        let mut sensing = SensorQuarters::new(start_ms, quarters.len());
        let mut inverters: Vec<(MeterAddress, InverterQuarters)> = device
            .meters
            .iter()
            .filter(|meter| meter.role == MeterRole::Inverter)
            .map(|meter| (meter.address, InverterQuarters::new(start_ms, quarters.len())))
            .collect();
        if sensor.is_none() && inverters.is_empty() {
            continue;
        }
        let mut take = |from: MeterAddress, time_ms: i64, values: &Quantities| {
            if sensor == Some(from) {
                sensing.push(time_ms, values);
            } else if let Some((_, inverter)) = inverters.iter_mut().find(|(address, _)| *address == from) {
                inverter.push(time_ms, values);
            }
        };
        let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
        snapshot.readings_between(&device.id, from_ms, to_ms, &mut take)?;
        found.sensor = sensor.map(|_| sensing).or(found.sensor);
        found
            .inverters
            .extend(inverters.into_iter().map(|(_, inverter)| inverter));
    }
    Ok(found)
}

fn is_night(place: Place, zenith: &Zenith, start_ms: i64, end_ms: i64) -> bool {
    [start_ms, end_ms]
        .into_iter()
        .all(|at_ms| is_sun_below(place, zenith, NIGHT_DEG, at_ms))
}

#[cfg(test)]
#[path = "performance_tests.rs"]
mod tests;
