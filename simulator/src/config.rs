//! `simulation.toml`: which meters stand on which bus, what they replay and how they present it.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;
use taraz_fleet::Fleet;
use taraz_settings::{Document, Mistake};
use taraz_telemetry::{DeviceId, MeterAddress, MeterDriver};

use crate::check;
use crate::keys::SIMULATION;
use crate::recording::SourceName;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(rename = "device")]
    pub(crate) devices: Vec<DeviceConfig>,
}

/// One bus: a device of the fleet reads the units on it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeviceConfig {
    pub(crate) id: DeviceId,
    /// The plant's id; from the fleet when left out.
    pub(crate) plant: Option<String>,
    /// East positive; from the fleet when left out.
    pub(crate) longitude_deg: Option<f64>,
    /// The day from which energy is counted; from the fleet when left out.
    pub(crate) commissioned: Option<Date>,
    /// What its inverters replay.
    pub(crate) source: SourceName,
    /// Power of an inverter over recorded power.
    #[serde(default = "one")]
    pub(crate) scale: f64,
    /// What is consumed behind the same grid connection.
    pub(crate) load: Option<LoadConfig>,
    #[serde(rename = "unit")]
    pub(crate) units: Vec<UnitConfig>,
}

/// A consumption to replay.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoadConfig {
    pub(crate) source: SourceName,
    #[serde(default = "one")]
    pub(crate) scale: f64,
}

/// One unit address.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnitConfig {
    pub(crate) address: MeterAddress,
    pub(crate) kind: MeterDriver,
    /// SunSpec: 101 to 103 and 111 to 113 are inverters, 201 to 204 and 211 to 214 meters.
    pub(crate) model: Option<u16>,
    /// What a meter measures.
    #[serde(default)]
    pub(crate) measures: Measures,
    /// The highest power in W; from the fleet when left out.
    pub(crate) rated_w: Option<u32>,
    /// This inverter's share of the device's `scale`, 0 to 10.
    #[serde(default = "one")]
    pub(crate) share: f64,
    /// SunSpec: where the chain begins.
    #[serde(default = "default_base")]
    pub(crate) base: u16,
    /// SunSpec: the common model has 65 registers instead of 66.
    #[serde(default)]
    pub(crate) short_common: bool,
    /// MPPT inputs: SunSpec model 160 (0: no such model), Growatt's inputs.
    #[serde(default)]
    pub(crate) mppt: u8,
    /// SunSpec: models that nobody knows, behind the common model.
    #[serde(default)]
    pub(crate) unknown_models: Vec<UnknownModel>,
    /// SunSpec: scale factors by name, instead of fitting ones.
    #[serde(default)]
    pub(crate) scale_factors: BTreeMap<String, i8>,
    /// SunSpec: points that are not implemented (`TmpCab`, `160.DCA`).
    #[serde(default)]
    pub(crate) not_implemented: Vec<String>,
    /// Growatt: which of the maker's register maps.
    #[serde(default)]
    pub(crate) protocol: GrowattProtocol,
    /// What the (import) register stood at when the plant was commissioned, in Wh.
    #[serde(default)]
    pub(crate) energy_start_wh: u64,
    /// What the export register stood at when the plant was commissioned, in Wh.
    #[serde(default)]
    pub(crate) export_start_wh: u64,
    /// What an inverter does when it is dark.
    #[serde(default)]
    pub(crate) night: Night,
    /// How long it takes to answer in ms; not in simulated time.
    #[serde(default)]
    pub(crate) delay_ms: u16,
}

/// What a meter measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measures {
    /// Consumption minus generation, import positive.
    #[default]
    Grid,
    /// What is consumed.
    Consumption,
}

/// What an inverter does when it is dark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Night {
    /// It answers as standing by.
    #[default]
    Standby,
    /// It answers as sleeping.
    Sleeping,
    /// It does not answer.
    Silent,
}

/// Which of Growatt's register maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum GrowattProtocol {
    /// "PV Inverter Modbus RS485 RTU Protocol" V3.05.
    #[default]
    #[serde(rename = "v3_05")]
    V3_05,
    /// "Inverter Modbus RTU Protocol II" V1.20.
    #[serde(rename = "ii")]
    Ii,
}

/// A vendor's model in a SunSpec chain.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnknownModel {
    pub(crate) id: u16,
    pub(crate) length: u16,
}

const fn one() -> f64 {
    1.0
}

const fn default_base() -> u16 {
    40_000
}

impl UnitConfig {
    /// An inverter generates; the others measure.
    pub(crate) fn is_inverter(&self) -> bool {
        match self.kind {
            MeterDriver::Growatt => true,
            MeterDriver::Sunspec => self.model.is_some_and(|model| model < 200),
            MeterDriver::Sdm630 | MeterDriver::SiRs485 => false,
        }
    }
}

impl Config {
    /// Parses and checks the whole file; what it leaves out is taken from the fleet.
    pub(crate) fn parse(file: &str, text: &str, fleet: Option<&Fleet>) -> Result<Self, Mistake> {
        let document = Document::parse(file, text, SIMULATION)?;
        let mut config: Self = document.read()?;
        if let Some(fleet) = fleet {
            config.devices.iter_mut().for_each(|device| fill(device, fleet));
        }
        check::check(&config, fleet).map_err(|wrong| document.mistake(wrong))?;
        Ok(config)
    }
}

fn fill(device: &mut DeviceConfig, fleet: &Fleet) {
    let Some(known) = fleet.device(&device.id) else {
        return;
    };
    device.plant.get_or_insert_with(|| known.plant.id.clone());
    device.longitude_deg.get_or_insert(known.plant.longitude_deg);
    device.commissioned.get_or_insert(known.plant.commissioned);
    for unit in &mut device.units {
        if let Some(meter) = known.device.meter(unit.address).filter(|meter| meter.rated_w > 0) {
            unit.rated_w.get_or_insert(meter.rated_w);
        }
    }
}
