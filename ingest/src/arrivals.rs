//! What a group of batches brought, summed up for the present: times and the newest values per meter.

use std::collections::BTreeMap;

use taraz_telemetry::{DeviceId, MeterAddress, Quantities};

use crate::view::DeviceHealth;

/// What came in with one commit.
#[derive(Debug)]
pub(crate) struct Arrivals {
    now_ms: i64,
    meters: BTreeMap<(DeviceId, MeterAddress), MeterArrivals>,
    devices: BTreeMap<DeviceId, DeviceArrivals>,
}

/// What one device said of itself.
#[derive(Debug, Default)]
pub(crate) struct DeviceArrivals {
    /// Its newest reading with values, UTC ms; not after it came.
    pub(crate) newest_ms: Option<i64>,
    /// Its newest statement of how it is.
    pub(crate) health: Option<DeviceHealth>,
}

/// The readings of one meter.
#[derive(Debug, Default)]
pub(crate) struct MeterArrivals {
    /// When, UTC ms, in the order of arrival.
    pub(crate) times_ms: Vec<i64>,
    /// The newest of them.
    pub(crate) newest: Option<NewestReading>,
}

/// The newest reading of a meter.
#[derive(Debug)]
pub(crate) struct NewestReading {
    pub(crate) time_ms: i64,
    pub(crate) values: Quantities,
    bytes: Vec<u8>,
}

impl Arrivals {
    pub(crate) fn new(now_ms: i64) -> Self {
        Self {
            now_ms,
            meters: BTreeMap::new(),
            devices: BTreeMap::new(),
        }
    }

    /// When they came, UTC ms.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Something of this device came.
    pub(crate) fn device(&mut self, device: &DeviceId) -> &mut DeviceArrivals {
        self.devices.entry(device.clone()).or_default()
    }

    /// A device said how it is.
    pub(crate) fn health(&mut self, device: &DeviceId, health: DeviceHealth) {
        keep_newer(&mut self.device(device).health, &health);
    }

    /// A poll that was answered.
    pub(crate) fn reading(
        &mut self,
        device: &DeviceId,
        meter: MeterAddress,
        time_ms: i64,
        values: Quantities,
        bytes: &[u8],
    ) {
        self.heard(device, time_ms);
        let arrivals = self.meters.entry((device.clone(), meter)).or_default();
        arrivals.times_ms.push(time_ms);
        match &mut arrivals.newest {
            Some(newest) if newest.time_ms >= time_ms => {}
            Some(newest) => {
                newest.bytes.clear();
                newest.bytes.extend_from_slice(bytes);
                (newest.time_ms, newest.values) = (time_ms, values);
            }
            None => {
                arrivals.newest = Some(NewestReading {
                    time_ms,
                    values,
                    bytes: bytes.to_vec(),
                })
            }
        }
    }

    fn heard(&mut self, device: &DeviceId, time_ms: i64) {
        // A clock that is a little ahead must not make a device look read in the future.
        let time_ms = time_ms.min(self.now_ms);
        let arrivals = self.device(device);
        arrivals.newest_ms = arrivals.newest_ms.max(Some(time_ms));
    }

    /// The devices that were heard.
    pub(crate) fn devices(&self) -> impl Iterator<Item = (&DeviceId, &DeviceArrivals)> {
        self.devices.iter()
    }

    /// The meters that were read.
    pub(crate) fn meters(&self) -> impl Iterator<Item = (&DeviceId, MeterAddress, &MeterArrivals)> {
        self.meters
            .iter()
            .map(|((device, meter), arrivals)| (device, *meter, arrivals))
    }

    /// The newest record of each meter: device, meter, UTC ms, bytes.
    pub(crate) fn newest(&self) -> impl Iterator<Item = (&DeviceId, MeterAddress, i64, &[u8])> {
        self.meters().filter_map(|(device, meter, arrivals)| {
            arrivals
                .newest
                .as_ref()
                .map(|newest| (device, meter, newest.time_ms, newest.bytes.as_slice()))
        })
    }
}

/// Takes what a device said later; what comes out of a backlog is older.
pub(crate) fn keep_newer(known: &mut Option<DeviceHealth>, health: &DeviceHealth) {
    if known.as_ref().is_none_or(|known| known.time_ms <= health.time_ms) {
        *known = Some(health.clone());
    }
}
