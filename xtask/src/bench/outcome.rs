//! What a run of the load generator gave, as figures.

use anyhow::{Result, bail};
use serde_json::Value;

use super::report::Figure;

const MILLION: f64 = 1e6;
const GENERATOR: &str = "load generator";

/// One run.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What `taraz-load run` wrote.
    pub(super) figures: Value,
    /// The gateway's data in the end.
    pub(super) spool_bytes: u64,
    /// Ingest's data in the end.
    pub(super) store_bytes: u64,
}

impl Outcome {
    /// A number of the generator's, as `/load/readings`; `None` for one that was not measured.
    pub(super) fn number(&self, pointer: &str) -> Option<f64> {
        self.figures.pointer(pointer)?.as_f64()
    }

    /// CPU-seconds of a process for a million readings of the load phase.
    pub(super) fn cpu_s_per_million(&self, process: &str) -> Option<f64> {
        let cpu_s = self.number(&format!("/load/processes/{process}/cpu_s"))?;
        Some(cpu_s / self.number("/load/readings")? * MILLION)
    }

    /// All processes but the generator.
    pub(super) fn processes(&self) -> Vec<String> {
        let processes = self.figures.pointer("/load/processes").and_then(Value::as_object);
        let names = processes.into_iter().flat_map(|processes| processes.keys());
        names.filter(|name| *name != GENERATOR).cloned().collect()
    }

    /// Readings a second from the first publish to the last PUBACK.
    pub(super) fn durable_per_s(&self) -> Option<f64> {
        Some(self.number("/load/readings")? / self.number("/load/durable_s")?)
    }

    /// Readings a second from the first publish until the last was stored.
    pub(super) fn stored_per_s(&self) -> Option<f64> {
        Some(self.number("/load/readings")? / self.number("/load/stored_s")?)
    }

    /// Bytes of the store for each reading.
    pub(super) fn store_per_reading(&self) -> Option<f64> {
        let readings = self.readings();
        (readings > 0.0).then(|| self.store_bytes as f64 / readings)
    }

    /// Readings of all phases.
    pub(super) fn readings(&self) -> f64 {
        let of = |phase| self.number(&format!("/{phase}/readings")).unwrap_or(0.0);
        of("load") + of("probe")
    }

    /// Every published reading is stored, acknowledged, and nothing was refused.
    ///
    /// # Errors
    /// When it is not so.
    pub(super) fn check(&self) -> Result<()> {
        for phase in ["load", "probe"] {
            for (name, what) in [
                ("missing_readings", "published readings are not stored"),
                ("messages_without_puback", "messages have no PUBACK"),
                ("frames_without_ack", "frames have no acknowledgement"),
                ("messages_refused", "messages were refused"),
            ] {
                let count = self.number(&format!("/{phase}/{name}")).unwrap_or(0.0);
                if count != 0.0 {
                    bail!("{phase}: {count} {what}");
                }
            }
        }
        Ok(())
    }

    /// Everything, one under the other.
    pub(super) fn figures(&self, part: &str) -> Vec<Figure> {
        let mut figures = Vec::new();
        let mut add = |name: &str, value: Option<f64>, unit| {
            figures.extend(value.map(|value| Figure::new(part, name, value, unit)));
        };
        let ms = |pointer: &str| self.number(pointer).map(|us| us / 1_000.0);
        for name in ["connections", "window", "readings_per_frame", "rate"] {
            add(&name.replace('_', " "), self.number(&format!("/{name}")), "");
        }
        add("time to connect all", self.number("/connect_s"), "s");
        add("readings published", self.number("/load/readings"), "");
        add("published to durable", self.durable_per_s(), "readings/s");
        add("published to stored", self.stored_per_s(), "readings/s");
        add("missing in the end", self.number("/load/missing_readings"), "");
        add(
            "messages late",
            self.number("/load/messages_due_not_published"),
            "",
        );
        for (name, pointer) in [
            ("publish to PUBACK", "load/publish_to_puback"),
            ("publish to /ack", "load/publish_to_ack"),
            ("publish to stored (probe)", "probe/publish_to_stored"),
            ("publish to metric (probe)", "probe/publish_to_metric"),
        ] {
            for (quantile, key) in [("p50", "p50_us"), ("p99", "p99_us")] {
                add(
                    &format!("{name}, {quantile}"),
                    ms(&format!("/{pointer}/{key}")),
                    "ms",
                );
            }
        }
        let mut all = 0.0;
        for process in self.processes() {
            let cpu = self.cpu_s_per_million(&process);
            all += cpu.unwrap_or(0.0);
            add(&format!("CPU of {process}"), cpu, "s/million");
            for (when, pointer) in [("idle", "idle/processes"), ("busy, peak", "load/processes")] {
                let key = if when == "idle" { "rss_kib" } else { "rss_peak_kib" };
                let kib = self.number(&format!("/{pointer}/{process}/{key}"));
                add(
                    &format!("memory of {process}, {when}"),
                    kib.map(|kib| kib / 1_024.0),
                    "MiB",
                );
            }
        }
        add("CPU of all", Some(all), "s/million");
        add(
            "CPU of the load generator",
            self.cpu_s_per_million(GENERATOR),
            "s/million",
        );
        add(
            "store",
            Some(self.store_bytes as f64 / self.readings()),
            "B/reading",
        );
        add("spool, drained", Some(self.spool_bytes as f64), "B");
        figures
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn outcome(missing: f64) -> Outcome {
        let process = |cpu_s: f64| json!({ "cpu_s": cpu_s, "rss_kib": 1_024, "rss_peak_kib": 2_048 });
        Outcome {
            figures: json!({
                "load": {
                    "readings": 2_000_000, "durable_s": 4.0, "stored_s": 5.0, "missing_readings": missing,
                    "publish_to_puback": { "p50_us": 1_500, "p99_us": 9_000 },
                    "processes": { "gateway": process(4.0), "ingest": process(6.0), "load generator": process(2.0) },
                },
            }),
            spool_bytes: 0,
            store_bytes: 16_000_000,
        }
    }

    #[test]
    fn figures_are_those_of_the_run() {
        let figures = outcome(0.0).figures("x");
        for figure in [
            Figure::new("x", "published to durable", 500_000.0, "readings/s"),
            Figure::new("x", "published to stored", 400_000.0, "readings/s"),
            Figure::new("x", "CPU of gateway", 2.0, "s/million"),
            Figure::new("x", "CPU of all", 5.0, "s/million"),
            Figure::new("x", "CPU of the load generator", 1.0, "s/million"),
            Figure::new("x", "publish to PUBACK, p50", 1.5, "ms"),
            Figure::new("x", "store", 8.0, "B/reading"),
        ] {
            assert!(figures.contains(&figure), "{figure:?} is not in {figures:?}");
        }
        assert!(outcome(0.0).check().is_ok());
    }

    #[test]
    fn a_missing_reading_fails_the_run() {
        let error = outcome(1.0).check().unwrap_err().to_string();
        assert!(error.contains("1 published readings are not stored"), "{error}");
        // One that is there twice is not right either.
        assert!(outcome(-1.0).check().is_err());
    }
}
