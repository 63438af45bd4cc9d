//! A boot's anchors, and where they place an instant of its monotonic time.
//!
//! An instant is placed by one of the two anchors around it: the one that is more certain there, its own error grown by
//! [`DRIFT_PPM`] of the distance. So what an instant is placed by depends on the anchors beside it alone, and once all
//! records between those are here, nothing that comes later moves it.

use taraz_telemetry::{Anchor, HOLDOVER_ERROR_MS_MAX, Sequence};

use super::facts::TIME_MS_MAX;

/// The most anchors of a boot that count: the earliest, so that what is placed long since stays where it is. At one an hour
/// (`docs/protocol.md`, section 5) they last for half a year of one boot; what comes after them is placed by the last one.
pub(super) const ANCHORS_MAX: usize = 4_096;
/// How fast a device's monotonic time may run off, in millionths (`docs/protocol.md`, section 5).
const DRIFT_PPM: u64 = 50;

/// The anchors of one boot, by their monotonic time, one for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Anchors {
    kept: Vec<Anchor>,
}

impl FromIterator<Anchor> for Anchors {
    fn from_iter<I: IntoIterator<Item = Anchor>>(anchors: I) -> Self {
        let mut collected = Self::default();
        for anchor in anchors {
            collected.insert(anchor);
        }
        collected
    }
}

impl Anchors {
    /// Takes an anchor, if it can be used and is among those that count; true when something has changed. In whatever order
    /// anchors come, the same ones are kept in the end.
    pub(super) fn insert(&mut self, anchor: Anchor) -> bool {
        if !is_usable(&anchor) {
            return false;
        }
        match self
            .kept
            .binary_search_by_key(&anchor.monotonic_ms, |kept| kept.monotonic_ms)
        {
            Ok(at) => {
                let rank = |anchor: &Anchor| (anchor.error_ms, anchor.utc_ms);
                let kept = &mut self.kept[at];
                let is_better = rank(&anchor) < rank(kept);
                if is_better {
                    *kept = anchor;
                }
                is_better
            }
            Err(at) if at < ANCHORS_MAX => {
                self.kept.insert(at, anchor);
                self.kept.truncate(ANCHORS_MAX);
                true
            }
            Err(_) => false,
        }
    }

    /// Where an instant of the boot was, UTC ms.
    pub(super) fn place(&self, monotonic_ms: u64) -> Option<i64> {
        let after = self
            .kept
            .partition_point(|anchor| anchor.monotonic_ms <= monotonic_ms);
        let around = [after.checked_sub(1), Some(after)];
        let around = around.into_iter().flatten().filter_map(|at| self.kept.get(at));
        let best = around.min_by_key(|anchor| error_ms(anchor, monotonic_ms))?;
        let ms = i128::from(best.utc_ms) + i128::from(monotonic_ms) - i128::from(best.monotonic_ms);
        i64::try_from(ms).ok()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Anchor> {
        self.kept.iter()
    }
}

/// How far off an anchor may place an instant.
fn error_ms(anchor: &Anchor, monotonic_ms: u64) -> u128 {
    let distance_ms = u128::from(anchor.monotonic_ms.abs_diff(monotonic_ms));
    u128::from(anchor.error_ms) + (distance_ms * u128::from(DRIFT_PPM)).div_ceil(1_000_000)
}

/// Its times can be reckoned with, and it was made of a UTC that a device may use at all.
fn is_usable(anchor: &Anchor) -> bool {
    i64::try_from(anchor.monotonic_ms).is_ok()
        && i64::try_from(anchor.utc_ms).is_ok_and(|ms| ms <= TIME_MS_MAX)
        && anchor.error_ms <= HOLDOVER_ERROR_MS_MAX
}

/// Which records of an unbroken run (first and last sequence) are placed by all that could place them: those with an anchor behind them in the
/// run, and one in front of them or the beginning of the boot. First and last of them, from the run's first and last anchor record.
pub(super) fn settled(
    run: (Sequence, Sequence),
    anchors: Option<(Sequence, Sequence)>,
) -> Option<(Sequence, Sequence)> {
    let (first_anchor, last_anchor) = anchors?;
    let first = if run.0 == 0 {
        0
    } else {
        first_anchor.checked_add(1)?
    };
    (first <= last_anchor).then_some((first, last_anchor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UTC_MS: u64 = 1_780_000_000_000;

    fn anchor(monotonic_ms: u64, off_ms: u64, error_ms: u32) -> Anchor {
        Anchor {
            boot: 1,
            monotonic_ms,
            utc_ms: UTC_MS + monotonic_ms + off_ms,
            error_ms,
        }
    }

    fn off_ms(anchors: &Anchors, monotonic_ms: u64) -> i64 {
        anchors.place(monotonic_ms).unwrap() - i64::try_from(UTC_MS + monotonic_ms).unwrap()
    }

    #[test]
    fn the_more_certain_of_the_two_around_an_instant_places_it() {
        let hour_ms = 3_600_000;
        let anchors: Anchors = [
            anchor(hour_ms, 1, 20),
            anchor(3 * hour_ms, 2, 20),
            anchor(5 * hour_ms, 3, 200),
        ]
        .into_iter()
        .collect();
        assert_eq!(off_ms(&anchors, 0), 1, "before all of them");
        assert_eq!(off_ms(&anchors, 2 * hour_ms - 20_000), 1, "nearer to the first");
        assert_eq!(off_ms(&anchors, 2 * hour_ms), 1, "between them");
        assert_eq!(off_ms(&anchors, 2 * hour_ms + 20_000), 2, "nearer to the second");
        assert_eq!(off_ms(&anchors, 3 * hour_ms), 2);
        // 20 + 270 ms and 200 + 90 ms: the second still holds half an hour before the third.
        assert_eq!(off_ms(&anchors, 4 * hour_ms + 1_800_000), 2);
        assert_eq!(off_ms(&anchors, 4 * hour_ms + 1_900_000), 3);
        assert_eq!(off_ms(&anchors, 500 * hour_ms), 3, "behind all of them");
        assert_eq!(Anchors::default().place(0), None);
    }

    #[test]
    fn an_anchor_that_no_device_may_make_is_not_used() {
        let mut anchors = Anchors::default();
        assert!(!anchors.insert(anchor(0, 0, 30_001)));
        assert!(!anchors.insert(anchor(u64::MAX / 2, u64::MAX / 4, 0)));
        assert_eq!(anchors, Anchors::default());
        assert!(anchors.insert(anchor(0, 0, 30_000)));
        assert!(!anchors.insert(anchor(0, 0, 30_000)), "the same again");
    }

    #[test]
    fn the_earliest_count_however_many_there_are() {
        let all = || (0..ANCHORS_MAX as u64 + 10).map(|at| anchor(at * 1_000, at, 20));
        let forward: Anchors = all().collect();
        let backward: Anchors = all().collect::<Vec<_>>().into_iter().rev().collect();
        assert_eq!(forward, backward);
        assert_eq!(forward.iter().count(), ANCHORS_MAX);
        assert_eq!(forward.iter().next().map(|first| first.monotonic_ms), Some(0));
    }

    #[test]
    fn what_lies_between_two_anchors_of_a_whole_run_is_settled() {
        let settled_by = |run: (u32, u32), anchors: &[u32]| {
            let within = anchors.iter().filter(|anchor| (run.0..=run.1).contains(*anchor));
            settled(run, within.clone().min().copied().zip(within.max().copied()))
        };
        let anchors = [5, 9, 20];
        assert_eq!(settled_by((0, 9), &anchors), Some((0, 9)), "the boot's beginning");
        assert_eq!(
            settled_by((1, 9), &anchors),
            Some((6, 9)),
            "something is missing in front"
        );
        assert_eq!(settled_by((6, 19), &anchors), None, "no second anchor");
        assert_eq!(
            settled_by((0, 30), &anchors),
            Some((0, 20)),
            "no anchor behind it yet"
        );
        assert_eq!(settled_by((0, 30), &[]), None);
    }

    proptest! {
        /// Whatever comes first, the same anchors are kept; they place as the most certain of all neighbours does.
        #[test]
        fn order_does_not_matter(
            anchors in proptest::collection::vec((0_u64..50, 0_u64..10, 0_u32..3), 1..40),
            seed in proptest::collection::vec(any::<u32>(), 40),
            at_ms in 0_u64..60,
        ) {
            let anchors: Vec<_> = anchors.iter().map(|(ms, off, error)| anchor(*ms, *off, *error)).collect();
            let mut shuffled: Vec<_> = anchors.iter().copied().zip(seed).collect();
            shuffled.sort_by_key(|(_, key)| *key);
            let (one, other): (Anchors, Anchors) =
                (anchors.iter().copied().collect(), shuffled.into_iter().map(|(anchor, _)| anchor).collect());
            prop_assert_eq!(&one, &other);
            prop_assert!(one.place(at_ms).is_some());
        }
    }
}
