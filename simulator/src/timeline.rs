//! A signal under faults: which variant of it holds when, and the integral over all of them.

use std::sync::Arc;

use crate::signal::{Energy, Signal};

struct Segment {
    from_ms: i64,
    signal: Arc<Signal>,
    /// Integral of everything before this segment.
    before: Energy,
    /// What the segment's own signal had integrated when it began.
    own_before: Energy,
}

/// Signals that take over from each other; the integral goes on where the one before ended.
pub(crate) struct Timeline {
    segments: Vec<Segment>,
}

impl Timeline {
    /// From parts in ascending order of their beginning; the first one's is the beginning of time.
    pub(crate) fn new(parts: impl IntoIterator<Item = (i64, Arc<Signal>)>) -> Self {
        let mut segments: Vec<Segment> = Vec::new();
        for (from_ms, signal) in parts {
            let (before, own_before) = match segments.last() {
                None => (Energy::default(), Energy::default()),
                Some(last) => (last.energy_at(from_ms), signal.energy_at(from_ms)),
            };
            segments.push(Segment {
                from_ms,
                signal,
                before,
                own_before,
            });
        }
        Self { segments }
    }

    fn segment(&self, at_ms: i64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.from_ms <= at_ms);
        self.segments.get(after.saturating_sub(1))
    }

    /// The value at an instant in thousandths of the unit.
    pub(crate) fn value_at(&self, at_ms: i64) -> i64 {
        self.segment(at_ms)
            .map_or(0, |segment| segment.signal.value_at(at_ms))
    }

    /// The integral since the first day.
    pub(crate) fn energy_at(&self, at_ms: i64) -> Energy {
        self.segment(at_ms)
            .map_or(Energy::default(), |segment| segment.energy_at(at_ms))
    }
}

impl Segment {
    fn energy_at(&self, at_ms: i64) -> Energy {
        self.before
            .plus(self.signal.energy_at(at_ms).minus(self.own_before))
    }
}

/// When which factors hold: the beginnings of the parts, each with the product of the factors per inverter.
///
/// `losses` are (inverter, from, until, factor in millionths); the result begins at the beginning of time.
pub(crate) fn factors(inverters: usize, losses: &[(usize, i64, i64, u32)]) -> Vec<(i64, Vec<u32>)> {
    let mut starts: Vec<i64> = losses
        .iter()
        .flat_map(|&(_, from, until, _)| [from, until])
        .collect();
    starts.retain(|&start| start != i64::MAX);
    starts.push(i64::MIN);
    starts.sort_unstable();
    starts.dedup();
    let at = |start: i64| -> Vec<u32> {
        let product = |inverter: usize| {
            let holding = losses
                .iter()
                .filter(|&&(of, from, until, _)| of == inverter && (from..until).contains(&start));
            let product = holding.fold(1_000_000_u64, |product, &(_, _, _, factor)| {
                product * u64::from(factor) / 1_000_000
            });
            u32::try_from(product).unwrap_or(0)
        };
        (0..inverters).map(product).collect()
    };
    let mut parts: Vec<(i64, Vec<u32>)> = starts.into_iter().map(|start| (start, at(start))).collect();
    parts.dedup_by(|b, a| a.1 == b.1);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_multiply_where_faults_overlap() {
        let parts = factors(
            2,
            &[
                (0, 100, 200, 500_000),
                (0, 150, i64::MAX, 500_000),
                (1, i64::MIN, 120, 0),
            ],
        );
        let expected = vec![
            (i64::MIN, vec![1_000_000, 0]),
            (100, vec![500_000, 0]),
            (120, vec![500_000, 1_000_000]),
            (150, vec![250_000, 1_000_000]),
            (200, vec![500_000, 1_000_000]),
        ];
        assert_eq!(parts, expected);
        assert_eq!(factors(1, &[]), vec![(i64::MIN, vec![1_000_000])]);
    }
}
