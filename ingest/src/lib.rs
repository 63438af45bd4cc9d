//! Stores readings once, computes intervals and balances, serves metrics, sinks, API and page.

mod analytics;
mod arrivals;
mod config;
mod counters;
mod figures;
mod health;
mod http;
mod live;
mod metrics;
mod page;
mod receive;
mod run;
mod sinks;
mod store;
mod view;

pub use config::{CONFIG_EXAMPLE, Config, InfluxConfig, KEYS, SINKS_MAX, TOKEN_LEN_MIN};
pub use counters::{BatchResult, CounterSnapshot, Counters, ReadingResult, RecordKind};
pub use live::Live;
pub use receive::{ReceiveError, Receiver};
pub use run::{Ingest, RunningIngest, StartError};
pub use sinks::SinkError;
pub use store::{INTERVALS_MAX, Now, READINGS_MAX, Store, StoreError};
pub use view::{
    DeviceHealth, DeviceView, IntervalFlags, IntervalRow, MeterHealth, MeterView, PlantView, SiteView, Step,
    StoredReading, View,
};
