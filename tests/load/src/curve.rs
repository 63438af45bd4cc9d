//! Counts over time: when the n-th was published, and when it was seen stored.

use crate::histogram::Histogram;

/// A count that only grows, looked at now and then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    points: Vec<(u64, u64)>,
}

impl Curve {
    /// At `us` the count was `count`.
    pub(crate) fn push(&mut self, us: u64, count: u64) {
        if self.points.last().is_none_or(|&(_, last)| count > last) {
            self.points.push((us, count));
        }
    }

    /// How long each of this curve's counts took to appear on `later`, weighted by how many it adds. What never appeared is
    /// left out: whoever asks knows how many are missing.
    pub(crate) fn delays(&self, later: &Self) -> Histogram {
        let mut delays = Histogram::default();
        let mut seen = later.points.iter().peekable();
        let mut before = 0;
        for &(us, count) in &self.points {
            while seen.next_if(|&&(_, stored)| stored < count).is_some() {}
            let Some(&&(at_us, _)) = seen.peek() else { break };
            delays.add_many(at_us.saturating_sub(us), count - before);
            before = count;
        }
        delays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_appears_when_the_other_curve_has_reached_it() {
        let (mut published, mut stored) = (Curve::default(), Curve::default());
        for (us, count) in [(10, 5), (20, 9), (30, 9), (40, 20)] {
            published.push(us, count);
        }
        for (us, count) in [(15, 4), (26, 9), (60, 19)] {
            stored.push(us, count);
        }
        let delays = published.delays(&stored);
        // Five after 16 µs, four after 6; the last eleven never.
        assert_eq!(delays.total(), 9);
        assert_eq!(
            (delays.quantile_us(0.1), delays.quantile_us(1.0)),
            (Some(6), Some(16))
        );
    }
}
