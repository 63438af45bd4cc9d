//! The device as a process on a computer: tokio adaptors around the firmware library.
//!
//! [`run`] is a whole device: meters on a serial line or behind TCP ([`BusAddress`]), a queue in a folder ([`FileQueue`]), the
//! session with the broker, UTC from the computer's clock. Everything it decides is decided in `taraz-firmware`; here are
//! only sockets, files and the log.
//!
//! What it never does: interpret registers, sign frames, decide what is sent or freed.

mod address;
mod apart;
mod bus;
mod config;
mod history;
mod observe;
mod queue;
mod run;
mod scan;
mod time;
mod transport;

pub use address::{AddressError, BrokerAddress, BusAddress, Parity};
pub use config::{DeviceConfig, HISTORY_DAYS_MAX, HISTORY_STEP_S_MIN, History, KeySource, example_config};
pub use history::FOLLOW_CLOCK_UNIT;
pub use observe::Progress;
pub use queue::{FileQueue, FileQueueError, QUEUE_RECORDS_MAX, QUEUE_RECORDS_MIN};
pub use run::{RunError, run};
pub use scan::{ScanEvent, ScanOptions, scan};
// What a caller needs to build a configuration without a file.
pub use taraz_firmware::{CourierSettings, LinkError, LinkSettings, MeterSettings};
// What a search finds.
pub use taraz_firmware::{DetectSummary, DetectedUnit, LineSettings, UnitKind};
