//! Schedules: what plants were announced to generate, per settlement period, as somebody uploaded it.
//!
//! In: CSV with `plant,start,minutes,scheduled_kwh`. Out: entries per plant, in order. Kept as one file per plant, replaced whole and on
//! the disk before an upload is answered; a period of a later upload replaces the one of the same beginning and length, and any other
//! overlap is refused: energy that was announced is never lost silently. Nothing is made up: our own schedules are
//! `figures::settlement`'s.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use jiff::civil::DateTime;
use taraz_analytics::calendar::date_start_ms;
use taraz_fleet::Fleet;

/// The most rows of one upload.
pub const SCHEDULE_ROWS_MAX: usize = 100_000;
/// The most periods that are kept of one plant: three years of quarter-hours.
pub const SCHEDULE_PERIODS_MAX: usize = 3 * 366 * 96;

const COLUMNS: &str = "plant,start,minutes,scheduled_kwh";
const FOLDER: &str = "schedules";
const MINUTE_MS: i64 = 60_000;
/// The longest settlement period.
const MINUTES_MAX: i64 = 60;
/// 2000-01-01 and 2100-01-01, UTC ms.
const TIMES_MS: std::ops::RangeInclusive<i64> = 946_684_800_000..=4_102_444_800_000;
/// Far above what any plant makes in an hour.
const KWH_MAX: f64 = 1e7;
/// A period may have so many percent of what the inverters can give at their rating: above it, a unit or a column has slipped.
const OF_RATING_PERCENT_MAX: i64 = 150;
const MINUTES_PER_HOUR: i64 = 60;

/// Why a schedule is not taken or can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// A line is wrong; nothing of the upload was taken.
    #[error("line {line}: {what}")]
    Line {
        /// Counted from 1, the head included.
        line: usize,
        /// What was found and what is allowed.
        what: String,
    },
    /// A period overlaps one that is stored, and is not that one anew; nothing of the upload was taken.
    #[error("line {line}: {what}")]
    Stored {
        /// Counted from 1, the head included.
        line: usize,
        /// Which period is stored, and what to do.
        what: String,
    },
    /// More than is kept.
    #[error("{0}")]
    TooMany(String),
    /// The disk.
    #[error("the schedules in {path} can't be read or written: {error}")]
    Disk {
        /// Where.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

/// One settlement period of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scheduled {
    /// UTC ms.
    pub(crate) start_ms: i64,
    /// 15, 30 or 60.
    pub(crate) minutes: i64,
    pub(crate) energy_wh: i64,
}

impl Scheduled {
    const fn end_ms(&self) -> i64 {
        self.start_ms + self.minutes * MINUTE_MS
    }
}

/// Periods with their lines, by plant.
type Lines = BTreeMap<String, Vec<(usize, Scheduled)>>;

/// What an upload brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The plants of it, by their ids.
    pub plants: Vec<String>,
    /// Settlement periods of all of them together.
    pub periods: usize,
}

/// The schedules of a fleet; cheap to clone.
#[derive(Clone, Debug)]
pub struct Schedules {
    folder: Arc<PathBuf>,
    fleet: Arc<Fleet>,
}

impl Schedules {
    /// The schedules in the data folder of an ingest.
    #[must_use]
    pub fn new(data: &Path, fleet: Arc<Fleet>) -> Self {
        Self {
            folder: Arc::new(data.join(FOLDER)),
            fleet,
        }
    }

    /// Takes an upload: all of it, or nothing. Returns when it is on the disk.
    ///
    /// # Errors
    /// [`ScheduleError`].
    pub fn import(&self, text: &str) -> Result<Imported, ScheduleError> {
        let uploaded = self.parse(text, SCHEDULE_ROWS_MAX)?;
        for (plant, periods) in &uploaded {
            self.check(plant, periods)?;
        }
        fs::create_dir_all(&*self.folder).map_err(|error| self.disk(error))?;
        let lock = File::create(self.folder.join("lock")).map_err(|error| self.disk(error))?;
        // Held until the end: another upload, of this or another process, waits.
        lock.lock().map_err(|error| self.disk(error))?;
        let mut whole = Vec::new();
        for (plant, periods) in &uploaded {
            let stored = self.read(plant)?.into_iter();
            let mut kept: BTreeMap<i64, Scheduled> = stored.map(|one| (one.start_ms, one)).collect();
            for &(line, period) in periods {
                place(&mut kept, period).map_err(|what| ScheduleError::Stored { line, what })?;
            }
            if kept.len() > SCHEDULE_PERIODS_MAX {
                let found = kept.len();
                return Err(ScheduleError::TooMany(format!(
                    "{plant} would have {found} scheduled periods, at most {SCHEDULE_PERIODS_MAX} are kept"
                )));
            }
            whole.push((plant, kept));
        }
        for (plant, kept) in whole {
            self.write(plant, kept.values())
                .map_err(|error| self.disk(error))?;
        }
        Ok(Imported {
            periods: uploaded.values().map(Vec::len).sum(),
            plants: uploaded.into_keys().collect(),
        })
    }

    /// The schedule of a plant, in the order of time; empty when there is none.
    pub(crate) fn read(&self, plant: &str) -> Result<Vec<Scheduled>, ScheduleError> {
        let text = match fs::read_to_string(self.file(plant)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.disk(error)),
        };
        let lines = self.parse(&text, SCHEDULE_PERIODS_MAX)?.remove(plant);
        let mut periods: Vec<Scheduled> = lines.into_iter().flatten().map(|(_, one)| one).collect();
        periods.sort_by_key(|one| one.start_ms);
        Ok(periods)
    }

    /// When a plant's file was written, and its length in bytes; `None` when there is none.
    pub(crate) fn stamp(&self, plant: &str) -> Option<(SystemTime, u64)> {
        let metadata = fs::metadata(self.file(plant)).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    }

    fn file(&self, plant: &str) -> PathBuf {
        self.folder.join(format!("{plant}.csv"))
    }

    /// Whether an upload's periods of a plant stand side by side, and are what it can generate.
    fn check(&self, plant: &str, periods: &[(usize, Scheduled)]) -> Result<(), ScheduleError> {
        let rated_w = self.fleet.plant(plant).map_or(0, |plant| plant.inverter_ac_w);
        for &(line, one) in periods {
            let max_wh = i64::from(rated_w) * one.minutes * OF_RATING_PERCENT_MAX / (MINUTES_PER_HOUR * 100);
            if one.energy_wh > max_wh {
                let what = format!(
                    "scheduled_kwh: found {} in {} minutes; allowed: at most {}, {OF_RATING_PERCENT_MAX} % of what the inverters of \
                     {plant} ({} kW) can give: write kWh of the period, not power and not Wh",
                    kwh_text(one.energy_wh),
                    one.minutes,
                    kwh_text(max_wh),
                    kwh_text(i64::from(rated_w)),
                );
                return Err(ScheduleError::Line { line, what });
            }
        }
        let mut in_order = periods.to_vec();
        in_order.sort_by_key(|(_, one)| one.start_ms);
        let overlaps = |pair: &&[(usize, Scheduled)]| pair[0].1.end_ms() > pair[1].1.start_ms;
        if let Some(pair) = in_order.windows(2).find(overlaps) {
            let (first, line) = (pair[0].0.min(pair[1].0), pair[0].0.max(pair[1].0));
            let what = format!(
                "the period of {plant} overlaps that of line {first}: state each quarter-hour once, and leave one of them out"
            );
            return Err(ScheduleError::Line { line, what });
        }
        Ok(())
    }

    fn parse(&self, text: &str, rows_max: usize) -> Result<Lines, ScheduleError> {
        let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
        let head = lines.next().map_or("", |(_, line)| line.trim());
        if head != COLUMNS {
            let what = format!("expected the head {COLUMNS}, found \"{}\"", shortened(head));
            return Err(ScheduleError::Line { line: 1, what });
        }
        let mut plants = Lines::new();
        let mut rows = 0;
        for (line, text) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let (plant, period) = self
                .row(text)
                .map_err(|what| ScheduleError::Line { line, what })?;
            plants.entry(plant.to_owned()).or_default().push((line, period));
            rows += 1;
            if rows > rows_max {
                return Err(ScheduleError::TooMany(format!(
                    "expected at most {rows_max} rows at once, found more; split the file"
                )));
            }
        }
        Ok(plants)
    }

    fn row<'t>(&self, text: &'t str) -> Result<(&'t str, Scheduled), String> {
        let cells: Vec<&str> = text.split(',').map(str::trim).collect();
        let [plant, start, minutes, kwh] = cells[..] else {
            return Err(format!("expected 4 cells ({COLUMNS}), found {}", cells.len()));
        };
        if self.fleet.plant(plant).is_none() {
            return Err(format!(
                "plant: found \"{}\"; allowed: the id of a registered plant",
                shortened(plant)
            ));
        }
        let start_ms = start_ms(start).ok_or_else(|| {
            format!(
                "start: found \"{}\"; allowed: 2026-11-23T10:00:00+03:30, or 2026-11-23 10:00 in Tehran, on a quarter-hour, by the Gregorian calendar (not Jalali)",
                shortened(start)
            )
        })?;
        let minutes = [15, 30, 60]
            .into_iter()
            .find(|known| minutes == known.to_string());
        let minutes =
            minutes.ok_or_else(|| format!("minutes: found \"{}\"; allowed: 15, 30 or 60", cells[2]))?;
        let kwh: Option<f64> = kwh.parse().ok().filter(|kwh| (0.0..=KWH_MAX).contains(kwh));
        let kwh = kwh.ok_or_else(|| {
            format!(
                "scheduled_kwh: found \"{}\"; allowed: 0 to 10000000, as 12.5",
                shortened(cells[3])
            )
        })?;
        // At most 10^10.
        #[allow(clippy::cast_possible_truncation)]
        let energy_wh = (kwh * 1e3).round() as i64;
        Ok((
            plant,
            Scheduled {
                start_ms,
                minutes,
                energy_wh,
            },
        ))
    }

    /// Puts a plant's file in place at once: a reader sees the old or the new one, whole.
    fn write<'s>(&self, plant: &str, periods: impl Iterator<Item = &'s Scheduled>) -> std::io::Result<()> {
        let mut text = format!("{COLUMNS}\n");
        for one in periods {
            let start = Timestamp::from_millisecond(one.start_ms).unwrap_or(Timestamp::UNIX_EPOCH);
            text += &format!("{plant},{start},{},{}\n", one.minutes, kwh_text(one.energy_wh));
        }
        let new = self.folder.join(format!("{plant}.new"));
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, self.file(plant))?;
        File::open(&*self.folder)?.sync_all()
    }

    fn disk(&self, error: std::io::Error) -> ScheduleError {
        ScheduleError::Disk {
            path: self.folder.to_path_buf(),
            error,
        }
    }
}

/// Puts a period in, in the place of the same one; the stored period that it overlaps otherwise is named.
fn place(kept: &mut BTreeMap<i64, Scheduled>, period: Scheduled) -> Result<(), String> {
    let begin_ms = period.start_ms - MINUTES_MAX * MINUTE_MS;
    let is_same = |one: &Scheduled| (one.start_ms, one.minutes) == (period.start_ms, period.minutes);
    let overlapped = kept
        .range(begin_ms..period.end_ms())
        .map(|(_, one)| one)
        .find(|one| one.end_ms() > period.start_ms && !is_same(one));
    if let Some(one) = overlapped {
        let start = Timestamp::from_millisecond(one.start_ms).unwrap_or(Timestamp::UNIX_EPOCH);
        return Err(format!(
            "the period overlaps the stored one of {start}, {} minutes, {} kWh, which would be lost: a stored period is replaced by \
             one of the same beginning and length",
            one.minutes,
            kwh_text(one.energy_wh)
        ));
    }
    kept.insert(period.start_ms, period);
    Ok(())
}

/// Wh as kWh (or W as kW) with three decimals.
fn kwh_text(wh: i64) -> String {
    format!("{}.{:03}", wh / 1_000, wh % 1_000)
}

/// An RFC 3339 instant, or a date and time in Tehran; on a quarter-hour.
fn start_ms(text: &str) -> Option<i64> {
    let instant = text
        .parse::<Timestamp>()
        .ok()
        .map(|instant| instant.as_millisecond());
    let local = || {
        let local: DateTime = text.parse().ok()?;
        let midnight_ms = date_start_ms(local.date());
        let since = local.duration_since(local.date().to_datetime(jiff::civil::Time::midnight()));
        Some(midnight_ms + i64::try_from(since.as_millis()).ok()?)
    };
    let start_ms = instant.or_else(local)?;
    (TIMES_MS.contains(&start_ms) && start_ms % (15 * MINUTE_MS) == 0).then_some(start_ms)
}

/// What was found, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
#[path = "schedules_tests.rs"]
mod tests;
