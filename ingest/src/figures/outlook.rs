//! What of today is computed from quarter-hours: expectations, performance ratios, how sites balance. It changes every 15 minutes.

use std::collections::HashMap;
use std::time::SystemTime;

use taraz_analytics::imbalance::{EnergyBalance, clear_sky_schedule, energy_balance};
use taraz_fleet::{Fleet, Plant};

use super::CLOSED_AFTER_MS;
use super::balances::site_quarters;
use super::expectation::{Board, row, sensor_of, whole};
use super::performance::reports;
use super::settlement::uploaded;
use crate::analytics::{
    PeriodStep, QUARTER_H, QUARTER_MS, QuarterExpectation, day_start_ms, periods, quarter_of, whole_wh,
};
use crate::schedules::{Scheduled, Schedules};
use crate::store::{ReadResult, Snapshot, Store, StoreError};

/// How long an index of the sky's clearness stands for the present.
const INDEX_AGE_MS_MAX: i64 = 60 * 60_000;
const DAY_MS: i64 = 86_400_000;
const WH_PER_KWH: f64 = 1_000.0;

/// Today's closed quarter-hours as of an instant.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    pub(crate) at_ms: i64,
    pub(crate) day_start_ms: i64,
    pub(crate) plants: HashMap<String, PlantOutlook>,
    pub(crate) sites: HashMap<String, EnergyBalance>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlantOutlook {
    pub(crate) expected_wh: Option<i64>,
    pub(crate) made_wh: Option<i64>,
    pub(crate) made_of_wh: Option<i64>,
    pub(crate) completeness: f64,
    pub(crate) performance_ratio: Option<f64>,
    pub(crate) uploaded_deviation_w: Option<f64>,
    pub(crate) persistence_deviation_w: Option<f64>,
    pub(crate) clear_sky_deviation_w: Option<f64>,
    /// The newest index of the sky's clearness, and the end of its quarter-hour in UTC ms.
    index: Option<(f64, i64)>,
}

impl PlantOutlook {
    /// How clear the sky is, as of an instant.
    pub(crate) fn index_at(&self, now_ms: i64) -> Option<f64> {
        self.index
            .filter(|(_, end_ms)| (0..=INDEX_AGE_MS_MAX).contains(&(now_ms - end_ms)))
            .map(|(index, _)| index)
    }
}

/// What schedules are made of that stays the same for a day. Of the uploaded ones the periods around it; a file is read again when it or
/// the day is another.
#[derive(Debug, Default)]
pub(crate) struct DaySchedules {
    plants: HashMap<String, OfDay>,
    /// Begin of the day, and the clear-sky energy in Wh of each quarter-hour of the day before it, by plant.
    clear_before: (i64, HashMap<String, Box<[f64]>>),
}

#[derive(Debug)]
struct OfDay {
    stamp: Option<(SystemTime, u64)>,
    day_start_ms: i64,
    periods: Vec<Scheduled>,
}

impl DaySchedules {
    fn refresh(&mut self, schedules: &Schedules, plant: &str, day_start_ms: i64) {
        // Before the file is read: when it is replaced between, it is read again the next time.
        let stamp = schedules.stamp(plant);
        let known = self.plants.get(plant);
        if known.is_some_and(|known| (known.stamp, known.day_start_ms) == (stamp, day_start_ms)) {
            return;
        }
        // A schedule that can't be read is no schedule; whoever asks for it is told why.
        let mut periods = schedules.read(plant).unwrap_or_default();
        periods.retain(|one| (one.start_ms - day_start_ms).abs() <= 2 * DAY_MS);
        periods.shrink_to_fit();
        let of_day = OfDay {
            stamp,
            day_start_ms,
            periods,
        };
        self.plants.insert(plant.to_owned(), of_day);
    }

    fn of(&self, plant: &str) -> &[Scheduled] {
        self.plants.get(plant).map_or(&[], |known| &known.periods)
    }

    /// What a clear day makes in a quarter-hour of the day in which the clear sky gives `clear_wh`, times how clear the day before was; in Wh.
    fn clear_sky_wh(
        &mut self,
        snapshot: &Snapshot<'_>,
        (fleet, plant): (&Fleet, &Plant),
        day_start_ms: i64,
        clear_wh: f64,
    ) -> ReadResult<Option<i64>> {
        let before = periods(
            crate::analytics::day_start_ms(day_start_ms - 1),
            day_start_ms,
            PeriodStep::Quarter,
        );
        if self.clear_before.0 != day_start_ms {
            self.clear_before = (day_start_ms, HashMap::new());
        }
        if !self.clear_before.1.contains_key(&plant.id) {
            let (_, clear_before) = Board::new(snapshot, fleet, &before).own(plant)?;
            self.clear_before.1.insert(plant.id.clone(), clear_before.into());
        }
        // Far below 2^53.
        let made_before: Vec<_> = snapshot
            .inverters(plant, &before)?
            .iter()
            .map(|parts| whole_wh(parts).map(|wh| wh as f64 / WH_PER_KWH))
            .collect();
        let clear_before = self.clear_before.1.get(&plant.id).map_or(&[][..], |clear| clear);
        let clear_before: Vec<_> = clear_before.iter().map(|wh| Some(wh / WH_PER_KWH)).collect();
        let scheduled = clear_sky_schedule(&[Some(clear_wh / WH_PER_KWH)], &made_before, &clear_before);
        let scheduled_kwh = scheduled.and_then(|(schedule, _)| schedule.first().copied().flatten());
        Ok(scheduled_kwh.map(|kwh| whole(kwh * WH_PER_KWH)))
    }
}

impl Outlook {
    /// Computes everything as of `now_ms`. The schedules are read before the snapshot, which holds the store's log.
    pub(crate) fn compute(
        store: &Store,
        uploads: &mut DaySchedules,
        now_ms: i64,
    ) -> Result<Self, StoreError> {
        let start_ms = day_start_ms(now_ms);
        let closed_ms = quarter_of(now_ms - CLOSED_AFTER_MS) * QUARTER_MS;
        // The sky of the last hour is looked at too just after midnight, which need not be dark where a clock is another's.
        let first_ms = start_ms.min(closed_ms - INDEX_AGE_MS_MAX);
        let quarters = periods(first_ms, closed_ms, PeriodStep::Quarter);
        let today = quarters.partition_point(|quarter| quarter.0 < start_ms);
        let fleet = store.fleet();
        let schedules = store.schedules();
        for plant in &fleet.plants {
            uploads.refresh(&schedules, &plant.id, start_ms);
        }
        let (plants, sites) = store.snapshot(|snapshot| {
            let mut board = Board::new(snapshot, fleet, &quarters);
            let mut plants = HashMap::new();
            for plant in &fleet.plants {
                let expected = board.expected(plant)?;
                let day = row(
                    (start_ms, closed_ms),
                    &expected.quarters[today..],
                    &expected.made_wh[today..],
                );
                let performance_ratio = match sensor_of(plant) {
                    Some(_) if today < quarters.len() => {
                        let periods = [(start_ms, closed_ms)];
                        reports(snapshot, plant, &periods)?
                            .first()
                            .and_then(|report| report.pr)
                    }
                    _ => None,
                };
                let made_wh = expected.made_wh.last().copied().flatten();
                let deviations = match quarters.last().zip(made_wh) {
                    Some((&quarter, made_wh)) => {
                        let newest = (quarter, made_wh);
                        deviations_w(uploads, snapshot, (fleet, plant), &mut board, start_ms, newest)?
                    }
                    None => [None; 3],
                };
                let [
                    uploaded_deviation_w,
                    persistence_deviation_w,
                    clear_sky_deviation_w,
                ] = deviations;
                let own = PlantOutlook {
                    expected_wh: day.expected_wh,
                    made_wh: day.made_wh,
                    made_of_wh: day.made_of_wh,
                    uploaded_deviation_w,
                    persistence_deviation_w,
                    clear_sky_deviation_w,
                    completeness: if quarters.is_empty() {
                        0.0
                    } else {
                        day.completeness
                    },
                    performance_ratio,
                    index: newest_index(&quarters, &expected.quarters),
                };
                plants.insert(plant.id.clone(), own);
            }
            let sites = site_balances(snapshot, fleet, &quarters[today..])?;
            Ok((plants, sites))
        })?;
        Ok(Self {
            at_ms: now_ms,
            day_start_ms: start_ms,
            plants,
            sites,
        })
    }
}

/// How each site balances over these quarter-hours.
fn site_balances(
    snapshot: &Snapshot<'_>,
    fleet: &Fleet,
    quarters: &[(i64, i64)],
) -> ReadResult<HashMap<String, EnergyBalance>> {
    let balance = |intervals: Vec<_>| energy_balance(&intervals, QUARTER_H);
    let sites = fleet.sites.iter();
    sites
        .map(|site| {
            Ok((
                site.id.clone(),
                balance(site_quarters(snapshot, &site.id, quarters)?),
            ))
        })
        .collect()
}

/// Generation of the newest quarter-hour minus what was uploaded for it, minus that of a day before, and minus a clear day's; as mean powers
/// in W.
fn deviations_w<'a>(
    uploads: &mut DaySchedules,
    snapshot: &Snapshot<'_>,
    (fleet, plant): (&Fleet, &'a Plant),
    board: &mut Board<'a>,
    day_start_ms: i64,
    ((start_ms, end_ms), made_wh): ((i64, i64), i64),
) -> ReadResult<[Option<f64>; 3]> {
    // Far below 2^53.
    let watts = |scheduled_wh: i64| (made_wh - scheduled_wh) as f64 / QUARTER_H;
    let uploaded_kwh = uploaded(uploads.of(&plant.id), start_ms, end_ms, QUARTER_MS / 60_000);
    let uploaded_wh = uploaded_kwh
        .first()
        .copied()
        .flatten()
        .map(|kwh| whole(kwh * WH_PER_KWH));
    let before = snapshot.inverters(plant, &[(start_ms - DAY_MS, end_ms - DAY_MS)])?;
    let before_wh = before.first().and_then(|parts| whole_wh(parts));
    // Just after midnight the newest quarter-hour is of the day before, whose schedule is made from the one before that.
    let clear_sky_wh = if start_ms >= day_start_ms {
        let (_, clear_wh) = board.own(plant)?;
        let clear_wh = clear_wh.last().copied().unwrap_or_default();
        uploads.clear_sky_wh(snapshot, (fleet, plant), day_start_ms, clear_wh)?
    } else {
        None
    };
    Ok([uploaded_wh, before_wh, clear_sky_wh].map(|scheduled_wh| scheduled_wh.map(watts)))
}

fn newest_index(quarters: &[(i64, i64)], expected: &[QuarterExpectation]) -> Option<(f64, i64)> {
    let known = quarters.iter().zip(expected).rev();
    known
        .filter_map(|(&(_, end_ms), one)| Some((one.clear_sky_index?, end_ms)))
        .next()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::sync::Arc;

    use taraz_fleet::Fleet;

    use super::*;

    const PLANT: &str = "sari-roof-1";
    const HEAD: &str = "plant,start,minutes,scheduled_kwh\n";

    #[test]
    fn a_schedule_is_read_again_when_its_file_or_the_day_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let fleet = Arc::new(Fleet::parse(taraz_fleet::EXAMPLE).unwrap());
        let schedules = Schedules::new(folder.path(), fleet);
        let mut uploads = DaySchedules::default();
        // 2026-11-23 00:00 in Tehran.
        let day_ms = 1_795_379_400_000;
        let mut read = |day_ms| {
            uploads.refresh(&schedules, PLANT, day_ms);
            let energies = uploads.of(PLANT).iter().map(|one| one.energy_wh);
            energies.collect::<Vec<_>>()
        };
        assert_eq!(read(day_ms), [0_i64; 0]);
        let rows = format!(
            "{HEAD}{PLANT},2026-11-23 12:00,15,1\n{PLANT},2026-11-24 12:00,15,2\n{PLANT},2026-12-23 12:00,15,3\n"
        );
        schedules.import(&rows).unwrap();
        assert_eq!(read(day_ms), [1_000, 2_000], "of the day and what is next to it");

        // Other bytes under the same stamp: were the file read, they would be seen.
        let file = folder.path().join("schedules").join(format!("{PLANT}.csv"));
        let (written, _) = schedules.stamp(PLANT).unwrap();
        let other = fs::read_to_string(&file).unwrap().replace("15,1.000", "15,9.000");
        fs::write(&file, other).unwrap();
        let opened = File::options().write(true).open(&file).unwrap();
        opened.set_modified(written).unwrap();
        assert_eq!(read(day_ms), [1_000, 2_000]);
        assert_eq!(read(day_ms + DAY_MS), [9_000, 2_000], "another day");
        schedules
            .import(&format!("{HEAD}{PLANT},2026-11-23 12:00,15,10.25\n"))
            .unwrap();
        assert_eq!(read(day_ms + DAY_MS), [10_250, 2_000], "another file");
    }
}
