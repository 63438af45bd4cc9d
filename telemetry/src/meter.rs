//! What a meter is: where it answers on the bus, what it measures, how it is read.

use serde::{Deserialize, Serialize};

/// The Modbus unit address of a meter on its device's bus.
///
/// Range 1 to 247 (MODBUS over Serial Line V1.02, section 2.2: "individual addresses from 1 to 247").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct MeterAddress(u8);

impl MeterAddress {
    /// The address, or `None` outside 1 to 247.
    #[must_use]
    pub const fn new(address: u8) -> Option<Self> {
        if address >= 1 && address <= 247 {
            Some(Self(address))
        } else {
            None
        }
    }

    /// The address as the byte that stands on the bus.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for MeterAddress {
    type Error = &'static str;
    fn try_from(address: u8) -> Result<Self, Self::Error> {
        Self::new(address).ok_or("a meter address is 1 to 247")
    }
}

impl From<MeterAddress> for u8 {
    fn from(address: MeterAddress) -> Self {
        address.0
    }
}

impl core::fmt::Display for MeterAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a meter measures in its plant; it decides how its registers enter the balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterRole {
    /// A PV inverter: `energy_wh` is what was generated, positive.
    Inverter,
    /// The meter at the grid connection: `import_wh` from the grid, `export_wh` into it; power is positive on import.
    Grid,
    /// A meter of what is consumed behind the grid connection: `import_wh` is the consumption.
    Consumption,
    /// An irradiance and temperature sensor in the plane of the array.
    Irradiance,
}

impl MeterRole {
    /// The word that stands for it in configuration and labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inverter => "inverter",
            Self::Grid => "grid",
            Self::Consumption => "consumption",
            Self::Irradiance => "irradiance",
        }
    }
}

/// How a meter is read: by SunSpec's own description of itself, or by a vendor's register map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MeterDriver {
    /// SunSpec discovery at 40000, 50000 and 0.
    #[default]
    Sunspec,
    /// Eastron SDM630: three-phase meter, IEEE 754 input registers.
    Sdm630,
    /// Growatt string inverters (Modbus RTU Protocol II), input registers.
    Growatt,
    /// IMT Solar Si-RS485TC irradiance sensor, input registers.
    SiRs485,
}

impl MeterDriver {
    /// The word that stands for it in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sunspec => "sunspec",
            Self::Sdm630 => "sdm630",
            Self::Growatt => "growatt",
            Self::SiRs485 => "si_rs485",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn addresses_are_1_to_247() {
        let allowed: Vec<u8> = (0..=255).filter(|&n| MeterAddress::new(n).is_some()).collect();
        assert_eq!(allowed, (1..=247).collect::<Vec<u8>>());
        assert!(serde_json::from_str::<MeterAddress>("0").is_err());
        assert_eq!(serde_json::from_str::<MeterAddress>("247").unwrap().get(), 247);
    }

    #[test]
    fn words_are_those_of_the_configuration() {
        for role in [
            MeterRole::Inverter,
            MeterRole::Grid,
            MeterRole::Consumption,
            MeterRole::Irradiance,
        ] {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
        }
        for driver in [
            MeterDriver::Sunspec,
            MeterDriver::Sdm630,
            MeterDriver::Growatt,
            MeterDriver::SiRs485,
        ] {
            assert_eq!(serde_json::to_value(driver).unwrap(), driver.as_str());
        }
    }
}
