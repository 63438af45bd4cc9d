//! What plants should have made, quarter by quarter, from one state of the store.
//!
//! In: registers of the plant and its neighbours, readings of its irradiance sensor. Out: expectations with their method. Each plant's sky
//! and energies are computed once, however many neighbours ask for them.

use std::collections::HashMap;

use taraz_analytics::sampling::GAP_MS_MAX;
use taraz_fleet::{Device, Fleet, Meter, Plant};
use taraz_telemetry::{MeterAddress, MeterRole, Quantities};

use crate::analytics::{
    Measured, Neighbour, PeriodStep, PlantModel, QuarterExpectation, QuarterSky, SensorQuarters,
    neighbours_index, periods, quarters_of, whole_wh,
};
use crate::store::{ReadResult, Snapshot, Store, StoreError};
use crate::view::{ExpectationMethod, ExpectationRow};

/// The most neighbours that are asked how clear the sky is: the nearest of the district.
const NEIGHBOURS_MAX: usize = 12;
/// So long a time of a plant and its neighbours is computed at once: a month.
pub(super) const BLOCK_MS_MAX: i64 = 31 * 86_400_000;

/// Plants over a run of quarter-hours.
pub(super) struct Board<'a> {
    snapshot: &'a Snapshot<'a>,
    fleet: &'a Fleet,
    quarters: &'a [(i64, i64)],
    plants: HashMap<&'a str, PlantQuarters>,
}

/// What is computed of a plant once.
struct PlantQuarters {
    model: PlantModel,
    skies: Vec<QuarterSky>,
    clear_wh: Vec<f64>,
    made_wh: Vec<Option<i64>>,
}

/// What was expected of a plant and what it made, per quarter-hour.
pub(super) struct Expected {
    pub(super) quarters: Vec<QuarterExpectation>,
    pub(super) made_wh: Vec<Option<i64>>,
}

impl<'a> Board<'a> {
    /// `quarters` are in order and without a gap.
    pub(super) fn new(snapshot: &'a Snapshot<'a>, fleet: &'a Fleet, quarters: &'a [(i64, i64)]) -> Self {
        Self {
            snapshot,
            fleet,
            quarters,
            plants: HashMap::new(),
        }
    }

    /// Expectation and energy of a plant.
    pub(super) fn expected(&mut self, plant: &'a Plant) -> ReadResult<Expected> {
        let measured = self.measured(plant)?;
        let needs_neighbours = measured.iter().any(|one| one.plane_w_m2.is_none());
        let neighbours = if needs_neighbours {
            neighbours(self.fleet, plant)
        } else {
            Vec::new()
        };
        for one in neighbours.iter().copied().chain([plant]) {
            self.look_at(one)?;
        }
        let own = &self.plants[plant.id.as_str()];
        let quarters = own
            .skies
            .iter()
            .zip(&measured)
            .enumerate()
            .map(|(at, (sky, measured))| {
                let index = if measured.plane_w_m2.is_none() && !sky.is_night() {
                    self.index(&neighbours, at)
                } else {
                    None
                };
                sky.expect(&own.model, measured, index)
            });
        Ok(Expected {
            quarters: quarters.collect(),
            made_wh: own.made_wh.clone(),
        })
    }

    /// What a plant made and would have made under a clear sky, both in Wh.
    pub(super) fn own(&mut self, plant: &'a Plant) -> ReadResult<(Vec<Option<i64>>, Vec<f64>)> {
        self.look_at(plant)?;
        let own = &self.plants[plant.id.as_str()];
        Ok((own.made_wh.clone(), own.clear_wh.clone()))
    }

    fn index(&self, neighbours: &[&Plant], at: usize) -> Option<f64> {
        let said = neighbours.iter().filter_map(|plant| {
            let one = self.plants.get(plant.id.as_str())?;
            Some(Neighbour {
                made_wh: one.made_wh[at],
                clear_wh: one.clear_wh[at],
                rated_w: f64::from(plant.inverter_ac_w),
            })
        });
        neighbours_index(&said.collect::<Vec<_>>())
    }

    fn look_at(&mut self, plant: &'a Plant) -> ReadResult<()> {
        if self.plants.contains_key(plant.id.as_str()) {
            return Ok(());
        }
        let model = PlantModel::of(self.fleet, plant);
        let skies: Vec<_> = self
            .quarters
            .iter()
            .map(|&(start_ms, _)| QuarterSky::over(&model, start_ms))
            .collect();
        let clear_wh = skies
            .iter()
            .map(|sky| if sky.is_night() { 0.0 } else { sky.clear_wh(&model) });
        let clear_wh = clear_wh.collect();
        let made = self.snapshot.inverters(plant, self.quarters)?;
        let made_wh = made.iter().map(|parts| whole_wh(parts)).collect();
        let looked = PlantQuarters {
            model,
            skies,
            clear_wh,
            made_wh,
        };
        self.plants.insert(&plant.id, looked);
        Ok(())
    }

    /// What the plant's irradiance sensor states; all unknown without one.
    fn measured(&self, plant: &Plant) -> ReadResult<Vec<Measured>> {
        sensor_quarters(self.snapshot, plant, self.quarters)
    }
}

/// The plant's irradiance sensor: the first that is registered. Others are not mixed in, since each may lie otherwise.
pub(crate) fn sensor_of(plant: &Plant) -> Option<(&Device, &Meter)> {
    let meters = plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)));
    meters
        .into_iter()
        .find(|(_, meter)| meter.role == MeterRole::Irradiance)
}

/// What the plant's irradiance sensor states per quarter-hour; all unknown without one.
pub(super) fn sensor_quarters(
    snapshot: &Snapshot<'_>,
    plant: &Plant,
    quarters: &[(i64, i64)],
) -> ReadResult<Vec<Measured>> {
    let (Some((device, meter)), Some(&(start_ms, _)), Some(&(_, end_ms))) =
        (sensor_of(plant), quarters.first(), quarters.last())
    else {
        return Ok(vec![Measured::default(); quarters.len()]);
    };
    let mut sensor = SensorQuarters::new(start_ms, quarters.len());
    let mut take = |from: MeterAddress, time_ms: i64, values: &Quantities| {
        if from == meter.address {
            sensor.push(time_ms, values);
        }
    };
    let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
    snapshot.readings_between(&device.id, from_ms, to_ms, &mut take)?;
    Ok((0..quarters.len()).map(|at| sensor.quarter(at)).collect())
}

/// The nearest other plants of the district.
pub(crate) fn neighbours<'a>(fleet: &'a Fleet, plant: &Plant) -> Vec<&'a Plant> {
    let distance = |other: &Plant| {
        let east = (other.longitude_deg - plant.longitude_deg) * plant.latitude_deg.to_radians().cos();
        east.hypot(other.latitude_deg - plant.latitude_deg)
    };
    let mut others: Vec<_> = fleet
        .plants
        .iter()
        .enumerate()
        .filter(|(_, other)| other.district == plant.district && other.id != plant.id)
        .map(|(at, other)| (distance(other), at, other))
        .collect();
    let nearer = |a: &(f64, usize, &Plant), b: &(f64, usize, &Plant)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    if others.len() > NEIGHBOURS_MAX {
        others.select_nth_unstable_by(NEIGHBOURS_MAX, nearer);
        others.truncate(NEIGHBOURS_MAX);
    }
    others.sort_by(nearer);
    others.into_iter().map(|(.., other)| other).collect()
}

impl Store {
    /// What a plant should have made in the periods of a step that overlap `from_ms..to_ms` (UTC ms), beside what it made.
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::Sqlite`].
    pub(crate) fn expectation(
        &self,
        plant: &str,
        from_ms: i64,
        to_ms: i64,
        step: PeriodStep,
    ) -> Result<Vec<ExpectationRow>, StoreError> {
        let fleet = self.fleet();
        let plant = fleet
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))?;
        let periods = periods(from_ms, to_ms, step);
        self.snapshot(|snapshot| {
            let mut told = Vec::with_capacity(periods.len());
            for some in blocks(&periods) {
                let quarters = quarters_of(some);
                let expected = Board::new(snapshot, fleet, &quarters).expected(plant)?;
                told.extend(rows(some, &quarters, &expected));
            }
            Ok(told)
        })
    }
}

/// Periods in runs of at most [`BLOCK_MS_MAX`], or of one that is longer: a year's sums need not be in memory quarter by quarter.
fn blocks(periods: &[(i64, i64)]) -> impl Iterator<Item = &[(i64, i64)]> {
    let mut rest = periods;
    core::iter::from_fn(move || {
        let (start_ms, _) = *rest.first()?;
        let length = rest.partition_point(|&(_, end_ms)| end_ms - start_ms <= BLOCK_MS_MAX);
        let (block, later) = rest.split_at(length.max(1));
        rest = later;
        Some(block)
    })
}

/// Sums quarter-hours up to periods.
fn rows(periods: &[(i64, i64)], quarters: &[(i64, i64)], expected: &Expected) -> Vec<ExpectationRow> {
    let of_period = |&(start_ms, end_ms): &(i64, i64)| {
        let first = quarters.partition_point(|quarter| quarter.0 < start_ms);
        let after = quarters.partition_point(|quarter| quarter.0 < end_ms);
        row(
            (start_ms, end_ms),
            &expected.quarters[first..after],
            &expected.made_wh[first..after],
        )
    };
    periods.iter().map(of_period).collect()
}

/// Sums the quarter-hours of one period up.
pub(super) fn row(
    (start_ms, end_ms): (i64, i64),
    quarters: &[QuarterExpectation],
    made_wh: &[Option<i64>],
) -> ExpectationRow {
    let known = quarters.iter().filter(|quarter| quarter.expected_wh.is_some());
    let count = known.clone().count();
    let both = || {
        quarters
            .iter()
            .zip(made_wh)
            .filter_map(|(one, made)| Some((one.expected_wh?, (*made)?)))
    };
    // Clear-sky energy weighs the index: noon says more of a day than its evening.
    let weighed = quarters
        .iter()
        .filter_map(|one| Some((one.clear_sky_index?, one.clear_sky_wh)));
    let (index, weight) = weighed.fold((0.0, 0.0), |sum, one| (sum.0 + one.0 * one.1, sum.1 + one.1));
    let plane = quarters.iter().filter_map(|one| one.plane_w_m2);
    let plane_count = plane.clone().count();
    ExpectationRow {
        start_ms,
        end_ms,
        expected_wh: (count > 0).then(|| whole(known.filter_map(|one| one.expected_wh).sum())),
        method: main_method(quarters),
        clear_sky_wh: whole(quarters.iter().map(|one| one.clear_sky_wh).sum()),
        clear_sky_index: (weight > 0.0).then(|| index / weight),
        plane_w_m2: (plane_count > 0).then(|| plane.sum::<f64>() / plane_count as f64),
        completeness: count as f64 / quarters.len().max(1) as f64,
        made_wh: both().next().map(|_| both().map(|(_, made_wh)| made_wh).sum()),
        made_of_wh: both()
            .next()
            .map(|_| whole(both().map(|(expected_wh, _)| expected_wh).sum())),
    }
}

/// The method that most of the expected energy is said by; night where there is nothing but night.
fn main_method(quarters: &[QuarterExpectation]) -> Option<ExpectationMethod> {
    let by = |method| {
        let said = quarters.iter().filter(|one| one.method == Some(method));
        (said.clone().count() > 0).then(|| said.filter_map(|one| one.expected_wh).sum::<f64>())
    };
    let candidates = [
        ExpectationMethod::Night,
        ExpectationMethod::Neighbours,
        ExpectationMethod::Measured,
    ];
    let said = candidates
        .into_iter()
        .filter_map(|method| Some((method, by(method)?)));
    said.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(method, _)| method)
}

/// Whole Wh; energies here are far below 2^53.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn whole(wh: f64) -> i64 {
    wh.round() as i64
}

#[cfg(test)]
#[path = "expectation_tests.rs"]
mod tests;
