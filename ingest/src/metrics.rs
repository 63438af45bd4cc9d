//! The metrics of plants (`solar_*`) and of ingest itself (`ingest_*`), read from the present at scrape time.
//!
//! In: the present ([`View`]), the counters, the sinks. Out: families for a Prometheus registry. Nothing is kept between two scrapes,
//! so what is no longer known is no longer shown, and nothing is stated that the present does not state.

use std::collections::HashSet;
use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};
use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, MeterRole};

use crate::counters::CounterSnapshot;
use crate::gaps::DeviceGaps;
use crate::sinks::{SinkSnapshot, SinkStatus};
use crate::store::{Now, Store};
use crate::view::{DeviceHealth, DeviceView, MeterView, PlantView, View};

const JOULES_PER_WH: f64 = 3_600.0;
const PERCENT: f64 = 100.0;

/// Everything the metrics are read from.
pub(crate) struct Sources {
    pub(crate) store: Store,
    pub(crate) sinks: Vec<Arc<SinkStatus>>,
    pub(crate) now: Now,
}

/// Registers the plants' and ingest's metrics, and the process's own where the registry has none yet.
///
/// # Errors
/// A name that is registered already.
pub(crate) fn register(registry: &prometheus::Registry, sources: Sources) -> prometheus::Result<()> {
    registry.register(Box::new(IngestCollector::new(sources)?))?;
    let process = prometheus::process_collector::ProcessCollector::for_self();
    match registry.register(Box::new(process)) {
        // Another part of the same process was first.
        Err(prometheus::Error::AlreadyReg) => Ok(()),
        other => other,
    }
}

struct IngestCollector {
    sources: Sources,
    /// Only to describe what will come; each scrape makes its own.
    names: Families,
}

impl IngestCollector {
    fn new(sources: Sources) -> prometheus::Result<Self> {
        Ok(Self {
            sources,
            names: Families::new()?,
        })
    }
}

impl Collector for IngestCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.names.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(families) = Families::new() else {
            // The same call succeeded when the collector was made.
            return Vec::new();
        };
        let s = &self.sources;
        let live = s.store.live();
        families.plants(s.store.fleet(), &live.view((s.now)()));
        if let Some(gaps) = live.gaps().devices() {
            families.gaps(s.store.fleet(), &gaps);
        }
        let sinks: Vec<_> = s.sinks.iter().map(|sink| sink.snapshot()).collect();
        families.own(&s.store.counters().snapshot(), &sinks, s.store.bytes());
        families.gather()
    }
}

/// Declares the families once: field, kind, name, labels, help.
macro_rules! families {
    ($($field:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// Every metric that ingest states: the one place of their names.
        struct Families { $($field: $kind,)+ }

        impl Families {
            fn new() -> prometheus::Result<Self> {
                Ok(Self { $($field: $kind::new(Opts::new($name, $help), &[$($label),*])?,)+ })
            }

            fn all(&self) -> Vec<&dyn Collector> {
                vec![$(&self.$field,)+]
            }
        }
    };
}

families! {
    ac_power: GaugeVec "solar_ac_power_watts" ["plant", "device", "meter"]
        "Active power that a meter states. Inverter: generation positive; grid meter: import positive. Absent after three missed polls.";
    generation_power: GaugeVec "solar_generation_power_watts" ["plant"]
        "Power that all inverters of a plant generate; absent unless each of them is known.";
    inverter_state: GaugeVec "solar_inverter_state" ["plant", "device", "meter"]
        "Operating state after SunSpec St: 1 off, 2 sleeping, 3 starting, 4 MPPT, 5 throttled, 6 shutting down, 7 fault, 8 standby.";
    energy_total: CounterVec "solar_generated_energy_joules_total" ["plant"]
        "Energy generated since the first stored register. Absent while a backlog drains.";
    energy_correction: GaugeVec "solar_generated_energy_correction_joules" ["plant"]
        "What has to be added to the energy generated since the first stored register, which never falls; 0 or below.";
    energy_today: GaugeVec "solar_generated_energy_today_joules" ["plant"]
        "Energy generated since midnight in Tehran.";
    imbalance: GaugeVec "solar_energy_imbalance_watts" ["site"]
        "Consumption minus generation of a site, above zero is a deficit.";
    grid_power: GaugeVec "solar_grid_power_watts" ["site"]
        "Power at the grid connection of a site, import positive.";
    consumed_power: GaugeVec "solar_consumed_power_watts" ["site"]
        "Power consumed at a site.";
    last_reading: GaugeVec "solar_last_reading_timestamp_seconds" ["device"]
        "When the newest stored reading of a device was taken.";
    sun_elevation: GaugeVec "solar_sun_elevation_degrees" ["plant"]
        "Geometric elevation of the sun at a plant.";
    peer_ratio: GaugeVec "solar_peer_yield_ratio" ["plant"]
        "Specific yield of a plant over the median of its district's other plants, last four closed quarter-hours.";
    expected_power: GaugeVec "solar_expected_power_watts" ["plant", "method"]
        "Power that a model expects of a plant now, and by what. measured: its irradiance sensor; neighbours: clear sky times how clear they found it; night.";
    expected_today: GaugeVec "solar_expected_energy_today_joules" ["plant"]
        "Energy expected of a plant in those of today's closed quarter-hours whose expectation is known.";
    expected_ratio: GaugeVec "solar_expected_yield_ratio" ["plant"]
        "Energy made over energy expected, of those of today's closed quarter-hours of which both are known.";
    performance_ratio: GaugeVec "solar_performance_ratio" ["plant"]
        "Performance ratio after IEC 61724-1 of today's closed quarter-hours; absent without an irradiance sensor.";
    clear_sky_index: GaugeVec "solar_clear_sky_index" ["plant"]
        "Light over the clear sky's in the newest closed quarter-hour, 1 is a clear sky.";
    plane_irradiance: GaugeVec "solar_plane_irradiance_watts_per_square_meter" ["plant"]
        "Irradiance in the plane of the array, as the plant's sensor states it.";
    self_consumption: GaugeVec "solar_self_consumption_ratio" ["site"]
        "Share of the energy generated since midnight in Tehran that was used on the spot.";
    self_sufficiency: GaugeVec "solar_self_sufficiency_ratio" ["site"]
        "Share of the energy consumed since midnight in Tehran that was generated on the spot at the same time.";
    settlement: GaugeVec "solar_settlement_deviation_watts" ["plant", "schedule"]
        "Generation minus schedule in the newest closed quarter-hour, as mean power; above zero is over-delivery. uploaded; persistence: as yesterday.";
    voltage_unbalance: GaugeVec "solar_voltage_unbalance_ratio" ["plant", "device", "meter", "formula"]
        "Negative over positive sequence of a meter's voltages (IEC 61000-4-30), by the formula that its statements allow.";
    current_unbalance: GaugeVec "solar_current_unbalance_ratio" ["plant", "device", "meter"]
        "Largest deviation of a meter's three currents from their mean, over the mean.";
    neutral_current: GaugeVec "solar_neutral_current_amperes" ["plant", "device", "meter"]
        "Current in the neutral conductor of a meter, measured or from its three currents.";
    string_imbalance: GaugeVec "solar_string_imbalance_ratio" ["plant", "device", "meter", "string"]
        "Power of an MPPT input over the median of its orientation, minus 1; below zero is too little. Absent in weak light.";
    draining: GaugeVec "solar_backlog_draining" ["plant"]
        "1 while readings far behind the newest keep arriving from a plant.";
    capacity: GaugeVec "solar_plant_capacity_watts" ["plant"]
        "Rated DC power of a plant's modules.";
    plant_info: GaugeVec "solar_plant_info" ["plant", "site", "district", "owner", "owner_kind"]
        "A registered plant.";
    device_info: GaugeVec "solar_device_info" ["device", "plant"]
        "A registered device.";
    boots: CounterVec "solar_device_boots_total" ["device"]
        "Starts of a device since its queue was formatted. This and what follows by its newest diagnostics; counters absent while a backlog drains.";
    start_info: GaugeVec "solar_device_start_info" ["device", "cause", "firmware"]
        "Why a device started last, and what runs on it.";
    uptime: GaugeVec "solar_device_uptime_seconds" ["device"]
        "Time since a device started.";
    queue_records: GaugeVec "solar_device_queue_records" ["device"]
        "Records that a device has written and not yet had acknowledged.";
    queue_capacity: GaugeVec "solar_device_queue_capacity_records" ["device"]
        "Records that the queue of a device can hold.";
    dropped_records: CounterVec "solar_device_dropped_records_total" ["device"]
        "Records that the full queue of a device overwrote, since its start.";
    link_connects: CounterVec "solar_device_link_connects_total" ["device"]
        "Sessions of a device with the broker, since its start.";
    stack_high_water: GaugeVec "solar_device_stack_high_water_bytes" ["device"]
        "The most stack that the program of a device ever used; absent where it can't be measured.";
    bus_requests: CounterVec "solar_bus_requests_total" ["plant", "device", "meter"]
        "Modbus requests to a meter since its device started, each try counted.";
    bus_errors: CounterVec "solar_bus_errors_total" ["plant", "device", "meter", "kind"]
        "Modbus requests that gave nothing, since the device started. crc: damaged answer; timeout: no answer; exception: refused.";
    readings: CounterVec "ingest_readings_total" ["result"]
        "Readings received since the start, by what became of them.";
    batches: CounterVec "ingest_batches_total" ["result"]
        "Batches received since the start, by what became of them.";
    records: CounterVec "ingest_records_total" ["kind"]
        "New records since the start, by kind.";
    store_readings: CounterVec "ingest_store_readings_total" ["event"]
        "Stored readings that were sealed since the start, those that compress badly, and those given up by store.keep_readings_days.";
    sink_lag: GaugeVec "ingest_sink_lag_readings" ["sink"]
        "Readings that the store has and a sink has not, at most.";
    sink_writes: CounterVec "ingest_sink_writes_total" ["sink", "result"]
        "Writes to a sink since the start: taken, refused because of a line in them, or failed and tried again.";
    sink_readings: CounterVec "ingest_sink_readings_total" ["sink", "result"]
        "Readings a sink has taken, or that were set aside because it never will.";
    gaps: GaugeVec "ingest_gap_readings" ["plant", "device", "state"]
        "Records (nearly all of them readings) that a device has written, by what became of them: stored, held back, pending on the device or on the way, named as lost by the device (dropped), unknown.";
    store_bytes: GaugeVec "ingest_store_bytes" []
        "Size of the store on the disk.";
}

impl Families {
    /// What has a value; a family without one can't be written.
    fn gather(&self) -> Vec<MetricFamily> {
        let families = self.all().into_iter().flat_map(Collector::collect);
        families
            .filter(|family| !family.get_metric().is_empty())
            .collect()
    }

    fn plants(&self, fleet: &Fleet, view: &View) {
        for plant in &fleet.plants {
            let kind = fleet.owner(&plant.owner).map_or("", |owner| owner.kind.as_str());
            let info = [
                plant.id.as_str(),
                plant.site_id(),
                &plant.district,
                &plant.owner,
                kind,
            ];
            self.plant_info.with_label_values(&info).set(1.0);
            self.capacity
                .with_label_values(&[&plant.id])
                .set(float(plant.peak_w()));
            for device in &plant.devices {
                self.device_info
                    .with_label_values(&[device.id.as_str(), plant.id.as_str()])
                    .set(1.0);
            }
        }
        for plant in &view.plants {
            let labels = [plant.id.as_str()];
            set(&self.generation_power, &labels, plant.power_w.map(float));
            set(&self.energy_today, &labels, plant.energy_today_wh.map(joules));
            set(&self.peer_ratio, &labels, plant.peer_yield_ratio);
            set(&self.sun_elevation, &labels, Some(plant.sun_elevation_deg));
            set(
                &self.draining,
                &labels,
                Some(if plant.draining { 1.0 } else { 0.0 }),
            );
            self.expected(plant);
            self.totals(plant);
            for meter in &plant.meters {
                let address = meter.meter.to_string();
                let labels = [plant.id.as_str(), meter.device.as_str(), &address];
                set(&self.ac_power, &labels, meter.ac_power_w.map(float));
                if meter.role == MeterRole::Inverter {
                    set(&self.inverter_state, &labels, meter.state.map(f64::from));
                }
                self.quality(&labels, meter);
            }
        }
        for site in &view.sites {
            let labels = [site.id.as_str()];
            set(&self.imbalance, &labels, site.imbalance_w.map(float));
            set(&self.grid_power, &labels, site.grid_w.map(float));
            set(&self.consumed_power, &labels, site.consumed_w.map(float));
            set(&self.self_consumption, &labels, site.self_consumption_today);
            set(&self.self_sufficiency, &labels, site.self_sufficiency_today);
        }
        for device in &view.devices {
            let seconds = device.last_reading_ms.map(|ms| float(ms) / 1_000.0);
            set(&self.last_reading, &[device.id.as_str()], seconds);
            if let Some(health) = &device.health {
                self.device_gauges(device.id.as_str(), health);
            }
        }
        let draining = view.plants.iter().filter(|plant| plant.draining);
        let draining: HashSet<_> = draining.map(|plant| plant.id.as_str()).collect();
        let settled = |device: &&DeviceView| !draining.contains(device.plant.as_str());
        for device in view.devices.iter().filter(settled) {
            if let Some(health) = &device.health {
                self.device_counters(&device.plant, device.id.as_str(), health);
            }
        }
    }

    fn expected(&self, plant: &PlantView) {
        let (id, expected) = (plant.id.as_str(), &plant.expected);
        if let Some(method) = expected.method {
            set(&self.expected_power, &[id, method.as_str()], expected.power_w);
        }
        let both = expected.made_today_wh.zip(expected.made_of_today_wh);
        let ratio = both.filter(|&(_, of_wh)| of_wh > 0);
        set(&self.expected_today, &[id], expected.today_wh.map(joules));
        set(
            &self.expected_ratio,
            &[id],
            ratio.map(|(made_wh, of_wh)| float(made_wh) / float(of_wh)),
        );
        set(&self.performance_ratio, &[id], expected.performance_ratio_today);
        set(&self.clear_sky_index, &[id], expected.clear_sky_index);
        set(&self.plane_irradiance, &[id], expected.plane_w_m2);
        for (schedule, deviation_w) in [
            ("uploaded", expected.uploaded_deviation_w),
            ("persistence", expected.persistence_deviation_w),
        ] {
            set(&self.settlement, &[id, schedule], deviation_w);
        }
    }

    /// Phases and strings of a meter; `labels` are plant, device and meter.
    fn quality(&self, labels: &[&str; 3], meter: &MeterView) {
        let [plant, device, address] = *labels;
        if let Some(phases) = &meter.phases {
            if let Some(formula) = phases.voltage_formula {
                let ratio = phases.voltage_pct.map(|pct| pct / PERCENT);
                set(
                    &self.voltage_unbalance,
                    &[plant, device, address, formula.as_str()],
                    ratio,
                );
            }
            set(
                &self.current_unbalance,
                labels,
                phases.current_pct.map(|pct| pct / PERCENT),
            );
            set(&self.neutral_current, labels, phases.neutral_current_a);
        }
        for string in &meter.strings {
            let input = string.input.to_string();
            let ratio = string.imbalance_pct.map(|pct| pct / PERCENT);
            set(&self.string_imbalance, &[plant, device, address, &input], ratio);
        }
    }

    fn totals(&self, plant: &PlantView) {
        let labels = [plant.id.as_str()];
        if let Some(total_wh) = plant.energy_total_wh.filter(|&wh| wh >= 0) {
            let total = self.energy_total.with_label_values(&labels);
            total.inc_by(joules(total_wh));
        }
        let correction = plant.energy_correction_wh.map(joules);
        set(&self.energy_correction, &labels, correction);
    }

    fn device_gauges(&self, device: &str, health: &DeviceHealth) {
        let labels = [device];
        set(&self.uptime, &labels, Some(float(health.uptime_s)));
        set(&self.queue_records, &labels, Some(float(health.queue_records)));
        set(
            &self.queue_capacity,
            &labels,
            Some(float(health.queue_capacity_records)),
        );
        set(
            &self.stack_high_water,
            &labels,
            health.stack_high_water_bytes.map(float),
        );
        if let (Some(cause), Some(firmware)) = (health.reset_cause, &health.firmware) {
            set(&self.start_info, &[device, cause, firmware.as_str()], Some(1.0));
        }
    }

    /// Counters of a device: they fall when it starts anew, which Prometheus knows as a reset.
    fn device_counters(&self, plant: &str, device: &str, health: &DeviceHealth) {
        let count = |family: &CounterVec, labels: &[&str], value: u32| {
            family.with_label_values(labels).inc_by(float(value));
        };
        count(&self.boots, &[device], health.boot);
        count(&self.dropped_records, &[device], health.dropped_records);
        count(&self.link_connects, &[device], health.link_connects);
        for meter in &health.meters {
            let address = meter.meter.to_string();
            count(&self.bus_requests, &[plant, device, &address], meter.requests);
            for (kind, value) in [
                ("crc", meter.crc_errors),
                ("timeout", meter.timeouts),
                ("exception", meter.exceptions),
            ] {
                count(&self.bus_errors, &[plant, device, &address, kind], value);
            }
        }
    }

    /// The gap ledger, of registered devices: what else the store has is in the API and bounds no label.
    fn gaps(&self, fleet: &Fleet, devices: &[DeviceGaps]) {
        for device in devices {
            let id = DeviceId::new(&device.device).ok();
            let Some(found) = id.and_then(|id| fleet.device(&id)) else {
                continue;
            };
            for (state, records) in device.counts.states() {
                let labels = [found.plant.id.as_str(), found.device.id.as_str(), state];
                set(&self.gaps, &labels, Some(float(records)));
            }
        }
    }

    fn own(&self, counters: &CounterSnapshot, sinks: &[SinkSnapshot], store_bytes: u64) {
        let families = [
            (&self.readings, &counters.readings),
            (&self.batches, &counters.batches),
            (&self.records, &counters.records),
            (&self.store_readings, &counters.store),
        ];
        for (family, counts) in families {
            for &(label, count) in counts {
                family.with_label_values(&[label]).inc_by(float(count));
            }
        }
        for sink in sinks {
            set(&self.sink_lag, &[&sink.name], Some(float(sink.lag_readings)));
            let writes = [
                ("ok", sink.ok_writes),
                ("refused", sink.refused_writes),
                ("failed", sink.failed_writes),
            ];
            for (result, count) in writes {
                self.sink_writes
                    .with_label_values(&[&sink.name, result])
                    .inc_by(float(count));
            }
            let readings = [
                ("written", sink.written_readings),
                ("quarantined", sink.quarantined_readings),
            ];
            for (result, count) in readings {
                self.sink_readings
                    .with_label_values(&[&sink.name, result])
                    .inc_by(float(count));
            }
        }
        set(&self.store_bytes, &[], Some(float(store_bytes)));
    }
}

/// A gauge for what is known; nothing for what is not.
fn set(family: &GaugeVec, labels: &[&str], value: Option<f64>) {
    if let Some(value) = value {
        family.with_label_values(labels).set(value);
    }
}

/// A whole number as Prometheus takes it; exact up to 2⁵³, which no power, count or time here reaches.
fn float(value: impl TryInto<i64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    value.try_into().map_or(f64::NAN, |value| value as f64)
}

fn joules(wh: i64) -> f64 {
    float(wh) * JOULES_PER_WH
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
