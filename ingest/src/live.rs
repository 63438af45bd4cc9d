//! The present: the newest reading of every meter, and what follows from it.
//!
//! In: what each commit brought, and every few seconds the figures of today from the store. Out: a [`View`] as of an
//! instant, from memory. A value is `None` once three polls of its meter were missed; it never outlives its reading.

mod expected;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use taraz_analytics::imbalance::EnergyBalance;
use taraz_fleet::{Device, Fleet, Meter, Plant, Site};
use taraz_telemetry::{DeviceId, MeterAddress, MeterRole, Quantities};

use crate::analytics::{PlantModel, day_start_ms, phase_imbalance};
use crate::arrivals::{Arrivals, keep_newer};
use crate::figures::{DaySchedules, Figures, Outlook};
use crate::gaps::Gaps;
use crate::store::{Store, StoreError};
use crate::view::{DeviceHealth, DeviceView, MeterView, PlantView, SiteView, View};

/// A meter's values are gone after this many polls were missed.
const POLLS_MISSED_MAX: i64 = 3;
/// The shortest time in which they go: a poll interval of 10 s and less is not held against its jitter.
const STALE_MS_MIN: i64 = 30_000;
/// A meter whose poll interval isn't known yet is taken as polled this often.
const POLL_DEFAULT_MS: i64 = 10_000;
/// How many poll intervals are looked back at.
const INTERVALS_KEPT: usize = 4;
/// A reading this far behind the newest is a backlog's.
const LATE_MS: i64 = 15 * 60_000;
/// A backlog has drained when none of its readings came for so long.
const DRAINED_AFTER_MS: i64 = 10_000;
/// Figures older than this are unknown.
const FIGURES_AGE_MS_MAX: i64 = 60_000;
/// An outlook older than this is unknown: it changes with quarter-hours, and costs more.
const OUTLOOK_AGE_MS_MAX: i64 = 20 * 60_000;

/// A handle on the present; cheap to clone, never blocks on the disk.
#[derive(Clone, Debug)]
pub struct Live {
    fleet: Arc<Fleet>,
    /// What each plant's expectation is made with, in the registry's order.
    models: Arc<Vec<PlantModel>>,
    present: Arc<Mutex<Present>>,
    uploads: Arc<Mutex<DaySchedules>>,
    gaps: Gaps,
}

#[derive(Debug, Default)]
struct Present {
    meters: HashMap<(DeviceId, MeterAddress), MeterState>,
    devices: HashMap<DeviceId, DeviceState>,
    /// When a reading of a backlog came last, by plant.
    late_ms: HashMap<String, i64>,
    figures: Arc<Figures>,
    outlook: Arc<Outlook>,
}

#[derive(Debug, Default)]
struct DeviceState {
    last_reading_ms: Option<i64>,
    last_received_ms: Option<i64>,
    /// What it said of itself last.
    health: Option<DeviceHealth>,
}

#[derive(Debug)]
struct MeterState {
    time_ms: i64,
    values: Quantities,
    /// The last distances between newest readings in ms, a ring.
    intervals_ms: Vec<i64>,
    next: usize,
}

impl MeterState {
    fn new(time_ms: i64, values: &Quantities) -> Self {
        let mut state = Self {
            time_ms,
            values: Quantities::default(),
            intervals_ms: Vec::new(),
            next: 0,
        };
        state.set(time_ms, values);
        state
    }

    fn set(&mut self, time_ms: i64, values: &Quantities) {
        self.time_ms = time_ms;
        self.values.clone_from(values);
    }

    fn ac_power_w(&self) -> Option<i64> {
        self.values.ac_power_w.map(i64::from)
    }

    fn learn(&mut self, interval_ms: i64) {
        if self.intervals_ms.len() < INTERVALS_KEPT {
            self.intervals_ms.push(interval_ms);
        } else {
            self.intervals_ms[self.next] = interval_ms;
        }
        self.next = (self.next + 1) % INTERVALS_KEPT;
    }

    /// Three polls, by the shortest of the last intervals: an outage does not make the next one look shorter.
    fn is_stale(&self, now_ms: i64) -> bool {
        let interval_ms = self.intervals_ms.iter().copied().min().unwrap_or(POLL_DEFAULT_MS);
        now_ms - self.time_ms > (POLLS_MISSED_MAX * interval_ms).max(STALE_MS_MIN)
    }
}

/// What the store remembers of the present when a program starts.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Device, meter, UTC ms, values.
    pub(crate) meters: Vec<(DeviceId, MeterAddress, i64, Quantities)>,
    /// Device, newest reading, last arrival, UTC ms.
    pub(crate) devices: Vec<(DeviceId, Option<i64>, Option<i64>)>,
}

impl Live {
    pub(crate) fn new(fleet: Arc<Fleet>, remembered: Remembered) -> Self {
        let mut present = Present::default();
        for (device, meter, time_ms, values) in remembered.meters {
            present
                .meters
                .insert((device, meter), MeterState::new(time_ms, &values));
        }
        for (device, last_reading_ms, last_received_ms) in remembered.devices {
            present.devices.insert(
                device,
                DeviceState {
                    last_reading_ms,
                    last_received_ms,
                    health: None,
                },
            );
        }
        let models = fleet.plants.iter().map(|plant| PlantModel::of(&fleet, plant));
        Self {
            models: Arc::new(models.collect()),
            fleet,
            present: Arc::new(Mutex::new(present)),
            uploads: Arc::default(),
            gaps: Gaps::default(),
        }
    }

    /// What became of every record that the devices have written.
    #[must_use]
    pub const fn gaps(&self) -> &Gaps {
        &self.gaps
    }

    /// The present as of `now_ms` (UTC ms).
    #[must_use]
    pub fn view(&self, now_ms: i64) -> View {
        let present = self.lock();
        let plants = self
            .fleet
            .plants
            .iter()
            .zip(&*self.models)
            .map(|(plant, model)| plant_view(&present, plant, model, now_ms))
            .collect();
        let sites = self
            .fleet
            .sites
            .iter()
            .map(|site| site_view(&self.fleet, &present, site, now_ms))
            .collect();
        let devices = self.fleet.devices().map(|found| {
            let state = present.devices.get(&found.device.id);
            let health = state.and_then(|state| state.health.as_ref());
            DeviceView {
                id: found.device.id.clone(),
                plant: found.plant.id.clone(),
                last_reading_ms: state.and_then(|state| state.last_reading_ms),
                last_received_ms: state.and_then(|state| state.last_received_ms),
                queue_records: health.map(|health| health.queue_records),
                health: health.filter(|health| health.is_fresh(now_ms)).cloned(),
            }
        });
        View {
            now_ms,
            plants,
            sites,
            devices: devices.collect(),
        }
    }

    /// Takes in what a commit brought.
    pub(crate) fn arrived(&self, arrivals: &Arrivals) {
        let mut present = self.lock();
        for (id, device) in arrivals.devices() {
            let state = present.devices.entry(id.clone()).or_default();
            state.last_reading_ms = state.last_reading_ms.max(device.newest_ms);
            state.last_received_ms = Some(arrivals.now_ms());
            if let Some(health) = &device.health {
                keep_newer(&mut state.health, health);
            }
        }
        for (device, meter, meter_arrivals) in arrivals.meters() {
            let Some(found) = self.fleet.device(device) else {
                continue;
            };
            let newest_ms = present.newest_of(found.plant).max(Some(arrivals.now_ms()));
            let is_late = |time_ms: &i64| newest_ms.is_some_and(|newest_ms| *time_ms < newest_ms - LATE_MS);
            if meter_arrivals.times_ms.iter().any(is_late) {
                present.late_ms.insert(found.plant.id.clone(), arrivals.now_ms());
            }
            let Some(newest) = &meter_arrivals.newest else {
                continue;
            };
            let key = (device.clone(), meter);
            let known = present.meters.contains_key(&key);
            let state = present
                .meters
                .entry(key)
                .or_insert_with(|| MeterState::new(newest.time_ms, &newest.values));
            if known {
                state.follow(&meter_arrivals.times_ms);
            }
            if newest.time_ms >= state.time_ms {
                state.set(newest.time_ms, &newest.values);
            }
        }
    }

    /// Computes the figures of today from the store, which blocks on the disk.
    ///
    /// # Errors
    /// [`StoreError`]; the old figures stay until they are too old to be shown.
    pub fn refresh(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let figures = Figures::compute(store, now_ms)?;
        self.lock().figures = Arc::new(figures);
        Ok(())
    }

    /// Computes from the store what is expected of today and how its sites balance, which blocks on the disk for longer than
    /// [`Self::refresh`].
    ///
    /// # Errors
    /// [`StoreError`]; the old outlook stays until it is too old to be shown.
    pub fn refresh_outlook(&self, store: &Store, now_ms: i64) -> Result<(), StoreError> {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let outlook = Outlook::compute(store, &mut uploads, now_ms)?;
        drop(uploads);
        self.lock().outlook = Arc::new(outlook);
        Ok(())
    }

    /// A panic of another holder can't leave it half-changed in a way that matters: every field is replaced whole.
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MeterState {
    /// Learns the poll interval from readings newer than the newest.
    fn follow(&mut self, times_ms: &[i64]) {
        let mut newest_ms = self.time_ms;
        for &time_ms in times_ms {
            if time_ms > newest_ms {
                self.learn(time_ms - newest_ms);
                newest_ms = time_ms;
            }
        }
    }
}

impl Present {
    fn meter(&self, device: &Device, meter: &Meter) -> Option<&MeterState> {
        self.meters.get(&(device.id.clone(), meter.address))
    }

    fn newest_of(&self, plant: &Plant) -> Option<i64> {
        let meters = plant
            .devices
            .iter()
            .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)));
        meters
            .filter_map(|(device, meter)| self.meter(device, meter).map(|state| state.time_ms))
            .max()
    }

    fn is_draining(&self, plant: &str, now_ms: i64) -> bool {
        self.late_ms
            .get(plant)
            .is_some_and(|late_ms| now_ms - late_ms <= DRAINED_AFTER_MS)
    }

    /// The power of all meters of a role in W; `None` when one of them is stale, or when there is none.
    fn power_w<'p>(
        &self,
        plants: impl Iterator<Item = &'p Plant>,
        role: MeterRole,
        now_ms: i64,
    ) -> Option<i64> {
        let meters = plants
            .flat_map(|plant| &plant.devices)
            .flat_map(|d| d.meters.iter().map(move |m| (d, m)));
        let mut powers = meters
            .filter(|(_, meter)| meter.role == role)
            .map(|(device, meter)| {
                self.meter(device, meter)
                    .filter(|state| !state.is_stale(now_ms))
                    .and_then(MeterState::ac_power_w)
            });
        let first = powers.next()??;
        powers.try_fold(first, |sum, power| Some(sum + power?))
    }

    fn fresh_figures(&self, now_ms: i64) -> Option<&Figures> {
        Some(&*self.figures).filter(|figures| (now_ms - figures.at_ms).abs() <= FIGURES_AGE_MS_MAX)
    }
}

impl Present {
    /// The outlook, while it is of today and not too old.
    fn fresh_outlook(&self, now_ms: i64) -> Option<&Outlook> {
        let is_fresh = |outlook: &&Outlook| {
            (now_ms - outlook.at_ms).abs() <= OUTLOOK_AGE_MS_MAX
                && outlook.day_start_ms == day_start_ms(now_ms)
        };
        Some(&*self.outlook).filter(is_fresh)
    }

    /// What a meter of this plant says now; `None` after three missed polls.
    fn fresh(&self, device: &Device, meter: &Meter, now_ms: i64) -> Option<&Quantities> {
        let state = self.meter(device, meter)?;
        (!state.is_stale(now_ms)).then_some(&state.values)
    }
}

fn plant_view(present: &Present, plant: &Plant, model: &PlantModel, now_ms: i64) -> PlantView {
    let figures = present.fresh_figures(now_ms);
    let own = figures.and_then(|figures| figures.plants.get(&plant.id));
    let today = own.filter(|_| figures.is_some_and(|figures| figures.day_start_ms == day_start_ms(now_ms)));
    let draining = present.is_draining(&plant.id, now_ms);
    let sky = model.sky(now_ms);
    let mut meters: Vec<MeterView> = meters_of(plant)
        .map(|(device, meter)| meter_view(present, device, meter, now_ms))
        .collect();
    expected::add_strings(present, plant, &mut meters, now_ms);
    PlantView {
        id: plant.id.clone(),
        site: plant.site_id().to_owned(),
        power_w: present.power_w(std::iter::once(plant), MeterRole::Inverter, now_ms),
        meters,
        energy_today_wh: today.and_then(|own| own.energy_today_wh),
        completeness_today: today.map_or(0.0, |own| own.completeness_today),
        energy_total_wh: own.filter(|_| !draining).and_then(|own| own.energy_total_wh),
        energy_correction_wh: own.filter(|_| !draining).and_then(|own| own.energy_correction_wh),
        peer_yield_ratio: own.and_then(|own| own.peer_yield_ratio),
        expected: expected::plant_expected(present, plant, model, sky.as_ref(), now_ms),
        sun_elevation_deg: sky.map_or(f64::NAN, |sky| sky.sun.elevation_deg()),
        draining,
        last_reading_ms: present.newest_of(plant),
    }
}

fn meters_of(plant: &Plant) -> impl Iterator<Item = (&Device, &Meter)> {
    plant
        .devices
        .iter()
        .flat_map(|device| device.meters.iter().map(move |meter| (device, meter)))
}

fn meter_view(present: &Present, device: &Device, meter: &Meter, now_ms: i64) -> MeterView {
    let newest = present.meter(device, meter);
    let fresh = newest.filter(|state| !state.is_stale(now_ms));
    MeterView {
        device: device.id.clone(),
        meter: meter.address,
        role: meter.role,
        ac_power_w: fresh.and_then(MeterState::ac_power_w),
        state: fresh.and_then(|state| state.values.state),
        phases: fresh.and_then(|state| phase_imbalance(&state.values)),
        strings: Vec::new(),
        last_ms: newest.map(|state| state.time_ms),
    }
}

fn site_view(fleet: &Fleet, present: &Present, site: &Site, now_ms: i64) -> SiteView {
    let power_w = |role| present.power_w(fleet.plants_at(&site.id), role, now_ms);
    let has_consumption_meter = fleet
        .plants_at(&site.id)
        .flat_map(|plant| &plant.devices)
        .flat_map(|device| &device.meters)
        .any(|meter| meter.role == MeterRole::Consumption);
    let (generated_w, grid_w) = (power_w(MeterRole::Inverter), power_w(MeterRole::Grid));
    // As for energy: the consumption meter's statement goes first, the grid meter's is the same by the balance.
    let (consumed_w, imbalance_w) = if has_consumption_meter {
        let consumed_w = power_w(MeterRole::Consumption);
        (
            consumed_w,
            consumed_w
                .zip(generated_w)
                .map(|(consumed, generated)| consumed - generated),
        )
    } else {
        (
            grid_w.zip(generated_w).map(|(grid, generated)| grid + generated),
            grid_w,
        )
    };
    let figures = present
        .fresh_figures(now_ms)
        .filter(|figures| figures.day_start_ms == day_start_ms(now_ms));
    let today = figures
        .and_then(|figures| figures.sites.get(&site.id))
        .copied()
        .unwrap_or_default();
    let balance = present
        .fresh_outlook(now_ms)
        .and_then(|outlook| outlook.sites.get(&site.id));
    SiteView {
        id: site.id.clone(),
        imbalance_w,
        consumed_w,
        grid_w,
        generated_today_wh: today.generated_wh,
        consumed_today_wh: today.consumed_wh,
        import_today_wh: today.import_wh,
        export_today_wh: today.export_wh,
        imbalance_today_wh: today.imbalance_wh,
        self_consumption_today: balance.and_then(EnergyBalance::self_consumption),
        self_sufficiency_today: balance.and_then(EnergyBalance::self_sufficiency),
        last_reading_ms: fleet
            .plants_at(&site.id)
            .filter_map(|plant| present.newest_of(plant))
            .max(),
    }
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
