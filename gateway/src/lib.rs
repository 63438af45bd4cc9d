//! Takes every frame in, durably: doors → validate → spool → forward.
//!
//! In: MQTT publishes of devices, through our own listener or through an external broker. Out: batches of committed
//! records to ingest, acknowledgements to devices. Nothing is acknowledged before the commit that holds it has
//! returned, and nothing acknowledged is ever dropped: a full or failing disk stops the acknowledgements.
//!
//! What this crate never does: interpret a value, compute energy, decide what happens to a held record.

mod backoff;
mod config;
mod doors;
mod forward;
mod gateway;
pub mod http;
mod metrics;
mod spool;
mod time;
mod validate;

pub use config::{BrokerConfig, Config, EXAMPLE, IngestConfig, KEYS};
pub use doors::{
    BROKER_IN_FLIGHT_MAX, CONNECT_TIMEOUT, CONNECTS_MAX, IN_FLIGHT_DEFAULT, KEEP_ALIVE_MAX_S,
    OUTBOUND_LEN_MAX, PACKET_LEN_MAX, SESSIONS_PER_DEVICE_MAX, STATE_LEN_MAX,
};
pub use forward::{BACKOFF_MAX, HttpUplink, HttpUplinkError, Uplink, UplinkError};
pub use gateway::{DeviceLine, Gateway, RunningGateway, StartError, StopError, View};
pub use metrics::Metrics;
pub use spool::{
    DeviceQuarantined, DeviceWaiting, Exported, FINDINGS_MAX, Finding, FindingKind, Imported,
    LANES_SHOWN_MAX, Lane, MISSING_NAMED_MAX, Quarantine, QuarantinedItem, Repair, SpoolError, SpoolFile,
    SpoolListing, TransferError, Verification, export as export_spool, import as import_spool,
    repair as repair_spool,
};
pub use validate::{FUTURE_MAX_MS, REFUSED_SAMPLES_MAX, RefusedReason, RefusedSample};
