//! What of the present comes from models: the power that a plant should have now, and how its inputs do beside each other.

use taraz_analytics::solar::Sky;
use taraz_telemetry::MeterRole;

use super::present::Present;
use super::show::Shown;
use crate::analytics::{InverterInputs, Measured, PlantModel, QuarterSky, input_power_w, string_imbalances};
use crate::figures::sensor_of;
use crate::view::{MeterView, PlantExpected};

/// What is expected of a plant: of its power by what its sensor says now, else by what the neighbours said of the last quarter-hours.
pub(super) fn plant_expected(
    present: &Present,
    shown: &Shown<'_>,
    model: &PlantModel,
    sky: Option<&Sky>,
    now_ms: i64,
) -> PlantExpected {
    let outlook = present
        .fresh_outlook(now_ms)
        .and_then(|outlook| outlook.plants.get(&shown.plant.id));
    let sensor = sensor_of(shown.plant).map(|(_, sensor)| sensor);
    let measured = shown
        .fresh()
        .find(|(meter, _)| sensor.is_some_and(|sensor| std::ptr::eq(*meter, sensor)))
        .and_then(|(_, state)| state)
        .map(|state| Measured::of(&state.values))
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
        clear_sky_deviation_w: outlook.and_then(|outlook| outlook.clear_sky_deviation_w),
    }
}

/// Adds to each inverter how its inputs do beside those of the whole plant. `meters` are the plant's, in the registry's order.
pub(super) fn add_strings(shown: &Shown<'_>, meters: &mut [MeterView]) {
    let mut inverters = Vec::new();
    let mut places = Vec::new();
    for (at, (meter, state)) in shown.fresh().enumerate() {
        let Some(state) = state.filter(|_| meter.role == MeterRole::Inverter) else {
            continue;
        };
        if !state.values.mppt.is_empty() {
            places.push(at);
            inverters.push(InverterInputs {
                meter,
                powers_w: state.values.mppt.iter().map(input_power_w).collect(),
            });
        }
    }
    for (at, strings) in places.into_iter().zip(string_imbalances(shown.plant, &inverters)) {
        if let Some(view) = meters.get_mut(at) {
            view.strings = strings;
        }
    }
}
