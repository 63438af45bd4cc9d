//! `GET /api/v1/gaps?device`: of every record that the devices have written, what became of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use serde::Serialize;
use taraz_telemetry::DeviceId;

use super::Api;
use super::error::ApiError;
use crate::gaps::{BootGaps, DeviceGaps, GapCounts};

/// The most boots with gaps that are told of one device, the newest; `taraz gaps` tells all.
const BOOTS_MAX: usize = 100;
/// The most gaps that are told of one boot, the newest.
const GAPS_MAX: usize = 1_000;

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
    /// The boots of which something is not here, in their order.
    boots: Vec<BootGaps>,
}

pub(super) async fn gaps(
    State(api): State<Arc<Api>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Json<Answer>, ApiError> {
    let asked = parse(&query)?;
    let _turn = api.heavy.acquire().await?;
    let (store, live) = (api.store.clone(), api.live.clone());
    let ledger = tokio::task::spawn_blocking(move || live.gaps().refresh(&store)).await??;
    let mut answer = Answer {
        now_ms: (api.now)(),
        totals: GapCounts::default(),
        devices: Vec::new(),
    };
    let is_asked = |device: &&DeviceGaps| asked.as_deref().is_none_or(|id| id == device.device);
    for device in ledger.iter().filter(is_asked) {
        answer.totals.add(&device.counts);
        answer.devices.push(shown(&api, device));
    }
    match asked {
        Some(id) if answer.devices.is_empty() => Err(ApiError::not_found(format!(
            "nothing was ever received from a device \"{id}\"; /api/v1/gaps lists all"
        ))),
        _ => Ok(Json(answer)),
    }
}

fn parse(query: &[(String, String)]) -> Result<Option<String>, ApiError> {
    match query {
        [] => Ok(None),
        [(key, device)] if key == "device" => Ok(Some(device.clone())),
        [(key, value), ..] => Err(ApiError::parameter(
            key,
            value,
            "the only parameter is device, at most once",
        )),
    }
}

fn shown(api: &Api, device: &DeviceGaps) -> Device {
    let id = DeviceId::new(&device.device).ok();
    let plant = id.and_then(|id| Some(api.fleet.device(&id)?.plant.id.clone()));
    let with_gaps: Vec<_> = device.boots.iter().filter(|boot| !boot.gaps.is_empty()).collect();
    let newest = &with_gaps[with_gaps.len().saturating_sub(BOOTS_MAX)..];
    let bounded = |boot: &&BootGaps| BootGaps {
        gaps: boot.gaps[boot.gaps.len().saturating_sub(GAPS_MAX)..].to_vec(),
        ..(*boot).clone()
    };
    Device {
        device: device.device.clone(),
        plant,
        counts: device.counts,
        held_by_reason: device.held_by_reason.iter().cloned().collect(),
        conflicts: device.conflicts,
        boots: newest.iter().map(bounded).collect(),
    }
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
