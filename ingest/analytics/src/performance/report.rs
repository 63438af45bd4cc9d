//! The figures of one period.

use crate::solar::STC_CELL_C;

/// Irradiance of standard test conditions in kW/m².
const STC_KW_M2: f64 = 1.0;
const W_PER_KW: f64 = 1_000.0;

/// What the figures of a plant are measured against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plant {
    /// Rated DC power in kW, above 0.
    pub dc_rated_kw: f64,
    /// Rated AC power of the inverters in kW; `None` leaves their capacity factor empty.
    pub ac_rated_kw: Option<f64>,
    /// Change of power per kelvin of module temperature, negative.
    pub gamma_per_k: f64,
    /// Irradiance-weighted mean module temperature of the site's typical year in °C; `None` leaves the annual-equivalent empty.
    pub annual_module_c: Option<f64>,
    /// Irradiance in the plane in W/m² from which on the plant should be running.
    pub irradiance_min_w_m2: f64,
    /// It measures irradiance in the plane. One that does not has no figures that need it, and all others.
    pub has_sensor: bool,
}

/// One interval; `None` is not known, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Mean irradiance in the plane of the array in W/m².
    pub plane_w_m2: Option<f64>,
    /// Mean module temperature in °C.
    pub module_c: Option<f64>,
    /// DC energy in kWh.
    pub dc_kwh: Option<f64>,
    /// AC energy in kWh.
    pub ac_kwh: Option<f64>,
    /// Whether the inverter was ready to run.
    pub is_up: Option<bool>,
}

/// The figures of a period. Yields and losses are in hours (kWh per kW), ratios are fractions of 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Intervals in the period.
    pub intervals: usize,
    /// Intervals in the sums.
    pub valid: usize,
    /// Their share (§13.4, data availability), 0 to 1.
    pub completeness: Option<f64>,
    /// Irradiation in the plane in kWh/m² (§9.1); `None` without a sensor.
    pub irradiation_kwh_m2: Option<f64>,
    /// DC energy.
    pub dc_kwh: Option<f64>,
    /// AC energy.
    pub ac_kwh: f64,
    /// Reference yield Yr (§10.2.5).
    pub reference_yield_h: Option<f64>,
    /// Array yield Ya (§10.2.2).
    pub array_yield_h: Option<f64>,
    /// Final yield Yf (§10.2.3).
    pub final_yield_h: f64,
    /// Capture loss Lc = Yr − Ya (§10.3.2).
    pub capture_loss_h: Option<f64>,
    /// Balance-of-system loss LBOS = Ya − Yf (§10.3.3).
    pub bos_loss_h: Option<f64>,
    /// Performance ratio PR = Yf / Yr (§10.4.1); `None` without irradiation.
    pub pr: Option<f64>,
    /// PR at 25 °C: the rated power is corrected in each interval, inside the sum (§10.4.2.2).
    pub pr_stc: Option<f64>,
    /// Annual-equivalent PR: the same, corrected to the year's mean module temperature (§10.4.2.3).
    pub pr_annual: Option<f64>,
    /// Energy over rated DC power × time.
    pub capacity_factor_dc: Option<f64>,
    /// Energy over rated AC power × time.
    pub capacity_factor_ac: Option<f64>,
    /// Share of the time above the irradiance gate in which the inverter was up (IEC TS 63019).
    pub availability_time: Option<f64>,
    /// What it would have made while it was down in kWh, at its own PR at 25 °C while it was up.
    pub lost_kwh: Option<f64>,
    /// Energy over energy and what was lost (IEC TS 61724-3).
    pub availability_energy: Option<f64>,
}

/// The figures of equal intervals of `interval_h` hours.
#[must_use]
pub fn report(plant: &Plant, intervals: &[Interval], interval_h: f64) -> Report {
    let wanted = Wanted::of(plant, intervals);
    let valid: Vec<&Interval> = intervals.iter().filter(|one| wanted.is_valid(one)).collect();
    let sum = |quantity: fn(&Interval) -> Option<f64>| -> f64 {
        valid.iter().filter_map(|one| quantity(one)).sum()
    };
    let irradiation = wanted
        .plane
        .then(|| sum(|one| one.plane_w_m2) * interval_h / W_PER_KW);
    let ac_kwh = sum(|one| one.ac_kwh);
    let dc_kwh = wanted.dc.then(|| sum(|one| one.dc_kwh));
    let reference_yield_h = irradiation.map(|kwh_m2| kwh_m2 / STC_KW_M2);
    let final_yield_h = ac_kwh / plant.dc_rated_kw;
    let array_yield_h = dc_kwh.map(|dc| dc / plant.dc_rated_kw);
    let at = |cell_c: f64| -> f64 {
        valid
            .iter()
            .map(|one| rated_kwh(plant, one, cell_c, interval_h))
            .sum()
    };
    let of_temperature = |cell_c: f64| {
        (wanted.module && wanted.plane)
            .then(|| ratio(ac_kwh, at(cell_c)))
            .flatten()
    };
    let hours = valid.len() as f64 * interval_h;
    let lost_kwh = lost_kwh(plant, &valid, &wanted, interval_h);
    Report {
        intervals: intervals.len(),
        valid: valid.len(),
        completeness: ratio(valid.len() as f64, intervals.len() as f64),
        irradiation_kwh_m2: irradiation,
        dc_kwh,
        ac_kwh,
        reference_yield_h,
        array_yield_h,
        final_yield_h,
        capture_loss_h: reference_yield_h
            .zip(array_yield_h)
            .map(|(reference, array)| reference - array),
        bos_loss_h: array_yield_h.map(|array| array - final_yield_h),
        pr: reference_yield_h.and_then(|reference| ratio(final_yield_h, reference)),
        pr_stc: of_temperature(STC_CELL_C),
        pr_annual: plant.annual_module_c.and_then(of_temperature),
        capacity_factor_dc: ratio(ac_kwh, plant.dc_rated_kw * hours),
        capacity_factor_ac: plant
            .ac_rated_kw
            .and_then(|rated_kw| ratio(ac_kwh, rated_kw * hours)),
        availability_time: wanted.up.then(|| availability_time(plant, &valid)).flatten(),
        lost_kwh,
        availability_energy: lost_kwh.and_then(|lost| ratio(ac_kwh, ac_kwh + lost)),
    }
}

/// Which quantities the plant measures at all in the period.
struct Wanted {
    plane: bool,
    module: bool,
    dc: bool,
    up: bool,
}

impl Wanted {
    fn of(plant: &Plant, intervals: &[Interval]) -> Self {
        Self {
            plane: plant.has_sensor,
            module: intervals.iter().any(|one| one.module_c.is_some()),
            dc: intervals.iter().any(|one| one.dc_kwh.is_some()),
            up: intervals.iter().any(|one| one.is_up.is_some()),
        }
    }

    fn is_valid(&self, one: &Interval) -> bool {
        let finite = |value: Option<f64>| value.is_some_and(f64::is_finite);
        finite(one.ac_kwh)
            && (!self.plane || finite(one.plane_w_m2))
            && (!self.module || finite(one.module_c))
            && (!self.dc || finite(one.dc_kwh))
            && (!self.up || one.is_up.is_some())
    }
}

/// `None` when there is nothing to divide by.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// What the rated power would make of the interval's irradiance, corrected from its module temperature to `cell_c`, in kWh.
fn rated_kwh(plant: &Plant, one: &Interval, cell_c: f64, interval_h: f64) -> f64 {
    let (Some(plane_w_m2), Some(module_c)) = (one.plane_w_m2, one.module_c) else {
        return 0.0;
    };
    let factor = 1.0 + plant.gamma_per_k * (module_c - cell_c);
    plant.dc_rated_kw * factor * plane_w_m2 / W_PER_KW * interval_h / STC_KW_M2
}

/// Whether there is enough light to run.
fn is_day(plant: &Plant, one: &Interval) -> bool {
    one.plane_w_m2
        .is_some_and(|plane| plane >= plant.irradiance_min_w_m2)
}

fn availability_time(plant: &Plant, valid: &[&Interval]) -> Option<f64> {
    let day = valid.iter().filter(|one| is_day(plant, one));
    let (mut up, mut all) = (0_u32, 0_u32);
    for one in day {
        all += 1;
        up += u32::from(one.is_up == Some(true));
    }
    ratio(f64::from(up), f64::from(all))
}

/// What was lost while the inverter was down; `None` where state or temperature is not measured, or it never ran.
fn lost_kwh(plant: &Plant, valid: &[&Interval], wanted: &Wanted, interval_h: f64) -> Option<f64> {
    if !wanted.up || !wanted.module || !wanted.plane {
        return None;
    }
    let day: Vec<_> = valid.iter().filter(|one| is_day(plant, one)).collect();
    let rated = |one: &Interval| rated_kwh(plant, one, STC_CELL_C, interval_h);
    let ac = |one: &Interval| one.ac_kwh.unwrap_or(0.0);
    let up = day.iter().filter(|one| one.is_up == Some(true));
    let (made, could) = up.fold((0.0, 0.0), |(made, could), one| {
        (made + ac(one), could + rated(one))
    });
    let pr_up = ratio(made, could)?;
    let down = day.iter().filter(|one| one.is_up == Some(false));
    Some(down.map(|one| rated(one) * pr_up - ac(one)).sum::<f64>().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLANT: Plant = Plant {
        dc_rated_kw: 10.0,
        ac_rated_kw: None,
        gamma_per_k: -0.004,
        annual_module_c: None,
        irradiance_min_w_m2: 50.0,
        has_sensor: true,
    };

    fn interval(plane_w_m2: f64, ac_kwh: f64) -> Interval {
        Interval {
            plane_w_m2: Some(plane_w_m2),
            ac_kwh: Some(ac_kwh),
            ..Interval::default()
        }
    }

    #[test]
    fn what_is_missing_leaves_both_sums() {
        let whole = [interval(800.0, 6.4), interval(400.0, 3.2)];
        let gap = Interval {
            ac_kwh: None,
            ..interval(900.0, 0.0)
        };
        let with_gap = [whole[0], gap, whole[1]];
        let (a, b) = (report(&PLANT, &whole, 1.0), report(&PLANT, &with_gap, 1.0));
        assert!((a.pr.unwrap() - 0.8).abs() < 1e-12 && a.pr == b.pr);
        assert_eq!((b.valid, b.intervals, b.completeness), (2, 3, Some(2.0 / 3.0)));
    }

    #[test]
    fn what_is_never_measured_is_unknown_not_zero() {
        let figures = report(&PLANT, &[interval(800.0, 6.4)], 1.0);
        assert_eq!(
            (
                figures.dc_kwh,
                figures.array_yield_h,
                figures.pr_stc,
                figures.availability_time
            ),
            (None, None, None, None)
        );
        let blind = Interval {
            plane_w_m2: None,
            ..interval(0.0, 6.4)
        };
        let unseeing = Plant {
            has_sensor: false,
            ..PLANT
        };
        assert_eq!(report(&PLANT, &[blind], 1.0).valid, 0);
        let figures = report(&unseeing, &[blind], 1.0);
        assert_eq!((figures.valid, figures.final_yield_h), (1, 0.64));
        assert_eq!(
            (figures.irradiation_kwh_m2, figures.reference_yield_h, figures.pr),
            (None, None, None)
        );
        let night = report(&PLANT, &[interval(0.0, 0.0)], 1.0);
        assert_eq!((night.pr, night.ac_kwh), (None, 0.0));
        assert_eq!(report(&PLANT, &[], 1.0).completeness, None);
    }

    #[test]
    fn a_warm_module_has_a_better_ratio_at_25_degrees() {
        let warm = Interval {
            module_c: Some(50.0),
            ..interval(1_000.0, 8.1)
        };
        let figures = report(&PLANT, &[warm], 1.0);
        assert!((figures.pr.unwrap() - 0.81).abs() < 1e-12);
        assert!((figures.pr_stc.unwrap() - 0.9).abs() < 1e-12);
    }
}
