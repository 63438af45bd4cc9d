//! The device without its hardware: Modbus master, SunSpec, meters, poll schedule, queue, clock and MQTT link.
#![cfg_attr(not(test), no_std)]

mod app;
mod board;
mod clock;
mod config;
mod console;
mod detect;
mod field;
mod link;
mod meters;
mod modbus;
mod poll;
mod queue;
mod scale;
#[cfg(test)]
mod simulated;
mod sntp;
mod sunspec;

pub use app::{
    ClockEvent, DIAGNOSTICS_INTERVAL_MS, Device, DeviceEvent, DeviceParts, DeviceStatus, LastPoll, LinkState,
    MeterBus, MeterStatus, Notify, Observer, PollGlance, TimeServerState,
};
pub use board::{
    Health, HealthProblem, LastRun, PageLoadError, PageSectors, RETAINED_LEN, RETAINED_TEXT_LEN_MAX, Seed,
    TRAIL_LEN_MAX, Trail, hardware_address, identity, settings,
};
pub use clock::{ClockStatus, DRIFT_PPM, DeviceClock, SyncOutcome, Synced};
pub use config::{DeviceSettings, Identity, MeterSettings, SettingsError};
pub use console::{
    Command, CommandError, ConfigError, ConsoleDevice, ConsoleHost, Edit, HISTORY_LINES, INPUT_LINE_LEN_MAX,
    InputLine, LineEditor, NetStatus, OUTPUT_LINE_LEN_MAX, PageSaveError, run_console,
};
pub use detect::{
    DETECT_LINES, DETECT_TIMEOUT_MS, Detect, DetectAsk, DetectPlan, DetectScope, DetectStep, DetectSummary,
    DetectedUnit, LIKELY_ADDRESSES, LineSettings, Parity, UNIT_TEXT_LEN_MAX, UnitKind, UnitText,
};
pub use field::{BusDesk, DeskRead, FieldBus, FieldBusSettings, SearchState, SerialLine};
pub use link::{
    BACKFILL_IN_FLIGHT_MAX, Backoff, Connector, Courier, CourierSettings, Jitter, LINK_RX_LEN,
    LINK_TX_LEN_MIN, LIVE_IN_FLIGHT_MAX, LIVE_KEPT_RECORDS, LIVE_LAG_RECORDS_MAX, Lane, Link, LinkError,
    LinkEvent, LinkSettings, Outgoing, PARKED_IN_FLIGHT_MAX, Post, ReachError, link_tx_len,
};
pub use meters::{
    Meter, MeterMemory, MeterStep, READS_PER_POLL_MAX, exception_advice, poll_advice, poll_blocking,
    poll_meter,
};
pub use modbus::{
    ADU_LEN_MAX, BAUD_MIN, Bus, BusCounters, BusError, BusLine, BusMaster, BusRequest, BusStep, BusTimer,
    EmbassyTimer, LATE_ANSWER_FACTOR, NOTICE_CHARACTERS_MAX, NoDriverEnable, QUIET_WAIT_MAX_US,
    READ_REGISTERS_MAX, RETRIES_MAX, ReadFunction, ReadRegisters, Registers, WRITE_REGISTERS_MAX, crc16,
};
pub use poll::{
    FAILURE_RUN_MS_MAX, FailureRuns, METERS_MAX, POLL_INTERVAL_MS_MAX, POLL_INTERVAL_MS_MIN,
    READINGS_PER_POLL_MAX, Schedule, Turn,
};
pub use queue::{
    DROPPED_RESERVE_RECORDS, DroppedRanges, FLASH_AREA_LEN_MAX, FLASH_PAGE_LEN_MAX, FLASH_PAGES_MAX,
    FLASH_RETIRED_MAX, FlashQueue, FlashQueueError, Found, Position, Queue, QueueOwner, Recovery, StoreError,
    Stored, store,
};
pub use sntp::{
    KissCode, SNTP_ANSWER_TIMEOUT_MS, SNTP_INTERVAL_MS_MAX, SNTP_LEN, SNTP_PAUSE_DENIED_MS, SNTP_SAMPLES,
    Sntp, SntpFailure, SntpRefusal, TimeSource,
};
pub use sunspec::{BASES as SUNSPEC_BASES, MODELS_MAX as SUNSPEC_MODELS_MAX, UNSTABLE_RETRIES_MAX};
