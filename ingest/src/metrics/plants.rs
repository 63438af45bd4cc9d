//! What is stated of plants, their meters and their sites.

use std::collections::HashMap;

use taraz_telemetry::MeterRole;

use super::{Scrape, families, float, joules};
use crate::view::{MeterView, PhaseImbalance, PlantExpected, PlantView};

const PERCENT: f64 = 100.0;

families! {
    plants of s:
    Gauge "solar_plant_info" ["district", "owner", "owner_kind", "plant", "site"]
        "A registered plant."
        |lines| {
            let kinds: HashMap<_, _> = s.fleet.owners.iter().map(|owner| (owner.id.as_str(), owner.kind.as_str())).collect();
            for plant in &s.fleet.plants {
                let kind = kinds.get(plant.owner.as_str()).copied().unwrap_or_default();
                lines.add([&plant.district, &plant.owner, kind, &plant.id, plant.site_id()], Some(1.0));
            }
        };
    Gauge "solar_plant_capacity_watts" ["plant"]
        "Rated DC power of a plant's modules."
        |lines| for plant in &s.fleet.plants {
            lines.add([&plant.id], Some(float(plant.peak_w())));
        };
    Gauge "solar_ac_power_watts" ["device", "meter", "plant"]
        "Active power that a meter states. Inverter: generation positive; grid meter: import positive. Absent after three missed polls."
        |lines| s.meters(|labels, meter| lines.add(labels, meter.ac_power_w.map(float)));
    Gauge "solar_generation_power_watts" ["plant"]
        "Power that all inverters of a plant generate; absent unless each of them is known."
        |lines| s.of_plants(|id, plant| lines.add([id], plant.power_w.map(float)));
    Gauge "solar_inverter_state" ["device", "meter", "plant"]
        "Operating state after SunSpec St: 1 off, 2 sleeping, 3 starting, 4 MPPT, 5 throttled, 6 shutting down, 7 fault, 8 standby."
        |lines| s.meters(|labels, meter| {
            lines.add(labels, meter.state.filter(|_| meter.role == MeterRole::Inverter).map(f64::from));
        });
    Counter "solar_generated_energy_joules_total" ["plant"]
        "Energy generated since the first stored register. Absent while a backlog drains."
        |lines| s.of_plants(|id, plant| lines.add([id], plant.energy_total_wh.filter(|&wh| wh >= 0).map(joules)));
    Gauge "solar_generated_energy_correction_joules" ["plant"]
        "What has to be added to the energy generated since the first stored register, which never falls; 0 or below."
        |lines| s.of_plants(|id, plant| lines.add([id], plant.energy_correction_wh.map(joules)));
    Gauge "solar_generated_energy_today_joules" ["plant"]
        "Energy generated since midnight in Tehran."
        |lines| s.of_plants(|id, plant| lines.add([id], plant.energy_today_wh.map(joules)));
    Gauge "solar_sun_elevation_degrees" ["plant"]
        "Geometric elevation of the sun at a plant."
        |lines| s.of_plants(|id, plant| lines.add([id], Some(plant.sun_elevation_deg)));
    Gauge "solar_peer_yield_ratio" ["plant"]
        "Specific yield of a plant over the median of its district's other plants, last four closed quarter-hours."
        |lines| s.of_plants(|id, plant| lines.add([id], plant.peer_yield_ratio));
    Gauge "solar_expected_power_watts" ["method", "plant"]
        "Power that a model expects of a plant now, and by what. measured: its irradiance sensor; neighbours: clear sky times how clear they found it; night."
        |lines| s.expected(|id, expected| if let Some(method) = expected.method {
            lines.add([method.as_str(), id], expected.power_w);
        });
    Gauge "solar_expected_energy_today_joules" ["plant"]
        "Energy expected of a plant in those of today's closed quarter-hours whose expectation is known."
        |lines| s.expected(|id, expected| lines.add([id], expected.today_wh.map(joules)));
    Gauge "solar_expected_yield_ratio" ["plant"]
        "Energy made over energy expected, of those of today's closed quarter-hours of which both are known."
        |lines| s.expected(|id, expected| {
            let both = expected.made_today_wh.zip(expected.made_of_today_wh);
            let ratio = both.filter(|&(_, of_wh)| of_wh > 0);
            lines.add([id], ratio.map(|(made_wh, of_wh)| float(made_wh) / float(of_wh)));
        });
    Gauge "solar_performance_ratio" ["plant"]
        "Performance ratio after IEC 61724-1 of today's closed quarter-hours; absent without an irradiance sensor."
        |lines| s.expected(|id, expected| lines.add([id], expected.performance_ratio_today));
    Gauge "solar_clear_sky_index" ["plant"]
        "Light over the clear sky's in the newest closed quarter-hour, 1 is a clear sky."
        |lines| s.expected(|id, expected| lines.add([id], expected.clear_sky_index));
    Gauge "solar_plane_irradiance_watts_per_square_meter" ["plant"]
        "Irradiance in the plane of the array, as the plant's sensor states it."
        |lines| s.expected(|id, expected| lines.add([id], expected.plane_w_m2));
    Gauge "solar_settlement_deviation_watts" ["plant", "schedule"]
        "Generation minus schedule in the newest closed quarter-hour, as mean power; above zero is over-delivery. uploaded; persistence: as yesterday; clear_sky: a clear day, times how clear yesterday was."
        |lines| s.expected(|id, expected| {
            lines.add([id, "uploaded"], expected.uploaded_deviation_w);
            lines.add([id, "persistence"], expected.persistence_deviation_w);
            lines.add([id, "clear_sky"], expected.clear_sky_deviation_w);
        });
    Gauge "solar_voltage_unbalance_ratio" ["device", "formula", "meter", "plant"]
        "Negative over positive sequence of a meter's voltages (IEC 61000-4-30), by the formula that its statements allow."
        |lines| s.phases(|[device, meter, plant], phases| if let Some(formula) = phases.voltage_formula {
            lines.add([device, formula.as_str(), meter, plant], phases.voltage_pct.map(|pct| pct / PERCENT));
        });
    Gauge "solar_current_unbalance_ratio" ["device", "meter", "plant"]
        "Largest deviation of a meter's three currents from their mean, over the mean."
        |lines| s.phases(|labels, phases| lines.add(labels, phases.current_pct.map(|pct| pct / PERCENT)));
    Gauge "solar_neutral_current_amperes" ["device", "meter", "plant"]
        "Current in the neutral conductor of a meter, measured or from its three currents."
        |lines| s.phases(|labels, phases| lines.add(labels, phases.neutral_current_a));
    Gauge "solar_string_imbalance_ratio" ["device", "meter", "plant", "string"]
        "Power of an MPPT input over the median of its orientation, minus 1; below zero is too little. Absent in weak light."
        |lines| s.meters(|[device, meter, plant], of| for string in &of.strings {
            let input = string.input.to_string();
            lines.add([device, meter, plant, &input], string.imbalance_pct.map(|pct| pct / PERCENT));
        });
    Gauge "solar_backlog_draining" ["plant"]
        "1 while readings far behind the newest keep arriving from a plant."
        |lines| s.of_plants(|id, plant| lines.add([id], Some(if plant.draining { 1.0 } else { 0.0 })));
    Gauge "solar_energy_imbalance_watts" ["site"]
        "Consumption minus generation of a site, above zero is a deficit."
        |lines| for site in &s.view.sites {
            lines.add([&site.id], site.imbalance_w.map(float));
        };
    Gauge "solar_grid_power_watts" ["site"]
        "Power at the grid connection of a site, import positive."
        |lines| for site in &s.view.sites {
            lines.add([&site.id], site.grid_w.map(float));
        };
    Gauge "solar_consumed_power_watts" ["site"]
        "Power consumed at a site."
        |lines| for site in &s.view.sites {
            lines.add([&site.id], site.consumed_w.map(float));
        };
    Gauge "solar_self_consumption_ratio" ["site"]
        "Share of the energy generated since midnight in Tehran that was used on the spot."
        |lines| for site in &s.view.sites {
            lines.add([&site.id], site.self_consumption_today);
        };
    Gauge "solar_self_sufficiency_ratio" ["site"]
        "Share of the energy consumed since midnight in Tehran that was generated on the spot at the same time."
        |lines| for site in &s.view.sites {
            lines.add([&site.id], site.self_sufficiency_today);
        };
}

impl Scrape<'_> {
    fn of_plants(&self, mut each: impl FnMut(&str, &PlantView)) {
        for plant in &self.view.plants {
            each(&plant.id, plant);
        }
    }

    fn expected(&self, mut each: impl FnMut(&str, &PlantExpected)) {
        self.of_plants(|id, plant| each(id, &plant.expected));
    }

    /// Every meter with its labels: device, meter, plant.
    fn meters(&self, mut each: impl FnMut([&str; 3], &MeterView)) {
        self.of_plants(|id, plant| {
            for meter in &plant.meters {
                let address = meter.meter.to_string();
                each([meter.device.as_str(), &address, id], meter);
            }
        });
    }

    fn phases(&self, mut each: impl FnMut([&str; 3], &PhaseImbalance)) {
        self.meters(|labels, meter| {
            if let Some(phases) = &meter.phases {
                each(labels, phases);
            }
        });
    }
}
