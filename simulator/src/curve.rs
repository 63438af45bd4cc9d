//! One day of power as a step function, and its exact integral in integers.

use crate::recording::Sample;

/// One step: `value` holds from `start_ms` until the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    start_ms: u32,
    /// In thousandths of the quantity's unit: mW, mW/m², m°C.
    value: i64,
    /// The integral of the positive and of the negative part up to the step, in µJ (mW · ms).
    before_uj: Split,
}

/// What came in and what went out, each positive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// Integral of the positive part.
    pub(crate) positive: i64,
    /// Integral of the negative part, as a positive number.
    pub(crate) negative: i64,
}

impl Split {
    fn plus(self, value: i64, span_ms: i64) -> Self {
        Self {
            positive: self.positive + value.max(0) * span_ms,
            negative: self.negative + (-value).max(0) * span_ms,
        }
    }
}

/// A step function of the milliseconds since solar midnight. Before the first step it is the first step's value, behind
/// the last one's start it is the last one's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayCurve {
    steps: Vec<Step>,
}

impl DayCurve {
    /// From the samples of a recorded day, times `factor`, in thousandths of the unit.
    pub(crate) fn from_samples(samples: &[Sample], factor: f64) -> Self {
        Self::build(samples.iter().map(|sample| {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "recorded values times a checked scale are far below i64"
            )]
            let value = (sample.value * factor * 1_000.0).round() as i64;
            (sample.start_s * 1_000, value)
        }))
    }

    /// From steps in ascending order of their start; equal neighbours are merged.
    fn build(values: impl Iterator<Item = (u32, i64)>) -> Self {
        let mut steps: Vec<Step> = Vec::new();
        for (start_ms, value) in values {
            match steps.last() {
                None => steps.push(Step {
                    start_ms: 0,
                    value,
                    before_uj: Split::default(),
                }),
                Some(last) if last.value != value => {
                    let before_uj = last
                        .before_uj
                        .plus(last.value, i64::from(start_ms - last.start_ms));
                    steps.push(Step {
                        start_ms,
                        value,
                        before_uj,
                    });
                }
                Some(_) => {}
            }
        }
        steps.shrink_to_fit();
        Self { steps }
    }

    /// `self` minus all of `others`, exactly: the net load at a grid connection.
    pub(crate) fn minus(&self, others: &[&Self]) -> Self {
        let mut starts: Vec<u32> = self.steps.iter().map(|step| step.start_ms).collect();
        starts.extend(
            others
                .iter()
                .flat_map(|curve| curve.steps.iter().map(|step| step.start_ms)),
        );
        starts.push(0);
        starts.sort_unstable();
        starts.dedup();
        Self::build(starts.into_iter().map(|start_ms| {
            let at = i64::from(start_ms);
            (
                start_ms,
                self.value_at(at) - others.iter().map(|curve| curve.value_at(at)).sum::<i64>(),
            )
        }))
    }

    fn step_at(&self, at_ms: i64) -> Option<&Step> {
        let after = self
            .steps
            .partition_point(|step| i64::from(step.start_ms) <= at_ms);
        self.steps.get(after.saturating_sub(1))
    }

    /// The value at an instant; 0 for a curve without steps.
    pub(crate) fn value_at(&self, at_ms: i64) -> i64 {
        self.step_at(at_ms).map_or(0, |step| step.value)
    }

    /// The integral from solar midnight to an instant in µJ.
    pub(crate) fn integral_uj(&self, at_ms: i64) -> Split {
        self.step_at(at_ms).map_or(Split::default(), |step| {
            step.before_uj
                .plus(step.value, (at_ms - i64::from(step.start_ms)).max(0))
        })
    }

    /// When the first positive step begins and the last one ends, in ms; `None` when nothing is positive.
    pub(crate) fn daylight_ms(&self) -> Option<(i64, i64)> {
        let first = self.steps.iter().position(|step| step.value > 0)?;
        let last = self.steps.iter().rposition(|step| step.value > 0)?;
        let end = self
            .steps
            .get(last + 1)
            .map_or(crate::solar::DAY_MS, |step| i64::from(step.start_ms));
        Some((i64::from(self.steps[first].start_ms), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn curve(values: &[(u32, i64)]) -> DayCurve {
        DayCurve::build(values.iter().copied())
    }

    fn any_curve() -> impl Strategy<Value = DayCurve> {
        prop::collection::btree_map(0u32..86_400_000, -5_000_000i64..5_000_000, 1..20)
            .prop_map(|steps| DayCurve::build(steps.into_iter()))
    }

    #[test]
    fn a_step_holds_until_the_next() {
        let curve = curve(&[(0, 0), (1_000, 7), (2_000, 7), (3_000, -2)]);
        assert_eq!(curve.steps.len(), 3);
        assert_eq!(
            [999, 1_000, 2_999, 3_000, 90_000].map(|at| curve.value_at(at)),
            [0, 7, 7, -2, -2]
        );
        assert_eq!(
            curve.integral_uj(4_000),
            Split {
                positive: 14_000,
                negative: 2_000
            }
        );
        assert_eq!(curve.daylight_ms(), Some((1_000, 3_000)));
    }

    proptest! {
        #[test]
        fn the_integral_is_the_sum_of_its_values(curve in any_curve(), from in 0i64..86_000_000, span in 1i64..400) {
            let by_hand = (from..from + span).map(|at| curve.value_at(at)).sum::<i64>();
            let (a, b) = (curve.integral_uj(from), curve.integral_uj(from + span));
            prop_assert_eq!(b.positive - a.positive - (b.negative - a.negative), by_hand);
            prop_assert!(b.positive >= a.positive && b.negative >= a.negative);
        }

        #[test]
        fn a_difference_is_the_difference_everywhere(a in any_curve(), b in any_curve(), c in any_curve(), at in 0i64..86_400_000) {
            let net = a.minus(&[&b, &c]);
            prop_assert_eq!(net.value_at(at), a.value_at(at) - b.value_at(at) - c.value_at(at));
            let of = |curve: &DayCurve| { let i = curve.integral_uj(at); i.positive - i.negative };
            prop_assert_eq!(of(&net), of(&a) - of(&b) - of(&c));
        }
    }
}
