//! What a registry must fulfil beyond its shape.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use jiff::civil::{Date, date};
use taraz_settings::{Place, Wrong};
use taraz_telemetry::{MPPT_MAX, MeterDriver, MeterRole};

use crate::model::{
    Device, DutyShare, Fleet, ID_LEN_MAX, METERS_MAX, Meter, NAME_CHARS_MAX, PLANTS_MAX, Plant,
};
use crate::register;

const LATITUDE_DEG: RangeInclusive<f64> = -90.0..=90.0;
const LONGITUDE_DEG: RangeInclusive<f64> = -180.0..=180.0;
/// From the shore of the Dead Sea to above the highest plants.
const ALTITUDE_M: RangeInclusive<f64> = -430.0..=6_000.0;
const TILT_DEG: RangeInclusive<f64> = 0.0..=90.0;
const AZIMUTH_DEG: RangeInclusive<f64> = 0.0..=359.999_999;
const TEMPERATURE_COEFFICIENT_PER_K: RangeInclusive<f64> = -0.01..=0.0;
const LINKE_TURBIDITY: RangeInclusive<f64> = 1.0..=10.0;
const AIR_C: RangeInclusive<f64> = -50.0..=60.0;
const LOSS_RATIO: RangeInclusive<f64> = 0.0..=0.5;
const ANNUAL_MODULE_C: RangeInclusive<f64> = -20.0..=80.0;
/// From before the first grid-connected plants to a date that is surely a slip of the pen.
const COMMISSIONED: RangeInclusive<Date> = date(1980, 1, 1)..=date(2100, 12, 31);

pub(crate) const ID_ALLOWED: &str = "1 to 48 of a-z, 0-9 and '-', as \"sari-roof-1\"";
pub(crate) const NAME_ALLOWED: &str = "1 to 80 characters in quotes, not only spaces, no line breaks";
pub(crate) const TURBIDITY_ALLOWED: &str = "twelve numbers from 1 to 10, January first, as [2.0, 2.0, 2.2, 3.4, 4.0, 4.2, 4.5, 4.6, 4.1, 3.4, 3.2, 2.0]";
pub(crate) const AIR_ALLOWED: &str = "twelve temperatures from -50 to 60 °C, January first, as [8.0, 8.0, 11.0, 16.0, 21.0, 26.0, 28.0, 28.0, 25.0, 20.0, 14.0, 10.0]";
pub(crate) const LOSS_ALLOWED: &str = "0 to 0.5, as 0.14 for 14 %";
pub(crate) const MPPT_ALLOWED: &str =
    "mppt = [{ array = 1, peak_w = 15000 }, { array = 1, peak_w = 15000 }], at most 8";
pub(crate) const DRIVER_ALLOWED: &str = "one of: sunspec, sdm630, growatt, si_rs485";

/// What the registry says of one thing that has an id, and where.
struct Named<'a> {
    place: Place,
    id: &'a str,
    name: &'a str,
    name_fa: &'a str,
}

/// Jalali years that a duty may begin in.
const DUTY_YEARS: RangeInclusive<i16> = 1_300..=1_500;
/// All of the consumption.
const SHARE_PER_MYRIAD_MAX: u16 = 10_000;
/// Up to far above what a kWh has ever cost, so that amounts stay within 64 bits.
const RIAL_PER_KWH: RangeInclusive<i64> = 0..=1_000_000_000;
pub(crate) const DUTY_YEAR_ALLOWED: &str = "a Jalali year, 1300 to 1500, as 1407";
pub(crate) const SHARE_ALLOWED: &str = "0 to 10000 ten-thousandths, as 2000 for 20 %";
pub(crate) const RIAL_ALLOWED: &str = "0 to 1000000000 rial, as 30000";

pub(crate) fn check(fleet: &Fleet) -> Result<(), Wrong> {
    if fleet.plants.len() > PLANTS_MAX {
        let found = format!("{} of them", fleet.plants.len());
        return Err(Wrong::new("plant", found, format!("at most {PLANTS_MAX} plants")));
    }
    let districts = fleet.districts.iter().map(|d| (&d.id, &d.name, &d.name_fa));
    let owners = fleet.owners.iter().map(|o| (&o.id, &o.name, &o.name_fa));
    let sites = named("site", fleet.sites.iter().map(|s| (&s.id, &s.name, &s.name_fa)));
    let plants = named("plant", fleet.plants.iter().map(|p| (&p.id, &p.name, &p.name_fa)));
    unique(&named("district", districts), "each district's id once")?;
    unique(&named("owner", owners), "each owner's id once")?;
    unique(&sites, "each site's id once")?;
    unique(&plants, "each plant's id once")?;
    own_sites(fleet, &sites, &plants)?;
    unique_devices(fleet)?;
    for (at, district) in fleet.districts.iter().enumerate() {
        let place = Place::top().item("district", at);
        check_sky(&place, district.linke_turbidity.as_ref(), district.air_c.as_ref())?;
    }
    for (at, plant) in fleet.plants.iter().enumerate() {
        check_plant(fleet, plant, &Place::top().item("plant", at))?;
    }
    for (at, row) in fleet.duties.iter().enumerate() {
        check_duty(fleet, row, &fleet.duties[..at], &Place::top().item("duty", at))?;
    }
    Ok(())
}

fn check_duty(fleet: &Fleet, row: &DutyShare, before: &[DutyShare], place: &Place) -> Result<(), Wrong> {
    if !DUTY_YEARS.contains(&row.from_year) {
        return Err(Wrong::new(
            place.key("from_year"),
            row.from_year,
            DUTY_YEAR_ALLOWED,
        ));
    }
    if row.share_per_myriad > SHARE_PER_MYRIAD_MAX {
        let found = row.share_per_myriad;
        return Err(Wrong::new(place.key("share_per_myriad"), found, SHARE_ALLOWED));
    }
    if let Some(price) = row.rial_per_kwh.filter(|price| !RIAL_PER_KWH.contains(price)) {
        return Err(Wrong::new(place.key("rial_per_kwh"), price, RIAL_ALLOWED));
    }
    if let Some(owner) = &row.owner {
        known(
            place.key("owner"),
            owner,
            fleet.owners.iter().map(|o| o.id.as_str()),
        )?;
        if row.owner_kind.is_some() {
            let allowed = "either owner or owner_kind, not both";
            return Err(Wrong::new(place.key("owner"), format!("{owner:?}"), allowed));
        }
    }
    let same = |other: &DutyShare| {
        (other.from_year, &other.owner, other.owner_kind) == (row.from_year, &row.owner, row.owner_kind)
    };
    if before.iter().any(same) {
        let allowed = "each year once for the same owners; this one is there twice";
        return Err(Wrong::new(place.key("from_year"), row.from_year, allowed));
    }
    Ok(())
}

fn named<'a>(key: &str, all: impl Iterator<Item = (&'a String, &'a String, &'a String)>) -> Vec<Named<'a>> {
    let place = |at| Place::top().item(key, at);
    all.enumerate()
        .map(|(at, (id, name, name_fa))| Named {
            place: place(at),
            id,
            name,
            name_fa,
        })
        .collect()
}

/// Ids are words, each there once; names stand on pages and in reports: something must be there, in one line.
fn unique(all: &[Named<'_>], once: &str) -> Result<(), Wrong> {
    let mut seen = BTreeSet::new();
    for Named {
        place,
        id,
        name,
        name_fa,
    } in all
    {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if id.is_empty() || id.len() > ID_LEN_MAX || !id.bytes().all(allowed) {
            return Err(Wrong::new(place.key("id"), format!("{id:?}"), ID_ALLOWED));
        }
        if !seen.insert(*id) {
            return Err(Wrong::new(
                place.key("id"),
                format!("{id:?}"),
                format!("{once}; this one is there twice"),
            ));
        }
        check_name(place.key("name"), name)?;
        check_name(place.key("name_fa"), name_fa)?;
    }
    Ok(())
}

/// A plant without a site is one of its own id, which no site may have then.
fn own_sites(fleet: &Fleet, sites: &[Named<'_>], plants: &[Named<'_>]) -> Result<(), Wrong> {
    let own = fleet
        .plants
        .iter()
        .zip(plants)
        .filter(|(plant, _)| plant.site.is_none());
    for (_, plant) in own {
        if let Some(site) = sites.iter().find(|site| site.id == plant.id) {
            let allowed = "each id once: a plant without a site is a site of this id already";
            return Err(Wrong::new(
                site.place.key("id"),
                format!("{:?}", site.id),
                allowed,
            ));
        }
    }
    Ok(())
}

fn unique_devices(fleet: &Fleet) -> Result<(), Wrong> {
    let mut seen = BTreeSet::new();
    for (plant_at, plant) in fleet.plants.iter().enumerate() {
        for (at, device) in plant.devices.iter().enumerate() {
            if !seen.insert(&device.id) {
                let place = Place::top().item("plant", plant_at).item("device", at).key("id");
                let allowed = "each device's id once; this one is there twice";
                return Err(Wrong::new(place, format!("{:?}", device.id.as_str()), allowed));
            }
        }
    }
    Ok(())
}

fn check_name(place: Place, name: &str) -> Result<(), Wrong> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits && !name.trim().is_empty() && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Wrong::new(place, format!("{name:?}"), NAME_ALLOWED))
}

fn check_plant(fleet: &Fleet, plant: &Plant, place: &Place) -> Result<(), Wrong> {
    known(
        place.key("owner"),
        &plant.owner,
        fleet.owners.iter().map(|o| o.id.as_str()),
    )?;
    known(
        place.key("district"),
        &plant.district,
        fleet.districts.iter().map(|d| d.id.as_str()),
    )?;
    if let Some(site) = &plant.site {
        known(place.key("site"), site, fleet.sites.iter().map(|s| s.id.as_str()))?;
    }
    let coefficient = (
        "temperature_coefficient_per_k",
        plant.temperature_coefficient_per_k,
        &TEMPERATURE_COEFFICIENT_PER_K,
    );
    for (key, number, range) in [
        ("latitude_deg", plant.latitude_deg, &LATITUDE_DEG),
        ("longitude_deg", plant.longitude_deg, &LONGITUDE_DEG),
        ("altitude_m", plant.altitude_m, &ALTITUDE_M),
        coefficient,
    ] {
        within(place.key(key), number, range)?;
    }
    positive(place.key("inverter_ac_w"), plant.inverter_ac_w)?;
    if !COMMISSIONED.contains(&plant.commissioned) {
        let allowed = format!("\"{}\" to \"{}\"", COMMISSIONED.start(), COMMISSIONED.end());
        return Err(Wrong::new(place.key("commissioned"), plant.commissioned, allowed));
    }
    if plant.arrays.is_empty() {
        let allowed = "at least one array with tilt_deg, azimuth_deg and peak_w";
        return Err(Wrong::new(place.key("arrays"), "an empty array", allowed));
    }
    for (at, array) in plant.arrays.iter().enumerate() {
        let place = place.item("arrays", at);
        within(place.key("tilt_deg"), array.tilt_deg, &TILT_DEG)?;
        within(place.key("azimuth_deg"), array.azimuth_deg, &AZIMUTH_DEG)?;
        positive(place.key("peak_w"), array.peak_w)?;
    }
    check_model(plant, place)?;
    let mut devices = plant.devices.iter().enumerate();
    devices.try_for_each(|(at, device)| check_device(device, plant.arrays.len(), &place.item("device", at)))
}

/// What its expectation is made with.
fn check_model(plant: &Plant, place: &Place) -> Result<(), Wrong> {
    check_sky(place, plant.linke_turbidity.as_ref(), plant.air_c.as_ref())?;
    if let Some(ratio) = plant.loss_ratio {
        within(place.key("loss_ratio"), ratio, &LOSS_RATIO)?;
    }
    if let Some(module_c) = plant.annual_module_c {
        within(place.key("annual_module_c"), module_c, &ANNUAL_MODULE_C)?;
    }
    Ok(())
}

fn check_sky(place: &Place, turbidity: Option<&[f64; 12]>, air_c: Option<&[f64; 12]>) -> Result<(), Wrong> {
    for (key, months, range, allowed) in [
        ("linke_turbidity", turbidity, &LINKE_TURBIDITY, TURBIDITY_ALLOWED),
        ("air_c", air_c, &AIR_C, AIR_ALLOWED),
    ] {
        if let Some(number) = months
            .into_iter()
            .flatten()
            .find(|number| !range.contains(*number))
        {
            return Err(Wrong::new(place.key(key), number, allowed));
        }
    }
    Ok(())
}

fn check_device(device: &Device, arrays: usize, place: &Place) -> Result<(), Wrong> {
    if device.key_generation == 0 {
        return Err(Wrong::new(place.key("key_generation"), 0, "1 to 255"));
    }
    if device.meters.is_empty() || device.meters.len() > METERS_MAX {
        let found = format!("{} of them", device.meters.len());
        return Err(Wrong::new(
            place.key("meter"),
            found,
            format!("1 to {METERS_MAX} meters on one bus"),
        ));
    }
    let mut addresses = BTreeSet::new();
    for (at, meter) in device.meters.iter().enumerate() {
        let place = place.item("meter", at);
        if !addresses.insert(meter.address) {
            return Err(Wrong::new(
                place.key("address"),
                meter.address,
                "each address once on a bus",
            ));
        }
        check_meter(&place, meter)?;
        check_mppt(&place, meter, arrays)?;
    }
    Ok(())
}

fn check_meter(place: &Place, meter: &Meter) -> Result<(), Wrong> {
    if meter.role != MeterRole::Irradiance {
        positive(place.key("rated_w"), meter.rated_w)?;
    }
    if let Some(name) = &meter.name {
        check_name(place.key("name"), name)?;
    }
    register::check(place, meter)?;
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
    let found = format!("\"{}\"", meter.driver.as_str());
    Err(Wrong::new(place.key("driver"), found, allowed))
}

fn check_mppt(place: &Place, meter: &Meter, arrays: usize) -> Result<(), Wrong> {
    if meter.mppt.len() > MPPT_MAX || (!meter.mppt.is_empty() && meter.role != MeterRole::Inverter) {
        let found = format!(
            "{} inputs of a meter for {}",
            meter.mppt.len(),
            meter.role.as_str()
        );
        return Err(Wrong::new(
            place.key("mppt"),
            found,
            "at most 8 inputs, of an inverter",
        ));
    }
    for (at, input) in meter.mppt.iter().enumerate() {
        let place = place.item("mppt", at);
        if !(1..=arrays).contains(&input.array) {
            let allowed = format!("1 to {arrays}: the plant's arrays are counted from 1");
            return Err(Wrong::new(place.key("array"), input.array, allowed));
        }
        positive(place.key("peak_w"), input.peak_w)?;
    }
    Ok(())
}

/// Which drivers give what a role needs: an inverter's `energy_wh`, a meter's import and export, an irradiance.
const fn drivers_of(role: MeterRole) -> &'static [MeterDriver] {
    match role {
        MeterRole::Inverter => &[MeterDriver::Sunspec, MeterDriver::Growatt],
        MeterRole::Grid | MeterRole::Consumption => &[MeterDriver::Sunspec, MeterDriver::Sdm630],
        MeterRole::Irradiance => &[MeterDriver::SiRs485],
    }
}

fn known<'a>(place: Place, id: &str, mut ids: impl Iterator<Item = &'a str> + Clone) -> Result<(), Wrong> {
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
    Err(Wrong::new(
        place,
        format!("{id:?}"),
        format!("one of: {}", listed.join(", ")),
    ))
}

fn within(place: Place, number: f64, range: &RangeInclusive<f64>) -> Result<(), Wrong> {
    if range.contains(&number) {
        return Ok(());
    }
    let allowed = format!("{} to {}", range.start(), range.end());
    Err(Wrong::new(place, number, allowed))
}

fn positive(place: Place, number: u32) -> Result<(), Wrong> {
    if number > 0 {
        return Ok(());
    }
    Err(Wrong::new(place, number, "above 0"))
}
