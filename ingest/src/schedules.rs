//! Schedules: what plants were announced to generate, per settlement period, as somebody uploaded it.
//!
//! In: CSV with `plant,start,minutes,scheduled_kwh`. Out: entries per plant, in order. Kept as one file per plant, replaced whole and on
//! the disk before an upload is answered; a period of a later upload, or of a later line of one, replaces every period that it overlaps. Nothing is made
//! up: our own schedules are `figures::settlement`'s.

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
        fs::create_dir_all(&*self.folder).map_err(|error| self.disk(error))?;
        let lock = File::create(self.folder.join("lock")).map_err(|error| self.disk(error))?;
        // Held until the end: another upload, of this or another process, waits.
        lock.lock().map_err(|error| self.disk(error))?;
        let mut whole = Vec::new();
        for (plant, periods) in &uploaded {
            let mut kept = BTreeMap::new();
            for period in self.read(plant)?.iter().chain(periods) {
                place(&mut kept, *period);
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
        let mut periods = self
            .parse(&text, SCHEDULE_PERIODS_MAX)?
            .remove(plant)
            .unwrap_or_default();
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

    fn parse(&self, text: &str, rows_max: usize) -> Result<BTreeMap<String, Vec<Scheduled>>, ScheduleError> {
        let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
        let head = lines.next().map_or("", |(_, line)| line.trim());
        if head != COLUMNS {
            let what = format!("expected the head {COLUMNS}, found \"{}\"", shortened(head));
            return Err(ScheduleError::Line { line: 1, what });
        }
        let mut plants: BTreeMap<String, Vec<Scheduled>> = BTreeMap::new();
        let mut rows = 0;
        for (line, text) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let (plant, period) = self
                .row(text)
                .map_err(|what| ScheduleError::Line { line, what })?;
            plants.entry(plant.to_owned()).or_default().push(period);
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
                "start: found \"{}\"; allowed: 2026-11-23T10:00:00+03:30, or 2026-11-23 10:00 in Tehran, on a quarter-hour",
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
            let (kwh, wh) = (one.energy_wh / 1_000, one.energy_wh % 1_000);
            text += &format!("{plant},{start},{},{kwh}.{wh:03}\n", one.minutes);
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

/// Puts a period in, and takes out what it overlaps: who announces an hour anew means its quarters too.
fn place(kept: &mut BTreeMap<i64, Scheduled>, period: Scheduled) {
    let end_ms = |one: &Scheduled| one.start_ms + one.minutes * MINUTE_MS;
    let begin_ms = period.start_ms - MINUTES_MAX * MINUTE_MS;
    let overlapped: Vec<i64> = kept
        .range(begin_ms..end_ms(&period))
        .filter(|(_, one)| end_ms(one) > period.start_ms)
        .map(|(&start_ms, _)| start_ms)
        .collect();
    for start_ms in overlapped {
        kept.remove(&start_ms);
    }
    kept.insert(period.start_ms, period);
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
mod tests {
    use super::*;

    fn schedules(folder: &Path) -> Schedules {
        Schedules::new(folder, Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap()))
    }

    #[test]
    fn a_later_upload_replaces_the_same_periods_and_a_new_start_reads_both() {
        let folder = tempfile::tempdir().unwrap();
        let first = "plant,start,minutes,scheduled_kwh\nsari-roof-1,2026-11-23 10:00,60,4.5\nsari-roof-1,2026-11-23T11:00:00+03:30,15,1.2345\n";
        let imported = schedules(folder.path()).import(first).unwrap();
        assert_eq!(
            (imported.plants, imported.periods),
            (vec!["sari-roof-1".to_owned()], 2)
        );
        let second = "plant,start,minutes,scheduled_kwh\r\nsari-roof-1,2026-11-23T06:30:00Z,60,5\r\n";
        schedules(folder.path()).import(second).unwrap();
        let start_ms = "2026-11-23T06:30:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_millisecond();
        let one = |start_ms, minutes, energy_wh| Scheduled {
            start_ms,
            minutes,
            energy_wh,
        };
        // 1.2345 kWh in whole Wh, halves up.
        let expected = [
            one(start_ms, 60, 5_000),
            one(start_ms + 60 * MINUTE_MS, 15, 1_235),
        ];
        assert_eq!(schedules(folder.path()).read("sari-roof-1").unwrap(), expected);
    }

    #[test]
    fn a_revision_replaces_all_that_it_overlaps_in_either_length() {
        let folder = tempfile::tempdir().unwrap();
        let import = |lines: &[(&str, i64)]| {
            let row = |(time, minutes): &(&str, i64)| format!("sari-roof-1,2026-11-23 {time},{minutes},1\n");
            let rows: String = lines.iter().map(row).collect();
            schedules(folder.path())
                .import(&format!("{COLUMNS}\n{rows}"))
                .unwrap();
            let kept = schedules(folder.path()).read("sari-roof-1").unwrap();
            let day_ms = start_ms("2026-11-23 10:00").unwrap();
            let told = |one: &Scheduled| ((one.start_ms - day_ms) / MINUTE_MS, one.minutes);
            kept.iter().map(told).collect::<Vec<_>>()
        };
        let quarters = ["09:45", "10:00", "10:15", "10:30", "10:45", "11:00"].map(|time| (time, 15));
        assert_eq!(import(&quarters).len(), 6);
        assert_eq!(import(&[("10:00", 60)]), [(-15, 15), (0, 60), (60, 15)]);
        // The hour is no more; what it said of its other quarters is unknown.
        assert_eq!(import(&[("10:45", 15)]), [(-15, 15), (45, 15), (60, 15)]);
        assert_eq!(import(&[("10:30", 30)]), [(-15, 15), (30, 30), (60, 15)]);
        // Within an upload the later line counts.
        assert_eq!(
            import(&[("09:00", 60), ("09:30", 30), ("12:00", 15)]),
            [(-30, 30), (30, 30), (60, 15), (120, 15)]
        );
    }

    #[test]
    fn an_upload_has_so_many_rows_and_a_plant_may_keep_more() {
        let folder = tempfile::tempdir().unwrap();
        let first_ms = start_ms("2026-01-01 00:00").unwrap();
        let rows = |numbers: std::ops::Range<usize>| {
            let row = |number: usize| {
                let start_ms = first_ms + i64::try_from(number).unwrap() * 15 * MINUTE_MS;
                let start = Timestamp::from_millisecond(start_ms).unwrap();
                format!("sari-roof-1,{start},15,1\n")
            };
            format!("{COLUMNS}\n{}", numbers.map(row).collect::<String>())
        };
        let schedules = schedules(folder.path());
        let error = schedules.import(&rows(0..SCHEDULE_ROWS_MAX + 1)).unwrap_err();
        assert!(error.to_string().contains("at most 100000 rows"), "{error}");
        schedules.import(&rows(0..SCHEDULE_ROWS_MAX)).unwrap();
        schedules
            .import(&rows(SCHEDULE_ROWS_MAX..SCHEDULE_PERIODS_MAX))
            .unwrap();
        assert_eq!(schedules.read("sari-roof-1").unwrap().len(), SCHEDULE_PERIODS_MAX);
        let more = schedules.import(&rows(SCHEDULE_PERIODS_MAX..SCHEDULE_PERIODS_MAX + 1));
        assert!(matches!(more, Err(ScheduleError::TooMany(_))));
    }

    #[test]
    fn a_wrong_line_is_named_and_nothing_of_the_upload_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let right = "plant,start,minutes,scheduled_kwh\nsari-roof-1,2026-11-23 10:00,60,4.5\n";
        for (line, expected) in [
            ("nobody,2026-11-23 10:00,60,1", "line 3: plant: found \"nobody\""),
            (
                "sari-roof-1,2026-11-23 10:07,60,1",
                "line 3: start: found \"2026-11-23 10:07\"",
            ),
            (
                "sari-roof-1,2026-11-23 10:00,45,1",
                "line 3: minutes: found \"45\"; allowed: 15, 30 or 60",
            ),
            (
                "sari-roof-1,2026-11-23 10:00,60,-1",
                "line 3: scheduled_kwh: found \"-1\"",
            ),
            (
                "sari-roof-1,2026-11-23 10:00,60,NaN",
                "line 3: scheduled_kwh: found \"NaN\"",
            ),
            ("sari-roof-1,2026-11-23 10:00,60", "line 3: expected 4 cells"),
        ] {
            let error = schedules(folder.path())
                .import(&format!("{right}{line}\n"))
                .unwrap_err();
            assert!(error.to_string().starts_with(expected), "{line}: {error}");
        }
        assert!(
            schedules(folder.path())
                .import("a,b\n")
                .unwrap_err()
                .to_string()
                .starts_with("line 1")
        );
        assert_eq!(schedules(folder.path()).read("sari-roof-1").unwrap(), []);
    }
}
