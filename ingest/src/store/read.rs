//! What is read from the store: intervals, totals, what is known at the start, cursors.

use rusqlite::{Connection, OptionalExtension as _};
use taraz_fleet::{Device, Fleet, Meter, Plant};
use taraz_telemetry::{DeviceId, MeterAddress, MeterRole, Outcome, Record};

use super::StoreError;
use super::account::Reader;
use super::runs::DAY_MS;
use super::state::Register;
use crate::analytics::{Contribution, QUARTER_MS, SiteEnergies, plant_energy, quarter_of, site_balance};
use crate::live::Remembered;
use crate::view::{IntervalFlags, IntervalRow};

/// Begin and end of a period, UTC ms.
pub(super) type Period = (i64, i64);

/// One consistent state of the store.
#[derive(Debug)]
pub(crate) struct Snapshot<'a> {
    pub(super) connection: &'a Connection,
    pub(super) fleet: &'a Fleet,
}

/// What a site's meters state of some periods.
#[derive(Debug)]
pub(crate) struct SiteParts {
    pub(crate) energies: Vec<SiteEnergies>,
    held: Vec<bool>,
    settling_ms: Option<i64>,
}

impl SiteParts {
    /// What must be known about the numbers of a period, those of a plant's inverters among them.
    pub(crate) fn flags(&self, at: usize, generated: &[Contribution], end_ms: i64) -> IntervalFlags {
        let parts = || generated.iter().chain(self.energies[at].all());
        IntervalFlags {
            spread: parts().any(|part| part.spread > 0),
            reset: parts().any(|part| part.resets > 0),
            held: self.held[at],
            assumed: self.energies[at].assumed,
            settling: self.settling_ms.is_some_and(|from_ms| from_ms < end_ms),
        }
    }
}

impl Snapshot<'_> {
    /// The intervals of a plant and its site.
    pub(super) fn intervals(&self, plant: &Plant, periods: &[Period]) -> rusqlite::Result<Vec<IntervalRow>> {
        let site = self.site_parts(plant.site_id(), periods)?;
        self.intervals_beside(plant, &site, periods)
    }

    /// What a site's meters state of each period, and what must be known about it.
    pub(crate) fn site_parts(&self, site: &str, periods: &[Period]) -> rusqlite::Result<SiteParts> {
        Ok(SiteParts {
            energies: self.site(site, periods)?,
            held: self.held(site, periods)?,
            settling_ms: self.settling_ms(site)?,
        })
    }

    /// The intervals of a plant, beside those of its site.
    pub(crate) fn intervals_beside(
        &self,
        plant: &Plant,
        site: &SiteParts,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<IntervalRow>> {
        let generated = self.inverters(plant, periods)?;
        let rows = periods.iter().enumerate().map(|(at, &(start_ms, end_ms))| {
            let (generated_wh, completeness) = plant_energy(&generated[at], end_ms - start_ms);
            let balance = site_balance(&site.energies[at]);
            IntervalRow {
                start_ms,
                end_ms,
                generated_wh,
                consumed_wh: balance.consumed_wh,
                import_wh: balance.import_wh,
                export_wh: balance.export_wh,
                imbalance_wh: balance.imbalance_wh,
                completeness,
                flags: site.flags(at, &generated[at], end_ms),
            }
        });
        Ok(rows.collect())
    }

    /// What each register of a meter that is accounted for states about each period.
    pub(crate) fn registers(
        &self,
        device: &Device,
        meter: &Meter,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<(Register, Vec<Contribution>)>> {
        let of_register =
            |&register: &Register| Ok((register, self.contributions(device, meter, register, periods)?));
        registers_of(meter.role).iter().map(of_register).collect()
    }

    /// Per period, what each inverter of a plant states.
    pub(crate) fn inverters(
        &self,
        plant: &Plant,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<Vec<Contribution>>> {
        let mut energies = vec![Vec::new(); periods.len()];
        for (device, meter) in meters(plant).filter(|(_, meter)| meter.role == MeterRole::Inverter) {
            let parts = self.contributions(device, meter, Register::Energy, periods)?;
            energies
                .iter_mut()
                .zip(parts)
                .for_each(|(energies, part)| energies.push(part));
        }
        Ok(energies)
    }

    /// Per period, what each meter of a site states.
    pub(crate) fn site(&self, site: &str, periods: &[Period]) -> rusqlite::Result<Vec<SiteEnergies>> {
        let mut energies = vec![SiteEnergies::default(); periods.len()];
        for (device, meter) in self.fleet.plants_at(site).flat_map(meters) {
            for &register in registers_of(meter.role) {
                let mut parts = self.contributions(device, meter, register, periods)?;
                let assumed = if meter.role == MeterRole::Grid {
                    self.add_unstated((device, meter), register, periods, &mut parts)?
                } else {
                    vec![false; periods.len()]
                };
                for ((energies, part), assumed) in energies.iter_mut().zip(parts).zip(assumed) {
                    energies.of(meter.role, register == Register::Export).push(part);
                    energies.assumed |= assumed;
                }
            }
        }
        Ok(energies)
    }

    /// What all inverters of a plant counted since their first register, never falling; `None` before.
    #[cfg(test)]
    pub(crate) fn total_wh(&self, plant: &Plant) -> rusqlite::Result<Option<i64>> {
        Ok(self.totals(plant)?.map(|(shown_wh, _)| shown_wh))
    }

    /// What all inverters of a plant counted since their first register, in Wh: the highest that it ever came to, and by how much it
    /// is wrong, 0 or below. `None` before the first register.
    pub(crate) fn totals(&self, plant: &Plant) -> rusqlite::Result<Option<(i64, i64)>> {
        let mut total = None;
        for (device, meter) in meters(plant).filter(|(_, meter)| meter.role == MeterRole::Inverter) {
            let Some(account) = self.account(device, meter, Register::Energy)? else {
                return Ok(None);
            };
            let (shown_wh, correction_wh) = total.unwrap_or((0, 0));
            total = Some((
                shown_wh + account.shown_wh(),
                correction_wh + account.total_wh() - account.shown_wh(),
            ));
        }
        Ok(total)
    }

    pub(super) fn account(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
    ) -> rusqlite::Result<Option<Reader>> {
        Reader::find(
            self.connection,
            device.id.as_str(),
            meter.address.get(),
            register as u8,
        )
    }

    /// What one register states about each period; periods are in order and don't overlap.
    fn contributions(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<Contribution>> {
        match self.account(device, meter, register)? {
            Some(account) => self.contributions_of(&account, periods),
            None => Ok(vec![Contribution::default(); periods.len()]),
        }
    }

    /// A quarter-hour belongs to the period that it begins in.
    pub(super) fn contributions_of(
        &self,
        account: &Reader,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<Contribution>> {
        let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (periods.first(), periods.last()) else {
            return Ok(Vec::new());
        };
        let entries = account.entries(self.connection, edge_ms(start_ms), edge_ms(end_ms))?;
        let of_period = |&(start_ms, end_ms): &Period| entries.period(edge_ms(start_ms), edge_ms(end_ms));
        Ok(periods.iter().map(of_period).map(Contribution::from).collect())
    }

    /// From when on late readings of a site's meters may still change its numbers, UTC ms; `None` when all are worked in.
    fn settling_ms(&self, site: &str) -> rusqlite::Result<Option<i64>> {
        // A late reading changes the segment that it lies in, which begins on the last day before it that has readings.
        let mut late = self.connection.prepare_cached(
            "SELECT min(coalesce((SELECT max(checkpoint.day) FROM checkpoint JOIN series ON series.id = checkpoint.series
                                  WHERE series.device = late.device AND checkpoint.day < late.day), late.day))
             FROM late JOIN device ON device.id = late.device WHERE device.name = ?",
        )?;
        let mut first: Option<i64> = None;
        for device in self.fleet.plants_at(site).flat_map(|plant| &plant.devices) {
            let day: Option<i64> = late.query_row([device.id.as_str()], |row| row.get(0))?;
            first = first.into_iter().chain(day).min();
        }
        Ok(first.map(|day| day * DAY_MS))
    }

    /// Whether readings of a site's meters are held back in each period.
    fn held(&self, site: &str, periods: &[Period]) -> rusqlite::Result<Vec<bool>> {
        let mut held = vec![false; periods.len()];
        let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (periods.first(), periods.last()) else {
            return Ok(held);
        };
        let mut statement = self.connection.prepare_cached(
            "SELECT quarter FROM held JOIN device ON device.id = held.device
             WHERE device.name = ? AND quarter >= ? AND quarter <= ?",
        )?;
        for device in self.fleet.plants_at(site).flat_map(|plant| &plant.devices) {
            let mut rows =
                statement.query((device.id.as_str(), quarter_of(start_ms), quarter_of(end_ms - 1)))?;
            while let Some(row) = rows.next()? {
                if let Some(at) = period_at(periods, row.get::<_, i64>(0)? * QUARTER_MS) {
                    held[at] = true;
                }
            }
        }
        Ok(held)
    }

    /// What is known about the present when the program starts.
    pub(super) fn remembered(&self) -> rusqlite::Result<Remembered> {
        let mut remembered = Remembered::default();
        let mut newest = self.connection.prepare(
            "SELECT name, meter, time_ms, bytes FROM newest JOIN device ON device.id = newest.device",
        )?;
        let mut rows = newest.query(())?;
        while let Some(row) = rows.next()? {
            let id = DeviceId::new(row.get_ref(0)?.as_str()?).ok();
            let record = Record::decode(row.get_ref(3)?.as_blob()?)
                .ok()
                .map(|(record, _)| record);
            if let (Some(id), Some(meter), Some(Record::Reading(reading))) =
                (id, MeterAddress::new(row.get(1)?), record)
                && let Outcome::Values(values) = reading.outcome
            {
                remembered.meters.push((id, meter, row.get(2)?, values));
            }
        }
        let mut devices = self
            .connection
            .prepare("SELECT name, last_reading_ms, last_received_ms FROM device")?;
        let mut rows = devices.query(())?;
        while let Some(row) = rows.next()? {
            if let Ok(id) = DeviceId::new(row.get_ref(0)?.as_str()?) {
                remembered.devices.push((id, row.get(1)?, row.get(2)?));
            }
        }
        Ok(remembered)
    }

    /// How many records of a clock that was not set are placed by an anchor and not yet given to the sinks.
    pub(crate) fn settling_records(&self) -> rusqlite::Result<u64> {
        self.connection
            .prepare_cached(
                "SELECT count(*) FROM record INDEXED BY record_waiting_ms WHERE waiting_ms IS NOT NULL",
            )?
            .query_row((), |row| row.get(0))
            .map(i64::unsigned_abs)
    }

    pub(super) fn cursor(&self, sink: &str) -> rusqlite::Result<i64> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT record FROM cursor WHERE sink = ?")?;
        Ok(statement
            .query_row([sink], |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// The registers of a meter that energy is counted by.
const fn registers_of(role: MeterRole) -> &'static [Register] {
    match role {
        MeterRole::Inverter => &[Register::Energy],
        MeterRole::Grid => &[Register::Import, Register::Export],
        MeterRole::Consumption => &[Register::Import],
        MeterRole::Irradiance => &[],
    }
}

fn meters(plant: &Plant) -> impl Iterator<Item = (&Device, &Meter)> {
    plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)))
}

/// The first edge of quarter-hours from an instant on.
pub(super) const fn edge_ms(time_ms: i64) -> i64 {
    quarter_of(time_ms + QUARTER_MS - 1) * QUARTER_MS
}

pub(super) fn period_at(periods: &[Period], time_ms: i64) -> Option<usize> {
    let at = periods.partition_point(|&(_, end_ms)| end_ms <= time_ms);
    periods
        .get(at)
        .filter(|&&(start_ms, _)| start_ms <= time_ms)
        .map(|_| at)
}
