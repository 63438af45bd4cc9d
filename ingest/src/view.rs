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
    /// What has to be added to that total, in Wh: it was once taken for more than it turned out to be. 0 or below; `None` with it.
    pub energy_correction_wh: Option<i64>,
    /// Its specific yield over the last four closed quarter-hours against the median of its district's other plants;
    /// `None` when the sun is low, data are incomplete or there are too few peers.
    pub peer_yield_ratio: Option<f64>,
    /// What is expected of it.
    pub expected: PlantExpected,
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
    /// How unequal its phases are now; `None` after three missed polls and where it does not state three phases.
    pub phases: Option<PhaseImbalance>,
    /// How its MPPT inputs do now beside those of their orientation, in the inverter's order; empty after three missed polls.
    pub strings: Vec<StringImbalance>,
    /// The newest answered poll, UTC ms.
    pub last_ms: Option<i64>,
}

/// What is expected of a plant: a model's word, never a measurement of its energy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PlantExpected {
    /// Power in W that it should have now; `None` where nothing says how clear the sky is.
    pub power_w: Option<f64>,
    /// By what that is said.
    pub method: Option<ExpectationMethod>,
    /// Energy in Wh that it should have made in the closed quarter-hours of today whose expectation is known.
    pub today_wh: Option<i64>,
    /// What it made in those of them whose energy is known too, in Wh.
    pub made_today_wh: Option<i64>,
    /// What was expected of those in Wh.
    pub made_of_today_wh: Option<i64>,
    /// Share of today's closed quarter-hours whose expectation is known, 0 to 1.
    pub completeness_today: f64,
    /// Light over the clear sky's in the newest quarter-hour, 1 is a clear sky; `None` at night and where nobody says it.
    pub clear_sky_index: Option<f64>,
    /// Irradiance that its own sensor states now in W/m².
    pub plane_w_m2: Option<f64>,
    /// Performance ratio (IEC 61724-1) of today's closed quarter-hours; `None` without a sensor.
    pub performance_ratio_today: Option<f64>,
    /// Generation minus the uploaded schedule in the newest closed quarter-hour, as mean power in W; > 0 is over-delivery.
    pub uploaded_deviation_w: Option<f64>,
    /// Generation minus that of the same quarter-hour yesterday, as mean power in W.
    pub persistence_deviation_w: Option<f64>,
    /// Generation minus a clear day's, times how clear yesterday was, as mean power in W.
    pub clear_sky_deviation_w: Option<f64>,
}

/// By what an expectation is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpectationMethod {
    /// The plant's own irradiance sensor.
    Measured,
    /// The clear sky, times how clear the healthy plants of the district found it.
    Neighbours,
    /// The sun is below the horizon: nothing is expected.
    Night,
}

impl ExpectationMethod {
    /// The word that stands for it in labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Measured => "measured",
            Self::Neighbours => "neighbours",
            Self::Night => "night",
        }
    }
}

/// By which formula a voltage unbalance was computed (both IEC 61000-4-30 §5.7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VoltageFormula {
    /// From the voltages between the lines, which the meter states: exact.
    #[serde(rename = "iec_61000_4_30_lines")]
    Lines,
    /// From phase voltages, taken as 120° apart, because the meter states neither angles nor line voltages: what stands in the angles is
    /// missing.
    #[serde(rename = "iec_61000_4_30_phases_120_deg")]
    Phases120Deg,
}

impl VoltageFormula {
    /// The word that stands for it in labels and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lines => "iec_61000_4_30_lines",
            Self::Phases120Deg => "iec_61000_4_30_phases_120_deg",
        }
    }
}

/// How unequal three phases are. Every ratio is 0 or more, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PhaseImbalance {
    /// Negative over positive sequence of the voltages.
    pub voltage_pct: Option<f64>,
    /// By which formula.
    pub voltage_formula: Option<VoltageFormula>,
    /// Largest deviation of a line voltage from their mean (NEMA MG 1, LVUR).
    pub lvur_pct: Option<f64>,
    /// Largest deviation of a phase voltage from their mean (IEEE 141, PVUR).
    pub pvur_pct: Option<f64>,
    /// Largest deviation of a current from their mean; `None` at zero current.
    pub current_pct: Option<f64>,
    /// Current in the neutral conductor in A.
    pub neutral_current_a: Option<f64>,
    /// It was measured; else it follows from the three currents, taken in phase with voltages 120° apart.
    pub neutral_is_measured: bool,
}

/// How one MPPT input does.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StringImbalance {
    /// Its number on the inverter, counted from 1.
    pub input: u8,
    /// Its power in W.
    pub power_w: Option<f64>,
    /// Its distance from the median of its orientation in percent of that median, < 0 is too little; `None` in weak light, with fewer than
    /// three inputs of its orientation, and where it is not known how it lies.
    pub imbalance_pct: Option<f64>,
}

/// What a plant should have made in an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct ExpectationRow {
    /// Its begin, UTC ms, included.
    pub(crate) start_ms: i64,
    /// Its end, UTC ms, excluded.
    pub(crate) end_ms: i64,
    /// Expected energy in Wh, over the quarter-hours whose expectation is known; `None` where none is.
    pub(crate) expected_wh: Option<i64>,
    /// By what that is said; of a longer interval, by what most of its energy is.
    pub(crate) method: Option<ExpectationMethod>,
    /// Energy under a clear sky in Wh.
    pub(crate) clear_sky_wh: i64,
    /// Light over the clear sky's, weighted with its energy; `None` at night and where nobody says it.
    pub(crate) clear_sky_index: Option<f64>,
    /// Mean irradiance in the plane of the arrays in W/m², as measured or as expected.
    pub(crate) plane_w_m2: Option<f64>,
    /// Share of its quarter-hours whose expectation is known, 0 to 1.
    pub(crate) completeness: f64,
    /// What was made in Wh in the quarter-hours of which both are known.
    pub(crate) made_wh: Option<i64>,
    /// What was expected in Wh of those quarter-hours.
    pub(crate) made_of_wh: Option<i64>,
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
    /// Share of what was generated since midnight in Tehran that was used on the spot, 0 to 1.
    pub self_consumption_today: Option<f64>,
    /// Share of what was consumed since midnight in Tehran that was generated on the spot at the same time, 0 to 1.
    pub self_sufficiency_today: Option<f64>,
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
    /// A register began again at 0, or a rise or a fall of it can't be believed: what it counted then is not known whole.
    pub reset: bool,
    /// Readings of this time are held back and not in the numbers.
    pub held: bool,
    /// A grid meter had not stated its import or its export register yet, which SunSpec meters leave out while it is 0: it was
    /// taken for 0.
    pub assumed: bool,
    /// Late readings have arrived that are not in the numbers yet: they are being worked in.
    pub settling: bool,
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
