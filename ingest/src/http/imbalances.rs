//! `GET /api/v1/imbalances/energy`, `/phase` and `/string`: three of the four imbalances, each with its own name, sign and unit. The fourth is
//! in `settlement`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;
use taraz_analytics::imbalance::EnergyBalance;
use taraz_fleet::Fleet;
use taraz_telemetry::MeterAddress;

use super::Api;
use super::error::ApiError;
use super::fleet::rounded;
use super::period::Given;
use crate::analytics::{PeriodStep, periods};
use crate::figures::{OfMeter, PeriodBalance, PhaseQuarter, StringQuarter, is_metered};
use crate::view::{StringImbalance, VoltageFormula};

/// The most days of energy at once.
const ENERGY_DAYS_MAX: i64 = 3_660;
/// The most site-days of energy at once: a hundred sites for a year.
const SITE_DAYS_MAX: i64 = 36_600;
/// The most days of phases and strings at once: every reading is looked at.
const READING_DAYS_MAX: i64 = 31;
const STEPS: &[PeriodStep] = &[
    PeriodStep::Day,
    PeriodStep::Quarter,
    PeriodStep::Month,
    PeriodStep::JalaliMonth,
    PeriodStep::Year,
    PeriodStep::JalaliYear,
    PeriodStep::Whole,
];
/// The most periods at once.
const PERIODS_MAX: usize = 366 * 96;

/// Whose balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scope {
    Fleet,
    District,
    Owner,
    Site,
}

const SCOPES: &[(&str, Scope)] = &[
    ("fleet", Scope::Fleet),
    ("district", Scope::District),
    ("owner", Scope::Owner),
    ("site", Scope::Site),
];

#[derive(Serialize)]
pub(super) struct Energy {
    scope: Scope,
    id: Option<String>,
    step: &'static str,
    from_ms: i64,
    to_ms: i64,
    time_zone: &'static str,
    sign: &'static str,
    /// The sites that are in the sums.
    sites: Vec<String>,
    /// Sites of the scope without a consumption or grid meter: their consumption is not known, so they are in no sum.
    sites_unmetered: Vec<String>,
    /// Sites where plants of other owners (or districts) stand too: whose the consumption is, is not known.
    sites_shared: Vec<String>,
    periods: Vec<EnergyPeriod>,
}

/// One period; `null` is unknown, and nothing is known of a period without a valid quarter-hour.
#[derive(Serialize)]
struct EnergyPeriod {
    start_ms: i64,
    end_ms: i64,
    label: Option<String>,
    /// Share of the quarter-hours of all its sites that are in the sums.
    completeness: f64,
    generated_wh: Option<i64>,
    consumed_wh: Option<i64>,
    import_wh: Option<i64>,
    export_wh: Option<i64>,
    imbalance_wh: Option<i64>,
    self_consumed_wh: Option<i64>,
    self_consumption_ratio: Option<f64>,
    self_sufficiency_ratio: Option<f64>,
    coverage_ratio: Option<f64>,
    import_max_w: Option<i64>,
    export_max_w: Option<i64>,
    netting_gross_wh: Option<i64>,
    netting_net_wh: Option<i64>,
    netting_benefit_wh: Option<i64>,
}

pub(super) async fn energy(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Energy>, ApiError> {
    let given = Given::of(&query, &["scope", "id", "from", "to", "step"])?;
    let scope = given.word("scope", SCOPES)?;
    let id = given.get("id");
    let step = given.step(STEPS)?;
    let (from_ms, to_ms) = given.span((api.now)(), ENERGY_DAYS_MAX)?;
    let Sites {
        metered,
        unmetered,
        shared,
    } = Sites::of(&api.fleet, scope, id)?;
    let days = (to_ms - from_ms) / super::period::DAY_MS;
    let sites = i64::try_from(metered.len()).unwrap_or(i64::MAX);
    if days.saturating_mul(sites) > SITE_DAYS_MAX {
        let allowed = format!("at most {} days for {sites} sites", SITE_DAYS_MAX / sites.max(1));
        return Err(ApiError::parameter(
            "to",
            given.get("to").unwrap_or("(today's end)"),
            allowed,
        ));
    }
    let periods = periods(from_ms, to_ms, step);
    if periods.len() > PERIODS_MAX {
        let allowed = format!("at most {PERIODS_MAX} periods at once");
        return Err(ApiError::parameter("step", step.as_str(), allowed));
    }
    let _turn = api.heavy.acquire().await?;
    let (store, asked, of_sites) = (api.store.clone(), periods.clone(), metered.clone());
    let balances = tokio::task::spawn_blocking(move || store.balances(&of_sites, &asked)).await??;
    let described = periods
        .iter()
        .zip(&balances)
        .map(|(&period, balance)| energy_period(step, period, balance));
    Ok(Json(Energy {
        scope,
        id: id.map(str::to_owned),
        step: step.as_str(),
        from_ms,
        to_ms,
        time_zone: "Asia/Tehran",
        sign: "imbalance = consumption - generation; above zero is a deficit",
        sites: metered,
        sites_unmetered: unmetered,
        sites_shared: shared,
        periods: described.collect(),
    }))
}

/// The sites of a scope.
#[derive(Default)]
struct Sites {
    metered: Vec<String>,
    unmetered: Vec<String>,
    shared: Vec<String>,
}

impl Sites {
    fn of(fleet: &Fleet, scope: Scope, id: Option<&str>) -> Result<Self, ApiError> {
        let is_known = |id: &str| match scope {
            Scope::Fleet => false,
            Scope::District => fleet.district(id).is_some(),
            Scope::Owner => fleet.owner(id).is_some(),
            Scope::Site => fleet.sites.iter().any(|site| site.id == id),
        };
        match (scope, id) {
            (Scope::Fleet, Some(id)) => {
                return Err(ApiError::parameter("id", id, "nothing: there is one fleet"));
            }
            (Scope::Fleet, None) => {}
            (_, None) => {
                return Err(ApiError::parameter(
                    "id",
                    "",
                    "the id of a site, an owner or a district, as the scope says",
                ));
            }
            (_, Some(id)) if !is_known(id) => {
                let message = format!("the registry has no such site, owner or district: \"{id}\"");
                return Err(ApiError::not_found(message));
            }
            _ => {}
        }
        let mut sites = Self::default();
        for site in &fleet.sites {
            let belongs = |plant: &taraz_fleet::Plant| match scope {
                Scope::Fleet => true,
                Scope::District => Some(plant.district.as_str()) == id,
                Scope::Owner => Some(plant.owner.as_str()) == id,
                Scope::Site => Some(plant.site_id()) == id,
            };
            let all = fleet.plants_at(&site.id).count();
            let own = fleet.plants_at(&site.id).filter(|plant| belongs(plant)).count();
            let list = match own {
                0 => continue,
                _ if own < all => &mut sites.shared,
                _ if is_metered(fleet, &site.id) => &mut sites.metered,
                _ => &mut sites.unmetered,
            };
            list.push(site.id.clone());
        }
        Ok(sites)
    }
}

/// A whole number of what is a thousandth: kWh as Wh, kW as W. Far below 2^53.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn thousandths(value: f64) -> i64 {
    (value * 1e3).round() as i64
}

fn energy_period(step: PeriodStep, (start_ms, end_ms): (i64, i64), period: &PeriodBalance) -> EnergyPeriod {
    let balance = &period.balance;
    let known = |kwh: f64| (balance.valid > 0).then(|| thousandths(kwh));
    let ratio = |value: Option<f64>| value.map(|value| rounded(value, 1e6));
    EnergyPeriod {
        start_ms,
        end_ms,
        label: step.label(start_ms),
        completeness: rounded(balance.completeness().unwrap_or(0.0), 1e6),
        generated_wh: known(balance.generation_kwh),
        consumed_wh: known(balance.load_kwh),
        import_wh: known(balance.import_kwh),
        export_wh: known(balance.export_kwh),
        imbalance_wh: known(balance.imbalance_kwh),
        self_consumed_wh: known(balance.self_consumed_kwh),
        self_consumption_ratio: ratio(EnergyBalance::self_consumption(balance)),
        self_sufficiency_ratio: ratio(EnergyBalance::self_sufficiency(balance)),
        coverage_ratio: ratio(EnergyBalance::coverage(balance)),
        import_max_w: known(balance.import_max_kw),
        export_max_w: known(balance.export_max_kw),
        netting_gross_wh: known(period.netting.gross_kwh),
        netting_net_wh: known(period.netting.net_kwh),
        netting_benefit_wh: known(period.netting.benefit_kwh()),
    }
}

/// What a meter stated over a time.
#[derive(Serialize)]
struct MeterJson<T> {
    device: String,
    meter: MeterAddress,
    role: &'static str,
    quarters: Vec<T>,
}

#[derive(Serialize)]
pub(super) struct Phases {
    plant: String,
    step: &'static str,
    from_ms: i64,
    to_ms: i64,
    meters: Vec<MeterJson<PhaseJson>>,
}

/// Means of a quarter-hour; of the voltage unbalance the root of the mean square.
#[derive(Serialize)]
struct PhaseJson {
    start_ms: i64,
    voltage_unbalance_pct: Option<f64>,
    voltage_unbalance_max_pct: Option<f64>,
    voltage_formula: Option<VoltageFormula>,
    nema_lvur_pct: Option<f64>,
    ieee_pvur_pct: Option<f64>,
    current_unbalance_pct: Option<f64>,
    neutral_current_a: Option<f64>,
    neutral_is_measured: bool,
}

#[derive(Serialize)]
pub(super) struct Strings {
    plant: String,
    step: &'static str,
    from_ms: i64,
    to_ms: i64,
    sign: &'static str,
    meters: Vec<MeterJson<StringJson>>,
}

#[derive(Serialize)]
struct StringJson {
    start_ms: i64,
    inputs: Vec<StringImbalance>,
}

/// The plant and the time that a question about readings names.
fn of_plant(api: &Api, query: &[(String, String)]) -> Result<(String, i64, i64), ApiError> {
    let given = Given::of(query, &["plant", "from", "to"])?;
    let plant = given
        .get("plant")
        .ok_or_else(|| ApiError::parameter("plant", "", "the id of a plant; /api/v1/plants lists them"))?;
    api.must_have(plant)?;
    let (from_ms, to_ms) = given.span((api.now)(), READING_DAYS_MAX)?;
    Ok((plant.to_owned(), from_ms, to_ms))
}

fn meters<T, J>(found: Vec<OfMeter<T>>, describe: impl Fn(T) -> J) -> Vec<MeterJson<J>> {
    let one = |of: OfMeter<T>| MeterJson {
        device: of.device.to_string(),
        meter: of.meter,
        role: of.role.as_str(),
        quarters: of.quarters.into_iter().map(&describe).collect(),
    };
    found.into_iter().map(one).collect()
}

pub(super) async fn phase(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Phases>, ApiError> {
    let (plant, from_ms, to_ms) = of_plant(&api, &query)?;
    let _turn = api.heavy.acquire().await?;
    let (store, asked) = (api.store.clone(), plant.clone());
    let found = tokio::task::spawn_blocking(move || store.phases(&asked, from_ms, to_ms)).await??;
    Ok(Json(Phases {
        plant,
        step: PeriodStep::Quarter.as_str(),
        from_ms,
        to_ms,
        meters: meters(found, phase_json),
    }))
}

fn phase_json(quarter: PhaseQuarter) -> PhaseJson {
    let shown = |value: Option<f64>| value.map(|value| rounded(value, 1e4));
    let mean = quarter.mean;
    PhaseJson {
        start_ms: quarter.start_ms,
        voltage_unbalance_pct: shown(mean.voltage_pct),
        voltage_unbalance_max_pct: shown(quarter.voltage_max_pct),
        voltage_formula: mean.voltage_formula,
        nema_lvur_pct: shown(mean.lvur_pct),
        ieee_pvur_pct: shown(mean.pvur_pct),
        current_unbalance_pct: shown(mean.current_pct),
        neutral_current_a: shown(mean.neutral_current_a),
        neutral_is_measured: mean.neutral_is_measured,
    }
}

pub(super) async fn string(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Strings>, ApiError> {
    let (plant, from_ms, to_ms) = of_plant(&api, &query)?;
    let _turn = api.heavy.acquire().await?;
    let (store, asked) = (api.store.clone(), plant.clone());
    let found = tokio::task::spawn_blocking(move || store.strings(&asked, from_ms, to_ms)).await??;
    let describe = |quarter: StringQuarter| StringJson {
        start_ms: quarter.start_ms,
        inputs: quarter.inputs.into_iter().map(shown).collect(),
    };
    Ok(Json(Strings {
        plant,
        step: PeriodStep::Quarter.as_str(),
        from_ms,
        to_ms,
        sign: "imbalance = power / median of its orientation - 1; below zero is too little",
        meters: meters(found, describe),
    }))
}

fn shown(string: StringImbalance) -> StringImbalance {
    StringImbalance {
        power_w: string.power_w.map(|power_w| rounded(power_w, 1e1)),
        imbalance_pct: string.imbalance_pct.map(|pct| rounded(pct, 1e3)),
        ..string
    }
}
