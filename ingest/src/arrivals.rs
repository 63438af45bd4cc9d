//! What a group of batches brought, summed up for the present: times and the newest values per meter.
//!
//! Everything lies in a few rows that grow: with thousands of devices a commit brings each of them one reading, and an allocation for
//! each would cost more than the rest.

use std::ops::Range;

use taraz_telemetry::{MeterAddress, Quantities};

use crate::keys::KeyMap;
use crate::view::DeviceHealth;

/// What came in with one commit.
#[derive(Debug)]
pub(crate) struct Arrivals {
    now_ms: i64,
    devices: Vec<DeviceArrivals>,
    device_at: KeyMap<i64, usize>,
    meters: Vec<MeterArrivals>,
    meter_at: KeyMap<(i64, u8), usize>,
    /// Meter and UTC ms of every reading with values, in the order of arrival.
    readings: Vec<(usize, i64)>,
    /// The records of the newest readings.
    bytes: Vec<u8>,
}

/// A device by its keys: the store's, and its number in the registry if it is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    pub(crate) key: i64,
    pub(crate) number: Option<usize>,
}

/// What one device said of itself.
#[derive(Debug)]
pub(crate) struct DeviceArrivals {
    pub(crate) who: Who,
    /// Its newest reading with values, UTC ms; not after it came.
    pub(crate) newest_ms: Option<i64>,
    /// Its newest statement of how it is.
    pub(crate) health: Option<DeviceHealth>,
}

/// The newest reading of one meter.
#[derive(Debug)]
pub(crate) struct MeterArrivals {
    /// The store's key of its device.
    pub(crate) device: i64,
    /// The device's number in the registry, if it is there.
    pub(crate) number: Option<usize>,
    pub(crate) address: MeterAddress,
    pub(crate) time_ms: i64,
    pub(crate) values: Quantities,
    bytes: Range<usize>,
}

impl Arrivals {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            devices: Vec::new(),
            device_at: KeyMap::default(),
            meters: Vec::new(),
            meter_at: KeyMap::default(),
            readings: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// When they came, UTC ms.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Something of this device came.
    pub(crate) fn device(&mut self, who: Who) -> &mut DeviceArrivals {
        let at = *self.device_at.entry(who.key).or_insert_with(|| {
            self.devices.push(DeviceArrivals {
                who,
                newest_ms: None,
                health: None,
            });
            self.devices.len() - 1
        });
        &mut self.devices[at]
    }

    /// A device said how it is; what comes out of a backlog is older.
    pub(crate) fn health(&mut self, who: Who, health: DeviceHealth) {
        let known = &mut self.device(who).health;
        if known.as_ref().is_none_or(|known| known.time_ms <= health.time_ms) {
            *known = Some(health);
        }
    }

    /// A poll that was answered.
    pub(crate) fn reading(
        &mut self,
        who: Who,
        address: MeterAddress,
        time_ms: i64,
        values: Quantities,
        bytes: &[u8],
    ) {
        // A clock that is a little ahead must not make a device look read in the future.
        let heard_ms = time_ms.min(self.now_ms);
        let device = self.device(who);
        device.newest_ms = device.newest_ms.max(Some(heard_ms));
        let begin = self.bytes.len();
        match self.meter_at.get(&(who.key, address.get())) {
            Some(&at) => {
                self.readings.push((at, time_ms));
                let newest = &mut self.meters[at];
                if newest.time_ms < time_ms {
                    // What is as long as the last one takes its place.
                    if newest.bytes.len() == bytes.len() {
                        self.bytes[newest.bytes.clone()].copy_from_slice(bytes);
                    } else {
                        self.bytes.extend_from_slice(bytes);
                        newest.bytes = begin..self.bytes.len();
                    }
                    (newest.time_ms, newest.values) = (time_ms, values);
                }
            }
            None => {
                self.meter_at.insert((who.key, address.get()), self.meters.len());
                self.readings.push((self.meters.len(), time_ms));
                self.bytes.extend_from_slice(bytes);
                self.meters.push(MeterArrivals {
                    device: who.key,
                    number: who.number,
                    address,
                    time_ms,
                    values,
                    bytes: begin..self.bytes.len(),
                });
            }
        }
    }

    /// The devices that were heard.
    pub(crate) fn devices(&self) -> &[DeviceArrivals] {
        &self.devices
    }

    /// Those of them that the registry knows, by their numbers.
    pub(crate) fn registered(&self) -> impl Iterator<Item = (usize, &DeviceArrivals)> {
        let devices = self.devices.iter();
        devices.filter_map(|device| Some((device.who.number?, device)))
    }

    /// The meters that were read.
    pub(crate) fn meters(&self) -> &[MeterArrivals] {
        &self.meters
    }

    /// Every reading with values in the order of arrival: its place among the meters, and when it was taken, UTC ms.
    pub(crate) fn readings(&self) -> &[(usize, i64)] {
        &self.readings
    }

    /// The newest record of each meter: the store's key of the device, meter, UTC ms, bytes.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (i64, MeterAddress, i64, &[u8])> {
        self.meters.iter().map(|meter| {
            let bytes = self.bytes.get(meter.bytes.clone()).unwrap_or_default();
            (meter.device, meter.address, meter.time_ms, bytes)
        })
    }
}
