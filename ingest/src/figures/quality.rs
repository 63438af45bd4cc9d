//! Phases and strings over time: means of quarter-hours from the readings of each meter.

use taraz_analytics::sampling::{GAP_MS_MAX, IntervalMeans};
use taraz_fleet::{Device, Meter, Plant};
use taraz_telemetry::{DeviceId, MPPT_MAX, MeterAddress, MeterRole, Quantities};

use crate::analytics::{
    InverterInputs, PeriodStep, QUARTER_MS, input_power_w, periods, phase_imbalance, string_imbalances,
};
use crate::store::{ReadResult, Snapshot, Store, StoreError};
use crate::view::{PhaseImbalance, StringImbalance, VoltageFormula};

/// So much of a quarter-hour must be known.
const KNOWN_MIN: f64 = 0.5;

/// One meter's phases in one quarter-hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PhaseQuarter {
    pub(crate) start_ms: i64,
    /// Means; of the voltages' unbalance the root of the mean square (IEC 61000-4-30 §4.4).
    pub(crate) mean: PhaseImbalance,
    /// The largest voltage unbalance of a reading in percent.
    pub(crate) voltage_max_pct: Option<f64>,
}

/// What one meter stated over a time.
#[derive(Clone, Debug)]
pub(crate) struct OfMeter<T> {
    pub(crate) device: DeviceId,
    pub(crate) meter: MeterAddress,
    pub(crate) role: MeterRole,
    pub(crate) quarters: Vec<T>,
}

/// One inverter's inputs in one quarter-hour.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StringQuarter {
    pub(crate) start_ms: i64,
    pub(crate) inputs: Vec<StringImbalance>,
}

impl Store {
    /// The phases of each meter of a plant that states three of them, per quarter-hour of `from_ms..to_ms` (UTC ms).
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::Sqlite`].
    pub(crate) fn phases(
        &self,
        plant: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<OfMeter<PhaseQuarter>>, StoreError> {
        let quarters = periods(from_ms, to_ms, PeriodStep::Quarter);
        let plant = self.must_have(plant)?;
        self.snapshot(|snapshot| {
            let mut found = Vec::new();
            for (device, meter) in meters(plant).filter(|(_, meter)| meter.role != MeterRole::Irradiance) {
                let phases = phases_of(snapshot, device, meter, &quarters)?;
                if phases
                    .iter()
                    .any(|quarter| quarter.mean != PhaseImbalance::default())
                {
                    found.push(of_meter(device, meter, phases));
                }
            }
            Ok(found)
        })
    }

    /// The inputs of each inverter of a plant beside all of the plant's that face the same way, per quarter-hour of `from_ms..to_ms` (UTC ms).
    ///
    /// # Errors
    /// [`StoreError::UnknownPlant`], [`StoreError::Sqlite`].
    pub(crate) fn strings(
        &self,
        plant: &str,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<OfMeter<StringQuarter>>, StoreError> {
        let quarters = periods(from_ms, to_ms, PeriodStep::Quarter);
        let plant = self.must_have(plant)?;
        let mut inverters = Vec::new();
        self.snapshot(|snapshot| {
            for (device, meter) in meters(plant).filter(|(_, meter)| meter.role == MeterRole::Inverter) {
                let inputs = inputs_of(snapshot, device, meter, &quarters)?;
                if !inputs.is_empty() {
                    inverters.push((device, meter, inputs));
                }
            }
            Ok(())
        })?;
        let mut found: Vec<_> = inverters
            .iter()
            .map(|(device, meter, _)| of_meter(device, meter, Vec::new()))
            .collect();
        for (at, &(start_ms, _)) in quarters.iter().enumerate() {
            let powers = inverters.iter().map(|(_, meter, inputs)| InverterInputs {
                meter,
                powers_w: inputs.iter().map(|input| input.mean(at, KNOWN_MIN)).collect(),
            });
            let imbalances = string_imbalances(plant, &powers.collect::<Vec<_>>());
            for (inverter, inputs) in found.iter_mut().zip(imbalances) {
                inverter.quarters.push(StringQuarter { start_ms, inputs });
            }
        }
        Ok(found)
    }

    fn must_have(&self, plant: &str) -> Result<&Plant, StoreError> {
        self.fleet()
            .plant(plant)
            .ok_or_else(|| StoreError::UnknownPlant(plant.to_owned()))
    }
}

fn meters(plant: &Plant) -> impl Iterator<Item = (&Device, &Meter)> {
    plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)))
}

fn of_meter<T>(device: &Device, meter: &Meter, quarters: Vec<T>) -> OfMeter<T> {
    OfMeter {
        device: device.id.clone(),
        meter: meter.address,
        role: meter.role,
        quarters,
    }
}

fn phases_of(
    snapshot: &Snapshot<'_>,
    device: &Device,
    meter: &Meter,
    quarters: &[(i64, i64)],
) -> ReadResult<Vec<PhaseQuarter>> {
    let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (quarters.first(), quarters.last()) else {
        return Ok(Vec::new());
    };
    // Voltage (squared), LVUR, PVUR, current, neutral current.
    let mut means: [IntervalMeans; 5] =
        core::array::from_fn(|_| IntervalMeans::new(start_ms, QUARTER_MS, quarters.len()));
    let mut most: Vec<Option<f64>> = vec![None; quarters.len()];
    // Of each quarter-hour: by which formula its last reading is, and whether a reading had the neutral's current measured.
    let mut formulas: Vec<Option<VoltageFormula>> = vec![None; quarters.len()];
    let mut measured = vec![false; quarters.len()];
    let mut take = |time_ms: i64, values: &Quantities| {
        let Some(phases) = phase_imbalance(values) else {
            return;
        };
        let squared = phases.voltage_pct.map(|pct| pct * pct);
        let figures = [
            squared,
            phases.lvur_pct,
            phases.pvur_pct,
            phases.current_pct,
            phases.neutral_current_a,
        ];
        for (means, figure) in means.iter_mut().zip(figures) {
            if let Some(figure) = figure {
                means.push(time_ms, figure);
            }
        }
        let at = usize::try_from((time_ms - start_ms).div_euclid(QUARTER_MS)).ok();
        let Some(at) = at.filter(|at| *at < quarters.len()) else {
            return;
        };
        formulas[at] = phases.voltage_formula.or(formulas[at]);
        measured[at] |= phases.neutral_is_measured;
        if let Some(pct) = phases.voltage_pct {
            most[at] = Some(most[at].map_or(pct, |most| most.max(pct)));
        }
    };
    let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
    snapshot.readings_between(&device.id, meter.address, from_ms, to_ms, &mut take)?;
    let of_quarter = |(at, &(start_ms, _)): (usize, &(i64, i64))| {
        let [squared, lvur_pct, pvur_pct, current_pct, neutral_current_a] =
            means.each_ref().map(|means| means.mean(at, KNOWN_MIN));
        PhaseQuarter {
            start_ms,
            mean: PhaseImbalance {
                voltage_pct: squared.map(f64::sqrt),
                voltage_formula: formulas[at].filter(|_| squared.is_some()),
                lvur_pct,
                pvur_pct,
                current_pct,
                neutral_current_a,
                neutral_is_measured: measured[at] && neutral_current_a.is_some(),
            },
            voltage_max_pct: most[at],
        }
    };
    Ok(quarters.iter().enumerate().map(of_quarter).collect())
}

/// Mean power of each input that the inverter ever stated.
fn inputs_of(
    snapshot: &Snapshot<'_>,
    device: &Device,
    meter: &Meter,
    quarters: &[(i64, i64)],
) -> ReadResult<Vec<IntervalMeans>> {
    let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (quarters.first(), quarters.last()) else {
        return Ok(Vec::new());
    };
    let mut inputs: Vec<IntervalMeans> = Vec::new();
    let mut take = |time_ms: i64, values: &Quantities| {
        for (at, input) in values.mppt.iter().enumerate().take(MPPT_MAX) {
            if at == inputs.len() {
                inputs.push(IntervalMeans::new(start_ms, QUARTER_MS, quarters.len()));
            }
            if let Some(power_w) = input_power_w(input) {
                inputs[at].push(time_ms, power_w);
            }
        }
    };
    let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
    snapshot.readings_between(&device.id, meter.address, from_ms, to_ms, &mut take)?;
    Ok(inputs)
}

#[cfg(test)]
#[path = "quality_tests.rs"]
mod tests;
