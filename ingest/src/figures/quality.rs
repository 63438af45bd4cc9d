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
            for device in &plant.devices {
                let sensing = |meter: &&Meter| meter.role != MeterRole::Irradiance;
                let own = device.meters.iter().filter(sensing);
                let mut own: Vec<_> = own.map(|meter| (meter, Phases::new(&quarters))).collect();
                gather(snapshot, device, &quarters, &mut own, Phases::push)?;
                for (meter, phases) in own {
                    let phases = phases.quarters(&quarters);
                    if phases
                        .iter()
                        .any(|quarter| quarter.mean != PhaseImbalance::default())
                    {
                        found.push(of_meter(device, meter, phases));
                    }
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
            for device in &plant.devices {
                let inverting = |meter: &&Meter| meter.role == MeterRole::Inverter;
                let inputs = || Inputs {
                    start_ms: quarters.first().map_or(from_ms, |first| first.0),
                    quarters: quarters.len(),
                    powers: Vec::new(),
                };
                let own = device.meters.iter().filter(inverting);
                let mut own: Vec<_> = own.map(|meter| (meter, inputs())).collect();
                gather(snapshot, device, &quarters, &mut own, Inputs::push)?;
                let stating = own.into_iter().filter(|(_, inputs)| !inputs.powers.is_empty());
                inverters.extend(stating.map(|(meter, inputs)| (device, meter, inputs.powers)));
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

fn of_meter<T>(device: &Device, meter: &Meter, quarters: Vec<T>) -> OfMeter<T> {
    OfMeter {
        device: device.id.clone(),
        meter: meter.address,
        role: meter.role,
        quarters,
    }
}

/// Reads a device once and hands each reading to what gathers of its meter.
fn gather<T>(
    snapshot: &Snapshot<'_>,
    device: &Device,
    quarters: &[(i64, i64)],
    gathered: &mut [(&Meter, T)],
    take: impl Fn(&mut T, i64, &Quantities),
) -> ReadResult<()> {
    let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (quarters.first(), quarters.last()) else {
        return Ok(());
    };
    if gathered.is_empty() {
        return Ok(());
    }
    let mut take = |from: MeterAddress, time_ms: i64, values: &Quantities| {
        if let Some((_, of_meter)) = gathered.iter_mut().find(|(meter, _)| meter.address == from) {
            take(of_meter, time_ms, values);
        }
    };
    let (from_ms, to_ms) = (start_ms - GAP_MS_MAX, end_ms + GAP_MS_MAX);
    snapshot.readings_between(&device.id, from_ms, to_ms, &mut take)
}

/// What is gathered of a meter's phases.
struct Phases {
    start_ms: i64,
    /// Voltage (squared), LVUR, PVUR, current, neutral current.
    means: [IntervalMeans; 5],
    most: Vec<Option<f64>>,
    /// Of each quarter-hour: by which formula its last reading is, and whether a reading had the neutral's current measured.
    formulas: Vec<Option<VoltageFormula>>,
    measured: Vec<bool>,
}

impl Phases {
    fn new(quarters: &[(i64, i64)]) -> Self {
        let (start_ms, count) = (quarters.first().map_or(0, |first| first.0), quarters.len());
        Self {
            start_ms,
            means: core::array::from_fn(|_| IntervalMeans::new(start_ms, QUARTER_MS, count)),
            most: vec![None; count],
            formulas: vec![None; count],
            measured: vec![false; count],
        }
    }

    fn push(&mut self, time_ms: i64, values: &Quantities) {
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
        for (means, figure) in self.means.iter_mut().zip(figures) {
            if let Some(figure) = figure {
                means.push(time_ms, figure);
            }
        }
        let at = usize::try_from((time_ms - self.start_ms).div_euclid(QUARTER_MS)).ok();
        let Some(at) = at.filter(|at| *at < self.most.len()) else {
            return;
        };
        self.formulas[at] = phases.voltage_formula.or(self.formulas[at]);
        self.measured[at] |= phases.neutral_is_measured;
        if let Some(pct) = phases.voltage_pct {
            self.most[at] = Some(self.most[at].map_or(pct, |most| most.max(pct)));
        }
    }

    fn quarters(&self, quarters: &[(i64, i64)]) -> Vec<PhaseQuarter> {
        let of_quarter = |(at, &(start_ms, _)): (usize, &(i64, i64))| {
            let [squared, lvur_pct, pvur_pct, current_pct, neutral_current_a] =
                self.means.each_ref().map(|means| means.mean(at, KNOWN_MIN));
            PhaseQuarter {
                start_ms,
                mean: PhaseImbalance {
                    voltage_pct: squared.map(f64::sqrt),
                    voltage_formula: self.formulas[at].filter(|_| squared.is_some()),
                    lvur_pct,
                    pvur_pct,
                    current_pct,
                    neutral_current_a,
                    neutral_is_measured: self.measured[at] && neutral_current_a.is_some(),
                },
                voltage_max_pct: self.most[at],
            }
        };
        quarters.iter().enumerate().map(of_quarter).collect()
    }
}

/// Mean power of each input that an inverter ever stated.
struct Inputs {
    start_ms: i64,
    quarters: usize,
    powers: Vec<IntervalMeans>,
}

impl Inputs {
    fn push(&mut self, time_ms: i64, values: &Quantities) {
        for (at, input) in values.mppt.iter().enumerate().take(MPPT_MAX) {
            if at == self.powers.len() {
                let means = IntervalMeans::new(self.start_ms, QUARTER_MS, self.quarters);
                self.powers.push(means);
            }
            if let Some(power_w) = input_power_w(input) {
                self.powers[at].push(time_ms, power_w);
            }
        }
    }
}

#[cfg(test)]
#[path = "quality_tests.rs"]
mod tests;
