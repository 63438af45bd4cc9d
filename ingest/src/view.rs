//! What ingest knows, as plain data: the present ([`View`]), intervals ([`IntervalRow`]) and readings ([`StoredReading`]).
//!
//! In: nothing, these are shapes. Out: what metrics, page, API and sinks state. Times are UTC in ms since 1970. Whatever
//! is unknown is `None` (`null` in JSON), never zero and never the last value.

use serde::{Deserialize, Serialize};
use taraz_telemetry::{Boot, DeviceId, MeterAddress, MeterRole, Quantities};

/// The present of the whole fleet at one instant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// The instant, UTC ms.
    pub now_ms: i64,
    /// Every registered plant, in the order of the registry.
    pub plants: Vec<PlantView>,
    /// Every site, in the order of the registry.
    pub sites: Vec<SiteView>,
    /// Every registered device, in the order of the ids.
    pub devices: Vec<DeviceView>,
}

/// The present of one plant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlantView {
    /// The plant's id.
    pub id: String,
    /// The site it belongs to.
    pub site: String,
    /// What all its inverters generate in W; `None` unless each of them stated it within three polls.
    pub power_w: Option<i64>,
    /// Its registered meters, by device and address.
    pub meters: Vec<MeterView>,
    /// What it generated since midnight in Tehran in Wh; `None` without any register of today.
    pub energy_today_wh: Option<i64>,
    /// How much of today up to now is known by its registers, 0 to 1.
    pub completeness_today: f64,
    /// What it generated since its first stored register in Wh. It never falls, over restarts and register resets;
    /// `None` before the first register and while a backlog drains.
    pub energy_total_wh: Option<i64>,
    /// Its specific yield over the last four closed quarter-hours against the median of its district's other plants;
    /// `None` when the sun is low, data are incomplete or there are too few peers.
    pub peer_yield_ratio: Option<f64>,
    /// Geometric elevation of the sun in degrees, −90 to 90.
    pub sun_elevation_deg: f64,
    /// Readings far behind the newest keep arriving.
    pub draining: bool,
    /// The newest reading of its meters, UTC ms.
    pub last_reading_ms: Option<i64>,
}

/// The present of one meter.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MeterView {
    /// The device that reads it.
    pub device: DeviceId,
    /// Its address on the device's bus.
    pub meter: MeterAddress,
    /// What it measures.
    pub role: MeterRole,
    /// Active power in W, signed as the role says; `None` after three missed polls.
    pub ac_power_w: Option<i64>,
    /// SunSpec operating state; `None` after three missed polls.
    pub state: Option<u8>,
    /// The newest answered poll, UTC ms.
    pub last_ms: Option<i64>,
}

/// The present of one site: the plants and the consumption behind one grid connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteView {
    /// The site's id.
    pub id: String,
    /// Consumption − generation in W, > 0 is a deficit; `None` without a consumption or grid meter, or when one is stale.
    pub imbalance_w: Option<i64>,
    /// What is consumed in W: the consumption meters, else grid power + generation.
    pub consumed_w: Option<i64>,
    /// Power at the grid connection in W, import positive; `None` without a grid meter.
    pub grid_w: Option<i64>,
    /// Generated since midnight in Tehran in Wh.
    pub generated_today_wh: Option<i64>,
    /// Consumed since midnight in Tehran in Wh.
    pub consumed_today_wh: Option<i64>,
    /// Taken from the grid since midnight in Tehran in Wh.
    pub import_today_wh: Option<i64>,
    /// Given to the grid since midnight in Tehran in Wh.
    pub export_today_wh: Option<i64>,
    /// Consumption − generation since midnight in Tehran in Wh.
    pub imbalance_today_wh: Option<i64>,
    /// The newest reading of its meters, UTC ms.
    pub last_reading_ms: Option<i64>,
}

/// The present of one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceView {
    /// The device's id.
    pub id: DeviceId,
    /// The plant it stands in.
    pub plant: String,
    /// Its newest reading, UTC ms.
    pub last_reading_ms: Option<i64>,
    /// When anything of it was stored last, UTC ms.
    pub last_received_ms: Option<i64>,
    /// Records that it had written and not yet had acknowledged, by its newest diagnostics since the program started.
    pub queue_records: Option<u32>,
    /// How it is; `None` once its newest diagnostics are too old, and before the first since the program started.
    pub health: Option<DeviceHealth>,
}

/// How a device is, by its newest diagnostics. Counters count since its start, so a restart sets them back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceHealth {
    /// When it said so, UTC ms.
    pub time_ms: i64,
    /// How often it has started since its queue was formatted.
    pub boot: Boot,
    /// Why it started last; `None` while that record is not here.
    pub reset_cause: Option<&'static str>,
    /// What runs on it, by the same record.
    pub firmware: Option<String>,
    /// Seconds since the start.
    pub uptime_s: u32,
    /// Records that it had written and not yet had acknowledged.
    pub queue_records: u32,
    /// Records that its queue can hold.
    pub queue_capacity_records: u32,
    /// Records that its full queue overwrote.
    pub dropped_records: u32,
    /// Sessions with the broker.
    pub link_connects: u32,
    /// The most stack ever used in bytes; `None` where it can't be measured.
    pub stack_high_water_bytes: Option<u32>,
    /// Its bus, by meter.
    pub meters: Vec<MeterHealth>,
}

/// What became of the requests to one meter since its device started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MeterHealth {
    /// Its address.
    pub meter: MeterAddress,
    /// Requests sent, each try counted.
    pub requests: u32,
    /// Answers that were damaged.
    pub crc_errors: u32,
    /// Requests to which nothing came.
    pub timeouts: u32,
    /// Refusals.
    pub exceptions: u32,
}

/// The length of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// 15 minutes of UTC.
    #[serde(rename = "15m")]
    Quarter,
    /// A day in Asia/Tehran (23, 24 or 25 h).
    #[serde(rename = "1d")]
    Day,
}

/// Energies of one interval of a plant and of the site it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IntervalRow {
    /// Its begin, UTC ms, included.
    pub start_ms: i64,
    /// Its end, UTC ms, excluded.
    pub end_ms: i64,
    /// What the plant generated in Wh.
    pub generated_wh: Option<i64>,
    /// What the site consumed in Wh.
    pub consumed_wh: Option<i64>,
    /// What the site took from the grid in Wh.
    pub import_wh: Option<i64>,
    /// What the site gave to the grid in Wh.
    pub export_wh: Option<i64>,
    /// The site's consumption − generation in Wh, > 0 is a deficit.
    pub imbalance_wh: Option<i64>,
    /// How much of the interval the plant's energy registers state, 0 to 1: the least known of its inverters. Time across
    /// a register's fall, and gaps above 15 min in which the register moved, don't count.
    pub completeness: f64,
    /// What must be known about the numbers.
    pub flags: IntervalFlags,
}

/// What must be known about an interval's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntervalFlags {
    /// Energy over a gap of more than 15 min was spread evenly: the sum is exact, its shape is not known.
    pub spread: bool,
    /// A register fell; no energy was counted across the fall.
    pub reset: bool,
    /// Readings of this time are held back and not in the numbers.
    pub held: bool,
    /// A grid meter had not stated its import or its export register yet, which SunSpec meters leave out while it is 0: it was
    /// taken for 0.
    pub assumed: bool,
}

/// A stored reading of a registered meter: placed in time, not held, with values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReading {
    /// Its place in the feed; a cursor is the `rowid` of the last one that was taken.
    pub rowid: i64,
    /// The device that read it.
    pub device: DeviceId,
    /// The meter's address.
    pub meter: MeterAddress,
    /// The plant the device stands in.
    pub plant: String,
    /// What the meter measures.
    pub role: MeterRole,
    /// When, UTC ms.
    pub time_ms: i64,
    /// The values, each present or absent.
    pub quantities: Quantities,
}
