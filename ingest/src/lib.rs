//! Stores readings once, computes intervals and balances, serves metrics, sinks, API and page.

mod accounts;
mod analytics;
mod arrivals;
mod config;
mod counters;
mod duty;
mod figures;
mod gaps;
mod health;
mod http;
mod keys;
mod live;
mod metrics;
mod page;
mod receive;
mod registers;
mod run;
mod schedules;
mod sinks;
mod store;
mod view;

pub use accounts::{Account, account_for};
pub use config::{CONFIG_EXAMPLE, Config, InfluxConfig, KEYS, SINKS_MAX, StoreConfig, TOKEN_LEN_MIN};
pub use counters::{BatchResult, CounterSnapshot, Counters, ReadingResult, RecordKind, StoreEvent};
pub use duty::{
    ConsumptionSource, DutyReport, MonthDuty, OwnerDuty, PlantYear, ProjectedYear, Range, ReportError,
    SiteYear, duty_report,
};
pub use gaps::{BootGaps, BootPeriod, DeviceGaps, Fate, Gap, GapCounts, GapSpan, Gaps, Unplaced};
pub use http::Beside;
pub use live::Live;
pub use page::PERSIAN_FONT_WOFF2;
pub use receive::{ReceiveError, Receiver};
pub use run::{Ingest, RunError, RunningIngest, StartError};
pub use schedules::{Imported, SCHEDULE_PERIODS_MAX, SCHEDULE_ROWS_MAX, ScheduleError, Schedules};
pub use sinks::{SinkError, figure_lines, line_protocol};
pub use store::{
    Archive, CONFLICTS_MAX, CONFLICTS_SHOWN_MAX, Compacted, Conflict, Conflicts, HeldFilter, HeldGroup,
    HeldRecord, INTERVALS_MAX, Now, PlacedReading, Progress, READINGS_MAX, RecordFields, Register, Sealing,
    Stated, Store, StoreError, Verified, backup, compact, drop_held, held_groups, held_records, verify,
};
pub use view::{
    DeviceHealth, DeviceView, ExpectationMethod, IntervalFlags, IntervalRow, MeterHealth, MeterView,
    PhaseImbalance, PlantExpected, PlantView, SiteView, Step, StoredReading, StringImbalance, View,
    VoltageFormula,
};
