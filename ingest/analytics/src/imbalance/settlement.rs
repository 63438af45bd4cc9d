//! Settlement imbalance: what was generated against what was scheduled, and the schedules that we can make ourselves.

/// Energy in a schedule is stated in whole Wh.
const WH_PER_KWH: f64 = 1_000.0;

/// How a schedule was met. Deviation = actual − scheduled, > 0 is over-delivery; powers are means of an interval in kW.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Deviation {
    /// Intervals in the sums: both the actual and the scheduled energy are known.
    pub valid: usize,
    /// Scheduled in kWh.
    pub scheduled_kwh: f64,
    /// Σ deviation in kWh.
    pub deviation_kwh: f64,
    /// Σ |deviation| in kWh.
    pub abs_kwh: f64,
    /// Σ of the deviations above 0 in kWh.
    pub over_kwh: f64,
    /// Σ of the deviations below 0 in kWh, 0 or less.
    pub under_kwh: f64,
    /// Mean absolute error in kW.
    pub mae_kw: Option<f64>,
    /// Mean bias error in kW.
    pub mbe_kw: Option<f64>,
    /// Root mean square error in kW.
    pub rmse_kw: Option<f64>,
    /// Intervals in daylight among the valid ones.
    pub daylight: usize,
    /// Mean absolute error of the daylight intervals in kW.
    pub mae_daylight_kw: Option<f64>,
    /// Mean bias error of the daylight intervals in kW.
    pub mbe_daylight_kw: Option<f64>,
}

impl Deviation {
    /// Mean absolute error of all intervals in percent of the rated power.
    #[must_use]
    pub fn nmae_pct(&self, rated_kw: f64) -> Option<f64> {
        self.mae_kw
            .filter(|_| rated_kw > 0.0)
            .map(|mae_kw| mae_kw / rated_kw * 100.0)
    }
}

/// Compares equal intervals of `interval_h` hours, in kWh; `is_daylight` says in which of them the clear sky is not dark. The
/// slices are read up to the shortest one's end.
#[must_use]
pub fn deviation(
    actual_kwh: &[Option<f64>],
    scheduled_kwh: &[Option<f64>],
    is_daylight: &[bool],
    interval_h: f64,
) -> Deviation {
    let mut sum = Deviation::default();
    let (mut squares, mut abs_daylight, mut daylight) = (0.0, 0.0, 0.0);
    for ((actual, scheduled), &is_day) in actual_kwh.iter().zip(scheduled_kwh).zip(is_daylight) {
        let (Some(actual), Some(scheduled)) = (actual, scheduled) else {
            continue;
        };
        let off_kwh = actual - scheduled;
        sum.valid += 1;
        sum.scheduled_kwh += scheduled;
        sum.deviation_kwh += off_kwh;
        sum.abs_kwh += off_kwh.abs();
        sum.over_kwh += off_kwh.max(0.0);
        sum.under_kwh += off_kwh.min(0.0);
        squares += (off_kwh / interval_h).powi(2);
        if is_day {
            sum.daylight += 1;
            abs_daylight += off_kwh.abs();
            daylight += off_kwh;
        }
    }
    let mean = |kwh: f64, count: usize| (count > 0).then(|| kwh / interval_h / count as f64);
    sum.mae_kw = mean(sum.abs_kwh, sum.valid);
    sum.mbe_kw = mean(sum.deviation_kwh, sum.valid);
    sum.rmse_kw = (sum.valid > 0).then(|| (squares / sum.valid as f64).sqrt());
    sum.mae_daylight_kw = mean(abs_daylight, sum.daylight);
    sum.mbe_daylight_kw = mean(daylight, sum.daylight);
    sum
}

/// Tomorrow as today: the same interval of the day before.
#[must_use]
pub fn persistence_schedule(day_before_kwh: &[Option<f64>]) -> Vec<Option<f64>> {
    day_before_kwh.to_vec()
}

/// A clear day, scaled by how clear the day before was: clear-sky energy of each interval × (energy of the day before ÷ its
/// clear-sky energy), in whole Wh (halves to the even one); and the scale. Intervals of the day before that are unknown are
/// in neither sum; `None` when nothing of it is known.
#[must_use]
pub fn clear_sky_schedule(
    clear_sky_kwh: &[Option<f64>],
    day_before_kwh: &[Option<f64>],
    day_before_clear_sky_kwh: &[Option<f64>],
) -> Option<(Vec<Option<f64>>, f64)> {
    let (mut made, mut clear) = (0.0, 0.0);
    for (actual, could) in day_before_kwh.iter().zip(day_before_clear_sky_kwh) {
        if let (Some(actual), Some(could)) = (actual, could) {
            made += actual;
            clear += could;
        }
    }
    let scale = (clear > 0.0).then(|| made / clear)?;
    let whole_wh = |kwh: f64| (kwh * WH_PER_KWH).round_ties_even() / WH_PER_KWH;
    let schedule = clear_sky_kwh
        .iter()
        .map(|clear| clear.map(|kwh| whole_wh(kwh * scale)));
    Some((schedule.collect(), scale))
}

/// Sums every `count` intervals into one settlement period (15-minute intervals: 1, 2 or 4 for 15, 30 or 60 minutes); a period
/// of which one interval is unknown is unknown. The last period may be shorter. `count` 0 is taken as 1.
#[must_use]
pub fn settlement_periods(intervals_kwh: &[Option<f64>], count: usize) -> Vec<Option<f64>> {
    intervals_kwh
        .chunks(count.max(1))
        .map(|period| period.iter().copied().sum())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_and_under_are_kept_apart() {
        let actual = [Some(2.0), Some(1.0), None, Some(4.0)];
        let scheduled = [Some(1.0), Some(3.0), Some(9.0), None];
        let sum = deviation(&actual, &scheduled, &[true, false, true, true], 0.5);
        assert_eq!((sum.valid, sum.deviation_kwh, sum.abs_kwh), (2, -1.0, 3.0));
        assert_eq!((sum.over_kwh, sum.under_kwh, sum.scheduled_kwh), (1.0, -2.0, 4.0));
        assert_eq!((sum.mae_kw, sum.mbe_kw), (Some(3.0), Some(-1.0)));
        assert_eq!((sum.daylight, sum.mae_daylight_kw), (1, Some(2.0)));
        assert_eq!(sum.rmse_kw, Some(10.0_f64.sqrt()));
        assert_eq!((sum.nmae_pct(30.0), sum.nmae_pct(0.0)), (Some(10.0), None));
        assert_eq!(deviation(&[None], &[None], &[true], 0.25).mae_kw, None);
    }

    #[test]
    fn a_clear_day_is_scaled_by_the_day_before() {
        let clear = [Some(1.0), Some(2.0), None];
        let (schedule, scale) =
            clear_sky_schedule(&clear, &[Some(1.0), None], &[Some(4.0), Some(9.0)]).unwrap();
        assert_eq!((schedule, scale), (vec![Some(0.25), Some(0.5), None], 0.25));
        assert_eq!(clear_sky_schedule(&clear, &[None], &[Some(1.0)]), None);
    }

    #[test]
    fn a_period_with_a_hole_is_unknown() {
        let quarters = [Some(1.0), Some(2.0), Some(3.0), None, Some(5.0)];
        assert_eq!(settlement_periods(&quarters, 2), [Some(3.0), None, Some(5.0)]);
        assert_eq!(settlement_periods(&quarters, 0).len(), 5);
    }
}
