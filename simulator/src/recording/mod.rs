//! Recordings of real plants: what was measured, cut into solar days, and which of them is replayed on a given day.
//!
//! In: the files of `data/`, embedded in the program. Out: a [`Recording`] per source. Nothing here knows the plant
//! that replays it.

mod choose;
mod file;
mod noon;
mod source;

use std::sync::{Arc, LazyLock};

use jiff::civil::Date;

pub(crate) use choose::DayChoice;
pub use source::SourceName;

use crate::solar::{DAY_S, equation_of_time_s};

/// What one column of a recording measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// AC power of the inverters in kW.
    Generation,
    /// Power consumed on the site in kW.
    Load,
    /// Irradiance in the plane of the array in W/m².
    Irradiance,
    /// Temperature of the modules in °C.
    ModuleTemperature,
    /// Temperature of the air in °C.
    AmbientTemperature,
}

/// How many channels there are.
pub(crate) const CHANNELS: usize = 5;

impl Channel {
    const fn index(self) -> usize {
        self as usize
    }

    /// Whether nothing recorded means nothing there: at night many inverters record nothing at all.
    const fn absent_is_zero(self) -> bool {
        matches!(self, Self::Generation)
    }
}

/// A value that holds from `start_s` seconds after solar midnight until the next sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) start_s: u32,
    pub(crate) value: f64,
}

/// One complete day, from solar midnight to solar midnight.
#[derive(Clone, Debug)]
pub(crate) struct RecordedDay {
    /// The civil date of its noon on the recording's own clock.
    pub(crate) date: Date,
    channels: [Vec<Sample>; CHANNELS],
}

impl RecordedDay {
    /// The steps of a channel: the first at 0 s, ascending. Empty when the recording has no such channel.
    pub(crate) fn samples(&self, channel: Channel) -> &[Sample] {
        &self.channels[channel.index()]
    }
}

/// The complete days of one source.
#[derive(Debug)]
pub(crate) struct Recording {
    /// Clock time of mean solar noon in the file, in seconds after its midnight, as estimated from the power itself.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the estimate is what the tests are about")
    )]
    pub(crate) noon_s: i64,
    pub(crate) days: Vec<RecordedDay>,
    pub(crate) choice: DayChoice,
}

/// A row of a file: the recording's own clock as if it were UTC, and a value per channel (NaN: not recorded).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) clock_s: i64,
    pub(crate) values: [f64; CHANNELS],
}

/// The longest gap in daylight that a day may have and count as complete, unless the file's own step is longer.
const GAP_S_MAX: i64 = 15 * 60;
/// Below this share of the recording's usual peak an inverter counts as dark.
const DARK_SHARE: f64 = 0.02;

impl Recording {
    /// The recording of a source, read once per process.
    pub(crate) fn of(source: SourceName) -> Arc<Self> {
        static CACHE: LazyLock<Vec<std::sync::OnceLock<Arc<Recording>>>> = LazyLock::new(|| {
            SourceName::ALL
                .iter()
                .map(|_| std::sync::OnceLock::new())
                .collect()
        });
        let read = || {
            let rows = file::read(source);
            Arc::new(if source.is_verbatim() {
                Self::verbatim(&rows)
            } else {
                Self::from_rows(&rows, source.is_southern())
            })
        };
        Arc::clone(CACHE[source as usize].get_or_init(read))
    }

    /// The days of the file's own clock as they are, the ones on which nothing ran included.
    fn verbatim(rows: &[Row]) -> Self {
        let step_s = noon::step_s(rows);
        let mut days = Vec::new();
        let mut before: Option<&Row> = None;
        for day in rows.chunk_by(|a, b| a.clock_s.div_euclid(DAY_S) == b.clock_s.div_euclid(DAY_S)) {
            let day_s = day[0].clock_s.div_euclid(DAY_S) * DAY_S;
            days.push(recorded_day(day, before, step_s, day_s, |row| row.clock_s));
            before = day.last();
        }
        let choice = DayChoice::in_turn(days.len());
        Self {
            noon_s: DAY_S / 2,
            days,
            choice,
        }
    }

    /// Cuts rows (ascending in time) into solar days and keeps the complete ones.
    fn from_rows(rows: &[Row], southern: bool) -> Self {
        let step_s = noon::step_s(rows);
        let peak = noon::usual_peak(rows);
        let noon_s = noon::estimate_s(rows);
        let solar_s = |row: &Row| row.clock_s + DAY_S / 2 - noon_s + equation_of_time_s(row.clock_s);
        let mut days = Vec::new();
        let mut before: Option<&Row> = None;
        for day in rows.chunk_by(|a, b| solar_s(a).div_euclid(DAY_S) == solar_s(b).div_euclid(DAY_S)) {
            if is_complete(day, step_s, peak) {
                let day_s = solar_s(&day[0]).div_euclid(DAY_S) * DAY_S;
                days.push(recorded_day(day, before, step_s, day_s, solar_s));
            }
            before = day.last();
        }
        let choice = DayChoice::new(days.iter().map(|day| day.date), southern);
        Self { noon_s, days, choice }
    }
}

/// No gap in daylight, dark at both ends, and an inverter that ran.
fn is_complete(day: &[Row], step_s: i64, peak: f64) -> bool {
    let power = |row: &Row| row.values[Channel::Generation.index()];
    let lit = |row: &&Row| power(row) > peak * DARK_SHARE;
    let (Some(dawn), Some(dusk)) = (day.iter().find(lit), day.iter().rev().find(lit)) else {
        return false;
    };
    let gap_max = step_s.max(GAP_S_MAX);
    let daylight = |row: &&Row| (dawn.clock_s..=dusk.clock_s).contains(&row.clock_s);
    let mut gaps = day
        .windows(2)
        .filter(|pair| daylight(&&pair[0]) && daylight(&&pair[1]));
    let ends_dark = !lit(&&day[0]) && day.last().is_some_and(|row| !lit(&row));
    let lit_rows = day.iter().filter(lit).count();
    ends_dark && lit_rows >= 3 && gaps.all(|pair| pair[1].clock_s - pair[0].clock_s <= gap_max)
}

fn recorded_day(
    day: &[Row],
    before: Option<&Row>,
    step_s: i64,
    day_s: i64,
    solar_s: impl Fn(&Row) -> i64,
) -> RecordedDay {
    let noon = jiff::Timestamp::from_second(day_s + DAY_S / 2).unwrap_or_default();
    let mut channels: [Vec<Sample>; CHANNELS] = Default::default();
    for channel in [
        Channel::Generation,
        Channel::Load,
        Channel::Irradiance,
        Channel::ModuleTemperature,
        Channel::AmbientTemperature,
    ] {
        let index = channel.index();
        let known = day.iter().filter(|row| !row.values[index].is_nan());
        let samples = known.map(|row| (solar_s(row) - day_s, row.values[index]));
        let first = before
            .map(|row| row.values[index])
            .filter(|value| !value.is_nan());
        channels[index] = steps(samples, first, step_s, channel);
    }
    let date = jiff::tz::Offset::UTC.to_datetime(noon).date();
    RecordedDay { date, channels }
}

/// The samples of a day as steps from 0 s on: gaps closed as the channel demands, equal neighbours merged.
fn steps(
    samples: impl Iterator<Item = (i64, f64)>,
    before: Option<f64>,
    step_s: i64,
    channel: Channel,
) -> Vec<Sample> {
    // Solar time goes half a minute a day slower or faster than the clock: a second more or less is no gap.
    let hold_s = step_s.max(GAP_S_MAX) + 2;
    let mut out: Vec<Sample> = Vec::new();
    let mut push = |at: i64, value: f64| {
        let start_s = u32::try_from(at.clamp(0, DAY_S)).unwrap_or(0);
        if out.last().is_none_or(|last| last.value != value) {
            out.push(Sample { start_s, value });
        }
    };
    let mut last_at = None;
    for (at, value) in samples {
        match last_at {
            None if at > 0 => push(
                0,
                if channel.absent_is_zero() {
                    0.0
                } else {
                    before.unwrap_or(value)
                },
            ),
            Some(last) if channel.absent_is_zero() && at - last > hold_s => push(last + step_s, 0.0),
            _ => {}
        }
        push(at, value);
        last_at = Some(at);
    }
    if let Some(last) = last_at
        && channel.absent_is_zero()
        && last + step_s < DAY_S
    {
        push(last + step_s, 0.0);
    }
    out
}

#[cfg(test)]
mod tests;
