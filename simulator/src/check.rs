//! What `simulation.toml` must fulfil beyond its shape.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::civil::date;
use taraz_fleet::{DeviceRef, Fleet};
use taraz_telemetry::{MPPT_MAX, MeterDriver, MeterRole};

use crate::config::{Config, ConfigError, DeviceConfig, GrowattProtocol, Measures, UnitConfig};
use crate::maps;

pub(crate) const SIMULATION: &str = "simulation.toml";

/// The most buses of one simulation.
pub const DEVICES_MAX: usize = 1_000;
/// The most units on one bus: as many as there are addresses but the clock's.
const UNITS_MAX: usize = 246;
/// The unit address of the bus clock; no meter can have it.
pub const CLOCK_ADDRESS: u8 = 247;
/// The most power that a unit may have in W: energy in µJ stays far inside the integers.
const RATED_W: RangeInclusive<u32> = 1..=50_000_000;
/// How far a recording may be stretched.
const SCALE: RangeInclusive<f64> = 0.0..=100_000.0;
const SHARE: RangeInclusive<f64> = 0.0..=10.0;
/// The most that a register may begin with in Wh: 1 TWh.
const ENERGY_START_WH_MAX: u64 = 1_000_000_000_000;
/// "sunssf: signed base-10 exponent, −10 to 10."
const SCALE_FACTOR: RangeInclusive<i8> = -10..=10;
const BASES: [u16; 3] = [40_000, 50_000, 0];
/// The most registers of an unknown model, and the most of them.
const UNKNOWN_LENGTH: RangeInclusive<u16> = 0..=1_000;
const UNKNOWN_MAX: usize = 8;
const COMMISSIONED_FROM: jiff::civil::Date = date(1990, 1, 1);
const COMMISSIONED_TO: jiff::civil::Date = date(2045, 12, 31);

pub(crate) fn value(key: impl Display, value: impl Display, allowed: impl Display) -> ConfigError {
    ConfigError::Value {
        file: SIMULATION,
        key: key.to_string(),
        value: value.to_string(),
        allowed: allowed.to_string(),
    }
}

fn within<T: PartialOrd + Display>(
    key: impl Display,
    given: T,
    range: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&given) {
        return Ok(());
    }
    Err(value(key, given, format!("{} to {}", range.start(), range.end())))
}

pub(crate) fn check(config: &Config, fleet: Option<&Fleet>) -> Result<(), ConfigError> {
    within("number of devices", config.devices.len(), &(1..=DEVICES_MAX))?;
    let mut seen = BTreeSet::new();
    for device in &config.devices {
        if !seen.insert(&device.id) {
            return Err(value("device.id", &device.id, "every device once"));
        }
        let known = match fleet {
            Some(fleet) => {
                let known = fleet.device(&device.id);
                Some(known.ok_or_else(|| value("device.id", &device.id, "a device of the fleet"))?)
            }
            None => None,
        };
        if let Some(known) = known {
            check_fleet(device, known)?;
        }
        check_device(device)?;
    }
    Ok(())
}

fn check_device(device: &DeviceConfig) -> Result<(), ConfigError> {
    let key = |name: &str| format!("device {}: {name}", device.id);
    let given = |name: &str, is: bool| {
        let needed = "state it, or give a fleet that knows the device";
        if is {
            Ok(())
        } else {
            Err(value(key(name), "(nothing)", needed))
        }
    };
    given("plant", device.plant.is_some())?;
    given("longitude_deg", device.longitude_deg.is_some())?;
    given("commissioned", device.commissioned.is_some())?;
    within(
        key("longitude_deg"),
        device.longitude_deg.unwrap_or(0.0),
        &(-180.0..=180.0),
    )?;
    let commissioned = device.commissioned.unwrap_or(COMMISSIONED_FROM);
    within(
        key("commissioned"),
        commissioned,
        &(COMMISSIONED_FROM..=COMMISSIONED_TO),
    )?;
    within(key("scale"), device.scale, &SCALE)?;
    if let Some(load) = device.load {
        within(key("load.scale"), load.scale, &SCALE)?;
        if !load.source.has_load() {
            return Err(value(
                key("load.source"),
                load.source.as_str(),
                "a source with a consumption: ausgrid_house",
            ));
        }
    }
    within(key("number of units"), device.units.len(), &(1..=UNITS_MAX))?;
    let mut seen = BTreeSet::new();
    for unit in &device.units {
        if !seen.insert(unit.address) {
            return Err(value(key("unit.address"), unit.address, "every address once"));
        }
        check_unit(device, unit)?;
    }
    Ok(())
}

fn check_unit(device: &DeviceConfig, unit: &UnitConfig) -> Result<(), ConfigError> {
    let key = |name: &str| format!("device {}: unit {}: {name}", device.id, unit.address);
    within(key("address"), unit.address.get(), &(1..=CLOCK_ADDRESS - 1))?;
    within(key("share"), unit.share, &SHARE)?;
    within(
        key("energy_start_wh"),
        unit.energy_start_wh,
        &(0..=ENERGY_START_WH_MAX),
    )?;
    within(
        key("export_start_wh"),
        unit.export_start_wh,
        &(0..=ENERGY_START_WH_MAX),
    )?;
    let mppt_max = u8::try_from(MPPT_MAX).unwrap_or(u8::MAX);
    within(key("mppt"), unit.mppt, &(0..=mppt_max))?;
    if unit.kind != MeterDriver::SiRs485 {
        match unit.rated_w {
            Some(rated_w) => within(key("rated_w"), rated_w, &RATED_W)?,
            None => {
                return Err(value(
                    key("rated_w"),
                    "(nothing)",
                    "state it, or give a fleet that knows it",
                ));
            }
        }
    }
    if unit.measures == Measures::Consumption && device.load.is_none() {
        return Err(value(
            key("measures"),
            "consumption",
            "grid, or give the device a load",
        ));
    }
    if unit.kind == MeterDriver::SiRs485 && !device.source.has_irradiance() {
        return Err(value(
            key("kind"),
            "si_rs485",
            "only where the device's source is nrel_rsf_ii",
        ));
    }
    if unit.kind == MeterDriver::Growatt && unit.protocol == GrowattProtocol::V3_05 && unit.mppt > 2 {
        return Err(value(key("mppt"), unit.mppt, "0 to 2, or protocol = \"ii\""));
    }
    match (unit.kind, unit.model) {
        (MeterDriver::Sunspec, Some(model)) => check_sunspec(&key, unit, model),
        (MeterDriver::Sunspec, None) => Err(value(key("model"), "(nothing)", SUNSPEC_MODELS)),
        (kind, Some(model)) => Err(value(
            key("model"),
            model,
            format!("leave it out: kind is {}", kind.as_str()),
        )),
        (_, None) => Ok(()),
    }
}

const SUNSPEC_MODELS: &str = "one of 101-103, 111-113, 201-204, 211-214";

fn check_sunspec(key: &impl Fn(&str) -> String, unit: &UnitConfig, model: u16) -> Result<(), ConfigError> {
    if !maps::is_model(model) {
        return Err(value(key("model"), model, SUNSPEC_MODELS));
    }
    if !BASES.contains(&unit.base) {
        return Err(value(key("base"), unit.base, "40000, 50000 or 0"));
    }
    if unit.mppt > 0 && model >= 200 {
        return Err(value(key("mppt"), unit.mppt, "0: a meter has no inputs"));
    }
    for (name, &factor) in &unit.scale_factors {
        within(key(&format!("scale_factors.{name}")), factor, &SCALE_FACTOR)?;
        if !maps::is_scale_factor(model, name) {
            return Err(value(
                key("scale_factors"),
                name,
                format!("a scale factor of model {model}"),
            ));
        }
    }
    let points = maps::model_points(model);
    for name in &unit.not_implemented {
        let known =
            points.contains(&name.as_str()) || matches!(name.as_str(), "160.DCA" | "160.DCV" | "160.DCW");
        if !known {
            return Err(value(
                key("not_implemented"),
                name,
                format!("one of {}", points.join(", ")),
            ));
        }
    }
    within(
        key("number of unknown models"),
        unit.unknown_models.len(),
        &(0..=UNKNOWN_MAX),
    )?;
    for unknown in &unit.unknown_models {
        within(key("unknown_models.length"), unknown.length, &UNKNOWN_LENGTH)?;
        if unknown.id < 2 || unknown.id == 160 || unknown.id == 0xFFFF || maps::is_model(unknown.id) {
            return Err(value(
                key("unknown_models.id"),
                unknown.id,
                "2 to 65534, and no model that the simulator has",
            ));
        }
    }
    Ok(())
}

/// The units must be the meters that the fleet says stand there, read as the fleet says.
fn check_fleet(device: &DeviceConfig, known: DeviceRef<'_>) -> Result<(), ConfigError> {
    for meter in &known.device.meters {
        let key = |name: &str| format!("device {}: unit {}{name}", device.id, meter.address);
        let Some(unit) = device.units.iter().find(|unit| unit.address == meter.address) else {
            return Err(value(
                key(""),
                "(nothing)",
                format!("the fleet has a meter there: {}", meter.role.as_str()),
            ));
        };
        if unit.kind != meter.driver {
            return Err(value(
                key(": kind"),
                unit.kind.as_str(),
                format!("the fleet says {}", meter.driver.as_str()),
            ));
        }
        let role = match (unit.is_inverter(), unit.kind, unit.measures) {
            (true, _, _) => MeterRole::Inverter,
            (_, MeterDriver::SiRs485, _) => MeterRole::Irradiance,
            (_, _, Measures::Grid) => MeterRole::Grid,
            (_, _, Measures::Consumption) => MeterRole::Consumption,
        };
        if role != meter.role {
            let allowed = format!("the fleet says that it is {}", meter.role.as_str());
            return Err(value(key(""), role.as_str(), allowed));
        }
    }
    Ok(())
}
