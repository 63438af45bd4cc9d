//! Where the meters of each plant, device and site lie in the rows of the present.

use std::collections::HashMap;
use std::ops::Range;

use taraz_fleet::{Device, Fleet, Meter, Plant};
use taraz_telemetry::MeterAddress;

#[derive(Debug)]
pub(super) struct Places {
    /// The meters of each plant, in the order of the registry.
    plants: Vec<Range<usize>>,
    /// Of each device, by its number: its plant and its first meter.
    devices: Vec<(usize, usize)>,
    /// The plants of each site, in the order of the registry.
    sites: Vec<Vec<usize>>,
}

impl Places {
    pub(super) fn of(fleet: &Fleet) -> Self {
        let (mut plants, mut devices, mut at_site) = (Vec::new(), Vec::new(), HashMap::<_, Vec<_>>::new());
        let mut next = 0;
        for (at, plant) in fleet.plants.iter().enumerate() {
            let first = next;
            for device in &plant.devices {
                devices.push((at, next));
                next += device.meters.len();
            }
            plants.push(first..next);
            at_site.entry(plant.site_id()).or_default().push(at);
        }
        let of_site = |site: &taraz_fleet::Site| at_site.remove(site.id.as_str()).unwrap_or_default();
        let sites = fleet.sites.iter().map(of_site).collect();
        Self {
            plants,
            devices,
            sites,
        }
    }

    pub(super) fn meters_len(&self) -> usize {
        self.plants.last().map_or(0, |last| last.end)
    }

    /// The meters of a plant.
    pub(super) fn plant(&self, at: usize) -> Range<usize> {
        self.plants.get(at).cloned().unwrap_or_default()
    }

    /// The plants of a site.
    pub(super) fn site(&self, at: usize) -> &[usize] {
        self.sites.get(at).map_or(&[], Vec::as_slice)
    }

    /// The plant of a device.
    pub(super) fn plant_of(&self, number: usize) -> Option<usize> {
        self.devices.get(number).map(|&(plant, _)| plant)
    }

    /// A registered meter of a device.
    pub(super) fn meter(&self, fleet: &Fleet, number: usize, address: MeterAddress) -> Option<usize> {
        let &(_, first) = self.devices.get(number)?;
        let meters = &fleet.numbered(number)?.device.meters;
        let at = meters.iter().position(|meter| meter.address == address)?;
        Some(first + at)
    }
}

/// The meters of a plant, in the order of the registry.
pub(super) fn meters_of(plant: &Plant) -> impl Iterator<Item = (&Device, &Meter)> {
    plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)))
}
