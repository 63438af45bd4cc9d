//! The report as plain data. Energies in whole Wh, times in UTC ms, `None` where something is not known.

use serde::Serialize;
use taraz_fleet::OwnerKind;

/// The duty of owners over one Jalali year.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DutyReport {
    /// The Jalali year.
    pub year: i16,
    /// Its begin.
    pub start_ms: i64,
    /// Its end, excluded.
    pub end_ms: i64,
    /// The end of the last day that counts; the year's begin when none is over.
    pub through_ms: i64,
    /// Days that are over.
    pub days_so_far: usize,
    /// 365 or 366.
    pub days_of_year: usize,
    /// Until when readings count.
    pub made_ms: i64,
    /// The owners in the registry's order.
    pub owners: Vec<OwnerDuty>,
}

/// The duty of one owner.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OwnerDuty {
    /// Its id.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// What kind of body it is.
    #[serde(serialize_with = "kind_word")]
    pub kind: OwnerKind,
    /// The share that is due, in ten-thousandths of the consumption; `None` before any duty.
    pub share_per_myriad: Option<u16>,
    /// The share is an exception that the registry makes for this owner.
    pub is_exception: bool,
    /// Days on which generation and consumption are both known, of those that are over: what follows up to `covered_ratio` is
    /// theirs, over the sites of which both are stated.
    pub known_days: usize,
    /// Generated.
    pub generated_wh: Option<i64>,
    /// Consumed.
    pub consumed_wh: Option<i64>,
    /// What had to be generated.
    pub due_wh: Option<i64>,
    /// What is missing of that, 0 or more.
    pub gap_wh: Option<i64>,
    /// Generated over consumed.
    pub covered_ratio: Option<f64>,
    /// `known_days` over the days that are over, 0 to 1.
    pub completeness: f64,
    /// Generated at sites whose consumption is not known, so in none of the figures above; `None` when nothing was. With the
    /// days that are not known, this is what the plants' sum has more than `generated_wh`.
    pub left_out_generated_wh: Option<i64>,
    /// What bounds the figures: `unmetered_site`, `shared_site`, `silent_site`, `silent_plant`, `days_left_out`.
    pub flags: Vec<&'static str>,
    /// How the year is expected to end.
    pub projection: Option<ProjectedYear>,
    /// Rated DC power of the plants in W.
    pub peak_w: u64,
    /// The same by month, as far as there are days.
    pub months: Vec<MonthDuty>,
    /// Its plants.
    pub plants: Vec<PlantYear>,
    /// The sites that its plants stand at.
    pub sites: Vec<SiteYear>,
}

/// A whole year as it is expected to end; the days that are over and not known are filled in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProjectedYear {
    /// Generation.
    pub generated_wh: Range,
    /// Consumption.
    pub consumed_wh: Range,
    /// What will have had to be generated, by the expected consumption.
    pub due_wh: i64,
    /// What will be missing, 0 or more.
    pub gap_wh: Range,
    /// DC power in W that is still to be built, by the expected gap and this owner's own yield; `None` without a yield.
    pub missing_peak_w: Option<i64>,
    /// What the expected gap costs in whole rial, where the registry sets a price.
    pub gap_rial: Option<i64>,
}

/// An expectation, and the range in which nine of ten years would end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The lower end.
    pub low: i64,
    /// The expectation.
    pub mid: i64,
    /// The upper end.
    pub high: i64,
}

/// One month's known days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MonthDuty {
    /// 1 (Farvardin) to 12 (Esfand).
    pub month: i8,
    /// Its days that are over.
    pub days: usize,
    /// Those of them on which generation and consumption are both known.
    pub known_days: usize,
    /// Generated on the known days.
    pub generated_wh: Option<i64>,
    /// Consumed on the known days.
    pub consumed_wh: Option<i64>,
}

/// A plant's generation so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlantYear {
    /// Its id.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// Rated DC power in W.
    pub peak_w: u64,
    /// All that its registers counted; `None` without any reading.
    pub generated_wh: Option<i64>,
    /// For how much of the time since the year's begin, or its own, the total is known, 0 to 1.
    pub completeness: f64,
    /// What has to be said beside it: `spread`, `caught_up`, `reset`, `rolled_over`, `replaced`, `quarantined`, `glitch`.
    pub flags: Vec<&'static str>,
}

/// A site's consumption so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SiteYear {
    /// Its id.
    pub id: String,
    /// Its name in English.
    pub name: String,
    /// Its name in Persian.
    pub name_fa: String,
    /// What states its consumption.
    pub source: ConsumptionSource,
    /// All that was counted; `None` without any reading.
    pub consumed_wh: Option<i64>,
    /// For how much of the time the total is known, 0 to 1.
    pub completeness: f64,
    /// As of a plant.
    pub flags: Vec<&'static str>,
}

/// What states a site's consumption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConsumptionSource {
    /// Consumption meters.
    Meter,
    /// Grid meters: import − export + generation.
    Balance,
    /// Nothing: the consumption is not known.
    Unmetered,
    /// Plants of several owners stand here: whose the consumption is, is not known.
    Shared,
}

impl ConsumptionSource {
    /// The word that stands for it in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meter => "meter",
            Self::Balance => "balance",
            Self::Unmetered => "unmetered",
            Self::Shared => "shared",
        }
    }
}

fn kind_word<S: serde::Serializer>(kind: &OwnerKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}
