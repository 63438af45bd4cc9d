//! A whole simulation: every bus with its units, and the faults it begins with.

use std::sync::Arc;

use taraz_fleet::Fleet;
use taraz_settings::Mistake;

use crate::config::Config;
use crate::device::{Bus, FaultyBus};
use crate::faults::{self, Fault};

/// What messages call the file where nobody has named it.
const SIMULATION_FILE: &str = "simulation.toml";

/// Simulated plants: a pure function from (unit, instant) to registers.
///
/// Cheap to clone. It does nothing by itself; [`Simulator::start`](crate::Simulator::start) serves it.
#[derive(Clone)]
pub struct Simulation {
    pub(crate) buses: Arc<Vec<Arc<Bus>>>,
    pub(crate) faults: Vec<Fault>,
}

impl Simulation {
    /// Parses `simulation.toml`, which states plant, longitude, commissioning and ratings itself, and a fault list.
    ///
    /// In this fault list a fault without `from` has always been, and one without `until` never ends.
    ///
    /// # Errors
    /// [`Mistake`] names file, line and key, what was found, and what is allowed.
    pub fn parse(plants: &str, faults: Option<&str>) -> Result<Self, Mistake> {
        Self::new(Config::parse(SIMULATION_FILE, plants, None)?).with_faults(faults)
    }

    /// As [`Self::parse`]; what the file leaves out is taken from the fleet, and its units must be the fleet's meters.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_with_fleet(plants: &str, fleet: &Fleet, faults: Option<&str>) -> Result<Self, Mistake> {
        Self::read(SIMULATION_FILE, plants, fleet)?.with_faults(faults)
    }

    /// As [`Self::parse_with_fleet`] without faults; `file` is what messages call it.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn read(file: &str, plants: &str, fleet: &Fleet) -> Result<Self, Mistake> {
        Ok(Self::new(Config::parse(file, plants, Some(fleet))?))
    }

    fn new(config: Config) -> Self {
        let buses = config
            .devices
            .into_iter()
            .map(|device| Arc::new(Bus::new(device)))
            .collect();
        Self {
            buses: Arc::new(buses),
            faults: Vec::new(),
        }
    }

    fn with_faults(mut self, faults: Option<&str>) -> Result<Self, Mistake> {
        if let Some(text) = faults {
            self.faults = self.parse_faults("faults.toml", text)?;
        }
        Ok(self)
    }

    pub(crate) fn parse_faults(&self, file: &str, text: &str) -> Result<Vec<Fault>, Mistake> {
        faults::parse(file, text, &self.plants())
    }

    /// The ids of the plants, each once, in the order of the file.
    #[must_use]
    pub fn plants(&self) -> Vec<&str> {
        let mut plants: Vec<&str> = Vec::new();
        for bus in self.buses.iter() {
            if !plants.contains(&bus.plant.as_str()) {
                plants.push(&bus.plant);
            }
        }
        plants
    }

    /// The ids of the buses (the devices that read them), in the order of the file.
    pub fn devices(&self) -> impl Iterator<Item = &str> {
        self.buses.iter().map(|bus| bus.id.as_str())
    }

    /// Every bus under the simulation's own faults and `more`.
    pub(crate) fn world(&self, more: &[Fault], version: u64) -> World {
        let faults: Vec<Fault> = self.faults.iter().chain(more).cloned().collect();
        World {
            version,
            buses: self
                .buses
                .iter()
                .map(|bus| FaultyBus::new(bus, &faults))
                .collect(),
        }
    }
}

/// All buses under one fault list.
pub(crate) struct World {
    /// Counts the fault lists.
    pub(crate) version: u64,
    pub(crate) buses: Vec<FaultyBus>,
}
