//! The metrics of plants (`solar_*`) and of ingest itself (`ingest_*`), written from the present at scrape time.
//!
//! In: the present ([`View`]), the gap ledger, the counters, the sinks. Out: Prometheus' text. Nothing is kept between two scrapes,
//! so what is no longer known is no longer shown, and nothing is stated that the present does not state. It is written at once
//! instead of through a registry's families, which would hold each of some hundred thousand values several times.

mod devices;
mod lines;
mod own;
mod plants;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use taraz_fleet::Fleet;

use crate::counters::CounterSnapshot;
use crate::gaps::DeviceGaps;
use crate::sinks::{SinkSnapshot, SinkStatus};
use crate::store::{Now, Store};
use crate::view::View;

const JOULES_PER_WH: f64 = 3_600.0;

/// Everything the metrics are read from.
pub(crate) struct Sources {
    pub(crate) store: Store,
    pub(crate) sinks: Vec<Arc<SinkStatus>>,
    pub(crate) now: Now,
}

/// What states the metrics of plants and of ingest.
pub(crate) struct Metrics {
    sources: Sources,
    /// How long the last text was: the next one is about as long.
    len: AtomicUsize,
}

impl Metrics {
    pub(crate) const fn new(sources: Sources) -> Self {
        Self {
            sources,
            len: AtomicUsize::new(0),
        }
    }

    /// Everything as it stands, in Prometheus' text format. Takes a while for many plants, and blocks nobody meanwhile.
    pub(crate) fn text(&self) -> String {
        let s = &self.sources;
        let live = s.store.live();
        let now_ms = (s.now)();
        let view = live.view(now_ms);
        let gaps = live.gaps().devices();
        let scrape = Scrape {
            fleet: s.store.fleet(),
            draining: draining(&view),
            view: &view,
            gaps: gaps.as_ref().map_or(&[], |gaps| gaps.as_slice()),
            counters: s.store.counters().snapshot(),
            sinks: s.sinks.iter().map(|sink| sink.snapshot()).collect(),
            settling_records: live.settling_records(now_ms),
            store_bytes: s.store.bytes(),
        };
        let mut text = String::with_capacity(self.len.load(Ordering::Relaxed) / 8 * 9);
        scrape.write(&mut text);
        self.len.store(text.len(), Ordering::Relaxed);
        text
    }
}

/// What one scrape reads.
struct Scrape<'a> {
    fleet: &'a Fleet,
    view: &'a View,
    /// Plants that send a backlog.
    draining: HashSet<&'a str>,
    gaps: &'a [DeviceGaps],
    counters: CounterSnapshot,
    sinks: Vec<SinkSnapshot>,
    settling_records: Option<u64>,
    store_bytes: u64,
}

impl Scrape<'_> {
    fn write(&self, text: &mut String) {
        self.plants(text);
        self.devices(text);
        self.own(text);
    }
}

fn draining(view: &View) -> HashSet<&str> {
    let plants = view.plants.iter().filter(|plant| plant.draining);
    plants.map(|plant| plant.id.as_str()).collect()
}

/// Declares families in the order of the text: kind, name, labels in alphabetical order, help, and what adds their lines.
macro_rules! families {
    ($method:ident of $scrape:ident: $($kind:ident $name:literal [$($label:literal),*] $help:literal $fill:expr;)+) => {
        impl $crate::metrics::Scrape<'_> {
            pub(super) fn $method(&self, text: &mut String) {
                use $crate::metrics::lines::{Kind, Lines};
                let $scrape = self;
                $(Lines::family(text, Kind::$kind, ($name, [$($label),*]), $help, $fill);)+
            }
        }

        /// The names of the families.
        #[cfg(test)]
        pub(super) const NAMES: &[&str] = &[$($name,)+];
    };
}
use families;

/// A whole number as Prometheus takes it; exact up to 2⁵³, which no power, count or time here reaches.
fn float(value: impl TryInto<i64>) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    value.try_into().map_or(f64::NAN, |value| value as f64)
}

fn joules(wh: i64) -> f64 {
    float(wh) * JOULES_PER_WH
}

#[cfg(test)]
mod tests;
