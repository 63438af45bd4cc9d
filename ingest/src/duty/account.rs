//! From registers to one owner's duty.

use std::collections::{BTreeMap, HashMap};

use taraz_analytics::calendar::{BandKind, Jalali, Tariff, date_of_ms};
use taraz_analytics::duty::{DutyDay, Estimate, Projection, coverage, missing_kwp, project};
use taraz_analytics::solar::SolarError;
use taraz_fleet::{Device, Fleet, Owner, Plant, Site};
use taraz_telemetry::MeterRole;

use super::ReportError;
use super::shapes::{ConsumptionSource, MonthDuty, OwnerDuty, PlantYear, ProjectedYear, Range, SiteYear};
use super::shares::Due;
use super::sky::clear_skies_wh;
use super::year::{Counted, Year, commissioned_ms};
use crate::accounts::{Account, account_for};
use crate::store::{Archive, Register};

const WH_PER_KWH: f64 = 1_000.0;
const W_PER_KW: f64 = 1_000.0;

/// What every owner's account is made from.
pub(super) struct Accounting<'a> {
    pub(super) archive: &'a Archive,
    pub(super) fleet: &'a Fleet,
    pub(super) year: &'a Year,
    pub(super) now_ms: i64,
    pub(super) of_owners: &'a OfOwners<'a>,
    /// The registry's sites by their ids.
    pub(super) sites: HashMap<&'a str, &'a Site>,
}

/// Whose plants are whose, with what they would generate under a clear sky.
pub(super) struct OfOwners<'a>(HashMap<&'a str, Vec<(&'a Plant, Vec<f64>)>>);

impl<'a> OfOwners<'a> {
    /// The plants of every owner, or of one.
    pub(super) fn of(fleet: &'a Fleet, year: &Year, owner: Option<&str>) -> Result<Self, SolarError> {
        let asked = |plant: &&Plant| owner.is_none_or(|id| plant.owner == id);
        let plants: Vec<&Plant> = fleet.plants.iter().filter(asked).collect();
        let mut of_owners: HashMap<_, Vec<_>> = HashMap::new();
        for (plant, clear_wh) in plants.iter().zip(clear_skies_wh(&plants, &year.days)?) {
            let own = of_owners.entry(plant.owner.as_str()).or_default();
            own.push((*plant, clear_wh));
        }
        Ok(Self(of_owners))
    }

    pub(super) fn has_plant(&self, owner: &str) -> bool {
        self.0.contains_key(owner)
    }

    fn plants(&self, owner: &str) -> &[(&'a Plant, Vec<f64>)] {
        self.0.get(owner).map_or(&[], Vec::as_slice)
    }
}

/// A plant of an owner.
struct Made<'a> {
    plant: &'a Plant,
    counted: Counted,
    /// When it began to generate, UTC ms.
    since_ms: i64,
    /// Under a clear sky on each day of the year in Wh, as if it had stood all year.
    clear_wh: &'a [f64],
    /// It has stated something, and so has its site's consumption: it is in the figures.
    is_compared: bool,
}

/// A site of an owner.
struct Used<'a> {
    site: &'a Site,
    source: ConsumptionSource,
    counted: Counted,
}

impl<'a> Accounting<'a> {
    /// One owner's account.
    pub(super) fn owner(&self, owner: &Owner, due: Due) -> Result<OwnerDuty, ReportError> {
        let mut plants = Vec::new();
        for (plant, clear_wh) in self.of_owners.plants(&owner.id) {
            let since_ms = commissioned_ms(plant);
            plants.push(Made {
                plant,
                counted: self.generated(plant, since_ms)?,
                since_ms,
                clear_wh,
                is_compared: false,
            });
        }
        let mut at_site: BTreeMap<&str, Vec<&Made<'_>>> = BTreeMap::new();
        for made in &plants {
            at_site.entry(made.plant.site_id()).or_default().push(made);
        }
        let mut sites: BTreeMap<&str, Used<'_>> = BTreeMap::new();
        for (id, made) in &at_site {
            if let Some(site) = self.sites.get(id) {
                sites.insert(id, self.consumed(site, made)?);
            }
        }
        let sites: Vec<Used<'_>> = sites.into_values().collect();
        let is_known = |made: &Made<'_>| {
            let mut known = sites.iter().filter(|used| used.counted.energy_wh.is_some());
            known.any(|used| used.site.id == made.plant.site_id())
        };
        for made in &mut plants {
            made.is_compared = made.counted.energy_wh.is_some() && is_known(made);
        }
        let days = self.days(&plants, &sites);
        Ok(self.conclude(owner, due, &plants, &sites, &days))
    }

    /// What a plant's inverters counted.
    fn generated(&self, plant: &Plant, since_ms: i64) -> Result<Counted, ReportError> {
        let mut parts = Vec::new();
        for (device, meter) in meters(plant, MeterRole::Inverter) {
            parts.push(
                self.year
                    .count(&self.account(device, meter, Register::Energy)?, since_ms),
            );
        }
        Ok(self.sum_of(&parts))
    }

    /// What a site consumed: by its consumption meters, else by the balance of its grid meters.
    fn consumed(&self, site: &'a Site, plants: &[&Made<'_>]) -> Result<Used<'a>, ReportError> {
        let here: Vec<&Plant> = self.fleet.plants_at(&site.id).collect();
        let used = |source, counted| Used {
            site,
            source,
            counted,
        };
        if here.iter().any(|plant| plant.owner != here[0].owner) {
            return Ok(used(ConsumptionSource::Shared, self.year.sum(&[])));
        }
        let all = |role, register| self.registers(&here, role, register);
        let consumed = all(MeterRole::Consumption, Register::Import)?;
        if !consumed.is_empty() {
            return Ok(used(ConsumptionSource::Meter, self.sum_of(&consumed)));
        }
        let imported = all(MeterRole::Grid, Register::Import)?;
        if imported.is_empty() {
            return Ok(used(ConsumptionSource::Unmetered, self.year.sum(&[])));
        }
        let exported = all(MeterRole::Grid, Register::Export)?;
        let parts: Vec<(i64, &Counted)> = imported
            .iter()
            .map(|part| (1, part))
            .chain(exported.iter().map(|part| (-1, part)))
            .chain(plants.iter().map(|made| (1, &made.counted)))
            .collect();
        Ok(used(ConsumptionSource::Balance, self.year.sum(&parts)))
    }

    /// A register of every meter of a role.
    fn registers(
        &self,
        plants: &[&Plant],
        role: MeterRole,
        register: Register,
    ) -> Result<Vec<Counted>, ReportError> {
        let mut parts = Vec::new();
        for (device, meter) in plants.iter().flat_map(|plant| meters(plant, role)) {
            // Consumption there may be before a plant: what no reading states is unknown.
            parts.push(self.year.count(&self.account(device, meter, register)?, i64::MIN));
        }
        Ok(parts)
    }

    fn account(
        &self,
        device: &Device,
        meter: &taraz_fleet::Meter,
        register: Register,
    ) -> Result<Account, ReportError> {
        Ok(account_for(self.archive, device, meter, register, self.now_ms)?)
    }

    fn sum_of(&self, parts: &[Counted]) -> Counted {
        let signed: Vec<(i64, &Counted)> = parts.iter().map(|part| (1, part)).collect();
        self.year.sum(&signed)
    }

    /// The owner's days so far, over the sites of which generation and consumption are both stated: the report names the others.
    fn days(&self, plants: &[Made<'_>], sites: &[Used<'_>]) -> Vec<DutyDay> {
        let stating: Vec<&Made<'_>> = compared(plants).collect();
        let generated: Vec<(i64, &Counted)> = stating.iter().map(|made| (1, &made.counted)).collect();
        let consumed: Vec<(i64, &Counted)> = sites
            .iter()
            .filter(|used| {
                let mut here = stating.iter().map(|made| made.plant.site_id());
                used.counted.energy_wh.is_some() && here.any(|site| site == used.site.id)
            })
            .map(|used| (1, &used.counted))
            .collect();
        let (generated, consumed) = (self.year.sum(&generated), self.year.sum(&consumed));
        (0..self.year.so_far)
            .map(|day| DutyDay {
                generated_wh: generated.days[day],
                consumed_wh: consumed.days[day],
                clear_sky_wh: stating.iter().map(|made| self.clear_wh(made, day)).sum(),
            })
            .collect()
    }

    /// What a plant would generate on a day under a clear sky; nothing before it was commissioned.
    fn clear_wh(&self, made: &Made<'_>, day: usize) -> f64 {
        if self.year.days[day].1 <= made.since_ms {
            0.0
        } else {
            made.clear_wh[day]
        }
    }

    fn conclude(
        &self,
        owner: &Owner,
        due: Due,
        plants: &[Made<'_>],
        sites: &[Used<'_>],
        days: &[DutyDay],
    ) -> OwnerDuty {
        let known = sum_known(days);
        let (generated_wh, consumed_wh) = known.map_or((None, None), |(g, c)| (Some(g), Some(c)));
        let covered = due
            .share_per_myriad
            .zip(known)
            .map(|(share, (generated, consumed))| coverage(share, generated, consumed));
        let ratio = known.map(|(generated, consumed)| coverage(0, generated, consumed).ratio);
        OwnerDuty {
            id: owner.id.clone(),
            name: owner.name.clone(),
            name_fa: owner.name_fa.clone(),
            kind: owner.kind,
            share_per_myriad: due.share_per_myriad,
            is_exception: due.is_exception,
            known_days: known_days(days),
            generated_wh,
            consumed_wh,
            due_wh: covered.map(|covered| covered.due_wh),
            gap_wh: covered.map(|covered| covered.gap_wh),
            covered_ratio: ratio.flatten(),
            completeness: completeness(known_days(days), days.len()),
            left_out_generated_wh: left_out_wh(plants),
            flags: owner_flags(plants, sites, days),
            projection: self.project(due, plants, days),
            peak_w: plants.iter().map(|made| made.plant.peak_w()).sum(),
            months: self.months(days),
            plants: plants.iter().map(plant_year).collect(),
            sites: sites.iter().map(site_year).collect(),
        }
    }

    fn project(&self, due: Due, plants: &[Made<'_>], days: &[DutyDay]) -> Option<ProjectedYear> {
        let share = due.share_per_myriad?;
        let stating: Vec<&Made<'_>> = compared(plants).collect();
        let clear_wh = |day| -> f64 { stating.iter().map(|made| self.clear_wh(made, day)).sum() };
        let left: Vec<f64> = (self.year.so_far..self.year.days.len()).map(clear_wh).collect();
        let projected = project(share, days, &left)?;
        let gap_wh = range(projected.gap_wh);
        Some(ProjectedYear {
            generated_wh: range(projected.generated_wh),
            consumed_wh: range(projected.consumed_wh),
            due_wh: projected.coverage(share).due_wh,
            gap_wh,
            missing_peak_w: self.missing_peak_w(&projected, &stating, clear_wh),
            gap_rial: due.rial_per_kwh.map(|price| rial(price, gap_wh.mid)),
        })
    }

    /// The power to be built, at the yield of these plants over a whole year.
    fn missing_peak_w(
        &self,
        projected: &Projection,
        plants: &[&Made<'_>],
        clear_wh: impl Fn(usize) -> f64,
    ) -> Option<i64> {
        let peak_kw = plants.iter().map(|made| made.plant.peak_w()).sum::<u64>() as f64 / W_PER_KW;
        let standing_wh: f64 = (0..self.year.days.len()).map(clear_wh).sum();
        let all_year_wh: f64 = plants.iter().flat_map(|made| made.clear_wh).sum();
        if peak_kw <= 0.0 || standing_wh <= 0.0 {
            return None;
        }
        let year_kwh = projected.generated_wh.mid / WH_PER_KWH * (all_year_wh / standing_wh);
        missing_kwp(projected.gap_wh.mid, year_kwh / peak_kw).map(|kwp| whole(kwp * W_PER_KW))
    }

    fn months(&self, days: &[DutyDay]) -> Vec<MonthDuty> {
        let mut months: BTreeMap<i8, Vec<DutyDay>> = BTreeMap::new();
        for (&(start_ms, _), day) in self.year.days.iter().zip(days) {
            // Every day of a Jalali year that exists has a Jalali date.
            if let Ok(date) = Jalali::from_gregorian(date_of_ms(start_ms)) {
                months.entry(date.month()).or_default().push(*day);
            }
        }
        let month = |(month, days): (i8, Vec<DutyDay>)| {
            let known = sum_known(&days);
            MonthDuty {
                month,
                days: days.len(),
                known_days: known_days(&days),
                generated_wh: known.map(|(generated, _)| generated),
                consumed_wh: known.map(|(_, consumed)| consumed),
            }
        };
        months.into_iter().map(month).collect()
    }
}

/// The plants whose generation is compared with a consumption.
fn compared<'m, 'p>(plants: &'m [Made<'p>]) -> impl Iterator<Item = &'m Made<'p>> {
    plants.iter().filter(|made| made.is_compared)
}

/// What was generated where no consumption is known; `None` when nothing was.
fn left_out_wh(plants: &[Made<'_>]) -> Option<i64> {
    let left_out = plants.iter().filter(|made| !made.is_compared);
    left_out
        .filter_map(|made| made.counted.energy_wh)
        .reduce(|sum, wh| sum + wh)
}

/// The meters of a plant that have a role.
fn meters(plant: &Plant, role: MeterRole) -> impl Iterator<Item = (&Device, &taraz_fleet::Meter)> {
    let all = plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)));
    all.filter(move |(_, meter)| meter.role == role)
}

/// Both energies of the days on which both are known; `None` when there is no such day.
fn sum_known(days: &[DutyDay]) -> Option<(i64, i64)> {
    days.iter()
        .filter_map(|day| day.generated_wh.zip(day.consumed_wh))
        .reduce(|sum, day| (sum.0 + day.0, sum.1 + day.1))
}

fn known_days(days: &[DutyDay]) -> usize {
    days.iter()
        .filter(|day| day.generated_wh.is_some() && day.consumed_wh.is_some())
        .count()
}

/// The share of the days that are over which the figures are of.
fn completeness(known_days: usize, days: usize) -> f64 {
    rounded(known_days as f64 / days.max(1) as f64)
}

/// What has to be said beside an owner's figures.
fn owner_flags(plants: &[Made<'_>], sites: &[Used<'_>], days: &[DutyDay]) -> Vec<&'static str> {
    let has = |source| sites.iter().any(|used| used.source == source);
    let is_silent = |used: &Used<'_>| {
        let is_metered = matches!(used.source, ConsumptionSource::Meter | ConsumptionSource::Balance);
        is_metered && used.counted.energy_wh.is_none()
    };
    let marks = [
        ("unmetered_site", has(ConsumptionSource::Unmetered)),
        ("shared_site", has(ConsumptionSource::Shared)),
        ("silent_site", sites.iter().any(is_silent)),
        (
            "silent_plant",
            plants.iter().any(|made| made.counted.energy_wh.is_none()),
        ),
        ("days_left_out", known_days(days) < days.len()),
    ];
    marks
        .iter()
        .filter(|(_, holds)| *holds)
        .map(|(flag, _)| *flag)
        .collect()
}

fn plant_year(made: &Made<'_>) -> PlantYear {
    PlantYear {
        id: made.plant.id.clone(),
        name: made.plant.name.clone(),
        name_fa: made.plant.name_fa.clone(),
        peak_w: made.plant.peak_w(),
        generated_wh: made.counted.energy_wh,
        completeness: rounded(made.counted.completeness),
        flags: made.counted.flags.words().collect(),
    }
}

fn site_year(used: &Used<'_>) -> SiteYear {
    SiteYear {
        id: used.site.id.clone(),
        name: used.site.name.clone(),
        name_fa: used.site.name_fa.clone(),
        source: used.source,
        consumed_wh: used.counted.energy_wh,
        completeness: rounded(used.counted.completeness),
        flags: used.counted.flags.words().collect(),
    }
}

/// What energy costs at one price for every hour.
fn rial(rial_per_kwh: i64, energy_wh: i64) -> i64 {
    let price = Tariff {
        peak_rial_per_kwh: rial_per_kwh,
        middle_rial_per_kwh: rial_per_kwh,
        off_peak_rial_per_kwh: rial_per_kwh,
    };
    price.value(BandKind::Middle, energy_wh).0
}

fn range(estimate: Estimate) -> Range {
    Range {
        low: whole(estimate.low),
        mid: whole(estimate.mid),
        high: whole(estimate.high),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "energies and powers of a fleet are far below 2^63; a cast of more saturates"
)]
fn whole(number: f64) -> i64 {
    number.round() as i64
}

/// Six decimals are more than any completeness means.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1e6).round() / 1e6
}
