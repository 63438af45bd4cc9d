//! What of the present comes from models: the power that a plant should have now, and how its inputs do beside each other.

use taraz_analytics::solar::Sky;
use taraz_fleet::Plant;
use taraz_telemetry::MeterRole;

use super::{Present, meters_of};
use crate::analytics::{InverterInputs, Measured, PlantModel, QuarterSky, input_power_w, string_imbalances};
use crate::figures::sensor_of;
use crate::view::{MeterView, PlantExpected};

/// What is expected of a plant: of its power by what its sensor says now, else by what the neighbours said of the last quarter-hours.
pub(super) fn plant_expected(
    present: &Present,
    plant: &Plant,
    model: &PlantModel,
    sky: Option<&Sky>,
    now_ms: i64,
) -> PlantExpected {
    let outlook = present
        .fresh_outlook(now_ms)
        .and_then(|outlook| outlook.plants.get(&plant.id));
    let measured = sensor_of(plant)
        .and_then(|(device, meter)| present.fresh(device, meter, now_ms))
        .map(Measured::of)
        .unwrap_or_default();
    let index = outlook.and_then(|outlook| outlook.index_at(now_ms));
    let power = sky.and_then(|sky| QuarterSky::power_w(model, sky, now_ms, &measured, index));
    PlantExpected {
        power_w: power.map(|(power_w, _)| power_w),
        method: power.map(|(_, method)| method),
        today_wh: outlook.and_then(|outlook| outlook.expected_wh),
        made_today_wh: outlook.and_then(|outlook| outlook.made_wh),
        made_of_today_wh: outlook.and_then(|outlook| outlook.made_of_wh),
        completeness_today: outlook.map_or(0.0, |outlook| outlook.completeness),
        clear_sky_index: index,
        plane_w_m2: measured.plane_w_m2,
        performance_ratio_today: outlook.and_then(|outlook| outlook.performance_ratio),
        uploaded_deviation_w: outlook.and_then(|outlook| outlook.uploaded_deviation_w),
        persistence_deviation_w: outlook.and_then(|outlook| outlook.persistence_deviation_w),
    }
}

/// Adds to each inverter how its inputs do beside those of the whole plant. `meters` are the plant's, in the registry's order.
pub(super) fn add_strings(present: &Present, plant: &Plant, meters: &mut [MeterView], now_ms: i64) {
    let mut inverters = Vec::new();
    let mut places = Vec::new();
    for (at, (device, meter)) in meters_of(plant).enumerate() {
        if meter.role != MeterRole::Inverter {
            continue;
        }
        let Some(values) = present.fresh(device, meter, now_ms) else {
            continue;
        };
        if !values.mppt.is_empty() {
            places.push(at);
            inverters.push(InverterInputs {
                meter,
                powers_w: values.mppt.iter().map(input_power_w).collect(),
            });
        }
    }
    for (at, strings) in places.into_iter().zip(string_imbalances(plant, &inverters)) {
        if let Some(view) = meters.get_mut(at) {
            view.strings = strings;
        }
    }
}
