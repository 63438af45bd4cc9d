//! `GET /api/v1/gaps`: of every record that the devices have written, what became of it, and when what is not here was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;
use taraz_telemetry::DeviceId;

use super::Api;
use super::error::ApiError;
use super::period::Given;
use crate::gaps::{BootGaps, DeviceGaps, GapCounts, Unplaced};
use crate::store::{Store, StoreError};

/// The most boots with gaps that are told of one device, the newest; `taraz gaps` tells all.
const BOOTS_MAX: usize = 100;
/// The most gaps that are told of one boot, the newest.
const GAPS_MAX: usize = 1_000;
/// The longest period, in days.
const DAYS_MAX: i64 = 366;

#[derive(Serialize)]
pub(super) struct Answer {
    now_ms: i64,
    totals: GapCounts,
    devices: Vec<Device>,
}

#[derive(Serialize)]
struct Device {
    device: String,
    /// `null` for a device that is not in the registry.
    plant: Option<String>,
    #[serde(flatten)]
    counts: GapCounts,
    held_by_reason: BTreeMap<String, u64>,
    conflicts: u64,
    /// What nothing places in time, and is in no period; `null` where nobody has asked when.
    unplaced: Option<Unplaced>,
    /// The boots of which something is not here, in their order.
    boots: Vec<BootGaps>,
}

/// What is asked for.
struct Asked {
    device: Option<String>,
    /// UTC ms, the end excluded.
    period: Option<(i64, i64)>,
}

impl Asked {
    fn parse(query: &[(String, String)], now_ms: i64) -> Result<Self, ApiError> {
        let given = Given::of(query, &["device", "from", "to"])?;
        let has_period = given.get("from").or(given.get("to")).is_some();
        let period = has_period.then(|| given.span(now_ms, DAYS_MAX)).transpose()?;
        let device = given.get("device").map(str::to_owned);
        Ok(Self { device, period })
    }

    fn is(&self, device: &DeviceGaps) -> bool {
        self.device.as_deref().is_none_or(|id| id == device.device)
    }

    /// Of one device, or what lies in a period. The records around each gap are looked up for it, which takes too long for all of
    /// a large fleet's.
    const fn is_timed(&self) -> bool {
        self.device.is_some() || self.period.is_some()
    }
}

pub(super) async fn gaps(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Answer>, ApiError> {
    let asked = Asked::parse(&query, (api.now)())?;
    let _turn = api.heavy.acquire().await?;
    let of = Arc::clone(&api);
    let answer = tokio::task::spawn_blocking(move || answer(&of, &asked)).await??;
    Ok(Json(answer))
}

fn answer(api: &Api, asked: &Asked) -> Result<Answer, ApiError> {
    let ledger = api.live.gaps().refresh(&api.store)?;
    let mut answer = Answer {
        now_ms: (api.now)(),
        totals: GapCounts::default(),
        devices: Vec::new(),
    };
    for device in ledger.iter().filter(|device| asked.is(device)) {
        answer.totals.add(&device.counts);
        answer.devices.push(shown(api, asked, device)?);
    }
    match &asked.device {
        Some(id) if answer.devices.is_empty() => Err(ApiError::not_found(format!(
            "nothing was ever received from a device \"{id}\"; /api/v1/gaps lists all"
        ))),
        _ => Ok(answer),
    }
}

fn shown(api: &Api, asked: &Asked, device: &DeviceGaps) -> Result<Device, StoreError> {
    let id = DeviceId::new(&device.device).ok();
    let plant = id.and_then(|id| Some(api.fleet.device(&id)?.plant.id.clone()));
    let (boots, unplaced) = boots(&api.store, asked, device)?;
    Ok(Device {
        device: device.device.clone(),
        plant,
        counts: device.counts,
        held_by_reason: device.held_by_reason.iter().cloned().collect(),
        conflicts: device.conflicts,
        unplaced,
        boots,
    })
}

fn boots(
    store: &Store,
    asked: &Asked,
    device: &DeviceGaps,
) -> Result<(Vec<BootGaps>, Option<Unplaced>), StoreError> {
    if !asked.is_timed() {
        return Ok((bounded(device), None));
    }
    let mut device = device.clone();
    if asked.period.is_none() {
        device.boots = bounded(&device);
    }
    store.snapshot(|snapshot| snapshot.time_gaps(&mut device))?;
    let unplaced = device.unplaced();
    if let Some((from_ms, to_ms)) = asked.period {
        device.retain_within(from_ms, to_ms);
    }
    Ok((bounded(&device), Some(unplaced)))
}

/// The newest boots with gaps, each with its newest gaps.
fn bounded(device: &DeviceGaps) -> Vec<BootGaps> {
    let with_gaps: Vec<_> = device.boots.iter().filter(|boot| !boot.gaps.is_empty()).collect();
    let newest = &with_gaps[with_gaps.len().saturating_sub(BOOTS_MAX)..];
    let one = |boot: &&BootGaps| BootGaps {
        gaps: boot.gaps[boot.gaps.len().saturating_sub(GAPS_MAX)..].to_vec(),
        ..(*boot).clone()
    };
    newest.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;
    use taraz_fleet::Fleet;

    use super::*;
    use crate::http::{Now, Parts};
    use crate::store::Store;

    #[tokio::test]
    async fn the_ledger_is_read_in_a_turn() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
        let now: Now = Arc::new(|| 1_795_422_600_000);
        let store = Store::open(folder.path(), fleet, Arc::clone(&now)).unwrap();
        let api = Arc::new(Api::new(Parts {
            store,
            registry: Registry::new(),
            sinks: Vec::new(),
            now,
            beside: crate::http::BesideSlot::default(),
            token: "0123456789abcdef-token".into(),
        }));
        let asked = || gaps(State(Arc::clone(&api)), Query(Vec::new()));
        assert!(asked().await.is_ok());
        // Nobody gets a turn any more.
        api.heavy.close();
        assert!(asked().await.is_err());
    }
}
