//! The sources: which file, whose licence, what its columns are.

use serde::{Deserialize, Serialize};

/// A recording of a real plant that comes with the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceName {
    /// Three-phase inverter of 27.6 kW, 5 min, November to June (solar-data-tools, BSD-2).
    Trio27k6,
    /// Single-phase inverter of 7 kW, 5 min, March to October (solar-data-tools, BSD-2).
    Sma7k,
    /// Inverter of 7.1 kW, 5 min, April to October (solar-data-tools, BSD-2).
    AcPower01,
    /// Inverter of 3.8 kW, 5 min, a whole year (solar-data-tools, BSD-2).
    Inv30339,
    /// 207 kW with irradiance and module temperature, 15 min, five days of January (pvanalytics, MIT).
    NrelRsfIi,
    /// Its second inverter alone, 204.12 kWp, all five days, on one of which it was off: replayed by the clock in Tehran, day after day, and not
    /// by the sun, so that a day of the replay is a day of the file, value by value.
    NrelRsfIiInv2,
    /// A house with 0.9 kW and its consumption, 30 min, a whole year, southern hemisphere (Ausgrid, CC BY 4.0).
    AusgridHouse,
}

impl SourceName {
    /// Every source.
    pub const ALL: [Self; 7] = [
        Self::Trio27k6,
        Self::Sma7k,
        Self::AcPower01,
        Self::Inv30339,
        Self::NrelRsfIi,
        Self::NrelRsfIiInv2,
        Self::AusgridHouse,
    ];

    /// The word that stands for it in `simulation.toml`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trio27k6 => "trio27k6",
            Self::Sma7k => "sma7k",
            Self::AcPower01 => "ac_power01",
            Self::Inv30339 => "inv30339",
            Self::NrelRsfIi => "nrel_rsf_ii",
            Self::NrelRsfIiInv2 => "nrel_rsf_ii_inv2",
            Self::AusgridHouse => "ausgrid_house",
        }
    }

    /// The largest AC power the recorded plant is built for in W, from its type name or its usual peak.
    #[must_use]
    pub const fn rated_w(self) -> u32 {
        match self {
            Self::Trio27k6 => 27_600,
            Self::Sma7k => 7_000,
            Self::AcPower01 => 7_100,
            Self::Inv30339 => 3_850,
            Self::NrelRsfIi => 207_000,
            Self::NrelRsfIiInv2 => 204_000,
            Self::AusgridHouse => 900,
        }
    }

    /// Whether it has a consumption of its own.
    #[must_use]
    pub const fn has_load(self) -> bool {
        matches!(self, Self::AusgridHouse)
    }

    /// Whether it has an irradiance sensor.
    #[must_use]
    pub const fn has_irradiance(self) -> bool {
        matches!(self, Self::NrelRsfIi | Self::NrelRsfIiInv2)
    }

    /// Its days are replayed by the clock, not by the sun.
    pub(crate) const fn is_verbatim(self) -> bool {
        matches!(self, Self::NrelRsfIiInv2)
    }

    /// Its seasons are half a year off ours.
    pub(crate) const fn is_southern(self) -> bool {
        matches!(self, Self::AusgridHouse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_one_name() {
        for source in SourceName::ALL {
            let json = serde_json::to_string(&source).unwrap();
            assert_eq!(json.trim_matches('"'), source.as_str());
        }
    }
}
