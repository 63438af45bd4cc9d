//! What ingest states of itself: what became of readings, batches and records, its sinks, its store.

use taraz_telemetry::DeviceId;

use super::{Scrape, families, float};
use crate::gaps::DeviceGaps;

families! {
    own of s:
    Counter "ingest_readings_total" ["result"]
        "Readings received since the start, by what became of them."
        |lines| for &(result, count) in &s.counters.readings {
            lines.add([result], Some(float(count)));
        };
    Counter "ingest_batches_total" ["result"]
        "Batches received since the start, by what became of them."
        |lines| for &(result, count) in &s.counters.batches {
            lines.add([result], Some(float(count)));
        };
    Counter "ingest_records_total" ["kind"]
        "New records since the start, by kind."
        |lines| for &(kind, count) in &s.counters.records {
            lines.add([kind], Some(float(count)));
        };
    Counter "ingest_store_readings_total" ["event"]
        "Stored readings that were sealed since the start, those that compress badly, those given up by store.keep_readings_days, and those that came too late for it."
        |lines| for &(event, count) in &s.counters.store {
            lines.add([event], Some(float(count)));
        };
    Gauge "ingest_store_blocked" []
        "1 while the store can't commit, because its disk is full or fails: batches are answered 503 and come again."
        |lines| lines.add([], Some(float(i64::from(s.counters.store_is_blocked))));
    Gauge "ingest_clock_ahead" []
        "1 while store.keep_readings_days counts by the time of readings, because the system's clock is more than two days ahead of them."
        |lines| lines.add([], Some(float(i64::from(s.counters.clock_is_ahead))));
    Gauge "ingest_sink_lag_readings" ["sink"]
        "Readings that the store has and a sink has not, at most."
        |lines| for sink in &s.sinks {
            lines.add([&sink.name], Some(float(sink.lag_readings)));
        };
    Counter "ingest_sink_writes_total" ["result", "sink"]
        "Writes to a sink since the start: taken, refused because of a line in them, or failed and tried again."
        |lines| for sink in &s.sinks {
            for (result, count) in [("ok", sink.ok_writes), ("refused", sink.refused_writes), ("failed", sink.failed_writes)] {
                lines.add([result, &sink.name], Some(float(count)));
            }
        };
    Counter "ingest_sink_readings_total" ["result", "sink"]
        "Readings a sink has taken, or that were set aside because it never will."
        |lines| for sink in &s.sinks {
            for (result, count) in [("written", sink.written_readings), ("quarantined", sink.quarantined_readings)] {
                lines.add([result, &sink.name], Some(float(count)));
            }
        };
    Gauge "ingest_sink_lag_changes" ["sink"]
        "Changes of devices' closed quarter-hours, days that are over and whole sites that a sink has not got."
        |lines| for sink in &s.sinks {
            lines.add([&sink.name], Some(float(sink.lag_changes)));
        };
    Counter "ingest_sink_figures_total" ["result", "sink"]
        "Points of figures a sink has taken, or that were set aside because it never will."
        |lines| for sink in &s.sinks {
            for (result, count) in [("written", sink.written_figures), ("quarantined", sink.quarantined_figures)] {
                lines.add([result, &sink.name], Some(float(count)));
            }
        };
    Gauge "ingest_gap_readings" ["device", "plant", "state"]
        "Records (nearly all of them readings) that a device has written, by what became of them: stored, held back, pending on the device or on the way, named as lost by the device (dropped), unknown."
        |lines| s.gaps(|[device, plant], gaps| for (state, records) in gaps.counts.states() {
            lines.add([device, plant, state], Some(float(records)));
        });
    Gauge "ingest_conflicts" ["device", "plant"]
        "Kept records that came under the identity of a stored one and say something else, where there are any (taraz store conflicts)."
        |lines| s.gaps(|labels, gaps| if gaps.conflicts > 0 {
            lines.add(labels, Some(float(gaps.conflicts)));
        });
    Gauge "ingest_settling_records" []
        "Records of a clock that was not set which an anchor has placed, and which wait for what could place them otherwise: no sink has them yet."
        |lines| lines.add([], s.settling_records.map(float));
    Gauge "ingest_store_bytes" []
        "Size of the store on the disk."
        |lines| lines.add([], Some(float(s.store_bytes)));
}

impl Scrape<'_> {
    /// The gap ledger of registered devices: what else the store has is in the API and bounds no label.
    fn gaps(&self, mut each: impl FnMut([&str; 2], &DeviceGaps)) {
        for gaps in self.gaps {
            let id = DeviceId::new(&gaps.device).ok();
            if let Some(found) = id.and_then(|id| self.fleet.device(&id)) {
                each([found.device.id.as_str(), &found.plant.id], gaps);
            }
        }
    }
}
