//! The present as it is shown: plant by plant, site by site, device by device.

use taraz_analytics::imbalance::EnergyBalance;
use taraz_fleet::{Device, Fleet, Meter, Plant, Site};
use taraz_telemetry::MeterRole;

use super::expected;
use super::places::{Places, meters_of};
use super::present::{DeviceState, MeterState, Present, newest_ms};
use crate::analytics::{PlantModel, day_start_ms, phase_imbalance};
use crate::view::{DeviceView, MeterView, PlantView, SiteView, View};

/// A plant with what is known of its meters, in the order of the registry.
#[derive(Clone, Copy)]
pub(super) struct Shown<'p> {
    pub(super) plant: &'p Plant,
    states: &'p [Option<MeterState>],
    now_ms: i64,
}

impl<'p> Shown<'p> {
    fn new(fleet: &'p Fleet, places: &Places, present: &'p Present, at: usize, now_ms: i64) -> Option<Self> {
        Some(Self {
            plant: fleet.plants.get(at)?,
            states: present.meters.get(places.plant(at))?,
            now_ms,
        })
    }

    /// Its meters, each with its newest reading.
    pub(super) fn meters(&self) -> impl Iterator<Item = (&'p Device, &'p Meter, Option<&'p MeterState>)> {
        let states = self.states.iter().map(Option::as_ref);
        meters_of(self.plant)
            .zip(states)
            .map(|((device, meter), state)| (device, meter, state))
    }

    /// Its meters, each with its newest reading unless that is too old.
    pub(super) fn fresh(&self) -> impl Iterator<Item = (&'p Meter, Option<&'p MeterState>)> {
        let now_ms = self.now_ms;
        self.meters()
            .map(move |(_, meter, state)| (meter, state.filter(|state| !state.is_stale(now_ms))))
    }

    fn newest_ms(&self) -> Option<i64> {
        newest_ms(self.states)
    }
}

pub(super) fn view(
    fleet: &Fleet,
    places: &Places,
    models: &[PlantModel],
    present: &Present,
    now_ms: i64,
) -> View {
    let shown = |at| Shown::new(fleet, places, present, at, now_ms);
    let plants = models.iter().enumerate();
    let sites = fleet.sites.iter().enumerate();
    let unknown = DeviceState::default();
    let devices = fleet.devices().map(|found| {
        let state = present.devices.get(found.number).unwrap_or(&unknown);
        let health = state.health.as_deref();
        DeviceView {
            id: found.device.id.clone(),
            plant: found.plant.id.clone(),
            last_reading_ms: state.last_reading_ms,
            last_received_ms: state.last_received_ms,
            queue_records: health.map(|health| health.queue_records),
            health: health.filter(|health| health.is_fresh(now_ms)).cloned(),
        }
    });
    View {
        now_ms,
        plants: plants
            .filter_map(|(at, model)| Some(plant_view(present, &shown(at)?, model, at)))
            .collect(),
        sites: sites
            .map(|(at, site)| {
                let plants: Vec<_> = places.site(at).iter().filter_map(|&at| shown(at)).collect();
                site_view(present, site, &plants, now_ms)
            })
            .collect(),
        devices: devices.collect(),
    }
}

fn plant_view(present: &Present, shown: &Shown<'_>, model: &PlantModel, at: usize) -> PlantView {
    let (plant, now_ms) = (shown.plant, shown.now_ms);
    let figures = present.fresh_figures(now_ms);
    let own = figures.and_then(|figures| figures.plants.get(&plant.id));
    let today = own.filter(|_| figures.is_some_and(|figures| figures.day_start_ms == day_start_ms(now_ms)));
    let draining = present.is_draining(at, now_ms);
    let sky = model.sky(now_ms);
    let mut meters: Vec<MeterView> = shown
        .meters()
        .map(|(device, meter, newest)| meter_view(device, meter, newest, now_ms))
        .collect();
    expected::add_strings(shown, &mut meters);
    PlantView {
        id: plant.id.clone(),
        site: plant.site_id().to_owned(),
        power_w: power_w(std::slice::from_ref(shown), MeterRole::Inverter),
        meters,
        energy_today_wh: today.and_then(|own| own.energy_today_wh),
        completeness_today: today.map_or(0.0, |own| own.completeness_today),
        energy_total_wh: own.filter(|_| !draining).and_then(|own| own.energy_total_wh),
        energy_correction_wh: own.filter(|_| !draining).and_then(|own| own.energy_correction_wh),
        peer_yield_ratio: own.and_then(|own| own.peer_yield_ratio),
        expected: expected::plant_expected(present, shown, model, sky.as_ref(), now_ms),
        sun_elevation_deg: sky.map_or(f64::NAN, |sky| sky.sun.elevation_deg()),
        draining,
        last_reading_ms: shown.newest_ms(),
    }
}

fn meter_view(device: &Device, meter: &Meter, newest: Option<&MeterState>, now_ms: i64) -> MeterView {
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

/// The power of all meters of a role in W; `None` when one of them is stale, or when there is none.
fn power_w(plants: &[Shown<'_>], role: MeterRole) -> Option<i64> {
    let meters = plants.iter().flat_map(Shown::fresh);
    let mut powers = meters
        .filter(|(meter, _)| meter.role == role)
        .map(|(_, state)| state.and_then(MeterState::ac_power_w));
    let first = powers.next()??;
    powers.try_fold(first, |sum, power| Some(sum + power?))
}

fn site_view(present: &Present, site: &Site, plants: &[Shown<'_>], now_ms: i64) -> SiteView {
    let power_w = |role| power_w(plants, role);
    let has_consumption_meter = plants
        .iter()
        .flat_map(|shown| meters_of(shown.plant))
        .any(|(_, meter)| meter.role == MeterRole::Consumption);
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
        last_reading_ms: plants.iter().filter_map(Shown::newest_ms).max(),
    }
}
