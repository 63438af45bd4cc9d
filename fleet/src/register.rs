//! What has to be known of a meter's registers beyond their readings: where they roll over, when the meter was exchanged.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use jiff::Timestamp;
use serde::Deserialize;
use taraz_settings::{Place, Wrong};
use taraz_telemetry::{MeterDriver, MeterRole};

use crate::model::Meter;

/// The most records of replacements that a meter may have.
pub const REPLACEMENTS_MAX: usize = 64;
/// Up to 10 TWh, which no register of a plant reaches; in the registry as numbers above 1 kWh, the coarsest register's count.
const ROLLS_OVER_WH: RangeInclusive<u64> = 1_001..=10_000_000_000_000;
const REGISTER_WH: RangeInclusive<u64> = 0..=10_000_000_000_000;
/// From before the first grid-connected plants to an instant that is surely a slip of the pen: 1980-01-01 to 2101-01-01.
const AT_S: RangeInclusive<i64> = 315_532_800..=4_133_980_800;
/// A SunSpec `acc32` counts 2³² and begins again (Device Information Model Specification, `acc32`); the scale factor is 0 unless the
/// registry says otherwise.
const SUNSPEC_WH: u64 = 1 << 32;
/// Growatt's total energy has two registers, 32 bits, of 0.1 kWh (`docs/meters.md`).
const GROWATT_WH: u64 = (1 << 32) * 100;

pub(crate) const ROLLS_OVER_ALLOWED: &str = "Wh above 1000, as 100000000 for six digits of 0.1 MWh";
pub(crate) const AT_ALLOWED: &str = "a time in quotes with its offset, as \"2026-03-01T09:30:00+03:30\"";
pub(crate) const REGISTER_ALLOWED: &str = "one of: energy, import, export";
pub(crate) const REGISTER_WH_ALLOWED: &str = "a whole number of Wh up to 10000000000000, as 48211300";

/// An energy register of a meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyRegister {
    /// What an inverter generated.
    Energy,
    /// What a meter took from the grid, or a consumer consumed.
    Import,
    /// What a meter gave to the grid.
    Export,
}

impl EnergyRegister {
    /// The word that stands for it in the registry.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Energy => "energy",
            Self::Import => "import",
            Self::Export => "export",
        }
    }

    /// Those of a role.
    #[must_use]
    pub const fn of(role: MeterRole) -> &'static [Self] {
        match role {
            MeterRole::Inverter => &[Self::Energy],
            MeterRole::Grid => &[Self::Import, Self::Export],
            MeterRole::Consumption => &[Self::Import],
            MeterRole::Irradiance => &[],
        }
    }
}

/// A meter or inverter was exchanged: with both registers the energy stays continuous.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// When: readings before it are the old register's, readings at it or after it the new one's.
    pub at: Timestamp,
    /// Which register; needs not be said of a meter that has only one.
    #[serde(default)]
    pub register: Option<EnergyRegister>,
    /// What the old register read last, in Wh.
    pub final_wh: u64,
    /// What the new one read first, in Wh.
    pub start_wh: u64,
}

impl Meter {
    /// The records of one register.
    pub fn replacements_of(&self, register: EnergyRegister) -> impl Iterator<Item = &Replacement> {
        let is_of = move |record: &&Replacement| self.register_of(record) == Some(register);
        self.replacements.iter().filter(is_of)
    }

    /// After how many Wh its registers begin again at 0; `None` where that is not known or beyond any life.
    #[must_use]
    pub fn register_rolls_over_wh(&self) -> Option<u64> {
        self.rolls_over_wh.or(match self.driver {
            MeterDriver::Sunspec => Some(SUNSPEC_WH),
            MeterDriver::Growatt => Some(GROWATT_WH),
            // Floating-point numbers.
            MeterDriver::Sdm630 | MeterDriver::SiRs485 => None,
        })
    }

    /// The register that a record is of; `None` when it must say so and doesn't.
    fn register_of(&self, record: &Replacement) -> Option<EnergyRegister> {
        match (record.register, EnergyRegister::of(self.role)) {
            (Some(register), _) => Some(register),
            (None, [only]) => Some(*only),
            (None, _) => None,
        }
    }
}

pub(crate) fn check(place: &Place, meter: &Meter) -> Result<(), Wrong> {
    if let Some(wh) = meter.rolls_over_wh.filter(|wh| !ROLLS_OVER_WH.contains(wh)) {
        return Err(Wrong::new(place.key("rolls_over_wh"), wh, ROLLS_OVER_ALLOWED));
    }
    if meter.replacements.len() > REPLACEMENTS_MAX {
        let found = format!("{} of them", meter.replacements.len());
        let allowed = format!("at most {REPLACEMENTS_MAX} records of a meter");
        return Err(Wrong::new(place.key("replacement"), found, allowed));
    }
    let mut seen = BTreeSet::new();
    for (at, record) in meter.replacements.iter().enumerate() {
        let place = place.item("replacement", at);
        let register = register(&place, meter, record)?;
        if !AT_S.contains(&record.at.as_second()) {
            return Err(Wrong::new(place.key("at"), record.at, AT_ALLOWED));
        }
        if !seen.insert((register, record.at.as_millisecond())) {
            let allowed = "each instant once for the same register; this one is there twice";
            return Err(Wrong::new(place.key("at"), record.at, allowed));
        }
        for (key, wh) in [("final_wh", record.final_wh), ("start_wh", record.start_wh)] {
            if !REGISTER_WH.contains(&wh) {
                return Err(Wrong::new(place.key(key), wh, REGISTER_WH_ALLOWED));
            }
        }
    }
    Ok(())
}

fn register(place: &Place, meter: &Meter, record: &Replacement) -> Result<EnergyRegister, Wrong> {
    let registers = EnergyRegister::of(meter.role);
    let register = meter.register_of(record);
    if let Some(register) = register.filter(|register| registers.contains(register)) {
        return Ok(register);
    }
    let words: Vec<_> = registers.iter().map(|register| register.as_str()).collect();
    let allowed = if words.is_empty() {
        format!("no record: the role {} has no register", meter.role.as_str())
    } else {
        format!(
            "for the role {} one of: {}",
            meter.role.as_str(),
            words.join(", ")
        )
    };
    let place = place.key("register");
    Err(match register {
        Some(register) => Wrong::new(place, format!("{:?}", register.as_str()), allowed),
        None => Wrong::missing(place, allowed),
    })
}
