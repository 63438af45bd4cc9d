//! What the writer keeps in memory: keys of devices and series, what was received, the feed's end. All of it is in the
//! tables too; after a failed commit it is loaded again.

use std::collections::{BTreeSet, HashMap, HashSet};

use rusqlite::Connection;
use taraz_analytics::energy::{Meter, Point};
use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, Incarnation, MeterAddress, RangeSet};

use super::account::{self, Account};
use super::changes::Changes;
use super::damage::PassedOver;
use super::group::CREDIT_MAX;
use super::notes::Notes;
use super::{feed, unsynced_rows};
use crate::keys::KeyMap;
use crate::registers::register_of;

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

/// What the registry says of a device; it does not change while a program runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registered {
    /// Which of the registry's devices it is; `None` for one that is not there.
    pub(super) number: Option<usize>,
    /// Nothing older is believed of it, UTC ms.
    pub(super) oldest_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) devices: HashMap<DeviceId, i64>,
    pub(super) series: KeyMap<SeriesKey, i64>,
    /// The account of each series.
    pub(super) accounts: KeyMap<i64, Account>,
    /// Devices and days from which on accounts have to be made again.
    pub(super) late: BTreeSet<(i64, i64)>,
    /// How many readings commits may read again for late ones.
    pub(super) credit: usize,
    /// The device whose accounts were made again last.
    pub(super) caught_up: i64,
    pub(super) received: HashMap<BootKey, RangeSet>,
    /// How many ranges that are, per device.
    pub(super) ranges: KeyMap<i64, usize>,
    /// Boots with records that wait to be settled; perhaps some whose last one was settled since.
    pub(super) waiting: HashSet<BootKey>,
    /// What the next start begins with, as far as it is not written yet.
    pub(super) notes: Notes,
    /// What the registry says of a device, of those that were asked for.
    pub(super) registered: KeyMap<i64, Registered>,
    /// What was passed over because it is damaged, until the writer counts it.
    pub(super) passed: PassedOver,
    /// Which quarter-hours the sinks have not got as they are now.
    pub(super) changes: Changes,
    /// The highest place of the feed that was given.
    end: i64,
}

impl State {
    pub(super) fn load(connection: &Connection, now_ms: i64) -> rusqlite::Result<Self> {
        let received = load_received(connection)?;
        let mut ranges: KeyMap<i64, usize> = KeyMap::default();
        for (boot, received) in &received {
            *ranges.entry(boot.device).or_default() += received.runs_len();
        }
        Ok(Self {
            devices: load_devices(connection)?,
            series: load_series(connection)?,
            accounts: load_accounts(connection)?,
            late: load_late(connection)?,
            credit: CREDIT_MAX,
            caught_up: i64::MIN,
            received,
            ranges,
            waiting: unsynced_rows::boots_with_waiting(connection)?,
            notes: Notes::default(),
            registered: KeyMap::default(),
            passed: PassedOver::default(),
            changes: Changes::load(connection, now_ms)?,
            end: connection.query_row(feed::END, (), |row| row.get(0))?,
        })
    }

    /// The highest place of the feed that was given.
    pub(super) const fn end(&self) -> i64 {
        self.end
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

    /// The key of a series, made if it is new; `known` counts only then.
    pub(super) fn series(
        &mut self,
        connection: &Connection,
        key: SeriesKey,
        known: impl FnOnce() -> Meter,
    ) -> rusqlite::Result<i64> {
        if let Some(&series) = self.series.get(&key) {
            return Ok(series);
        }
        let known = known();
        connection
            .prepare_cached("INSERT INTO series (device, meter, register, meter_known) VALUES (?, ?, ?, ?)")?
            .execute((key.device, key.meter, key.register as u8, known.to_bytes()))?;
        let series = connection.last_insert_rowid();
        self.series.insert(key, series);
        self.accounts.insert(series, Account::new(known));
        Ok(series)
    }

    /// Takes over what the registry knows of each register; true when something has changed, so that the caches must be made
    /// again. What has left the registry keeps its own.
    pub(super) fn follow(&mut self, connection: &Connection, fleet: &Fleet) -> rusqlite::Result<bool> {
        let names: HashMap<i64, &DeviceId> = self.devices.iter().map(|(id, &key)| (key, id)).collect();
        let mut has_changed = false;
        for (key, series) in &self.series {
            let found = names.get(&key.device).and_then(|id| fleet.device(id));
            let meter = MeterAddress::new(key.meter).and_then(|address| found?.device.meter(address));
            let (Some(meter), Some(account)) = (meter, self.accounts.get_mut(series)) else {
                continue;
            };
            let known = register_of(meter, key.register);
            if known != account.meter {
                connection
                    .prepare_cached("UPDATE series SET meter_known = ? WHERE id = ?")?
                    .execute((known.to_bytes(), series))?;
                account.meter = known;
                has_changed = true;
            }
        }
        Ok(has_changed)
    }

    /// Begins every account anew.
    pub(super) fn reset_accounts(&mut self) {
        for account in self.accounts.values_mut() {
            *account = Account::new(account.meter.clone());
        }
        self.late.clear();
    }
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

fn load_series(connection: &Connection) -> rusqlite::Result<KeyMap<SeriesKey, i64>> {
    let mut statement = connection.prepare("SELECT id, device, meter, register FROM series")?;
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
            row.get(0)?,
        ))
    })?;
    rows.collect()
}

fn load_accounts(connection: &Connection) -> rusqlite::Result<KeyMap<i64, Account>> {
    let mut statement = connection
        .prepare("SELECT id, meter_known, state, handed_wh, first_ms, first_wh, rated_w FROM series")?;
    let rows = statement.query_map((), |row| {
        let first: (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
        Ok((
            row.get(0)?,
            Account {
                meter: account::meter_known(row, 1, 6)?,
                running: account::running(row, 2)?,
                handed_wh: row.get(3)?,
                first: first
                    .0
                    .zip(first.1)
                    .map(|(time_ms, value_wh)| Point { time_ms, value_wh }),
            },
        ))
    })?;
    rows.collect()
}

fn load_late(connection: &Connection) -> rusqlite::Result<BTreeSet<(i64, i64)>> {
    let mut statement = connection.prepare("SELECT device, day FROM late")?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
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
