//! `GET /api/v1/plants`, `/api/v1/sites` and `/api/v1/sinks`: the present with the registry's names.
//!
//! In: the present, the registry, today's quarter-hours. Out: JSON with units in the names and `null` for what is unknown,
//! and for each plant in one word what it does and why somebody should go there.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use taraz_fleet::{Fleet, Plant, Site};

use super::Api;
use super::error::ApiError;
use super::judge::{Need, State as PlantState, judge};
use crate::analytics::day_start_ms;
use crate::figures::is_metered;
use crate::gaps::{DeviceGaps, GapCounts};
use crate::sinks::SinkSnapshot;
use crate::view::{DeviceHealth, DeviceView, IntervalRow, PlantExpected, PlantView, SiteView, Step, View};

/// How old today's quarter-hours may be: every page asks every few seconds, and a quarter-hour lasts 900.
const TODAY_AGE_MS: i64 = 10_000;

#[derive(Serialize)]
pub(super) struct Plants {
    now_ms: i64,
    day_start_ms: i64,
    time_zone: &'static str,
    totals: Totals,
    backlog: Backlog,
    plants: Vec<PlantJson>,
}

/// Sums over what is known; `null` when nothing is.
#[derive(Debug, PartialEq, Serialize)]
struct Totals {
    plants: usize,
    plants_live: usize,
    plants_needing_attention: usize,
    ac_power_w: Option<i64>,
    peak_w: u64,
    generated_today_wh: Option<i64>,
    /// Over the sites whose balance is known.
    imbalance_w: Option<i64>,
    sites: usize,
    sites_known: usize,
}

#[derive(Debug, PartialEq, Serialize)]
struct Backlog {
    plants_draining: usize,
    /// What the devices of draining plants said is still in their queues; `null` until one said it.
    records_remaining: Option<u64>,
    /// How far it is since it was highest, 0 to 1000.
    progress_permille: Option<u64>,
}

#[derive(Serialize)]
struct Named {
    id: String,
    name: String,
    name_fa: String,
}

#[derive(Serialize)]
struct OwnerJson {
    #[serde(flatten)]
    named: Named,
    kind: &'static str,
}

#[derive(Serialize)]
struct PlantJson {
    #[serde(flatten)]
    named: Named,
    district: Named,
    owner: OwnerJson,
    site_id: String,
    peak_w: u64,
    inverter_ac_w: u32,
    state: PlantState,
    /// Why somebody should look at it, the worst first; empty when nobody need.
    needs: Vec<Need>,
    /// Nothing of its inverters is known now.
    stale: bool,
    draining: bool,
    ac_power_w: Option<i64>,
    generated_today_wh: Option<i64>,
    completeness_today: f64,
    /// Of its site: consumption − generation, above zero is a deficit.
    imbalance_w: Option<i64>,
    /// Its site has a consumption or grid meter.
    balance_metered: bool,
    last_reading_ms: Option<i64>,
    last_reading_age_s: Option<i64>,
    peer_yield_ratio: Option<f64>,
    sun_elevation_deg: f64,
    /// What a model expects of it; never a measurement of its energy.
    expected: PlantExpected,
    /// Generated in each quarter-hour since midnight in Tehran; `null` also where only the sum over a longer gap is known.
    generated_quarters_wh: Vec<Option<i64>>,
    devices: Vec<DeviceJson>,
    /// What became of the records that its devices have written; `null` before anybody has looked.
    gaps: Option<GapCounts>,
}

#[derive(Serialize)]
struct DeviceJson {
    id: String,
    last_reading_ms: Option<i64>,
    stale: bool,
    /// How it is, by its own diagnostics; `null` while it has not said it lately.
    health: Option<DeviceHealth>,
}

#[derive(Serialize)]
pub(super) struct Sites {
    now_ms: i64,
    sites: Vec<SiteJson>,
}

#[derive(Serialize)]
struct SiteJson {
    #[serde(flatten)]
    named: Named,
    plants: Vec<String>,
    balance_metered: bool,
    imbalance_w: Option<i64>,
    consumed_w: Option<i64>,
    grid_w: Option<i64>,
    generated_today_wh: Option<i64>,
    consumed_today_wh: Option<i64>,
    import_today_wh: Option<i64>,
    export_today_wh: Option<i64>,
    imbalance_today_wh: Option<i64>,
    self_consumption_today: Option<f64>,
    self_sufficiency_today: Option<f64>,
    last_reading_ms: Option<i64>,
}

#[derive(Serialize)]
pub(super) struct Sinks {
    sinks: Vec<SinkSnapshot>,
}

/// Today's quarter-hours of every plant, as they were read last, and how high the backlog was.
#[derive(Debug, Default)]
pub(super) struct Today {
    at_ms: Option<i64>,
    quarters: Arc<HashMap<String, Vec<Option<i64>>>>,
    backlog_most: u64,
}

pub(super) async fn plants(State(api): State<Arc<Api>>) -> Result<Json<Plants>, ApiError> {
    let now_ms = (api.now)();
    let view = api.live.view(now_ms);
    let mut today = api.today.lock().await;
    refresh(&api, &mut today, now_ms).await?;
    let mut answer = describe(&api.fleet, &view, &today.quarters);
    answer.backlog = backlog(&view, &mut today.backlog_most);
    if let Some(ledger) = api.live.gaps().devices() {
        add_gaps(&mut answer.plants, &ledger);
    }
    Ok(Json(answer))
}

pub(super) async fn sites(State(api): State<Arc<Api>>) -> Json<Sites> {
    let now_ms = (api.now)();
    let view = api.live.view(now_ms);
    let sites = api.fleet.sites.iter();
    let registry: HashMap<_, _> = sites.map(|site| (site.id.as_str(), site)).collect();
    let one = |site: &SiteView| site_json(&api.fleet, registry.get(site.id.as_str()).copied(), site);
    Json(Sites {
        now_ms,
        sites: view.sites.iter().map(one).collect(),
    })
}

pub(super) async fn sinks(State(api): State<Arc<Api>>) -> Json<Sinks> {
    Json(Sinks {
        sinks: api.sinks.iter().map(|sink| sink.snapshot()).collect(),
    })
}

/// Reads today's quarter-hours from the store unless they were read just now.
async fn refresh(api: &Api, today: &mut Today, now_ms: i64) -> Result<(), ApiError> {
    let fresh =
        |at: i64| (0..TODAY_AGE_MS).contains(&(now_ms - at)) && day_start_ms(at) == day_start_ms(now_ms);
    if today.at_ms.is_some_and(fresh) {
        return Ok(());
    }
    let (store, fleet) = (api.store.clone(), Arc::clone(&api.fleet));
    let read = tokio::task::spawn_blocking(move || {
        let from_ms = day_start_ms(now_ms);
        let of = |plant: &Plant| {
            let rows = store.intervals(&plant.id, from_ms, now_ms.max(from_ms + 1), Step::Quarter)?;
            Ok((plant.id.clone(), rows.iter().map(of_quarter).collect()))
        };
        fleet
            .plants
            .iter()
            .map(of)
            .collect::<Result<_, crate::store::StoreError>>()
    });
    today.quarters = Arc::new(read.await??);
    today.at_ms = Some(now_ms);
    Ok(())
}

/// What is known of a quarter-hour by itself: energy that was spread over a longer gap has a sum but no shape.
fn of_quarter(row: &IntervalRow) -> Option<i64> {
    row.generated_wh.filter(|&wh| wh == 0 || !row.flags.spread)
}

/// Puts registry and present together; those that need someone come first.
fn describe(fleet: &Fleet, view: &View, quarters: &HashMap<String, Vec<Option<i64>>>) -> Plants {
    let sites: HashMap<_, _> = view.sites.iter().map(|site| (site.id.as_str(), site)).collect();
    let registry: HashMap<_, _> = fleet
        .plants
        .iter()
        .map(|plant| (plant.id.as_str(), plant))
        .collect();
    let mut devices: HashMap<_, Vec<_>> = HashMap::new();
    for device in &view.devices {
        devices.entry(device.plant.as_str()).or_default().push(device);
    }
    let one = |plant: &PlantView| {
        let registered = *registry.get(plant.id.as_str())?;
        let imbalance_w = sites.get(plant.site.as_str()).and_then(|site| site.imbalance_w);
        let quarters = quarters.get(&plant.id).cloned().unwrap_or_default();
        let devices = devices.get(plant.id.as_str()).map_or(&[][..], Vec::as_slice);
        Some(PlantJson {
            imbalance_w,
            generated_quarters_wh: quarters,
            ..plant_json(fleet, registered, (plant, devices), view.now_ms)
        })
    };
    let mut plants: Vec<_> = view.plants.iter().filter_map(one).collect();
    // Stable: within the same need the registry's order stays.
    plants.sort_by_key(|plant| plant.needs.first().map_or(u8::MAX, |need| *need as u8));
    let known: Vec<_> = view.sites.iter().filter_map(|site| site.imbalance_w).collect();
    let totals = Totals {
        plants: plants.len(),
        plants_live: plants.iter().filter(|plant| !plant.stale).count(),
        plants_needing_attention: plants.iter().filter(|plant| !plant.needs.is_empty()).count(),
        ac_power_w: sum(plants.iter().map(|plant| plant.ac_power_w)),
        peak_w: plants.iter().map(|plant| plant.peak_w).sum(),
        generated_today_wh: sum(plants.iter().map(|plant| plant.generated_today_wh)),
        imbalance_w: sum(known.iter().copied().map(Some)),
        sites: view
            .sites
            .iter()
            .filter(|site| is_metered(fleet, &site.id))
            .count(),
        sites_known: known.len(),
    };
    Plants {
        now_ms: view.now_ms,
        day_start_ms: day_start_ms(view.now_ms),
        time_zone: "Asia/Tehran",
        totals,
        backlog: Backlog {
            plants_draining: 0,
            records_remaining: None,
            progress_permille: None,
        },
        plants,
    }
}

fn plant_json(
    fleet: &Fleet,
    registered: &Plant,
    (plant, devices): (&PlantView, &[&DeviceView]),
    now_ms: i64,
) -> PlantJson {
    let judgement = judge(plant, now_ms);
    let fresh = |id: &str| {
        plant
            .meters
            .iter()
            .any(|m| m.device.as_str() == id && (m.ac_power_w.is_some() || m.state.is_some()))
    };
    let devices = devices.iter().map(|device| DeviceJson {
        id: device.id.to_string(),
        last_reading_ms: device.last_reading_ms,
        stale: !fresh(device.id.as_str()),
        health: device.health.clone(),
    });
    let owner = fleet.owner(&registered.owner);
    let district = fleet.district(&registered.district);
    PlantJson {
        named: named(&registered.id, Some((&registered.name, &registered.name_fa))),
        district: named(&registered.district, district.map(|d| (&d.name, &d.name_fa))),
        owner: OwnerJson {
            named: named(&registered.owner, owner.map(|o| (&o.name, &o.name_fa))),
            kind: owner.map_or("", |o| o.kind.as_str()),
        },
        site_id: plant.site.clone(),
        peak_w: registered.peak_w(),
        inverter_ac_w: registered.inverter_ac_w,
        state: judgement.state,
        needs: judgement.needs,
        stale: plant.power_w.is_none(),
        draining: plant.draining,
        ac_power_w: plant.power_w,
        generated_today_wh: plant.energy_today_wh,
        completeness_today: rounded(plant.completeness_today, 1e3),
        imbalance_w: None,
        balance_metered: is_metered(fleet, &plant.site),
        last_reading_ms: plant.last_reading_ms,
        last_reading_age_s: plant.last_reading_ms.map(|ms| (now_ms - ms).max(0) / 1_000),
        peer_yield_ratio: plant.peer_yield_ratio.map(|ratio| rounded(ratio, 1e3)),
        sun_elevation_deg: rounded(plant.sun_elevation_deg, 1e2),
        expected: shown(&plant.expected),
        generated_quarters_wh: Vec::new(),
        devices: devices.collect(),
        gaps: None,
    }
}

/// Adds the gap ledger, plant by plant.
fn add_gaps(plants: &mut [PlantJson], ledger: &[DeviceGaps]) {
    for plant in plants {
        let mut counts = GapCounts::default();
        for device in &plant.devices {
            // The ledger is in the order of ids.
            let found = ledger.binary_search_by(|known| known.device.as_str().cmp(&device.id));
            if let Some(known) = found.ok().and_then(|at| ledger.get(at)) {
                counts.add(&known.counts);
            }
        }
        plant.gaps = Some(counts);
    }
}

fn shown(expected: &PlantExpected) -> PlantExpected {
    let to = |value: Option<f64>, scale| value.map(|value| rounded(value, scale));
    PlantExpected {
        power_w: to(expected.power_w, 1.0),
        completeness_today: rounded(expected.completeness_today, 1e3),
        clear_sky_index: to(expected.clear_sky_index, 1e3),
        plane_w_m2: to(expected.plane_w_m2, 1e1),
        performance_ratio_today: to(expected.performance_ratio_today, 1e4),
        ..*expected
    }
}

fn site_json(fleet: &Fleet, registered: Option<&Site>, site: &SiteView) -> SiteJson {
    SiteJson {
        named: named(&site.id, registered.map(|s| (&s.name, &s.name_fa))),
        plants: fleet.plants_at(&site.id).map(|plant| plant.id.clone()).collect(),
        balance_metered: is_metered(fleet, &site.id),
        imbalance_w: site.imbalance_w,
        consumed_w: site.consumed_w,
        grid_w: site.grid_w,
        generated_today_wh: site.generated_today_wh,
        consumed_today_wh: site.consumed_today_wh,
        import_today_wh: site.import_today_wh,
        export_today_wh: site.export_today_wh,
        imbalance_today_wh: site.imbalance_today_wh,
        self_consumption_today: site.self_consumption_today.map(|ratio| rounded(ratio, 1e4)),
        self_sufficiency_today: site.self_sufficiency_today.map(|ratio| rounded(ratio, 1e4)),
        last_reading_ms: site.last_reading_ms,
    }
}

/// How far the backlog is. `most` remembers how high it was since somebody began to send one.
fn backlog(view: &View, most: &mut u64) -> Backlog {
    let plants = view.plants.iter().filter(|plant| plant.draining);
    let draining: HashSet<_> = plants.map(|plant| plant.id.as_str()).collect();
    let queues = view
        .devices
        .iter()
        .filter(|device| draining.contains(device.plant.as_str()));
    let remaining = sum(queues.map(|device| device.queue_records.map(i64::from)));
    let remaining = remaining.and_then(|records| u64::try_from(records).ok());
    *most = remaining.map_or(0, |records| records.max(*most));
    Backlog {
        plants_draining: draining.len(),
        records_remaining: remaining,
        progress_permille: remaining.map(|records| 1_000 - (records * 1_000).checked_div(*most).unwrap_or(0)),
    }
}

fn named(id: &str, names: Option<(&String, &String)>) -> Named {
    let (name, name_fa) = names.map_or((id, id), |(name, name_fa)| (name.as_str(), name_fa.as_str()));
    Named {
        id: id.to_owned(),
        name: name.to_owned(),
        name_fa: name_fa.to_owned(),
    }
}

fn sum(values: impl Iterator<Item = Option<i64>>) -> Option<i64> {
    values.flatten().reduce(|a, b| a + b)
}

/// Rounded for people: more digits than a number is worth only look exact.
pub(super) fn rounded(value: f64, scale: f64) -> f64 {
    (value * scale).round() / scale
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
