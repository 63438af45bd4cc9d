//! Which recorded day is replayed on a given date.

use jiff::civil::Date;

use crate::solar::{DAY_S, midnight_unix_s};

/// How many days of the year a recorded day may be off and still stand for a date by itself.
const NEAR_DAYS: i32 = 15;
/// When none is that near, this many of the nearest take turns: one day for weeks on end would be no weather. A prime, for
/// [`TURN`].
const TURNS_MAX: usize = 29;
/// How far a turn goes on from day to day: a larger prime, so that every candidate has its turn, and the
/// turns do not go along with the candidates, which change by one from day to day.
const TURN: i64 = 37;
/// Days of a year, the leap day included: the size of the table.
const YEAR_DAYS: i32 = 366;
/// The longest and the shortest day are mirrors of the year: 21 June is its 172nd day, 21 December its 355th.
const SOLSTICE: i32 = 172;

/// For every day of the year, the recorded days that stand for it.
#[derive(Debug)]
pub(crate) struct DayChoice {
    candidates: Vec<Vec<u32>>,
}

impl DayChoice {
    /// From the dates of the recorded days. Southern seasons are shifted by half a year.
    pub(super) fn new(dates: impl Iterator<Item = Date>, southern: bool) -> Self {
        let shift = if southern { YEAR_DAYS / 2 } else { 0 };
        let recorded: Vec<i32> = dates
            .map(|date| (i32::from(date.day_of_year()) + shift).rem_euclid(YEAR_DAYS))
            .collect();
        let candidates = (0..YEAR_DAYS).map(|day| candidates(day, &recorded)).collect();
        Self { candidates }
    }

    /// Every recorded day in turn, whatever the date.
    pub(super) fn in_turn(days: usize) -> Self {
        let all: Vec<u32> = (0..days)
            .map(|day| u32::try_from(day).unwrap_or(u32::MAX))
            .collect();
        Self {
            candidates: (0..YEAR_DAYS).map(|_| all.clone()).collect(),
        }
    }

    /// The index of the recorded day that is replayed on a date.
    pub(crate) fn day_for(&self, date: Date) -> usize {
        let day = usize::try_from(date.day_of_year()).unwrap_or(0) % self.candidates.len();
        let candidates = &self.candidates[day];
        let turns = i64::try_from(candidates.len()).unwrap_or(1).max(1);
        let turn = (midnight_unix_s(date) / DAY_S * TURN).rem_euclid(turns);
        candidates
            .get(usize::try_from(turn).unwrap_or(0))
            .map_or(0, |&day| day as usize)
    }
}

/// The nearest recorded day if it is near, else the nearest ones by the sun's height, in the order of their dates.
fn candidates(day: i32, recorded: &[i32]) -> Vec<u32> {
    let index = |i: usize| u32::try_from(i).unwrap_or(u32::MAX);
    let by_distance = |distance: &dyn Fn(i32) -> i32| {
        let mut order: Vec<usize> = (0..recorded.len()).collect();
        order.sort_by_key(|&i| (distance(recorded[i]), i));
        order
    };
    let nearest = by_distance(&|other| around(day, other));
    match nearest.first() {
        Some(&first) if around(day, recorded[first]) <= NEAR_DAYS => vec![index(first)],
        _ => {
            let mirrored = 2 * SOLSTICE - day;
            let mut turns = by_distance(&|other| around(day, other).min(around(mirrored, other)));
            turns.truncate(TURNS_MAX);
            turns.sort_unstable();
            turns.into_iter().map(index).collect()
        }
    }
}

/// The distance of two days of the year, the short way round.
fn around(a: i32, b: i32) -> i32 {
    let distance = (a - b).rem_euclid(YEAR_DAYS);
    distance.min(YEAR_DAYS - distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn the_nearest_day_of_the_year_stands_for_a_date() {
        let recorded = [date(2016, 1, 2), date(2016, 6, 1), date(2016, 12, 30)];
        let choice = DayChoice::new(recorded.into_iter(), false);
        assert_eq!(choice.day_for(date(2026, 1, 1)), 0);
        assert_eq!(choice.day_for(date(2026, 6, 10)), 1);
        assert_eq!(choice.day_for(date(2026, 12, 31)), 2);
        assert_eq!(choice.day_for(date(2025, 1, 7)), 0);
    }

    #[test]
    fn a_southern_year_is_turned_round() {
        let recorded = [date(2011, 7, 2), date(2012, 1, 2)];
        let choice = DayChoice::new(recorded.into_iter(), true);
        assert_eq!(choice.day_for(date(2026, 1, 1)), 0);
        assert_eq!(choice.day_for(date(2026, 7, 2)), 1);
    }

    #[test]
    fn few_days_take_turns_where_none_is_near() {
        let recorded = [date(2022, 1, 2), date(2022, 1, 3), date(2022, 1, 4)];
        let choice = DayChoice::new(recorded.into_iter(), false);
        let days: Vec<usize> = (1..=6).map(|day| choice.day_for(date(2026, 8, day))).collect();
        assert_eq!(days[..3], days[3..]);
        let mut three = days[..3].to_vec();
        three.sort_unstable();
        assert_eq!(three, [0, 1, 2]);
        assert_eq!(choice.day_for(date(2026, 1, 3)), 1);
    }

    #[test]
    fn where_none_is_near_the_same_height_of_the_sun_is_better_than_the_same_side_of_the_year() {
        // Nothing from July to November: August looks for April and May, not for June alone.
        let recorded: Vec<Date> = (0..200)
            .map(|day| date(2018, 12, 1).saturating_add(jiff::Span::new().days(day)))
            .collect();
        let choice = DayChoice::new(recorded.iter().copied(), false);
        let month = recorded[choice.day_for(date(2026, 8, 20))].month();
        assert!((4..=5).contains(&month), "{month}");
    }
}
