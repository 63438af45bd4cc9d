//! A device more in `fleet.toml`: everything that stands there stays as it is, comments and order included.

use std::str::FromStr;

use taraz_fleet::{Fleet, Mistake};
use taraz_telemetry::{DeviceId, MeterAddress, MeterDriver, MeterRole};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

/// A device to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDevice {
    /// Its id.
    pub id: DeviceId,
    /// The id of the plant that it stands in.
    pub plant: String,
    /// The meters on its bus.
    pub meters: Vec<MeterSpec>,
}

/// A meter as it is stated on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeterSpec {
    /// Its address on the bus.
    pub address: MeterAddress,
    /// What it measures.
    pub role: MeterRole,
    /// How it is read.
    pub driver: MeterDriver,
    /// The highest power it can state in W; an inverter without one gets that of its plant.
    pub rated_w: Option<u32>,
    /// What people call it.
    pub name: Option<String>,
}

/// A text is not a meter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected ADDRESS:ROLE:DRIVER[:RATED_W[:NAME]], e.g. 1:inverter:sunspec:27600; the address is 1 to 247, the role inverter, \
     grid, consumption or irradiance, the driver sunspec, growatt, sdm630 or si_rs485"
)]
pub struct MeterSpecError;

const ROLES: [MeterRole; 4] = [
    MeterRole::Inverter,
    MeterRole::Grid,
    MeterRole::Consumption,
    MeterRole::Irradiance,
];
const DRIVERS: [MeterDriver; 4] = [
    MeterDriver::Sunspec,
    MeterDriver::Growatt,
    MeterDriver::Sdm630,
    MeterDriver::SiRs485,
];

impl FromStr for MeterSpec {
    type Err = MeterSpecError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.splitn(5, ':');
        let mut next = || parts.next().ok_or(MeterSpecError);
        let address = next()?
            .parse()
            .ok()
            .and_then(MeterAddress::new)
            .ok_or(MeterSpecError)?;
        let role = next()?;
        let role = ROLES
            .into_iter()
            .find(|known| known.as_str() == role)
            .ok_or(MeterSpecError)?;
        let driver = next()?;
        let driver = DRIVERS
            .into_iter()
            .find(|known| known.as_str() == driver)
            .ok_or(MeterSpecError)?;
        let rated_w = parts
            .next()
            .map(str::parse)
            .transpose()
            .map_err(|_| MeterSpecError)?;
        Ok(Self {
            address,
            role,
            driver,
            rated_w,
            name: parts.next().map(str::to_owned),
        })
    }
}

/// Why a device was not registered; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddError {
    /// The registry is wrong as it stands, or would be with the device.
    #[error(transparent)]
    Fleet(#[from] Mistake),
    /// The text can't be taken apart and put together again.
    #[error("{file} can't be edited: {error}")]
    Text {
        /// Which file.
        file: String,
        /// What stands in the way.
        error: String,
    },
    /// The id is taken.
    #[error(
        "device \"{device}\" is in the registry already, in the plant {plant}; choose another id, or edit fleet.toml"
    )]
    Duplicate {
        /// Which.
        device: DeviceId,
        /// Where.
        plant: String,
    },
    /// No such plant.
    #[error("there is no plant \"{plant}\" in the registry; it has {known}; add it to fleet.toml first")]
    Plant {
        /// Which.
        plant: String,
        /// Which there are.
        known: String,
    },
    /// A meter's rating is not known.
    #[error("meter {0}: its highest power in W is needed behind the driver, e.g. {0}:grid:sdm630:69000")]
    Rating(MeterAddress),
    /// The text is laid out in a way that can't be added to.
    #[error(
        "fleet.toml: {0} is written in brackets on one line; write it as tables ([[plant]], [[plant.device]]) and try again"
    )]
    Layout(&'static str),
}

/// The registry with the device, checked whole; `file` is what messages call it. The key is not in it: it follows from the master key.
///
/// # Errors
/// [`AddError`] says what stands in the way.
pub fn add_device(file: &str, text: &str, new: &NewDevice) -> Result<String, AddError> {
    let fleet = Fleet::read(file, text)?;
    if let Some(known) = fleet.device(&new.id) {
        return Err(AddError::Duplicate {
            device: new.id.clone(),
            plant: known.plant.id.clone(),
        });
    }
    let plant = fleet.plant(&new.plant).ok_or_else(|| AddError::Plant {
        plant: new.plant.clone(),
        known: plants(&fleet),
    })?;
    let device = device_table(new, plant.inverter_ac_w)?;
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error: toml_edit::TomlError| AddError::Text {
            file: file.to_owned(),
            error: error.message().to_owned(),
        })?;
    let table = plant_table(&mut document, &new.plant).ok_or(AddError::Layout("plant"))?;
    let devices = table
        .entry("device")
        .or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    devices
        .as_array_of_tables_mut()
        .ok_or(AddError::Layout("plant.device"))?
        .push(device);
    let added = document.to_string();
    Fleet::read(file, &added)?;
    Ok(added)
}

fn plant_table<'a>(document: &'a mut DocumentMut, id: &str) -> Option<&'a mut Table> {
    let plants = document.get_mut("plant")?.as_array_of_tables_mut()?;
    plants
        .iter_mut()
        .find(|table| table.get("id").and_then(Item::as_str) == Some(id))
}

fn device_table(new: &NewDevice, inverter_ac_w: u32) -> Result<Table, AddError> {
    let mut meters = ArrayOfTables::new();
    for meter in &new.meters {
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n");
        table.insert("address", value(i64::from(meter.address.get())));
        table.insert("role", value(meter.role.as_str()));
        table.insert("driver", value(meter.driver.as_str()));
        let rated_w = match (meter.rated_w, meter.role) {
            (Some(rated_w), _) => Some(rated_w),
            (None, MeterRole::Irradiance) => None,
            (None, MeterRole::Inverter) => Some(inverter_ac_w),
            (None, MeterRole::Grid | MeterRole::Consumption) => return Err(AddError::Rating(meter.address)),
        };
        if let Some(rated_w) = rated_w {
            table.insert("rated_w", value(i64::from(rated_w)));
        }
        if let Some(name) = &meter.name {
            table.insert("name", value(name));
        }
        meters.push(table);
    }
    let mut device = Table::new();
    device.decor_mut().set_prefix("\n");
    device.insert("id", value(new.id.as_str()));
    device.insert("key_generation", value(1));
    device.insert("meter", Item::ArrayOfTables(meters));
    Ok(device)
}

fn plants(fleet: &Fleet) -> String {
    let mut ids: Vec<_> = fleet
        .plants
        .iter()
        .take(12)
        .map(|plant| plant.id.as_str())
        .collect();
    if fleet.plants.len() > ids.len() {
        ids.push("…");
    }
    if ids.is_empty() {
        ids.push("none yet");
    }
    ids.join(", ")
}
