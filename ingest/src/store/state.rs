//! What the writer keeps in memory: keys of devices and series, what was received, the feed's end. All of it is in the
//! tables too; after a failed commit it is loaded again.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;
use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, Incarnation, RangeSet};

use super::notes::Notes;
use super::{feed, unsynced_rows};

/// One start of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct BootKey {
    pub(super) device: i64,
    pub(super) incarnation: Incarnation,
    pub(super) boot: u32,
}

/// The registers that energy is counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Register {
    /// What an inverter generated.
    Energy = 0,
    /// What a meter took from the grid, or a consumer consumed.
    Import = 1,
    /// What a meter gave to the grid.
    Export = 2,
}

impl Register {
    pub(crate) const ALL: [Self; 3] = [Self::Energy, Self::Import, Self::Export];
}

/// One register of one meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SeriesKey {
    pub(super) device: i64,
    pub(super) meter: u8,
    pub(super) register: Register,
}

/// A series and what bounds its rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Series {
    /// Its key in the tables.
    pub(super) id: i64,
    /// The rated power of its meter in W, as the series' caches were made with.
    pub(super) rated_w: u32,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) devices: HashMap<DeviceId, i64>,
    pub(super) series: HashMap<SeriesKey, Series>,
    pub(super) received: HashMap<BootKey, RangeSet>,
    /// Boots with records that wait to be settled; perhaps some whose last one was settled since.
    pub(super) waiting: HashSet<BootKey>,
    /// What the next start begins with, as far as it is not written yet.
    pub(super) notes: Notes,
    /// Nothing older is believed of a device, UTC ms; of those that were asked for.
    pub(super) oldest_ms: HashMap<i64, i64>,
    /// The highest place of the feed that was given.
    end: i64,
}

impl State {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            devices: load_devices(connection)?,
            series: load_series(connection)?,
            received: load_received(connection)?,
            waiting: unsynced_rows::boots_with_waiting(connection)?,
            notes: Notes::default(),
            oldest_ms: HashMap::new(),
            end: connection.query_row(feed::END, (), |row| row.get(0))?,
        })
    }

    /// The next place of the feed.
    pub(super) fn place(&mut self) -> i64 {
        self.places(1)
    }

    /// The next `count` places of the feed: the last of them.
    pub(super) fn places(&mut self, count: u32) -> i64 {
        self.end += i64::from(count);
        self.end
    }

    /// The key of a device, made if it is new.
    pub(super) fn device(&mut self, connection: &Connection, id: &DeviceId) -> rusqlite::Result<i64> {
        if let Some(&key) = self.devices.get(id) {
            return Ok(key);
        }
        connection
            .prepare_cached("INSERT INTO device (name) VALUES (?)")?
            .execute([id.as_str()])?;
        let key = connection.last_insert_rowid();
        self.devices.insert(id.clone(), key);
        Ok(key)
    }

    /// A series, made if it is new; `rated_w` counts only then.
    pub(super) fn series(
        &mut self,
        connection: &Connection,
        key: SeriesKey,
        rated_w: u32,
    ) -> rusqlite::Result<Series> {
        if let Some(&series) = self.series.get(&key) {
            return Ok(series);
        }
        connection
            .prepare_cached("INSERT INTO series (device, meter, register, rated_w) VALUES (?, ?, ?, ?)")?
            .execute((key.device, key.meter, key.register as u8, rated_w))?;
        let id = connection.last_insert_rowid();
        self.series.insert(key, Series { id, rated_w });
        Ok(Series { id, rated_w })
    }

    /// Takes the registry's rated powers over; true when one has changed, so that the caches must be made again. What
    /// has left the registry keeps its own.
    pub(super) fn rate(&mut self, connection: &Connection, fleet: &Fleet) -> rusqlite::Result<bool> {
        let rated_w = ratings(&self.devices, fleet);
        let mut has_changed = false;
        for (key, series) in &mut self.series {
            let Some(&rated_w) = rated_w.get(&(key.device, key.meter)) else {
                continue;
            };
            if rated_w != series.rated_w {
                connection
                    .prepare_cached("UPDATE series SET rated_w = ? WHERE id = ?")?
                    .execute((rated_w, series.id))?;
                series.rated_w = rated_w;
                has_changed = true;
            }
        }
        Ok(has_changed)
    }
}

/// The rated power in W of each meter of the devices that the store knows.
fn ratings(devices: &HashMap<DeviceId, i64>, fleet: &Fleet) -> HashMap<(i64, u8), u32> {
    let found = devices
        .iter()
        .filter_map(|(id, &key)| Some((key, fleet.device(id)?.device)));
    found
        .flat_map(|(key, device)| {
            let meters = device.meters.iter();
            meters.map(move |meter| ((key, meter.address.get()), meter.rated_w))
        })
        .collect()
}

fn load_devices(connection: &Connection) -> rusqlite::Result<HashMap<DeviceId, i64>> {
    let mut statement = connection.prepare("SELECT id, name FROM device")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))?;
    // Only valid ids were ever written.
    rows.filter_map(|row| {
        row.map(|(key, name)| DeviceId::new(&name).ok().map(|id| (id, key)))
            .transpose()
    })
    .collect()
}

fn load_series(connection: &Connection) -> rusqlite::Result<HashMap<SeriesKey, Series>> {
    let mut statement = connection.prepare("SELECT id, device, meter, register, rated_w FROM series")?;
    let rows = statement.query_map((), |row| {
        let register: u8 = row.get(3)?;
        let register = Register::ALL
            .get(usize::from(register))
            .copied()
            .unwrap_or(Register::Energy);
        Ok((
            SeriesKey {
                device: row.get(1)?,
                meter: row.get(2)?,
                register,
            },
            Series {
                id: row.get(0)?,
                rated_w: row.get(4)?,
            },
        ))
    })?;
    rows.collect()
}

fn load_received(connection: &Connection) -> rusqlite::Result<HashMap<BootKey, RangeSet>> {
    let mut received: HashMap<_, RangeSet> = HashMap::new();
    let mut statement = connection.prepare("SELECT device, incarnation, boot, first, last FROM received")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let key = BootKey {
            device: row.get(0)?,
            incarnation: row.get(1)?,
            boot: row.get(2)?,
        };
        received
            .entry(key)
            .or_default()
            .insert_run(row.get(3)?, row.get(4)?);
    }
    Ok(received)
}
