//! One bus: its units, what they replay, and what they answer at an instant under the faults in force.

mod faulty;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use taraz_telemetry::MeterDriver;

pub(crate) use faulty::{FaultyBus, Image, ImageBlock, Reaction};

use crate::config::{DeviceConfig, UnitConfig};
use crate::faults::WHOLE_PPM;
use crate::maps::{self, Block, SunspecShape};
use crate::physics::Phases;
use crate::recording::Channel;
use crate::signal::{LAST_DAY, Signal};
use crate::solar::SolarDays;

/// A bus without faults: what never changes while the simulation runs.
pub(crate) struct Bus {
    pub(crate) id: String,
    pub(crate) plant: String,
    pub(crate) config: DeviceConfig,
    pub(crate) days: Arc<SolarDays>,
    seed: u64,
    blocks: Vec<Vec<Block>>,
    variants: Mutex<HashMap<Variant, Arc<Signal>>>,
}

/// A signal under constant factors (in millionths).
#[derive(Clone, PartialEq, Eq, Hash)]
enum Variant {
    /// Of the inverter that is unit number so-and-so.
    Generation(usize, u32),
    /// Consumption minus generation, a factor per inverter.
    Net(Vec<u32>),
}

impl Bus {
    pub(crate) fn new(config: DeviceConfig) -> Self {
        let first = config.commissioned.unwrap_or_default();
        let days = Arc::new(if config.source.is_verbatim() {
            SolarDays::of_the_clock(first, LAST_DAY)
        } else {
            SolarDays::new(config.longitude_deg.unwrap_or_default(), first, LAST_DAY)
        });
        let blocks = config.units.iter().map(|unit| blocks(&config, unit)).collect();
        Self {
            id: config.id.as_str().to_owned(),
            plant: config.plant.clone().unwrap_or_default(),
            days,
            seed: seed(config.id.as_str()),
            blocks,
            variants: Mutex::default(),
            config,
        }
    }

    pub(crate) fn blocks(&self, unit: usize) -> &[Block] {
        &self.blocks[unit]
    }

    fn inverters(&self) -> impl Iterator<Item = (usize, &UnitConfig)> {
        self.config
            .units
            .iter()
            .enumerate()
            .filter(|(_, unit)| unit.is_inverter())
    }

    fn variant(&self, variant: Variant) -> Arc<Signal> {
        let known = self
            .variants
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&variant)
            .cloned();
        known.unwrap_or_else(|| {
            let signal = Arc::new(self.make(&variant));
            self.variants
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(variant, Arc::clone(&signal));
            signal
        })
    }

    fn make(&self, variant: &Variant) -> Signal {
        match variant {
            &Variant::Generation(unit, factor) => {
                let share = self.config.units[unit].share * f64::from(factor) / f64::from(WHOLE_PPM);
                let watts_per_kw = 1_000.0 * self.config.scale * share;
                Signal::replay(&self.days, self.config.source, Channel::Generation, watts_per_kw)
            }
            Variant::Net(factors) => {
                let of = |((unit, _), &factor)| self.variant(Variant::Generation(unit, factor));
                let generation: Vec<Arc<Signal>> = self.inverters().zip(factors).map(of).collect();
                Signal::net(&self.load(), &generation)
            }
        }
    }

    fn load(&self) -> Signal {
        let (source, scale) = self
            .config
            .load
            .map_or((self.config.source, 0.0), |load| (load.source, load.scale));
        Signal::replay(&self.days, source, Channel::Load, 1_000.0 * scale)
    }

    fn channel(&self, channel: Channel) -> Arc<Signal> {
        Arc::new(Signal::replay(&self.days, self.config.source, channel, 1.0))
    }
}

fn blocks(device: &DeviceConfig, unit: &UnitConfig) -> Vec<Block> {
    let serial = format!("{}-{}", device.id, unit.address);
    match unit.kind {
        MeterDriver::Sunspec => vec![maps::sunspec(&SunspecShape {
            model: unit.model.unwrap_or_default(),
            base: unit.base,
            short_common: unit.short_common,
            unknown_models: unit
                .unknown_models
                .iter()
                .map(|model| (model.id, model.length))
                .collect(),
            mppt: unit.mppt,
            rated_w: unit.rated_w.unwrap_or_default(),
            scale_factors: unit.scale_factors.clone(),
            not_implemented: unit.not_implemented.clone(),
            serial,
        })],
        MeterDriver::Sdm630 => vec![maps::sdm630()],
        MeterDriver::Growatt => maps::growatt(unit.protocol, inputs(unit), &serial).into(),
        MeterDriver::SiRs485 => vec![maps::si_rs485()],
    }
}

/// A Growatt has two inputs unless it is told otherwise.
fn inputs(unit: &UnitConfig) -> u8 {
    if unit.kind == MeterDriver::Growatt && unit.mppt == 0 {
        2
    } else {
        unit.mppt
    }
}

fn phases(unit: &UnitConfig) -> Phases {
    unit.model.map_or(Phases::Three, maps::phases)
}

/// FNV-1a: the same device has the same small variations wherever it runs.
fn seed(id: &str) -> u64 {
    id.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    })
}
