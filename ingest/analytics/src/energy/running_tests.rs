//! The running account against the batch pass, at every prefix, whatever the register did.

use proptest::prelude::*;

use super::batch;
use super::{
    CHECKPOINT_LEN_MAX, Entries, Entry, INTERVAL_MS, Ledger, Meter, Point, Replacement, RunningAccount,
    RunningIntervals, account,
};

const RATED_W: u32 = 30_000;
const MINUTE_MS: i64 = 60_000;
/// Low, so that histories roll over.
const MODULUS_WH: i64 = 2_000_000;

/// What a register does next.
#[derive(Clone, Debug)]
enum Does {
    /// It counts: readings, minutes between them, Wh each.
    Counts(usize, i64, i64),
    /// It stands still: readings, minutes between them.
    Stands(usize, i64),
    /// Readings that are wrong, after which it goes on as before: how many, and by how much.
    Glitches(usize, i64),
    /// Nothing is read for so many minutes while it counts so many Wh.
    IsSilent(i64, i64),
    /// It begins again at a value.
    BeginsAt(i64),
    /// It reads something for once.
    Reads(i64),
    /// It stood still and then adds what it missed.
    CatchesUp(i64),
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => (1..12_usize, 1..20_i64, 1..3_000_i64).prop_map(|(n, m, wh)| Does::Counts(n, m, wh)),
        2 => (1..40_usize, 1..20_i64).prop_map(|(n, m)| Does::Stands(n, m)),
        3 => (1..11_usize, prop_oneof![-900_000..0_i64, -30..30_i64, 0..5_000_000_i64]).prop_map(|(n, by)| Does::Glitches(n, by)),
        1 => (20..6_000_i64, 0..90_000_i64).prop_map(|(m, wh)| Does::IsSilent(m, wh)),
        1 => (0..5_000_i64).prop_map(Does::BeginsAt),
        1 => (0..MODULUS_WH + 10_000).prop_map(Does::Reads),
        1 => (1_000..200_000_i64).prop_map(Does::CatchesUp),
    ]
}

/// Readings in time of a register that does this.
fn history(deeds: &[Does], start_wh: i64) -> Vec<Point> {
    let (mut time_ms, mut value_wh) = (0, start_wh);
    let mut points = Vec::new();
    for deed in deeds {
        let (readings, minutes, rise_wh, off_wh) = match *deed {
            Does::Counts(readings, minutes, rise_wh) => (readings, minutes, rise_wh, 0),
            Does::Stands(readings, minutes) => (readings, minutes, 0, 0),
            Does::Glitches(readings, off_wh) => (readings, 5, 10, off_wh),
            Does::IsSilent(minutes, rise_wh) => (1, minutes, rise_wh, 0),
            Does::BeginsAt(at_wh) => (1, 5, at_wh - value_wh, 0),
            Does::Reads(at_wh) => (1, 5, 0, at_wh - value_wh),
            Does::CatchesUp(rise_wh) => (1, 1, rise_wh, 0),
        };
        for _ in 0..readings {
            time_ms += minutes * MINUTE_MS;
            value_wh = (value_wh + rise_wh).rem_euclid(MODULUS_WH);
            points.push(Point {
                time_ms,
                value_wh: (value_wh + off_wh).max(0),
            });
        }
    }
    points
}

fn readings() -> impl Strategy<Value = Vec<Point>> {
    let start_wh = prop_oneof![Just(1_000_000_i64), Just(MODULUS_WH - 20_000), 0..MODULUS_WH];
    (prop::collection::vec(does(), 0..14), start_wh).prop_map(|(deeds, start_wh)| history(&deeds, start_wh))
}

fn meter() -> impl Strategy<Value = Meter> {
    let record = (0..6_000_i64, 0..MODULUS_WH, 0..100_000_i64);
    let rated_w = prop_oneof![4 => Just(RATED_W), 1 => Just(0)];
    (rated_w, any::<bool>(), prop::collection::vec(record, 0..3)).prop_map(|(rated_w, rolls, records)| {
        let mut replacements: Vec<_> = records
            .into_iter()
            .map(|(minute, final_wh, start_wh)| Replacement {
                at_ms: minute * MINUTE_MS,
                final_wh,
                start_wh,
            })
            .collect();
        replacements.sort_unstable();
        replacements.dedup_by_key(|record| record.at_ms);
        let meter = Meter::new(rated_w).with_replacements(replacements).unwrap();
        if rolls {
            meter.with_modulus(MODULUS_WH).unwrap()
        } else {
            meter
        }
    })
}

fn push(running: &mut RunningAccount, meter: &Meter, point: Point, ledger: &mut Ledger) {
    running
        .push(meter, point, &mut |settled| ledger.add(settled))
        .unwrap();
}

/// The settled part and the tail behind it.
fn whole(settled: &Ledger, running: &RunningAccount, meter: &Meter) -> Ledger {
    let mut ledger = settled.clone();
    running.tail(meter, &mut |settled| ledger.add(settled));
    ledger
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_prefix_is_what_the_batch_pass_says(meter in meter(), points in readings()) {
        let (mut running, mut settled) = (RunningAccount::default(), Ledger::default());
        for (index, &point) in points.iter().enumerate() {
            push(&mut running, &meter, point, &mut settled);
            let expected = batch::account(&meter, &points[..=index]);
            prop_assert_eq!(&whole(&settled, &running, &meter), &expected, "after {} readings", index + 1);
        }
        prop_assert_eq!(account(&meter, &points), batch::account(&meter, &points));
    }

    #[test]
    fn a_restored_account_goes_on_as_if_it_had_never_stopped(meter in meter(), points in readings(), every in 1..9_usize) {
        let (mut running, mut settled) = (RunningIntervals::default(), Vec::new());
        let (mut restored, mut again) = (RunningIntervals::default(), Vec::new());
        for (index, &point) in points.iter().enumerate() {
            running.push(&meter, point, &mut |entry| settled.push(entry)).unwrap();
            restored.push(&meter, point, &mut |entry| again.push(entry)).unwrap();
            if index % every == 0 {
                let mut bytes = Vec::new();
                restored.account().write_checkpoint(&mut bytes);
                prop_assert!(bytes.len() <= CHECKPOINT_LEN_MAX);
                bytes.clear();
                restored.write_checkpoint(&mut bytes);
                restored = RunningIntervals::from_checkpoint(&bytes).unwrap();
            }
            prop_assert_eq!(&running, &restored);
        }
        prop_assert_eq!(settled, again);
    }

    #[test]
    fn entries_state_what_the_ledger_states(meter in meter(), points in readings(), cuts in prop::collection::vec(0..60_i64, 0..6)) {
        let (mut running, mut entries) = (RunningIntervals::default(), Entries::default());
        for &point in &points {
            let open = running.position();
            running.push(&meter, point, &mut |entry| entries.add(entry)).unwrap();
            let now = running.position();
            prop_assert!(open.quarter <= now.quarter && open.settled_ms <= now.settled_ms && open.open_ms <= now.open_ms);
        }
        running.tail(&meter, &mut |entry| entries.add(entry));
        let ledger = batch::account(&meter, &points);
        let last = points.last().map_or(0, |point| point.time_ms / INTERVAL_MS + 1);
        for quarter in -1..=last {
            let (start_ms, end_ms) = (quarter * INTERVAL_MS, (quarter + 1) * INTERVAL_MS);
            prop_assert_eq!(entries.period(start_ms, end_ms), ledger.period(start_ms, end_ms));
        }
        let mut edges = cuts;
        edges.extend([-1, last]);
        edges.sort_unstable();
        for edge in edges.windows(2) {
            let (start_ms, end_ms) = (edge[0] * INTERVAL_MS, edge[1] * INTERVAL_MS);
            prop_assert_eq!(entries.period(start_ms, end_ms), ledger.period(start_ms, end_ms));
        }
    }

    #[test]
    fn each_entry_is_handed_out_once_in_time_and_on_its_side_of_the_position(meter in meter(), points in readings()) {
        let (mut running, mut quarters) = (RunningIntervals::default(), Vec::new());
        let (mut longs, mut ignored) = (Vec::new(), Vec::new());
        for &point in &points {
            let before = running.position();
            let begin = (quarters.len(), longs.len(), ignored.len());
            running.push(&meter, point, &mut |entry| match entry {
                Entry::Quarter { quarter, .. } => quarters.push(quarter),
                Entry::Long(segment) => longs.push(segment.from.time_ms),
                Entry::Ignored(one) => ignored.push(one.point.time_ms),
            }).unwrap();
            let now = running.position();
            let within = |new: &[i64], from: i64, to: i64| new.iter().all(|&at| from <= at && at < to);
            prop_assert!(within(&quarters[begin.0..], before.quarter, now.quarter));
            prop_assert!(within(&longs[begin.1..], before.settled_ms, now.settled_ms));
            prop_assert!(within(&ignored[begin.2..], before.open_ms, now.open_ms));
        }
        for times in [&quarters, &longs, &ignored] {
            prop_assert!(times.is_sorted_by(|one, next| one < next));
        }
    }

    #[test]
    fn whatever_was_read_before_is_forgotten_once_the_register_has_moved_on(
        meter in meter(), one in readings(), other in readings(), rises in prop::collection::vec(1..500_i64, 30),
    ) {
        let mut accounts = [RunningIntervals::default(), RunningIntervals::default()];
        let start_ms = 10_000 * INTERVAL_MS;
        let common = rises.iter().scan((start_ms, 100_000), |(time_ms, value_wh), rise_wh| {
            *time_ms += MINUTE_MS;
            *value_wh += rise_wh;
            Some(Point { time_ms: *time_ms, value_wh: *value_wh })
        });
        let common: Vec<Point> = common.collect();
        for (running, before) in accounts.iter_mut().zip([one, other]) {
            for &point in before.iter().filter(|point| point.time_ms < start_ms).chain(&common) {
                running.push(&meter, point, &mut |_| {}).unwrap();
            }
        }
        // 30 minutes: the quarter-hour that the settled segments end in began within them as well.
        prop_assert_eq!(&accounts[0], &accounts[1]);
    }

    #[test]
    fn any_bytes_are_a_checkpoint_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let versioned: Vec<u8> = std::iter::once(1).chain(bytes.iter().map(|byte| byte % 14)).collect();
        for bytes in [&bytes, &versioned] {
            if let Ok(mut running) = RunningIntervals::from_checkpoint(bytes) {
                let mut again = Vec::new();
                running.write_checkpoint(&mut again);
                prop_assert_eq!(&RunningIntervals::from_checkpoint(&again).unwrap(), &running);
                let time_ms = running.account().last_ms().unwrap_or(0).saturating_add(MINUTE_MS);
                let _ = running.push(&Meter::new(RATED_W), Point { time_ms, value_wh: 5 }, &mut |_| {});
            }
        }
    }
}

#[test]
fn a_standstill_of_days_costs_no_memory_and_is_caught_up_as_a_whole() {
    let meter = Meter::new(RATED_W);
    let mut running = RunningAccount::default();
    let mut settled = Ledger::default();
    let mut points = vec![Point {
        time_ms: 0,
        value_wh: 999_000,
    }];
    points.extend((1..=3 * 1_440).map(|minute| Point {
        time_ms: minute * MINUTE_MS,
        value_wh: 1_000_000,
    }));
    points.push(Point {
        time_ms: (3 * 1_440 + 1) * MINUTE_MS,
        value_wh: 1_400_000,
    });
    for &point in &points {
        push(&mut running, &meter, point, &mut settled);
        let mut bytes = Vec::new();
        running.write_checkpoint(&mut bytes);
        assert!(bytes.len() <= CHECKPOINT_LEN_MAX);
    }
    let ledger = whole(&settled, &running, &meter);
    assert_eq!((ledger.total_wh(), ledger.segments().len()), (401_000, 2));
    assert_eq!(ledger, batch::account(&meter, &points));
}

#[test]
fn a_register_that_runs_backwards_takes_back_no_more_than_a_glitch() {
    // Before, each of the falling readings took eight of the rising ones back, all the way.
    let rising = (0..100_i64).map(|step| Point {
        time_ms: step * MINUTE_MS,
        value_wh: 1_000_000 + step * 100,
    });
    let falling = (100..160_i64).map(|step| Point {
        time_ms: step * MINUTE_MS,
        value_wh: 1_009_900 - (step - 99) * 150,
    });
    let points: Vec<Point> = rising.chain(falling).collect();
    let ledger = account(&Meter::new(RATED_W), &points);
    assert!(
        ledger.ignored().len() <= super::GLITCH_POINTS_MAX,
        "{:?}",
        ledger.ignored()
    );
    assert!(ledger.total_wh() >= 9_000, "{}", ledger.total_wh());
}

#[test]
fn a_reading_that_is_not_later_changes_nothing() {
    let meter = Meter::new(RATED_W);
    let mut running = RunningAccount::default();
    let point = Point {
        time_ms: 5,
        value_wh: 7,
    };
    running.push(&meter, point, &mut |_| {}).unwrap();
    let before = running.clone();
    let error = running.push(&meter, point, &mut |_| {}).unwrap_err();
    assert_eq!((error.last_ms, error.time_ms), (5, 5));
    assert_eq!(running, before);
}
