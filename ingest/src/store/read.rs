//! What is read from the store: intervals, totals, what is known at the start, cursors.

use rusqlite::{Connection, OptionalExtension as _};
use taraz_fleet::{Device, Fleet, Meter, Plant};
use taraz_telemetry::{DeviceId, MeterAddress, MeterRole, Outcome, Record};

use super::StoreError;
use super::state::{Register, Series};
use crate::analytics::{
    Contribution, Point, QUARTER_MS, SiteEnergies, Span, plant_energy, quarter_of, site_balance,
};
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

impl Snapshot<'_> {
    /// The intervals of a plant and its site.
    pub(super) fn intervals(&self, plant: &Plant, periods: &[Period]) -> rusqlite::Result<Vec<IntervalRow>> {
        let generated = self.inverters(plant, periods)?;
        let sites = self.site(plant.site_id(), periods)?;
        let held = self.held(plant.site_id(), periods)?;
        let rows = periods.iter().enumerate().map(|(at, &(start_ms, end_ms))| {
            let (generated_wh, completeness) = plant_energy(&generated[at], end_ms - start_ms);
            let balance = site_balance(&sites[at]);
            let parts = || generated[at].iter().chain(sites[at].all());
            IntervalRow {
                start_ms,
                end_ms,
                generated_wh,
                consumed_wh: balance.consumed_wh,
                import_wh: balance.import_wh,
                export_wh: balance.export_wh,
                imbalance_wh: balance.imbalance_wh,
                completeness,
                flags: IntervalFlags {
                    spread: parts().any(|part| part.spread > 0),
                    reset: parts().any(|part| part.resets > 0),
                    held: held[at],
                    assumed: sites[at].assumed,
                },
            }
        });
        Ok(rows.collect())
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
            let registers: &[_] = match meter.role {
                MeterRole::Inverter => &[Register::Energy],
                MeterRole::Grid => &[Register::Import, Register::Export],
                MeterRole::Consumption => &[Register::Import],
                MeterRole::Irradiance => &[],
            };
            for &register in registers {
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
    pub(crate) fn total_wh(&self, plant: &Plant) -> rusqlite::Result<Option<i64>> {
        let mut total = None;
        for (device, meter) in meters(plant).filter(|(_, meter)| meter.role == MeterRole::Inverter) {
            let Some((_, shown_wh)) = self.series(device, meter, Register::Energy)? else {
                return Ok(None);
            };
            total = Some(total.unwrap_or(0) + shown_wh);
        }
        Ok(total)
    }

    pub(super) fn series(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
    ) -> rusqlite::Result<Option<(Series, i64)>> {
        self.connection
            .prepare_cached(
                "SELECT series.id, rated_w, shown_wh FROM series JOIN device ON device.id = series.device
                 WHERE device.name = ? AND meter = ? AND register = ?",
            )?
            .query_row((device.id.as_str(), meter.address.get(), register as u8), |row| {
                let series = Series {
                    id: row.get(0)?,
                    rated_w: row.get(1)?,
                };
                Ok((series, row.get(2)?))
            })
            .optional()
    }

    /// What one register states about each period; periods are in order and don't overlap.
    fn contributions(
        &self,
        device: &Device,
        meter: &Meter,
        register: Register,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<Contribution>> {
        match self.series(device, meter, register)? {
            Some((series, _)) => self.contributions_of(series, periods),
            None => Ok(vec![Contribution::default(); periods.len()]),
        }
    }

    pub(super) fn contributions_of(
        &self,
        series: Series,
        periods: &[Period],
    ) -> rusqlite::Result<Vec<Contribution>> {
        let mut parts = vec![Contribution::default(); periods.len()];
        let (Some(&(start_ms, _)), Some(&(_, end_ms))) = (periods.first(), periods.last()) else {
            return Ok(parts);
        };
        let mut narrow = self.connection.prepare_cached(
            "SELECT quarter, energy_wh, known_ms, spread, resets FROM interval
             WHERE series = ? AND quarter >= ? AND quarter <= ? ORDER BY quarter",
        )?;
        let mut rows = narrow.query((series.id, quarter_of(start_ms), quarter_of(end_ms - 1)))?;
        while let Some(row) = rows.next()? {
            let quarter_ms = row.get::<_, i64>(0)? * QUARTER_MS;
            // A quarter-hour belongs to the period that it begins in.
            if let Some(at) = period_at(periods, quarter_ms) {
                parts[at] += Contribution {
                    energy_wh: row.get(1)?,
                    known_ms: row.get(2)?,
                    spread: row.get(3)?,
                    resets: row.get(4)?,
                };
            }
        }
        self.add_wide(series, periods, &mut parts)?;
        Ok(parts)
    }

    fn add_wide(
        &self,
        series: Series,
        periods: &[Period],
        parts: &mut [Contribution],
    ) -> rusqlite::Result<()> {
        let (start_ms, end_ms) = (periods[0].0, periods[periods.len() - 1].1);
        // Spans don't overlap: of those that begin before the first period only the last one can reach into it.
        let mut wide = self.connection.prepare_cached(
            "SELECT from_ms, from_wh, to_ms, to_wh FROM span WHERE series = ?1 AND from_ms < ?3 AND from_ms >=
                 coalesce((SELECT max(from_ms) FROM span WHERE series = ?1 AND from_ms <= ?2), ?2)",
        )?;
        let mut rows = wide.query((series.id, start_ms, end_ms))?;
        while let Some(row) = rows.next()? {
            let from = Point {
                time_ms: row.get(0)?,
                value_wh: row.get(1)?,
            };
            let to = Point {
                time_ms: row.get(2)?,
                value_wh: row.get(3)?,
            };
            let first = periods.partition_point(|&(_, end_ms)| end_ms <= from.time_ms);
            let after = periods.partition_point(|&(start_ms, _)| start_ms < to.time_ms);
            let span = Span {
                from,
                to,
                rated_w: series.rated_w,
            };
            for at in first..after {
                parts[at] += span.contribution(periods[at].0, periods[at].1);
            }
        }
        Ok(())
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

fn meters(plant: &Plant) -> impl Iterator<Item = (&Device, &Meter)> {
    plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)))
}

pub(super) fn period_at(periods: &[Period], time_ms: i64) -> Option<usize> {
    let at = periods.partition_point(|&(_, end_ms)| end_ms <= time_ms);
    periods
        .get(at)
        .filter(|&&(start_ms, _)| start_ms <= time_ms)
        .map(|_| at)
}
