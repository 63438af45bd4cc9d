//! Energy accounting: what happens to registers in the field, and properties that hold whatever happens.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use taraz_analytics::energy::{
    Arrival, Cause, INTERVAL_MS, Ledger, Line, Meter, PeriodEnergy, Point, Replacement, Series, Why,
    modulus_of_digits,
};

/// 30 kW: at most 11,250 Wh in a quarter-hour, and one count.
const RATED_W: u32 = 30_000;

fn meter() -> Meter {
    Meter::new(RATED_W)
}

/// Readings a quarter-hour apart.
fn quarters(values_wh: &[i64]) -> Vec<Point> {
    let times = (0..).map(|quarter: i64| quarter * INTERVAL_MS);
    times
        .zip(values_wh)
        .map(|(time_ms, &value_wh)| Point { time_ms, value_wh })
        .collect()
}

fn ledger_of(meter: &Meter, points: &[Point]) -> Ledger {
    points.iter().copied().collect::<Series>().account(meter)
}

fn causes(ledger: &Ledger) -> Vec<Cause> {
    ledger.segments().iter().map(|segment| segment.cause).collect()
}

fn at(quarter: i64) -> i64 {
    quarter * INTERVAL_MS
}

#[test]
fn a_dip_is_ignored_and_said() {
    let ledger = ledger_of(&meter(), &quarters(&[500_000, 501_000, 0, 0, 504_000]));
    assert_eq!(ledger.total_wh(), 4_000);
    assert_eq!(ledger.ignored().len(), 2);
    assert!(
        ledger
            .ignored()
            .iter()
            .all(|one| one.why == Why::Dip && one.point.value_wh == 0)
    );
    assert_eq!(causes(&ledger), [Cause::Counted, Cause::Gap]);
    // A meter that shows a few Wh less for once has not been reset either.
    let jitter = ledger_of(&meter(), &quarters(&[500_000, 500_010, 500_005, 500_020]));
    assert_eq!((jitter.total_wh(), jitter.ignored().len()), (20, 1));
}

#[test]
fn a_spike_is_ignored_whether_it_is_large_or_small() {
    let large = ledger_of(
        &meter(),
        &quarters(&[500_000, 501_000, 65_535_000, 503_000, 504_000]),
    );
    assert_eq!((large.total_wh(), large.ignored()[0].why), (4_000, Why::Spike));
    // Small enough to be believed at first; what comes after contradicts it for good.
    let small: Vec<i64> = [500_000, 505_000]
        .into_iter()
        .chain((1..20).map(|step| 500_000 + step * 10))
        .collect();
    let ledger = ledger_of(&meter(), &quarters(&small));
    assert_eq!((ledger.total_wh(), ledger.ignored().len()), (190, 1));
}

#[test]
fn a_reset_counts_what_the_register_holds_since() {
    let ledger = ledger_of(&meter(), &quarters(&[13_000_000, 13_001_000, 656, 1_656, 2_656]));
    assert_eq!(ledger.total_wh(), 1_000 + 656 + 2_000);
    assert_eq!(causes(&ledger)[1], Cause::Reset);
    let period = ledger.period(at(1), at(2));
    assert!(period.flags.reset && period.known_ms == 0 && period.energy_wh == 656);
}

#[test]
fn a_fall_without_a_record_is_unknown_and_says_what_to_do() {
    let ledger = ledger_of(
        &meter(),
        &quarters(&[13_000_000, 13_001_000, 9_000_000, 9_001_000]),
    );
    assert_eq!((ledger.total_wh(), causes(&ledger)[1]), (2_000, Cause::Fall));
    let period = ledger.period(0, at(3));
    assert!(period.flags.quarantined && period.known_ms == at(2));
    let text = ledger.explain(0, at(3)).to_string();
    assert!(
        text.contains("fell by 4001000 Wh") && text.contains("record it with both registers"),
        "{text}"
    );
}

#[test]
fn a_recorded_replacement_keeps_the_total_continuous() {
    let record = Replacement {
        at_ms: at(1) + INTERVAL_MS / 2,
        final_wh: 13_001_500,
        start_wh: 9_000_000,
    };
    let replaced = meter().with_replacements(vec![record]).unwrap();
    let points = quarters(&[13_000_000, 13_001_000, 9_000_700, 9_001_000]);
    let ledger = ledger_of(&replaced, &points);
    assert_eq!(ledger.total_wh(), 1_000 + 500 + 700 + 300);
    assert_eq!(
        causes(&ledger),
        [Cause::Counted, Cause::Replaced, Cause::Replaced, Cause::Counted]
    );
    assert!(ledger.period(at(1), at(2)).flags.replaced);
    // A new register that was used before, higher than the old one: without the record it would be a jump.
    let higher = Replacement {
        at_ms: at(2),
        final_wh: 13_001_800,
        start_wh: 50_000_000,
    };
    let points = quarters(&[13_000_000, 13_001_000, 50_000_000, 50_001_000]);
    let ledger = ledger_of(&meter().with_replacements(vec![higher]).unwrap(), &points);
    assert_eq!(ledger.total_wh(), 1_000 + 800 + 1_000);
    // One that contradicts the readings counts nothing.
    let wrong = Replacement {
        final_wh: 12_000_000,
        ..higher
    };
    let ledger = ledger_of(&meter().with_replacements(vec![wrong]).unwrap(), &points);
    assert_eq!((ledger.total_wh(), causes(&ledger)[1]), (2_000, Cause::Misfit));
}

#[test]
fn registers_roll_over_at_their_width() {
    let acc32 = meter().with_modulus(1 << 32).unwrap();
    let ledger = ledger_of(&acc32, &quarters(&[(1 << 32) - 1_500, (1 << 32) - 500, 700]));
    assert_eq!(
        (ledger.total_wh(), causes(&ledger)[1]),
        (1_000 + 1_200, Cause::RollOver)
    );
    // Eight digits of 0.1 kWh.
    let digits = meter().with_modulus(modulus_of_digits(8, 100).unwrap()).unwrap();
    let ledger = ledger_of(&digits, &quarters(&[9_999_999_900, 0, 100]));
    assert_eq!(ledger.total_wh(), 200);
    // A reset far from the end is no roll-over.
    let ledger = ledger_of(&acc32, &quarters(&[13_000_000, 656]));
    assert_eq!((ledger.total_wh(), causes(&ledger)[0]), (656, Cause::Reset));
    assert!(meter().with_modulus(1_000).is_err());
}

#[test]
fn a_gap_is_a_known_total_of_unknown_shape() {
    let mut points = quarters(&[1_000_000, 1_001_000]);
    points.push(Point {
        time_ms: at(9),
        value_wh: 1_009_000,
    });
    let ledger = ledger_of(&meter(), &points);
    assert_eq!((ledger.total_wh(), causes(&ledger)[1]), (9_000, Cause::Gap));
    let inside = ledger.period(at(4), at(5));
    assert!((inside.energy_wh, inside.known_ms) == (1_000, 0) && inside.flags.spread);
    let day = ledger.period(0, at(96));
    assert_eq!(
        (day.energy_wh, day.known_ms, day.covered_ms),
        (9_000, at(9), at(9))
    );
}

#[test]
fn a_stuck_register_that_catches_up_is_attributed_to_the_standstill() {
    let mut values = vec![1_000_000, 1_002_000];
    values.extend([1_002_000; 20]);
    values.extend([1_102_000, 1_104_000]);
    let ledger = ledger_of(&meter(), &quarters(&values));
    assert_eq!(causes(&ledger), [Cause::Counted, Cause::CatchUp, Cause::Counted]);
    assert_eq!(ledger.segments()[1].from.time_ms, at(1));
    assert_eq!(ledger.total_wh(), 104_000);
    // More than the power explains even over the standstill: unknown.
    values[22] = 9_000_000;
    values[23] = 9_002_000;
    let ledger = ledger_of(&meter(), &quarters(&values));
    assert_eq!(
        (ledger.total_wh(), ledger.segments()[2].cause),
        (4_000, Cause::Jump)
    );
    let text = ledger.explain(0, at(30)).to_string();
    assert!(text.contains("rose by 7998000 Wh"), "{text}");
}

#[test]
fn of_two_values_at_one_instant_the_lower_counts() {
    let mut series: Series = quarters(&[1_000, 2_000]).into_iter().collect();
    let late = |value_wh| Point {
        time_ms: at(1),
        value_wh,
    };
    assert_eq!(series.insert(late(2_000)), Arrival::Repeated);
    assert_eq!(series.insert(late(2_500)), Arrival::Conflict);
    assert_eq!(series.account(&meter()).total_wh(), 1_000);
}

#[test]
fn a_late_reading_reopens_the_time_between_its_neighbours() {
    let points = quarters(&[1_000, 2_000, 3_000, 4_000, 5_000]);
    let before = ledger_of(&meter(), &[points[0], points[1], points[3], points[4]]);
    let after = ledger_of(&meter(), &points);
    assert_eq!(before.reopened_ms(&after), Some((at(1), at(3))));
    assert_eq!(after.reopened_ms(&after), None);
    assert_eq!(Ledger::default().reopened_ms(&after), Some((0, at(4))));
}

#[test]
fn an_empty_period_says_nothing() {
    let ledger = ledger_of(&meter(), &quarters(&[500_000, 501_000, 90_000_000]));
    let within_the_jump = at(1) + 1_000;
    assert_eq!(
        ledger.period(within_the_jump, within_the_jump),
        PeriodEnergy::default()
    );
    assert!(ledger.explain(within_the_jump, within_the_jump).lines.is_empty());
}

#[test]
fn an_explanation_names_every_step() {
    let ledger = ledger_of(
        &meter(),
        &quarters(&[500_000, 501_000, 0, 503_000, 504_000, 100, 200]),
    );
    let explained = ledger.explain(0, at(6));
    assert_eq!(explained.energy_wh, ledger.total_wh());
    let text = explained.to_string();
    for part in [
        "1970-01-01T00:00:00Z to 1970-01-01T00:15:00Z, register 500000 to 501000 Wh: 1000 Wh counted in 1 spans",
        "reading of 0 Wh ignored: lower than before",
        "over a silence",
        "counted at least",
        "together 4200 Wh",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
}

/// A day of quarter-hours of a plant with a used register, and what each of them counted.
fn clean_day() -> impl Strategy<Value = (Vec<Point>, i64)> {
    (
        20_000_000..80_000_000_i64,
        prop::collection::vec(0..7_500_i64, 20..96),
    )
        .prop_map(|(start_wh, rises)| {
            let mut values = vec![start_wh];
            values.extend(rises.iter().scan(start_wh, |value, rise| {
                *value += rise;
                Some(*value)
            }));
            (quarters(&values), rises.iter().sum())
        })
}

/// Anything that a register may read.
fn any_readings() -> impl Strategy<Value = Vec<Point>> {
    let value = prop_oneof![0..50_000_i64, 1_000_000..1_050_000_i64, 0..i64::from(u32::MAX)];
    prop::collection::vec((0..200_i64, value), 0..60).prop_map(|pairs| {
        pairs
            .into_iter()
            .map(|(step, value_wh)| Point {
                time_ms: step * 300_000,
                value_wh,
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_order_gives_the_same_ledger(readings in any_readings(), order in any::<u64>(), split in 0..60_usize) {
        let meter = meter().with_modulus(1 << 32).unwrap();
        let expected = ledger_of(&meter, &readings);
        // Shuffled, everything twice, in two batches with an account in between.
        let mut shuffled: Vec<Point> = readings.iter().chain(&readings).copied().collect();
        let mut state = order;
        for index in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(index, usize::try_from((state >> 33) % (index as u64 + 1)).unwrap());
        }
        let (first, second) = shuffled.split_at(split.min(shuffled.len()));
        let mut series: Series = first.iter().copied().collect();
        let live = series.account(&meter);
        series.extend(second.iter().copied());
        let after = series.account(&meter);
        prop_assert_eq!(&after, &expected);
        prop_assert_eq!(live.reopened_ms(&after).is_none(), live.segments() == after.segments());
    }

    #[test]
    fn segments_tile_time_and_periods_add_up(readings in any_readings(), cuts in prop::collection::vec(-1_000_000..70_000_000_i64, 0..8)) {
        let ledger = ledger_of(&meter(), &readings);
        for pair in ledger.segments().windows(2) {
            prop_assert_eq!(pair[0].to, pair[1].from);
        }
        for segment in ledger.segments() {
            prop_assert!(segment.length_ms() > 0 && segment.energy_wh >= 0);
            let bound_wh = f64::from(RATED_W) * 1.5 * segment.length_ms() as f64 / 3_600_000.0 + 1_000.0;
            prop_assert!(segment.energy_wh as f64 <= bound_wh, "{segment:?}");
        }
        let mut edges = cuts;
        edges.extend([-2_000_000, 80_000_000]);
        edges.sort_unstable();
        let parts: i64 = edges.windows(2).map(|edge| ledger.period(edge[0], edge[1]).energy_wh).sum();
        prop_assert_eq!(parts, ledger.total_wh());
        for edge in edges.windows(2) {
            let (period, explained) = (ledger.period(edge[0], edge[1]), ledger.explain(edge[0], edge[1]));
            prop_assert_eq!(explained.energy_wh, period.energy_wh);
            prop_assert!(period.known_ms <= period.covered_ms && period.covered_ms <= edge[1] - edge[0]);
            let ignored = explained.lines.iter().filter(|line| matches!(line, Line::Ignored(_))).count();
            prop_assert_eq!(ignored > 0, period.flags.glitch);
        }
    }

    #[test]
    fn glitches_and_gaps_do_not_change_the_total((points, total_wh) in clean_day(), hurt in prop::collection::vec((1..18_usize, 0..4_u8), 0..3)) {
        let mut hurt_points = points.clone();
        for (place, kind) in hurt {
            // The first and the last reading stay: what is outside them is outside the period.
            let place = place.min(hurt_points.len() - 2);
            match kind {
                0 => hurt_points[place].value_wh = 0,
                1 => hurt_points[place].value_wh = i64::from(u32::MAX),
                2 => hurt_points[place].value_wh /= 2,
                _ => { hurt_points.remove(place); }
            }
        }
        let ledger = ledger_of(&meter(), &hurt_points);
        prop_assert_eq!(ledger.total_wh(), total_wh, "{}", ledger.explain(0, at(100)));
    }

    #[test]
    fn a_roll_over_and_a_replacement_do_not_change_the_total((points, total_wh) in clean_day(), place in 1..18_usize) {
        let modulus_wh = points[place].value_wh;
        let rolled: Vec<Point> = points.iter().map(|point| Point { value_wh: point.value_wh % modulus_wh, ..*point }).collect();
        let ledger = ledger_of(&meter().with_modulus(modulus_wh).unwrap(), &rolled);
        prop_assert_eq!(ledger.total_wh(), total_wh);
        let old = points[place];
        let record = Replacement { at_ms: old.time_ms, final_wh: old.value_wh, start_wh: 7 };
        let replaced: Vec<Point> = points.iter().map(|point| {
            let is_new = point.time_ms >= old.time_ms;
            Point { value_wh: if is_new { point.value_wh - old.value_wh + 7 } else { point.value_wh }, ..*point }
        }).collect();
        let ledger = ledger_of(&meter().with_replacements(vec![record]).unwrap(), &replaced);
        prop_assert_eq!(ledger.total_wh(), total_wh);
    }
}
