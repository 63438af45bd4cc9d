//! What `simulation.toml` must fulfil beyond its shape.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use jiff::civil::date;
use taraz_fleet::{DeviceRef, Fleet};
use taraz_settings::{Place, Wrong};
use taraz_telemetry::{MPPT_MAX, MeterDriver, MeterRole};

use crate::config::{Config, DeviceConfig, GrowattProtocol, Measures, UnitConfig};
use crate::keys::{SUNSPEC_BASES, SUNSPEC_MODELS, UNKNOWN_IDS};
use crate::maps;

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

fn within<T: PartialOrd + Display>(place: Place, given: T, range: &RangeInclusive<T>) -> Result<(), Wrong> {
    if range.contains(&given) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(Wrong::new(place, given, allowed))
}

pub(crate) fn check(config: &Config, fleet: Option<&Fleet>) -> Result<(), Wrong> {
    count(
        Place::from("device"),
        config.devices.len(),
        1..=DEVICES_MAX,
        "devices",
    )?;
    let mut seen = BTreeSet::new();
    for (at, device) in config.devices.iter().enumerate() {
        let place = Place::top().item("device", at);
        if !seen.insert(&device.id) {
            return Err(Wrong::new(place.key("id"), &device.id, "every device once"));
        }
        if let Some(fleet) = fleet {
            let known = fleet.device(&device.id);
            let known =
                known.ok_or_else(|| Wrong::new(place.key("id"), &device.id, "a device of the fleet"))?;
            check_fleet(&place, device, known)?;
        }
        check_device(&place, device)?;
    }
    Ok(())
}

fn count(place: Place, found: usize, range: RangeInclusive<usize>, what: &str) -> Result<(), Wrong> {
    if range.contains(&found) {
        return Ok(());
    }
    let allowed = format!("{} to {} {what}", range.start(), range.end());
    Err(Wrong::new(place, format!("{found} of them"), allowed))
}

fn check_device(place: &Place, device: &DeviceConfig) -> Result<(), Wrong> {
    let given = |name: &str, is: bool| {
        let needed = "a value, or a fleet that knows the device";
        if is {
            Ok(())
        } else {
            Err(Wrong::missing(place.key(name), needed))
        }
    };
    given("plant", device.plant.is_some())?;
    given("longitude_deg", device.longitude_deg.is_some())?;
    given("commissioned", device.commissioned.is_some())?;
    let longitude_deg = device.longitude_deg.unwrap_or(0.0);
    within(place.key("longitude_deg"), longitude_deg, &(-180.0..=180.0))?;
    let commissioned = device.commissioned.unwrap_or(COMMISSIONED_FROM);
    within(
        place.key("commissioned"),
        commissioned,
        &(COMMISSIONED_FROM..=COMMISSIONED_TO),
    )?;
    within(place.key("scale"), device.scale, &SCALE)?;
    if let Some(load) = device.load {
        let place = place.key("load");
        within(place.key("scale"), load.scale, &SCALE)?;
        if !load.source.has_load() {
            let allowed = "a source with a consumption: ausgrid_house";
            return Err(Wrong::new(place.key("source"), load.source.as_str(), allowed));
        }
    }
    count(place.key("unit"), device.units.len(), 1..=UNITS_MAX, "units")?;
    let mut seen = BTreeSet::new();
    for (at, unit) in device.units.iter().enumerate() {
        let place = place.item("unit", at);
        if !seen.insert(unit.address) {
            return Err(Wrong::new(
                place.key("address"),
                unit.address,
                "every address once",
            ));
        }
        check_unit(&place, device, unit)?;
    }
    Ok(())
}

fn check_unit(place: &Place, device: &DeviceConfig, unit: &UnitConfig) -> Result<(), Wrong> {
    within(place.key("address"), unit.address.get(), &(1..=CLOCK_ADDRESS - 1))?;
    within(place.key("share"), unit.share, &SHARE)?;
    let starts = 0..=ENERGY_START_WH_MAX;
    within(place.key("energy_start_wh"), unit.energy_start_wh, &starts)?;
    within(place.key("export_start_wh"), unit.export_start_wh, &starts)?;
    let mppt_max = u8::try_from(MPPT_MAX).unwrap_or(u8::MAX);
    within(place.key("mppt"), unit.mppt, &(0..=mppt_max))?;
    if unit.kind != MeterDriver::SiRs485 {
        let known = "a value, or a fleet that knows it";
        let rated_w = unit
            .rated_w
            .ok_or_else(|| Wrong::missing(place.key("rated_w"), known))?;
        within(place.key("rated_w"), rated_w, &RATED_W)?;
    }
    let wrong = |key: &str, found: &str, allowed: &str| Err(Wrong::new(place.key(key), found, allowed));
    if unit.measures == Measures::Consumption && device.load.is_none() {
        return wrong("measures", "consumption", "grid, or give the device a load");
    }
    if unit.kind == MeterDriver::SiRs485 && !device.source.has_irradiance() {
        return wrong(
            "kind",
            "si_rs485",
            "only where the device's source is nrel_rsf_ii",
        );
    }
    if unit.kind == MeterDriver::Growatt && unit.protocol == GrowattProtocol::V3_05 && unit.mppt > 2 {
        return wrong("mppt", &unit.mppt.to_string(), "0 to 2, or protocol = \"ii\"");
    }
    match (unit.kind, unit.model) {
        (MeterDriver::Sunspec, Some(model)) => check_sunspec(place, unit, model),
        (MeterDriver::Sunspec, None) => Err(Wrong::missing(place.key("model"), SUNSPEC_MODELS)),
        (kind, Some(model)) => {
            let allowed = format!("no such key: kind is {}", kind.as_str());
            Err(Wrong::new(place.key("model"), model, allowed))
        }
        (_, None) => Ok(()),
    }
}

fn check_sunspec(place: &Place, unit: &UnitConfig, model: u16) -> Result<(), Wrong> {
    if !maps::is_model(model) {
        return Err(Wrong::new(place.key("model"), model, SUNSPEC_MODELS));
    }
    if !BASES.contains(&unit.base) {
        return Err(Wrong::new(place.key("base"), unit.base, SUNSPEC_BASES));
    }
    if unit.mppt > 0 && model >= 200 {
        return Err(Wrong::new(
            place.key("mppt"),
            unit.mppt,
            "0: a meter has no inputs",
        ));
    }
    for (name, &factor) in &unit.scale_factors {
        let place = place.key("scale_factors").key(name);
        within(place.clone(), factor, &SCALE_FACTOR)?;
        if !maps::is_scale_factor(model, name) {
            let allowed = format!("the name of a scale factor of model {model}");
            return Err(Wrong::new(place, factor, allowed));
        }
    }
    let points = maps::model_points(model);
    for (at, name) in unit.not_implemented.iter().enumerate() {
        let known =
            points.contains(&name.as_str()) || matches!(name.as_str(), "160.DCA" | "160.DCV" | "160.DCW");
        if !known {
            let allowed = format!("one of {}", points.join(", "));
            return Err(Wrong::new(place.item("not_implemented", at), name, allowed));
        }
    }
    let models = place.key("unknown_models");
    count(models, unit.unknown_models.len(), 0..=UNKNOWN_MAX, "models")?;
    for (at, unknown) in unit.unknown_models.iter().enumerate() {
        let place = place.item("unknown_models", at);
        within(place.key("length"), unknown.length, &UNKNOWN_LENGTH)?;
        if unknown.id < 2 || unknown.id == 160 || unknown.id == 0xFFFF || maps::is_model(unknown.id) {
            return Err(Wrong::new(place.key("id"), unknown.id, UNKNOWN_IDS));
        }
    }
    Ok(())
}

/// The units must be the meters that the fleet says stand there, read as the fleet says.
fn check_fleet(place: &Place, device: &DeviceConfig, known: DeviceRef<'_>) -> Result<(), Wrong> {
    for meter in &known.device.meters {
        let units = || device.units.iter().enumerate();
        let Some((at, unit)) = units().find(|(_, unit)| unit.address == meter.address) else {
            let allowed = format!(
                "a unit at address {}: the fleet has a meter there, {}",
                meter.address,
                meter.role.as_str()
            );
            return Err(Wrong::missing(place.key("unit").key("address"), allowed));
        };
        let place = place.item("unit", at);
        if unit.kind != meter.driver {
            let allowed = format!("the fleet says {}", meter.driver.as_str());
            return Err(Wrong::new(place.key("kind"), unit.kind.as_str(), allowed));
        }
        let role = match (unit.is_inverter(), unit.kind, unit.measures) {
            (true, _, _) => MeterRole::Inverter,
            (_, MeterDriver::SiRs485, _) => MeterRole::Irradiance,
            (_, _, Measures::Grid) => MeterRole::Grid,
            (_, _, Measures::Consumption) => MeterRole::Consumption,
        };
        if role != meter.role {
            let allowed = format!("the fleet says that it is {}", meter.role.as_str());
            return Err(Wrong::new(place, role.as_str(), allowed));
        }
    }
    Ok(())
}
