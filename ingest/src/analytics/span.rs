//! Energy from raw registers: what two neighbouring register values state about the quarter-hours between them.
//!
//! A meter's register series is a chain of spans between neighbours in time. Each span contributes to the quarter-hours
//! that it touches, independently of every other span and in integers only, so an interval is a plain sum of
//! contributions: a late reading takes one span out and puts two in, whatever the order of arrival.

/// The length of an interval in ms.
pub(crate) const QUARTER_MS: i64 = 15 * 60 * 1_000;
/// A span longer than this says how much, but not when: its energy is spread evenly and flagged.
pub(crate) const SPREAD_MS: i64 = QUARTER_MS;
/// A span longer than this is kept as itself, not as one row per quarter-hour: what a late reading changes is bounded.
pub(crate) const WIDE_MS: i64 = 6 * 60 * 60 * 1_000;

/// Power above the nameplate that is still believed, in percent, as the gateway's `validate` does.
pub(crate) const RATED_POWER_PERCENT_MAX: i64 = 150;
/// A rise of one count of the coarsest register is believed in however short a span.
const COUNT_WH: i64 = 1_000;
/// A percentage of W·ms in a Wh.
const PERCENT_MS_PER_H: i64 = 100 * 3_600_000;

/// A register's value at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Point {
    /// UTC ms.
    pub(crate) time_ms: i64,
    /// The raw register in Wh, not negative.
    pub(crate) value_wh: i64,
}

/// Two neighbouring points of a series; `from` is earlier than `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) from: Point,
    pub(crate) to: Point,
    /// The meter's rated power in W, which bounds what a rise can be; 0 bounds nothing (no energy is counted by a sensor).
    pub(crate) rated_w: u32,
}

/// What spans state about one period. Contributions of spans that don't overlap add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contribution {
    /// Energy in Wh.
    pub(crate) energy_wh: i64,
    /// How long the energy is known: spans of at most [`SPREAD_MS`], and longer ones in which the register stood still.
    pub(crate) known_ms: i64,
    /// How many spans longer than [`SPREAD_MS`] in which the register moved have a share in it.
    pub(crate) spread: i64,
    /// Across how many falls of the register, or rises that the meter's power can't explain, it lies.
    pub(crate) resets: i64,
}

/// The number of the quarter-hour, counted from 1970, that an instant lies in.
pub(crate) const fn quarter_of(time_ms: i64) -> i64 {
    time_ms.div_euclid(QUARTER_MS)
}

impl Span {
    /// Its length in ms.
    pub(crate) const fn length_ms(&self) -> i64 {
        self.to.time_ms - self.from.time_ms
    }

    /// Too long to be kept as one row per quarter-hour.
    pub(crate) const fn is_wide(&self) -> bool {
        self.length_ms() > WIDE_MS
    }

    /// What was counted from its begin to its end in Wh: 0 across a fall, and across a rise beyond the meter's power.
    pub(crate) fn energy_wh(&self) -> i64 {
        if self.is_reset() {
            return 0;
        }
        self.to.value_wh - self.from.value_wh
    }

    /// The register did not count from its begin to its end: it fell, or it rose by more than the meter's power explains,
    /// as after a glitch to 0 or in a new meter with a used register.
    pub(crate) fn is_reset(&self) -> bool {
        let rise_wh = i128::from(self.to.value_wh) - i128::from(self.from.value_wh);
        let believed =
            i128::from(self.rated_w) * i128::from(RATED_POWER_PERCENT_MAX) * i128::from(self.length_ms());
        let is_beyond =
            self.rated_w > 0 && (rise_wh - i128::from(COUNT_WH)) * i128::from(PERCENT_MS_PER_H) > believed;
        rise_wh < 0 || is_beyond
    }

    /// What the span states about the period `start_ms..end_ms`; all zero when they don't overlap.
    pub(crate) fn contribution(&self, start_ms: i64, end_ms: i64) -> Contribution {
        let start_ms = start_ms.max(self.from.time_ms);
        let end_ms = end_ms.min(self.to.time_ms);
        if start_ms >= end_ms {
            return Contribution::default();
        }
        if self.is_reset() {
            return Contribution {
                resets: 1,
                ..Contribution::default()
            };
        }
        let spread = self.length_ms() > SPREAD_MS && self.energy_wh() > 0;
        Contribution {
            energy_wh: self.counted_wh(end_ms) - self.counted_wh(start_ms),
            known_ms: if spread { 0 } else { end_ms - start_ms },
            spread: i64::from(spread),
            resets: 0,
        }
    }

    /// What it states about each quarter-hour that it overlaps.
    pub(crate) fn quarters(&self) -> impl Iterator<Item = (i64, Contribution)> + '_ {
        let quarters = quarter_of(self.from.time_ms)..=quarter_of(self.to.time_ms - 1);
        quarters.map(|quarter| {
            let start_ms = quarter * QUARTER_MS;
            (quarter, self.contribution(start_ms, start_ms + QUARTER_MS))
        })
    }

    /// Energy from the span's begin to an instant in it, interpolated linearly and rounded down, so that the parts of a
    /// span always add up to the whole.
    fn counted_wh(&self, at_ms: i64) -> i64 {
        let energy = u128::from(self.energy_wh().unsigned_abs());
        let elapsed = u128::from((at_ms - self.from.time_ms).unsigned_abs());
        let length = u128::from(self.length_ms().unsigned_abs());
        // At most the span's own energy, since `elapsed` is at most `length`.
        i64::try_from(energy * elapsed / length).unwrap_or(i64::MAX)
    }
}

impl Contribution {
    /// Energy in Wh; `None` when nothing is known about it.
    pub(crate) fn energy(&self) -> Option<i64> {
        (self.known_ms > 0 || self.spread > 0).then_some(self.energy_wh)
    }

    /// Its opposite: what taking it out again changes.
    pub(crate) const fn negated(self) -> Self {
        Self {
            energy_wh: -self.energy_wh,
            known_ms: -self.known_ms,
            spread: -self.spread,
            resets: -self.resets,
        }
    }
}

impl core::ops::AddAssign for Contribution {
    fn add_assign(&mut self, other: Self) {
        // Registers are bounded, so this can't wrap in a plant's life; if a broken one does, taking out still undoes putting in.
        self.energy_wh = self.energy_wh.wrapping_add(other.energy_wh);
        self.known_ms += other.known_ms;
        self.spread += other.spread;
        self.resets += other.resets;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span(from: (i64, i64), to: (i64, i64)) -> Span {
        let point = |(time_ms, value_wh)| Point { time_ms, value_wh };
        Span {
            from: point(from),
            to: point(to),
            rated_w: 0,
        }
    }

    fn rated(rated_w: u32, from: (i64, i64), to: (i64, i64)) -> Span {
        Span {
            rated_w,
            ..span(from, to)
        }
    }

    #[test]
    fn a_span_over_an_edge_is_split_in_proportion() {
        let quarters: Vec<_> = span((QUARTER_MS - 100_000, 1_000), (QUARTER_MS + 200_000, 1_300))
            .quarters()
            .collect();
        let expected = |energy_wh, known_ms| Contribution {
            energy_wh,
            known_ms,
            ..Contribution::default()
        };
        assert_eq!(
            quarters,
            [(0, expected(100, 100_000)), (1, expected(200, 200_000))]
        );
    }

    #[test]
    fn a_long_span_is_spread_unless_the_register_stood_still() {
        let moved = span((0, 0), (4 * QUARTER_MS, 403)).contribution(0, QUARTER_MS);
        assert_eq!(
            moved,
            Contribution {
                energy_wh: 100,
                known_ms: 0,
                spread: 1,
                resets: 0
            }
        );
        assert_eq!(moved.energy(), Some(100));
        let still = span((0, 7), (4 * QUARTER_MS, 7)).contribution(0, QUARTER_MS);
        assert_eq!(
            still,
            Contribution {
                energy_wh: 0,
                known_ms: QUARTER_MS,
                spread: 0,
                resets: 0
            }
        );
    }

    #[test]
    fn a_fall_gives_no_energy_and_is_flagged() {
        let fall = span((0, 500), (60_000, 3)).contribution(0, QUARTER_MS);
        assert_eq!(
            fall,
            Contribution {
                resets: 1,
                ..Contribution::default()
            }
        );
        assert_eq!(fall.energy(), None);
    }

    #[test]
    fn a_rise_beyond_the_rated_power_is_a_reset() {
        // 10 kW: 15 kW for 4 minutes are 1,000 Wh, and one count more.
        let minutes_ms = 4 * 60_000;
        assert_eq!(rated(10_000, (0, 500), (minutes_ms, 2_500)).energy_wh(), 2_000);
        let glitch = rated(10_000, (0, 0), (minutes_ms, 50_000_010));
        for beyond in [rated(10_000, (0, 500), (minutes_ms, 2_501)), glitch] {
            assert_eq!(beyond.energy_wh(), 0);
            let reset = Contribution {
                resets: 1,
                ..Contribution::default()
            };
            assert_eq!(beyond.contribution(0, QUARTER_MS), reset);
        }
        // The bound grows with the span, and nothing bounds a meter that isn't rated.
        assert_eq!(
            rated(10_000, (0, 0), (24 * 4 * QUARTER_MS, 360_000)).energy_wh(),
            360_000
        );
        assert_eq!(rated(0, (0, 0), (1, i64::MAX)).energy_wh(), i64::MAX);
    }

    proptest! {
        #[test]
        fn the_quarters_of_a_span_add_up_to_it(
            start in 0_i64..4_000_000_000_000,
            length in 1_i64..100 * QUARTER_MS,
            first in 0_i64..=i64::MAX,
            last in 0_i64..=i64::MAX,
            rated_w in prop_oneof![Just(0_u32), 1..=u32::MAX],
        ) {
            let whole = rated(rated_w, (start, first), (start + length, last));
            let mut sum = Contribution::default();
            let mut quarters = 0;
            for (_, part) in whole.quarters() {
                prop_assert!(part.energy_wh >= 0 && part != Contribution::default());
                sum += part;
                quarters += 1;
            }
            prop_assert_eq!(sum.energy_wh, whole.energy_wh());
            prop_assert!(sum.known_ms == 0 || sum.known_ms == length);
            prop_assert!(sum.spread == 0 || sum.spread == quarters);
            prop_assert!(last >= first || sum.resets > 0);
            prop_assert!(sum.resets == 0 || (sum.resets == quarters && sum.energy_wh == 0));
        }

        #[test]
        fn no_span_counts_more_than_the_rated_power_and_one_count(
            rated_w in 1..1_000_000_u32,
            length in 1_i64..400 * 96 * QUARTER_MS,
            first in 0_i64..1_000_000_000,
            last in 0_i64..1_000_000_000,
        ) {
            let energy_wh = rated(rated_w, (0, first), (length, last)).energy_wh();
            let bound_wh = f64::from(rated_w) * 1.5 * (length as f64 / 3_600_000.0) + 1_000.0;
            prop_assert!(energy_wh == 0 || energy_wh == last - first);
            prop_assert!(energy_wh as f64 <= bound_wh + 0.001);
            prop_assert!(energy_wh > 0 || (last - first) <= 0 || (last - first) as f64 > bound_wh - 0.001);
        }

        #[test]
        fn a_value_between_its_neighbours_never_takes_energy_away(a in 0_i64..1_000, b in 0_i64..1_000, c in 0_i64..1_000) {
            let whole = span((0, a), (2, c)).energy_wh();
            let parts = span((0, a), (1, b)).energy_wh() + span((1, b), (2, c)).energy_wh();
            prop_assert!(parts >= whole);
        }
    }
}
