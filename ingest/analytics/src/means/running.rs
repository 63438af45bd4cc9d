//! From polls to quarter-hours, one poll at a time.

use super::interval::{MeterInterval, QUANTITIES, Quantity};
use crate::energy::{INTERVAL_MS, NotLater, quarter_of};

/// Between answers that are further apart nothing is known.
pub const LINK_MS_MAX: i64 = INTERVAL_MS;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// UTC ms.
    pub time_ms: i64,
    values: [Option<i32>; QUANTITIES],
}

/// A run of polls that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// The first one, UTC ms.
    pub time_ms: i64,
    /// How many, at least 1.
    pub count: u32,
    /// From the first to the last one in ms.
    pub span_ms: u32,
}

/// A meter's quarter-hours as its polls come in. Two that are equal go on equally.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunningMeans {
    last_ms: Option<i64>,
    /// The last answer, unless polls have failed since.
    answer: Option<Sample>,
    open: Option<(i64, MeterInterval)>,
}

impl Sample {
    /// An answer that states nothing yet.
    #[must_use]
    pub fn new(time_ms: i64) -> Self {
        Self {
            time_ms,
            values: [None; QUANTITIES],
        }
    }

    /// States a quantity, or nothing about it.
    pub fn set(&mut self, quantity: Quantity, value: Option<i32>) {
        self.values[quantity as usize] = value;
    }
}

impl RunningMeans {
    /// Takes an answer, and hands out (quarter-hour since 1970, what was said in it) that are complete.
    ///
    /// # Errors
    /// When it is not later than the poll before; nothing changes then.
    pub fn answered(
        &mut self,
        sample: Sample,
        hand_out: &mut impl FnMut(i64, MeterInterval),
    ) -> Result<(), NotLater> {
        self.advance(sample.time_ms, sample.time_ms)?;
        let last = self.answer.take();
        let near = last.filter(|last| sample.time_ms - last.time_ms <= LINK_MS_MAX);
        if let Some(last) = near {
            let first = quarter_of(last.time_ms);
            link(self.open_at(first, hand_out), first, &last, &sample);
            let end = quarter_of(sample.time_ms - 1);
            if end != first {
                link(self.open_at(end, hand_out), end, &last, &sample);
            }
        }
        self.open_at(quarter_of(sample.time_ms), hand_out).answered += 1;
        self.answer = Some(sample);
        Ok(())
    }

    /// Takes failed polls: they are spread evenly from the first to the last one.
    ///
    /// # Errors
    /// When the first is not later than the poll before; nothing changes then.
    pub fn failed(
        &mut self,
        failures: Failures,
        hand_out: &mut impl FnMut(i64, MeterInterval),
    ) -> Result<(), NotLater> {
        let span_ms = if failures.count > 1 {
            i64::from(failures.span_ms)
        } else {
            0
        };
        let end_ms = failures.time_ms + span_ms;
        self.advance(failures.time_ms, end_ms)?;
        self.answer = None;
        let (first, last) = (quarter_of(failures.time_ms), quarter_of(end_ms));
        for quarter in first..=last {
            // Those before the quarter-hour's end, without those before its begin.
            let until = |quarter: i64| failures.before(quarter * INTERVAL_MS);
            let count = until(quarter + 1) - until(quarter);
            if count > 0 {
                let failed = &mut self.open_at(quarter, hand_out).failed;
                *failed = failed.saturating_add(count);
            }
        }
        Ok(())
    }

    /// Hands out the quarter-hour that is still open.
    pub fn tail(&self, hand_out: &mut impl FnMut(i64, MeterInterval)) {
        if let Some((quarter, interval)) = &self.open {
            hand_out(*quarter, interval.clone());
        }
    }

    fn advance(&mut self, time_ms: i64, end_ms: i64) -> Result<(), NotLater> {
        if let Some(last_ms) = self.last_ms.filter(|&last_ms| time_ms <= last_ms) {
            return Err(NotLater { last_ms, time_ms });
        }
        self.last_ms = Some(end_ms);
        Ok(())
    }

    /// The quarter-hour to add to; the one before it is complete.
    fn open_at(&mut self, quarter: i64, hand_out: &mut impl FnMut(i64, MeterInterval)) -> &mut MeterInterval {
        if let Some((complete, interval)) = self.open.take_if(|(open, _)| *open != quarter) {
            hand_out(complete, interval);
        }
        &mut self
            .open
            .get_or_insert_with(|| (quarter, MeterInterval::default()))
            .1
    }
}

impl Failures {
    /// How many of them were before an instant.
    fn before(&self, at_ms: i64) -> u32 {
        let elapsed_ms = at_ms - self.time_ms;
        let gaps = i64::from(self.count) - 1;
        if elapsed_ms <= 0 {
            return 0;
        }
        if gaps <= 0 || elapsed_ms > i64::from(self.span_ms) {
            return self.count;
        }
        // The n-th, from 0, is at n × span / gaps: as many as n × span < elapsed × gaps allows. The span is above 0 here, and the
        // product below 2⁶⁴.
        let product = i128::from(elapsed_ms) * i128::from(gaps);
        let count = (product + i128::from(self.span_ms) - 1) / i128::from(self.span_ms);
        u32::try_from(count).unwrap_or(self.count).min(self.count)
    }
}

/// Adds what two answers state about the part of a quarter-hour between them.
fn link(interval: &mut MeterInterval, quarter: i64, from: &Sample, to: &Sample) {
    let start_ms = from.time_ms.max(quarter * INTERVAL_MS);
    let end_ms = to.time_ms.min((quarter + 1) * INTERVAL_MS);
    let length_ms = to.time_ms - from.time_ms;
    // At most LINK_MS_MAX.
    let known_ms = u32::try_from(end_ms - start_ms).unwrap_or(0);
    for (index, values) in from.values.iter().zip(&to.values).enumerate() {
        if let (&Some(first), &Some(last)) = values {
            let area = |at_ms: i64| area_unit_ms(first.into(), last.into(), at_ms - from.time_ms, length_ms);
            let sum = interval.sum_mut(index);
            sum.unit_ms += area(end_ms) - area(start_ms);
            sum.known_ms += known_ms;
        }
    }
}

/// The area under a line from `first` (at 0) to `last` (at `length_ms`) up to `elapsed_ms`, rounded down: parts add up to the whole.
fn area_unit_ms(first: i64, last: i64, elapsed_ms: i64, length_ms: i64) -> i64 {
    if elapsed_ms == 0 {
        return 0;
    }
    if elapsed_ms == length_ms {
        return ((first + last) * length_ms).div_euclid(2);
    }
    // Below 2³³ × 2²⁰ × 2²⁰.
    let (elapsed, length) = (i128::from(elapsed_ms), i128::from(length_ms));
    let twice = 2 * i128::from(first) * elapsed * length + i128::from(last - first) * elapsed * elapsed;
    i64::try_from(twice.div_euclid(2 * length)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn sample(time_ms: i64, irradiance: Option<i32>) -> Sample {
        let mut sample = Sample::new(time_ms);
        sample.set(Quantity::IrradianceDwm2, irradiance);
        sample
    }

    fn intervals(
        run: impl FnOnce(&mut RunningMeans, &mut dyn FnMut(i64, MeterInterval)),
    ) -> Vec<(i64, MeterInterval)> {
        let mut means = RunningMeans::default();
        let mut found = Vec::new();
        run(&mut means, &mut |quarter, interval| {
            found.push((quarter, interval))
        });
        means.tail(&mut |quarter, interval| found.push((quarter, interval)));
        found
    }

    #[test]
    fn a_ramp_over_an_edge_is_split_as_the_line_runs() {
        let found = intervals(|means, mut out| {
            means.answered(sample(10 * MINUTE_MS, Some(0)), &mut out).unwrap();
            means
                .answered(sample(20 * MINUTE_MS, Some(1_000)), &mut out)
                .unwrap();
        });
        let mean = |index: usize| found[index].1.mean(Quantity::IrradianceDwm2);
        assert_eq!(
            (found[0].0, mean(0), found[1].0, mean(1)),
            (0, Some(250.0), 1, Some(750.0))
        );
        assert_eq!(found[0].1.known_ms(Quantity::IrradianceDwm2), 300_000);
        assert_eq!(found[1].1.mean(Quantity::AcPowerW), None);
    }

    #[test]
    fn a_silence_an_absence_and_a_failure_leave_the_time_unknown() {
        let failure = Failures {
            time_ms: 42 * MINUTE_MS,
            count: 1,
            span_ms: 0,
        };
        let found = intervals(|means, mut out| {
            means.answered(sample(0, Some(500)), &mut out).unwrap();
            means
                .answered(sample(16 * MINUTE_MS, Some(500)), &mut out)
                .unwrap();
            means.answered(sample(17 * MINUTE_MS, None), &mut out).unwrap();
            means
                .answered(sample(18 * MINUTE_MS, Some(500)), &mut out)
                .unwrap();
            means
                .answered(sample(41 * MINUTE_MS, Some(500)), &mut out)
                .unwrap();
            means.failed(failure, &mut out).unwrap();
            means
                .answered(sample(43 * MINUTE_MS, Some(500)), &mut out)
                .unwrap();
        });
        assert!(
            found
                .iter()
                .all(|(_, interval)| interval.mean(Quantity::IrradianceDwm2).is_none())
        );
        let polls: Vec<_> = found
            .iter()
            .map(|(quarter, one)| (*quarter, one.answered, one.failed))
            .collect();
        assert_eq!(polls, [(0, 1, 0), (1, 3, 0), (2, 2, 1)]);
    }

    #[test]
    fn a_night_of_failures_is_spread_over_it_and_every_poll_is_counted_once() {
        let failures = Failures {
            time_ms: 5 * MINUTE_MS,
            count: 601,
            span_ms: 600 * 60_000,
        };
        let found = intervals(|means, mut out| means.failed(failures, &mut out).unwrap());
        assert_eq!(found.iter().map(|(_, one)| one.failed).sum::<u32>(), 601);
        assert_eq!((found[0].1.failed, found[1].1.failed, found.len()), (10, 15, 41));
        let mut means = RunningMeans::default();
        means.failed(failures, &mut |_, _| {}).unwrap();
        assert!(
            means
                .answered(sample(600 * MINUTE_MS, None), &mut |_, _| {})
                .is_err()
        );
    }

    #[test]
    fn a_full_inverter_packs_small() {
        let mut means = RunningMeans::default();
        for minute in 0..=15 {
            let mut sample = Sample::new(minute * MINUTE_MS);
            let values = [
                (Quantity::AcPowerW, 27_345),
                (Quantity::VoltageAnDv, 2_312),
                (Quantity::VoltageBnDv, 2_309),
                (Quantity::VoltageCnDv, 2_315),
                (Quantity::Mppt1W, 14_100),
                (Quantity::Mppt2W, 13_900),
                (Quantity::CurrentNCa, 13),
            ];
            for (quantity, value) in values {
                sample.set(quantity, Some(value));
            }
            means
                .answered(sample, &mut |_, interval| {
                    let mut bytes = Vec::new();
                    interval.pack(&mut bytes);
                    assert!(bytes.len() <= 60, "{}", bytes.len());
                    assert_eq!(interval.mean(Quantity::CurrentNCa), Some(13.0));
                })
                .unwrap();
        }
    }

    fn samples() -> impl Strategy<Value = Vec<Sample>> {
        let value = prop_oneof![3 => any::<i32>().prop_map(Some), 1 => Just(None)];
        prop::collection::vec((1..1_200_000_i64, value.clone(), value), 0..40).prop_map(|steps| {
            let mut time_ms = 0;
            let one = |(step_ms, power, irradiance)| {
                time_ms += step_ms;
                let mut sample = sample(time_ms, irradiance);
                sample.set(Quantity::AcPowerW, power);
                sample
            };
            steps.into_iter().map(one).collect()
        })
    }

    proptest! {
        #[test]
        fn quarter_hours_add_up_to_the_area_of_all_lines(samples in samples()) {
            let found = intervals(|means, mut out| {
                for sample in &samples {
                    means.answered(sample.clone(), &mut out).unwrap();
                }
            });
            prop_assert!(found.is_sorted_by(|one, next| one.0 < next.0));
            let mut all = MeterInterval::default();
            for (_, interval) in &found {
                all.add(interval);
                let mut bytes = Vec::new();
                interval.pack(&mut bytes);
                prop_assert_eq!(&MeterInterval::unpack(&bytes).unwrap(), interval);
            }
            prop_assert_eq!(all.answered as usize, samples.len());
            let (mut area_unit_ms, mut known_ms) = (0_i64, 0_i64);
            for pair in samples.windows(2) {
                let length_ms = pair[1].time_ms - pair[0].time_ms;
                let ends = (pair[0].values[0], pair[1].values[0]);
                if let ((Some(first), Some(last)), true) = (ends, length_ms <= LINK_MS_MAX) {
                    area_unit_ms += ((i64::from(first) + i64::from(last)) * length_ms).div_euclid(2);
                    known_ms += length_ms;
                }
            }
            prop_assert_eq!(all.sum_unit_ms(Quantity::AcPowerW), area_unit_ms);
            prop_assert_eq!(i64::from(all.known_ms(Quantity::AcPowerW)), known_ms);
            for (_, interval) in &found {
                let mean = interval.mean(Quantity::IrradianceDwm2);
                prop_assert!(mean.is_none_or(|mean| mean >= f64::from(i32::MIN) - 1.0 && mean <= f64::from(i32::MAX) + 1.0));
            }
        }

        #[test]
        fn any_bytes_are_an_interval_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(interval) = MeterInterval::unpack(&bytes) {
                let mut again = Vec::new();
                interval.pack(&mut again);
                prop_assert_eq!(MeterInterval::unpack(&again).unwrap(), interval);
            }
        }

        #[test]
        fn failures_are_counted_once_each(time_ms in 0..900_000_i64, count in 1..5_000_u32, span_ms in 0..200_000_000_u32) {
            let found = intervals(|means, mut out| means.failed(Failures { time_ms, count, span_ms }, &mut out).unwrap());
            prop_assert_eq!(found.iter().map(|(_, one)| one.failed).sum::<u32>(), count);
        }
    }
}
