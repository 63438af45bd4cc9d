//! The shape of `fleet.toml`.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::Deserialize;
use taraz_settings::{Document, Mistake};
use taraz_telemetry::{DeviceId, KeyGeneration, MeterAddress, MeterDriver, MeterRole};

use crate::check;
use crate::keys::SECTIONS;
use crate::register::Replacement;

/// The most meters on one device's bus.
pub const METERS_MAX: usize = 8;
/// The most plants in one registry; it bounds every label that names one.
pub const PLANTS_MAX: usize = 10_000;
/// The longest id of a district, owner, site or plant in bytes.
pub const ID_LEN_MAX: usize = 48;
/// The longest name in characters.
pub const NAME_CHARS_MAX: usize = 80;

/// Everything that is installed, and whose it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Districts of the province; plants of one district see the same weather.
    #[serde(rename = "district")]
    pub districts: Vec<District>,
    /// Who the plants belong to.
    #[serde(rename = "owner")]
    pub owners: Vec<Owner>,
    /// Grid connections that are shared by several plants; every other plant is a site of its own.
    #[serde(rename = "site", default)]
    pub sites: Vec<Site>,
    /// The plants.
    #[serde(rename = "plant")]
    pub plants: Vec<Plant>,
    /// Shares of renewables that are due, where they differ from the law's or go on after it.
    #[serde(rename = "duty", default)]
    pub duties: Vec<DutyShare>,
    /// (plant, device) as indices of each device, in the order of the registry; made when the fleet was checked.
    #[serde(skip)]
    devices: Vec<(usize, usize)>,
    /// Device → its number.
    #[serde(skip)]
    by_device: BTreeMap<DeviceId, usize>,
    /// The plants of each site, in the order of the registry.
    #[serde(skip)]
    by_site: BTreeMap<String, Vec<usize>>,
}

/// A district.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct District {
    /// Its id: `a-z`, `0-9`, `-`.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// Linke turbidity of each month, January first, 1 to 10: how much the air takes from a clear sky.
    #[serde(default)]
    pub linke_turbidity: Option<[f64; MONTHS]>,
    /// Mean temperature of the air by day in °C of each month, January first, −50 to 60: for where nobody measures it.
    #[serde(default)]
    pub air_c: Option<[f64; MONTHS]>,
}

/// Months in a year, January first.
const MONTHS: usize = 12;

/// An owner of plants.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Its id: `a-z`, `0-9`, `-`.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// What kind of body it is; its share of renewables follows from that.
    pub kind: OwnerKind,
}

/// Kinds of owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OwnerKind {
    /// A town.
    Municipality,
    /// A village administration.
    Village,
    /// A public agency.
    Agency,
}

impl OwnerKind {
    /// The word that stands for it in configuration and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Municipality => "municipality",
            Self::Village => "village",
            Self::Agency => "agency",
        }
    }
}

/// From a Jalali year on, owners owe a share of their consumption from renewables.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DutyShare {
    /// The first Jalali year, 1300 to 1500; the row holds until a newer one.
    pub from_year: i16,
    /// The kind of owner; with neither kind nor owner the row is everybody's.
    #[serde(default)]
    pub owner_kind: Option<OwnerKind>,
    /// One owner's id: an exception, which goes before every other row.
    #[serde(default)]
    pub owner: Option<String>,
    /// The share in ten-thousandths of the consumption, 0 to 10000: 500 is 5 %, 0 an exemption.
    pub share_per_myriad: u16,
    /// What a missing kWh costs in rial, where somebody has set it.
    #[serde(default)]
    pub rial_per_kwh: Option<i64>,
}

/// The plants and the consumption behind one grid connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// Its id: `a-z`, `0-9`, `-`.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
}

/// A plant: arrays of modules behind one or several inverters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plant {
    /// Its id: `a-z`, `0-9`, `-`.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// The owner's id.
    pub owner: String,
    /// The district's id.
    pub district: String,
    /// The site's id; left out, the plant is a site of its own.
    pub site: Option<String>,
    /// Latitude in degrees, north positive, −90 to 90.
    pub latitude_deg: f64,
    /// Longitude in degrees, east positive, −180 to 180.
    pub longitude_deg: f64,
    /// Height above the sea in m, −430 to 6000.
    pub altitude_m: f64,
    /// Rated AC power of all its inverters in W.
    pub inverter_ac_w: u32,
    /// The day it went into operation; nothing older is believed.
    pub commissioned: Date,
    /// Temperature coefficient of the modules' power in 1/K, usually −0.003 to −0.005.
    #[serde(default = "default_temperature_coefficient_per_k")]
    pub temperature_coefficient_per_k: f64,
    /// Linke turbidity of each month at this plant, instead of its district's.
    #[serde(default)]
    pub linke_turbidity: Option<[f64; MONTHS]>,
    /// Mean temperature of the air by day in °C of each month at this plant, instead of its district's.
    #[serde(default)]
    pub air_c: Option<[f64; MONTHS]>,
    /// The share of DC power lost between the cells and the inverters, 0 to 0.5; left out, that of PVWatts.
    #[serde(default)]
    pub loss_ratio: Option<f64>,
    /// How hot its cells are taken to get where nobody measures it.
    #[serde(default)]
    pub cell_model: CellModel,
    /// Irradiance-weighted mean temperature of its modules over a typical year in °C, −20 to 80: what the annual-equivalent
    /// performance ratio refers to.
    #[serde(default)]
    pub annual_module_c: Option<f64>,
    /// Its arrays, at least one; an irradiance sensor lies as the first does.
    pub arrays: Vec<Array>,
    /// The devices that read its meters.
    #[serde(rename = "device", default)]
    pub devices: Vec<Device>,
}

/// How a cell's temperature follows from light, air and wind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CellModel {
    /// Faiman 2008, with his heat losses.
    #[default]
    Faiman,
    /// Sandia's model, glass on both sides in an open rack.
    Sapm,
}

/// Modules of one orientation.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Array {
    /// Tilt from the horizontal in degrees, 0 to 90.
    pub tilt_deg: f64,
    /// Azimuth clockwise from true north in degrees, 0 to below 360.
    pub azimuth_deg: f64,
    /// Rated DC power at standard test conditions in W.
    pub peak_w: u32,
}

/// A board with a key that reads the meters on its bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its id; it stands in topics, labels and file names.
    pub id: DeviceId,
    /// The generation of its key; a rotation counts up.
    #[serde(default = "default_key_generation")]
    pub key_generation: KeyGeneration,
    /// The meters on its bus, at most [`METERS_MAX`].
    #[serde(rename = "meter", default)]
    pub meters: Vec<Meter>,
}

/// A meter on a device's bus.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Meter {
    /// Its Modbus address, 1 to 247.
    pub address: MeterAddress,
    /// What it measures.
    pub role: MeterRole,
    /// How it is read.
    #[serde(default)]
    pub driver: MeterDriver,
    /// The highest power it can state in W (an inverter's rating, a meter's current rating); none for irradiance.
    #[serde(default)]
    pub rated_w: u32,
    /// What people call it.
    #[serde(default)]
    pub name: Option<String>,
    /// What hangs on each MPPT input of an inverter, in the order of its own numbering. Left out, all inputs of a plant with one array
    /// are taken for alike, and those of any other are not compared.
    #[serde(default)]
    pub mppt: Vec<MpptInput>,
    /// After how many Wh its registers begin again at 0, where the driver's own width is not the meter's.
    #[serde(default)]
    pub rolls_over_wh: Option<u64>,
    /// When it was exchanged, and what both registers read then; at most [`crate::REPLACEMENTS_MAX`].
    #[serde(rename = "replacement", default)]
    pub replacements: Vec<Replacement>,
}

/// What hangs on an MPPT input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MpptInput {
    /// Which of the plant's arrays its strings are part of, counted from 1.
    pub array: usize,
    /// Their rated DC power in W.
    pub peak_w: u32,
}

/// A device with the plant it stands in.
#[derive(Clone, Copy, Debug)]
pub struct DeviceRef<'a> {
    /// The plant.
    pub plant: &'a Plant,
    /// The device.
    pub device: &'a Device,
    /// Which of all devices it is, in the order of the registry from 0.
    pub number: usize,
}

impl Fleet {
    /// [`Self::read`] of a file that is called as it usually is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        Self::read("fleet.toml", text)
    }

    /// Parses and checks the whole registry; `file` is what messages call it.
    ///
    /// # Errors
    /// [`Mistake`] names file, line and key, what was found, and what is allowed.
    pub fn read(file: &str, text: &str) -> Result<Self, Mistake> {
        let document = Document::parse(file, text, SECTIONS)?;
        let mut fleet: Self = document.read()?;
        check::check(&fleet).map_err(|wrong| document.mistake(wrong))?;
        fleet.add_own_sites();
        for (plant_at, plant) in fleet.plants.iter().enumerate() {
            let at_site = fleet.by_site.entry(plant.site_id().to_owned());
            at_site.or_default().push(plant_at);
            for (device_at, device) in plant.devices.iter().enumerate() {
                fleet.by_device.insert(device.id.clone(), fleet.devices.len());
                fleet.devices.push((plant_at, device_at));
            }
        }
        Ok(fleet)
    }

    /// The device with its plant, or `None` if it is not registered.
    #[must_use]
    pub fn device(&self, id: &DeviceId) -> Option<DeviceRef<'_>> {
        self.numbered(*self.by_device.get(id)?)
    }

    /// The device of a [number](DeviceRef::number), or `None` if there are not so many.
    #[must_use]
    pub fn numbered(&self, number: usize) -> Option<DeviceRef<'_>> {
        let &(plant_at, device_at) = self.devices.get(number)?;
        let plant = &self.plants[plant_at];
        Some(DeviceRef {
            plant,
            device: &plant.devices[device_at],
            number,
        })
    }

    /// Every device with its plant, in the order of the ids.
    pub fn devices(&self) -> impl Iterator<Item = DeviceRef<'_>> {
        self.by_device.keys().filter_map(|id| self.device(id))
    }

    /// The plant of this id.
    #[must_use]
    pub fn plant(&self, id: &str) -> Option<&Plant> {
        self.plants.iter().find(|plant| plant.id == id)
    }

    /// The owner of this id.
    #[must_use]
    pub fn owner(&self, id: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.id == id)
    }

    /// The district of this id.
    #[must_use]
    pub fn district(&self, id: &str) -> Option<&District> {
        self.districts.iter().find(|district| district.id == id)
    }

    /// The plants behind one grid connection.
    pub fn plants_at(&self, site_id: &str) -> impl Iterator<Item = &Plant> + use<'_> {
        let plants = self.by_site.get(site_id).map_or(&[][..], Vec::as_slice);
        plants.iter().filter_map(|&at| self.plants.get(at))
    }

    /// A plant that names no site is one of its own, with its own id and names.
    fn add_own_sites(&mut self) {
        let own = self
            .plants
            .iter()
            .filter(|plant| plant.site.is_none())
            .map(|plant| Site {
                id: plant.id.clone(),
                name: plant.name.clone(),
                name_fa: plant.name_fa.clone(),
            });
        self.sites.extend(own);
    }
}

impl Plant {
    /// The site it belongs to.
    #[must_use]
    pub fn site_id(&self) -> &str {
        self.site.as_deref().unwrap_or(&self.id)
    }

    /// Rated DC power of all arrays in W.
    #[must_use]
    pub fn peak_w(&self) -> u64 {
        self.arrays.iter().map(|array| u64::from(array.peak_w)).sum()
    }
}

impl Device {
    /// The meter at this address.
    #[must_use]
    pub fn meter(&self, address: MeterAddress) -> Option<&Meter> {
        self.meters.iter().find(|meter| meter.address == address)
    }
}

const fn default_temperature_coefficient_per_k() -> f64 {
    -0.004
}

const fn default_key_generation() -> KeyGeneration {
    1
}
