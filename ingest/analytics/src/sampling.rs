//! From readings at instants to means of equal intervals.
//!
//! In: values in the order of their time. Out: per interval the mean, and for how long it is known. Between two readings the value is
//! taken to go straight from one to the other, as registers are between two of theirs; a gap of more than [`GAP_MS_MAX`] says nothing.
//! A poll that failed in between does not cut the line: one of fifteen would leave a quarter-hour unknown that is known well enough.

/// A longer silence leaves the time between unknown: it is the longest span whose energy has a known shape.
pub const GAP_MS_MAX: i64 = crate::energy::SHAPE_MS_MAX;

/// Time-weighted means of one quantity over equal intervals.
#[derive(Clone, Debug)]
pub struct IntervalMeans {
    start_ms: i64,
    interval_ms: i64,
    /// Per interval ∫ value dt in value·ms, and the time that is known in ms.
    sums: Vec<(f64, i64)>,
    last: Option<(i64, f64)>,
}

impl IntervalMeans {
    /// For `intervals` of `interval_ms` (above 0) from `start_ms` (UTC ms) on.
    #[must_use]
    pub fn new(start_ms: i64, interval_ms: i64, intervals: usize) -> Self {
        Self {
            start_ms,
            interval_ms,
            sums: vec![(0.0, 0); intervals],
            last: None,
        }
    }

    /// The next reading; one that is not later than the last, or not finite, is passed over.
    pub fn push(&mut self, time_ms: i64, value: f64) {
        if !value.is_finite() || self.last.is_some_and(|(last_ms, _)| time_ms <= last_ms) {
            return;
        }
        if let Some((last_ms, last)) = self.last.filter(|(last_ms, _)| time_ms - last_ms <= GAP_MS_MAX) {
            self.add((last_ms, last), (time_ms, value));
        }
        self.last = Some((time_ms, value));
    }

    /// Adds the straight line between two readings to the intervals that it crosses.
    fn add(&mut self, from: (i64, f64), to: (i64, f64)) {
        let length_ms = (to.0 - from.0) as f64;
        let at = |time_ms: i64| from.1 + (to.1 - from.1) * ((time_ms - from.0) as f64 / length_ms);
        let end_ms = self.start_ms + self.interval_ms * self.sums.len() as i64;
        let mut begin_ms = from.0.max(self.start_ms);
        while begin_ms < to.0.min(end_ms) {
            let number = (begin_ms - self.start_ms) / self.interval_ms;
            let until_ms = (self.start_ms + (number + 1) * self.interval_ms).min(to.0);
            let Some(sum) = usize::try_from(number).ok().and_then(|at| self.sums.get_mut(at)) else {
                return;
            };
            sum.0 += f64::midpoint(at(begin_ms), at(until_ms)) * (until_ms - begin_ms) as f64;
            sum.1 += until_ms - begin_ms;
            begin_ms = until_ms;
        }
    }

    /// The mean over what is known of an interval; `None` where less than `least` of it (0 to 1) is known, or nothing.
    #[must_use]
    pub fn mean(&self, interval: usize, least: f64) -> Option<f64> {
        let &(sum, known_ms) = self.sums.get(interval)?;
        (known_ms > 0 && known_ms as f64 >= least * self.interval_ms as f64).then(|| sum / known_ms as f64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUARTER_MS: i64 = 900_000;

    #[test]
    fn a_mean_is_weighted_with_time() {
        let mut means = IntervalMeans::new(0, QUARTER_MS, 2);
        // Two thirds of the first interval at 30, then up to 90 at its end, and on.
        for (time_ms, value) in [(0, 30.0), (600_000, 30.0), (900_000, 90.0), (1_800_000, 90.0)] {
            means.push(time_ms, value);
        }
        assert_eq!(means.mean(0, 1.0), Some(40.0));
        assert_eq!((means.mean(1, 1.0), means.mean(2, 0.0)), (Some(90.0), None));
    }

    #[test]
    fn a_line_across_an_edge_belongs_to_both_sides() {
        let mut means = IntervalMeans::new(0, QUARTER_MS, 2);
        means.push(-300_000, 0.0);
        means.push(300_000, 600.0);
        means.push(1_200_000, 600.0);
        assert_eq!(means.mean(0, 1.0), Some((450.0 * 300.0 + 600.0 * 600.0) / 900.0));
        assert_eq!((means.mean(1, 0.3), means.mean(1, 0.5)), (Some(600.0), None));
    }

    #[test]
    fn a_silence_says_nothing_and_what_is_no_number_neither() {
        let mut means = IntervalMeans::new(0, QUARTER_MS, 3);
        means.push(0, 5.0);
        means.push(100_000, f64::NAN);
        means.push(GAP_MS_MAX + 1, 7.0);
        means.push(GAP_MS_MAX, 9.0);
        means.push(2 * QUARTER_MS, 7.0);
        assert_eq!((means.mean(0, 0.0), means.mean(2, 0.0)), (None, None));
        assert_eq!(means.mean(1, 0.9), Some(7.0));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(mut times in prop::collection::vec(0..3_600_000_i64, 2..60), seed in 0..1_000_i64) {
            times.sort_unstable();
            times.dedup();
            let value = |time_ms: i64| ((time_ms + seed) % 97) as f64;
            let (mut parts, mut whole) = (IntervalMeans::new(0, QUARTER_MS, 4), IntervalMeans::new(0, 4 * QUARTER_MS, 1));
            for &time_ms in &times {
                parts.push(time_ms, value(time_ms));
                whole.push(time_ms, value(time_ms));
            }
            let integral = |means: &IntervalMeans| means.sums.iter().map(|sum| sum.0).sum::<f64>();
            prop_assert!((integral(&parts) - integral(&whole)).abs() < 1e-3);
            let known = |means: &IntervalMeans| means.sums.iter().map(|sum| sum.1).sum::<i64>();
            prop_assert_eq!(known(&parts), known(&whole));
        }
    }
}
