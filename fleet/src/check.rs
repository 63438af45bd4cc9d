//! What a registry must fulfil beyond its shape.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use jiff::civil::{Date, date};
use taraz_telemetry::{MeterDriver, MeterRole};

use crate::model::{Device, Fleet, ID_LEN_MAX, METERS_MAX, Meter, NAME_CHARS_MAX, PLANTS_MAX, Plant};

/// A registry that can't be used; the message names the key, its value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// Not TOML, a key that does not exist, or a value of the wrong type.
    #[error("fleet.toml: {0}")]
    Toml(String),
    /// A value outside what is allowed.
    #[error("fleet.toml: {key} = {value}: {allowed}")]
    Value {
        /// Where it stands.
        key: String,
        /// What stands there.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

const LATITUDE_DEG: RangeInclusive<f64> = -90.0..=90.0;
const LONGITUDE_DEG: RangeInclusive<f64> = -180.0..=180.0;
/// From the shore of the Dead Sea to above the highest plants.
const ALTITUDE_M: RangeInclusive<f64> = -430.0..=6_000.0;
const TILT_DEG: RangeInclusive<f64> = 0.0..=90.0;
const AZIMUTH_DEG: RangeInclusive<f64> = 0.0..=359.999_999;
const TEMPERATURE_COEFFICIENT_PER_K: RangeInclusive<f64> = -0.01..=0.0;
/// From before the first grid-connected plants to a date that is surely a slip of the pen.
const COMMISSIONED: RangeInclusive<Date> = date(1980, 1, 1)..=date(2100, 12, 31);

pub(crate) fn check(fleet: &Fleet) -> Result<(), FleetError> {
    unique("district.id", fleet.districts.iter().map(|d| d.id.as_str()))?;
    unique("owner.id", fleet.owners.iter().map(|o| o.id.as_str()))?;
    let named = fleet.sites.iter().map(|s| s.id.as_str());
    let own = fleet
        .plants
        .iter()
        .filter(|p| p.site.is_none())
        .map(|p| p.id.as_str());
    unique(
        "site.id (a plant without a site is one of its own id)",
        named.chain(own),
    )?;
    unique("plant.id", fleet.plants.iter().map(|p| p.id.as_str()))?;
    let devices = fleet
        .plants
        .iter()
        .flat_map(|p| &p.devices)
        .map(|d| d.id.as_str());
    unique("plant.device.id", devices)?;
    if fleet.plants.len() > PLANTS_MAX {
        let allowed = format!("at most {PLANTS_MAX} plants");
        return Err(value(
            "plant".to_owned(),
            &format!("{} of them", fleet.plants.len()),
            &allowed,
        ));
    }
    check_names(fleet)?;
    fleet
        .plants
        .iter()
        .try_for_each(|plant| check_plant(fleet, plant))
}

/// Names stand on pages and in reports: something must be there, and it must stay in its line.
fn check_names(fleet: &Fleet) -> Result<(), FleetError> {
    let districts = fleet
        .districts
        .iter()
        .map(|d| ("district", &d.id, &d.name, &d.name_fa));
    let owners = fleet.owners.iter().map(|o| ("owner", &o.id, &o.name, &o.name_fa));
    let sites = fleet.sites.iter().map(|s| ("site", &s.id, &s.name, &s.name_fa));
    let plants = fleet.plants.iter().map(|p| ("plant", &p.id, &p.name, &p.name_fa));
    for (kind, id, name, name_fa) in districts.chain(owners).chain(sites).chain(plants) {
        check_name(format!("{kind} {id}: name"), name)?;
        check_name(format!("{kind} {id}: name_fa"), name_fa)?;
    }
    Ok(())
}

fn check_name(key: String, name: &str) -> Result<(), FleetError> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits && !name.trim().is_empty() && !name.chars().any(char::is_control) {
        return Ok(());
    }
    let allowed = format!("1 to {NAME_CHARS_MAX} characters, not only spaces, no line breaks");
    Err(value(key, &format!("{name:?}"), &allowed))
}

fn check_plant(fleet: &Fleet, plant: &Plant) -> Result<(), FleetError> {
    let key = |name: &str| format!("plant {}: {name}", plant.id);
    known(
        key("owner"),
        &plant.owner,
        fleet.owners.iter().map(|o| o.id.as_str()),
    )?;
    known(
        key("district"),
        &plant.district,
        fleet.districts.iter().map(|d| d.id.as_str()),
    )?;
    if let Some(site) = &plant.site {
        known(key("site"), site, fleet.sites.iter().map(|s| s.id.as_str()))?;
    }
    within(key("latitude_deg"), plant.latitude_deg, &LATITUDE_DEG)?;
    within(key("longitude_deg"), plant.longitude_deg, &LONGITUDE_DEG)?;
    within(key("altitude_m"), plant.altitude_m, &ALTITUDE_M)?;
    within(
        key("temperature_coefficient_per_k"),
        plant.temperature_coefficient_per_k,
        &TEMPERATURE_COEFFICIENT_PER_K,
    )?;
    positive(key("inverter_ac_w"), plant.inverter_ac_w)?;
    if !COMMISSIONED.contains(&plant.commissioned) {
        let allowed = format!("\"{}\" to \"{}\"", COMMISSIONED.start(), COMMISSIONED.end());
        return Err(value(
            key("commissioned"),
            &format!("\"{}\"", plant.commissioned),
            &allowed,
        ));
    }
    if plant.arrays.is_empty() {
        return Err(value(
            key("arrays"),
            "[]",
            "at least one array with tilt_deg, azimuth_deg and peak_w",
        ));
    }
    for array in &plant.arrays {
        within(key("arrays.tilt_deg"), array.tilt_deg, &TILT_DEG)?;
        within(key("arrays.azimuth_deg"), array.azimuth_deg, &AZIMUTH_DEG)?;
        positive(key("arrays.peak_w"), array.peak_w)?;
    }
    plant.devices.iter().try_for_each(check_device)
}

fn check_device(device: &Device) -> Result<(), FleetError> {
    let key = |name: &str| format!("device {}: {name}", device.id);
    if device.key_generation == 0 {
        return Err(value(key("key_generation"), "0", "1 to 255"));
    }
    if device.meters.is_empty() || device.meters.len() > METERS_MAX {
        let allowed = format!("1 to {METERS_MAX} meters on one bus");
        return Err(value(
            key("meter"),
            &format!("{} of them", device.meters.len()),
            &allowed,
        ));
    }
    let mut addresses = BTreeSet::new();
    for meter in &device.meters {
        if !addresses.insert(meter.address) {
            return Err(value(
                key("meter.address"),
                &meter.address.to_string(),
                "each address once on a bus",
            ));
        }
        check_meter(&key(&format!("meter {}", meter.address)), meter)?;
    }
    Ok(())
}

fn check_meter(key: &str, meter: &Meter) -> Result<(), FleetError> {
    if meter.role != MeterRole::Irradiance {
        positive(format!("{key}: rated_w"), meter.rated_w)?;
    }
    if let Some(name) = &meter.name {
        check_name(format!("{key}: name"), name)?;
    }
    let drivers = drivers_of(meter.role);
    if drivers.contains(&meter.driver) {
        return Ok(());
    }
    let words: Vec<_> = drivers.iter().map(|driver| driver.as_str()).collect();
    let allowed = format!(
        "for the role {} one of: {}",
        meter.role.as_str(),
        words.join(", ")
    );
    Err(value(
        format!("{key}: driver"),
        &format!("\"{}\"", meter.driver.as_str()),
        &allowed,
    ))
}

/// Which drivers give what a role needs: an inverter's `energy_wh`, a meter's import and export, an irradiance.
const fn drivers_of(role: MeterRole) -> &'static [MeterDriver] {
    match role {
        MeterRole::Inverter => &[MeterDriver::Sunspec, MeterDriver::Growatt],
        MeterRole::Grid | MeterRole::Consumption => &[MeterDriver::Sunspec, MeterDriver::Sdm630],
        MeterRole::Irradiance => &[MeterDriver::SiRs485],
    }
}

fn unique<'a>(key: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), FleetError> {
    let mut seen = BTreeSet::new();
    for id in ids {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || id.len() > ID_LEN_MAX || !id.bytes().all(allowed) {
            let form = format!("1 to {ID_LEN_MAX} of a-z, 0-9 and '-'");
            return Err(value(key.to_owned(), &format!("{id:?}"), &form));
        }
        if !seen.insert(id) {
            return Err(value(
                key.to_owned(),
                &format!("\"{id}\""),
                "each id once; this one is there twice",
            ));
        }
    }
    Ok(())
}

fn known<'a>(
    key: String,
    id: &str,
    mut ids: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), FleetError> {
    if ids.clone().any(|known| known == id) {
        return Ok(());
    }
    let mut listed: Vec<_> = ids.by_ref().take(12).collect();
    if ids.next().is_some() {
        listed.push("…");
    }
    if listed.is_empty() {
        listed.push("none is registered yet");
    }
    Err(value(
        key,
        &format!("{id:?}"),
        &format!("one of: {}", listed.join(", ")),
    ))
}

fn within(key: String, number: f64, range: &RangeInclusive<f64>) -> Result<(), FleetError> {
    if range.contains(&number) {
        return Ok(());
    }
    Err(value(
        key,
        &number.to_string(),
        &format!("{} to {}", range.start(), range.end()),
    ))
}

fn positive(key: String, number: u32) -> Result<(), FleetError> {
    if number > 0 {
        Ok(())
    } else {
        Err(value(key, "0", "above 0"))
    }
}

fn value(key: String, value: &str, allowed: &str) -> FleetError {
    FleetError::Value {
        key,
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}
