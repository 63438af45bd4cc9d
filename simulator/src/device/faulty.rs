//! A bus under a fault list: how its units react at an instant, and what their registers are.

use std::sync::Arc;

use taraz_telemetry::MeterDriver;

use super::{Bus, Variant, inputs, phases};
use crate::config::{Measures, Night, UnitConfig};
use crate::faults::{Fault, FaultKind, WHOLE_PPM};
use crate::physics::{self, InverterInput, MeterInput, state};
use crate::points::Stated;
use crate::quantity::{Q, Snapshot};
use crate::recording::Channel;
use crate::signal::{Energy, Signal};
use crate::timeline::{Timeline, factors};

/// How long before dawn an inverter wakes, and how long after dusk it goes on, in ms.
const TWILIGHT_MS: i64 = 10 * 60_000;
/// Event bit of an inverter without power: AC disconnect (SunSpec `Evt1` bit 2).
const AC_DISCONNECT: i64 = 1 << 2;
/// 1 mWh in µJ.
const UJ_PER_MWH: i128 = 3_600_000;

/// What a unit does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Nothing at all.
    Silence,
    /// Exception 6.
    Busy,
    /// An answer after so many ms.
    Answer(u32),
}

/// The registers of a unit at an instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) blocks: Vec<ImageBlock>,
    snapshot: Snapshot,
}

/// The registers of one block and what they state, in the order of the registers.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageBlock {
    pub(crate) registers: Vec<u16>,
    pub(crate) stated: Vec<Stated>,
}

/// A bus under a fault list.
pub(crate) struct FaultyBus {
    pub(crate) bus: Arc<Bus>,
    units: Vec<FaultyUnit>,
}

struct FaultyUnit {
    source: Source,
    /// Faults that concern this unit.
    faults: Vec<Fault>,
}

enum Source {
    Inverter {
        power: Timeline,
        sun: Arc<Signal>,
    },
    Meter {
        power: Timeline,
    },
    Weather {
        irradiance: Arc<Signal>,
        module: Arc<Signal>,
        ambient: Arc<Signal>,
    },
}

impl FaultyBus {
    pub(crate) fn new(bus: &Arc<Bus>, faults: &[Fault]) -> Self {
        let unit = |(index, unit): (usize, &UnitConfig)| {
            let concerning = faults
                .iter()
                .filter(|fault| fault.concerns(&bus.plant, unit.address));
            FaultyUnit {
                source: source(bus, index, faults),
                faults: concerning.cloned().collect(),
            }
        };
        let units = bus.config.units.iter().enumerate().map(unit).collect();
        Self {
            bus: Arc::clone(bus),
            units,
        }
    }

    /// The number of the unit at an address.
    pub(crate) fn unit(&self, address: u8) -> Option<usize> {
        self.bus
            .config
            .units
            .iter()
            .position(|unit| unit.address.get() == address)
    }

    /// What a unit does with a request at an instant.
    pub(crate) fn reaction(&self, unit: usize, at_ms: i64) -> Reaction {
        let (known, config) = (&self.units[unit], &self.bus.config.units[unit]);
        let mut delay_ms = u32::from(config.delay_ms);
        for fault in known.faults.iter().filter(|fault| fault.holds_at(at_ms)) {
            match fault.kind {
                FaultKind::Silent => return Reaction::Silence,
                FaultKind::Busy => return Reaction::Busy,
                FaultKind::Slow(ms) => delay_ms = delay_ms.max(ms),
                _ => {}
            }
        }
        match &known.source {
            Source::Inverter { sun, .. } if config.night == Night::Silent && is_dark(sun, at_ms) => {
                Reaction::Silence
            }
            _ => Reaction::Answer(delay_ms),
        }
    }

    /// Renders the registers of a unit at an instant.
    pub(crate) fn render(&self, unit: usize, at_ms: i64, image: &mut Image) {
        self.snapshot(unit, at_ms, &mut image.snapshot);
        let blocks = self.bus.blocks(unit);
        image.blocks.resize_with(blocks.len(), ImageBlock::default);
        for (block, out) in blocks.iter().zip(&mut image.blocks) {
            out.registers.clone_from(&block.template);
            out.stated.clear();
            for point in &block.points {
                point.write(&image.snapshot, &mut out.registers, &mut out.stated);
            }
        }
    }

    fn snapshot(&self, unit: usize, at_ms: i64, out: &mut Snapshot) {
        let (known, config) = (&self.units[unit], &self.bus.config.units[unit]);
        let stuck = known
            .faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::Stuck && fault.holds_at(at_ms));
        let at_ms = stuck
            .map(Fault::begins_ms)
            .min()
            .map_or(at_ms, |since| since.min(at_ms));
        match &known.source {
            Source::Inverter { power, sun } => {
                let input = self.inverter(unit, power, sun, at_ms);
                physics::inverter(&input, out);
            }
            Source::Meter { power } => {
                let energy = known.counted(power, at_ms);
                let start = if known.reset_before(at_ms).is_some() {
                    (0, 0)
                } else {
                    starts_mwh(config)
                };
                let input = MeterInput {
                    at_ms,
                    seed: self.bus.seed,
                    power_mw: power.value_at(at_ms),
                    phases: phases(config),
                    import_mwh: start.0 + mwh(energy.positive_uj),
                    export_mwh: start.1 + mwh(energy.negative_uj),
                };
                physics::meter(&input, out);
            }
            Source::Weather {
                irradiance,
                module,
                ambient,
            } => {
                out.clear();
                out.set(Q::Irradiance, irradiance.value_at(at_ms));
                out.set(Q::TmpModule, module.value_at(at_ms));
                out.set(Q::TmpAmbient, ambient.value_at(at_ms));
            }
        }
    }

    fn inverter(&self, unit: usize, power: &Timeline, sun: &Signal, at_ms: i64) -> InverterInput {
        let (known, config) = (&self.units[unit], &self.bus.config.units[unit]);
        let holding = || known.faults.iter().filter(|fault| fault.holds_at(at_ms));
        let tripped = holding().any(|fault| fault.kind == FaultKind::ZeroPower) && !is_dark(sun, at_ms);
        let lost_inputs = holding().fold(0, |lost, fault| match fault.kind {
            FaultKind::StringLoss(input) if input < inputs(config) => lost | 1 << input,
            _ => lost,
        });
        let power_mw = power.value_at(at_ms);
        let energy = known.counted(power, at_ms);
        let midnight_ms = self.bus.days.bound_ms(self.bus.days.locate(at_ms).0);
        let today = power.energy_at(at_ms).minus(power.energy_at(midnight_ms));
        let start = if known.reset_before(at_ms).is_some() {
            0
        } else {
            starts_mwh(config).0
        };
        InverterInput {
            at_ms,
            seed: self.bus.seed,
            power_mw,
            rated_w: config.rated_w.unwrap_or_default(),
            phases: phases(config),
            mppt: inputs(config),
            lost_inputs,
            energy_mwh: start + mwh(energy.positive_uj),
            today_mwh: mwh(today.positive_uj),
            state: if tripped {
                state::FAULT
            } else {
                operating_state(sun, power_mw, at_ms, config.night)
            },
            events: if tripped { AC_DISCONNECT } else { 0 },
        }
    }
}

impl FaultyUnit {
    /// When the counters were set to zero last.
    fn reset_before(&self, at_ms: i64) -> Option<i64> {
        let resets = self
            .faults
            .iter()
            .filter(|fault| fault.kind == FaultKind::CounterReset);
        resets.map(Fault::begins_ms).filter(|&from| from <= at_ms).max()
    }

    /// What the counters have counted since the plant was commissioned, or since they were reset.
    fn counted(&self, power: &Timeline, at_ms: i64) -> Energy {
        let energy = power.energy_at(at_ms);
        match self.reset_before(at_ms) {
            Some(reset) => energy.minus(power.energy_at(reset)),
            None => energy,
        }
    }
}

fn source(bus: &Arc<Bus>, index: usize, faults: &[Fault]) -> Source {
    let unit = &bus.config.units[index];
    if unit.kind == MeterDriver::SiRs485 {
        return Source::Weather {
            irradiance: bus.channel(Channel::Irradiance),
            module: bus.channel(Channel::ModuleTemperature),
            ambient: bus.channel(Channel::AmbientTemperature),
        };
    }
    if unit.is_inverter() {
        let parts = factors(1, &losses(bus, faults, |other| (other == index).then_some(0)));
        let signal =
            |(from, factors): (i64, Vec<u32>)| (from, bus.variant(Variant::Generation(index, factors[0])));
        let sun = bus.variant(Variant::Generation(index, WHOLE_PPM));
        return Source::Inverter {
            power: Timeline::new(parts.into_iter().map(signal)),
            sun,
        };
    }
    if unit.measures == Measures::Consumption {
        return Source::Meter {
            power: Timeline::new([(i64::MIN, Arc::new(bus.load()))]),
        };
    }
    let place = |unit: usize| bus.inverters().position(|(index, _)| index == unit);
    let parts = factors(bus.inverters().count(), &losses(bus, faults, place));
    let signal = |(from, factors): (i64, Vec<u32>)| (from, bus.variant(Variant::Net(factors)));
    Source::Meter {
        power: Timeline::new(parts.into_iter().map(signal)),
    }
}

/// What faults take from inverters: (place given by `place`, from, until, factor that is left in millionths).
fn losses(
    bus: &Bus,
    faults: &[Fault],
    place: impl Fn(usize) -> Option<usize>,
) -> Vec<(usize, i64, i64, u32)> {
    let mut losses = Vec::new();
    for (unit, config) in bus.inverters() {
        let Some(place) = place(unit) else { continue };
        for fault in faults
            .iter()
            .filter(|fault| fault.concerns(&bus.plant, config.address))
        {
            let inputs = u32::from(inputs(config));
            let factor = match fault.kind {
                FaultKind::Derate(factor) => factor,
                FaultKind::ZeroPower => 0,
                FaultKind::StringLoss(input) if u32::from(input) < inputs => {
                    WHOLE_PPM / inputs * (inputs - 1)
                }
                _ => continue,
            };
            losses.push((place, fault.begins_ms(), fault.ends_ms(), factor));
        }
    }
    losses
}

fn is_dark(sun: &Signal, at_ms: i64) -> bool {
    let (daylight, now_ms) = sun.daylight_ms(at_ms);
    daylight.is_none_or(|(dawn, dusk)| !(dawn - TWILIGHT_MS..dusk + TWILIGHT_MS).contains(&now_ms))
}

fn operating_state(sun: &Signal, power_mw: i64, at_ms: i64, night: Night) -> i64 {
    let (daylight, now_ms) = sun.daylight_ms(at_ms);
    match daylight {
        _ if power_mw > 0 => state::MPPT,
        Some((dawn, dusk)) if (dawn..dusk).contains(&now_ms) => state::STANDBY,
        Some((dawn, _)) if (dawn - TWILIGHT_MS..dawn).contains(&now_ms) => state::STARTING,
        Some((_, dusk)) if (dusk..dusk + TWILIGHT_MS).contains(&now_ms) => state::SHUTTING_DOWN,
        _ if night == Night::Standby => state::STANDBY,
        _ => state::SLEEPING,
    }
}

/// What the registers stood at when the plant was commissioned, in mWh.
fn starts_mwh(unit: &UnitConfig) -> (i64, i64) {
    let mwh = |wh: u64| i64::try_from(wh).unwrap_or(i64::MAX).saturating_mul(1_000);
    (mwh(unit.energy_start_wh), mwh(unit.export_start_wh))
}

/// Full mWh.
fn mwh(energy_uj: i128) -> i64 {
    i64::try_from(energy_uj / UJ_PER_MWH).unwrap_or(i64::MAX)
}
