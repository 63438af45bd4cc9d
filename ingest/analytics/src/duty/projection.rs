//! Where the year will end.
//!
//! The rest of the year is taken to be as clear as the year so far: remaining clear-sky energy × (generated ÷ clear-sky energy of
//! the known days), and consumption as on the mean known day. How sure that is follows from how much blocks of
//! [`BLOCK_DAYS`] days differed; days next to each other share their weather, so single days would promise too much.

use super::share::coverage;

/// Weather of one block says little about the next.
pub const BLOCK_DAYS: usize = 30;
/// The fewest known days of a block that are compared.
const BLOCK_DAYS_MIN: usize = 15;
/// The fewest blocks whose spread is believed.
const BLOCKS_MIN: usize = 3;
/// Until there are enough blocks: monthly irradiation differs by about this share from the year's (one standard deviation).
const SPREAD_DEFAULT: f64 = 0.15;
/// Nine of ten years end within this many standard deviations (normal distribution).
const DEVIATIONS: f64 = 1.645;

/// One day so far; `None` is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DutyDay {
    /// Generated in Wh.
    pub generated_wh: Option<i64>,
    /// Consumed in Wh.
    pub consumed_wh: Option<i64>,
    /// What the plants would have generated under a clear sky in Wh.
    pub clear_sky_wh: f64,
}

/// A figure and the range in which it lies in nine of ten cases.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The lower end.
    pub low: f64,
    /// The expectation.
    pub mid: f64,
    /// The upper end.
    pub high: f64,
}

/// The whole year, as it is expected to end. Energies in Wh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection {
    /// Generation of the year.
    pub generated_wh: Estimate,
    /// Consumption of the year.
    pub consumed_wh: Estimate,
    /// What will be missing of the share, 0 or more.
    pub gap_wh: Estimate,
    /// Days that generation is known of, among those so far.
    pub known_days: usize,
}

impl Estimate {
    fn around(mid: f64, deviation: f64) -> Self {
        Self {
            low: (mid - DEVIATIONS * deviation).max(0.0),
            mid: mid.max(0.0),
            high: (mid + DEVIATIONS * deviation).max(0.0),
        }
    }
}

/// Projects a year of `days` so far and `remaining_clear_sky_wh`, what the plants would generate under a clear sky on each day left.
/// Unknown days so far are filled in the same way as days to come. `None` as long as no day's generation and consumption is known.
#[must_use]
pub fn project(
    share_per_myriad: u16,
    days: &[DutyDay],
    remaining_clear_sky_wh: &[f64],
) -> Option<Projection> {
    let generation = Fit::of(days.iter().map(|day| (day.generated_wh, day.clear_sky_wh)))?;
    // A day's consumption is measured against 1, so that the factor is the mean day.
    let consumption = Fit::of(days.iter().map(|day| (day.consumed_wh, 1.0)))?;
    let clear_left: f64 = remaining_clear_sky_wh.iter().sum();
    let (generated, generated_off) = generation.year(clear_left, remaining_clear_sky_wh.len());
    let (consumed, consumed_off) =
        consumption.year(remaining_clear_sky_wh.len() as f64, remaining_clear_sky_wh.len());
    let share = f64::from(share_per_myriad) / f64::from(super::SHARE_PER_MYRIAD_MAX);
    let gap_off = generated_off.hypot(share * consumed_off);
    Some(Projection {
        generated_wh: Estimate::around(generated, generated_off),
        consumed_wh: Estimate::around(consumed, consumed_off),
        gap_wh: Estimate::around(share * consumed - generated, gap_off),
        known_days: generation.known_days,
    })
}

/// The DC power in kW that is still to be built to close a yearly gap, at a specific yield in kWh per kW and year; `None` when that
/// yield is not above 0.
#[must_use]
pub fn missing_kwp(gap_wh: f64, specific_yield_h: f64) -> Option<f64> {
    (specific_yield_h > 0.0).then(|| gap_wh.max(0.0) / 1_000.0 / specific_yield_h)
}

/// How a quantity follows its reference over the known days.
struct Fit {
    known_wh: f64,
    known_days: usize,
    /// Reference of the days that are not known.
    unknown_reference: f64,
    unknown_days: usize,
    /// Known energy per reference.
    factor: f64,
    /// Relative standard deviation of a block's factor.
    spread: f64,
    blocks: usize,
}

impl Fit {
    fn of(days: impl Iterator<Item = (Option<i64>, f64)>) -> Option<Self> {
        let days: Vec<(Option<i64>, f64)> = days.collect();
        let total = |days: &[(Option<i64>, f64)]| {
            let known = days
                .iter()
                .filter_map(|&(energy, reference)| Some((energy? as f64, reference)));
            known.fold((0.0, 0.0, 0), |(wh, all, count), (energy, reference)| {
                (wh + energy, all + reference, count + 1)
            })
        };
        let (known_wh, reference, known_days) = total(&days);
        if reference <= 0.0 {
            return None;
        }
        let factor = known_wh / reference;
        let factors: Vec<f64> = days
            .chunks(BLOCK_DAYS)
            .map(total)
            .filter(|&(_, reference, count)| count >= BLOCK_DAYS_MIN && reference > 0.0)
            .map(|(wh, reference, _)| wh / reference)
            .collect();
        let unknown = days.iter().filter(|(energy, _)| energy.is_none());
        Some(Self {
            known_wh,
            known_days,
            unknown_reference: unknown.map(|(_, reference)| reference).sum(),
            unknown_days: days.len() - known_days,
            factor,
            spread: relative_spread(&factors),
            blocks: factors.len(),
        })
    }

    /// The year's energy and its standard deviation in Wh, with `reference` over `days` still to come.
    fn year(&self, reference: f64, days: usize) -> (f64, f64) {
        let estimated = self.factor * (reference + self.unknown_reference);
        let open_blocks = ((days + self.unknown_days) as f64 / BLOCK_DAYS as f64).max(1.0);
        let known_blocks = self.blocks.max(1) as f64;
        let relative = self.spread * (1.0 / open_blocks + 1.0 / known_blocks).sqrt();
        (self.known_wh + estimated, estimated * relative)
    }
}

/// Standard deviation over mean; the default as long as there are too few.
fn relative_spread(factors: &[f64]) -> f64 {
    let count = factors.len() as f64;
    let mean = factors.iter().sum::<f64>() / count;
    if factors.len() < BLOCKS_MIN || mean <= 0.0 {
        return SPREAD_DEFAULT;
    }
    let squares: f64 = factors.iter().map(|factor| (factor - mean).powi(2)).sum();
    (squares / (count - 1.0)).sqrt() / mean
}

/// What a projection's middle means as a coverage.
impl Projection {
    /// The year's coverage of a share, by the expectation.
    #[must_use]
    pub fn coverage(&self, share_per_myriad: u16) -> super::Coverage {
        // Whole Wh of energies far below 2^63.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "energies of a fleet are far below 2^63 Wh"
        )]
        let whole = |wh: f64| wh.round() as i64;
        coverage(
            share_per_myriad,
            whole(self.generated_wh.mid),
            whole(self.consumed_wh.mid),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(count: usize, generated_wh: impl Fn(usize) -> Option<i64>) -> Vec<DutyDay> {
        (0..count)
            .map(|day| DutyDay {
                generated_wh: generated_wh(day),
                consumed_wh: Some(10_000),
                clear_sky_wh: 2_000.0,
            })
            .collect()
    }

    #[test]
    fn an_even_year_ends_as_it_began_and_surely() {
        let projected = project(2_000, &days(120, |_| Some(1_000)), &[2_000.0; 245]).unwrap();
        assert!((projected.generated_wh.mid - 365_000.0).abs() < 1e-6);
        assert!((projected.gap_wh.mid - 365_000.0).abs() < 1e-6);
        assert!((projected.gap_wh.high - projected.gap_wh.low).abs() < 1e-6);
        assert_eq!(projected.coverage(2_000).due_wh, 730_000);
        // 365 kWh at 1,460 h.
        assert!((missing_kwp(projected.gap_wh.mid, 1_460.0).unwrap() - 0.25).abs() < 1e-9);
        assert_eq!(missing_kwp(1.0, 0.0), None);
    }

    #[test]
    fn the_season_follows_the_clear_sky() {
        let dark = project(500, &days(90, |_| Some(1_000)), &[1_000.0; 90]).unwrap();
        assert!((dark.generated_wh.mid - 135_000.0).abs() < 1e-6);
    }

    #[test]
    fn changing_weather_widens_the_range_and_time_narrows_it() {
        let changing = |day: usize| {
            Some(if (day / BLOCK_DAYS).is_multiple_of(2) {
                1_400
            } else {
                600
            })
        };
        let width = |count: usize| {
            let left = vec![2_000.0; 360 - count];
            let gap = project(9_000, &days(count, changing), &left).unwrap().gap_wh;
            assert!(gap.low <= gap.mid && gap.mid <= gap.high);
            gap.high - gap.low
        };
        assert!(width(120) > width(240) && width(240) > width(345) && width(345) > 0.0);
        let wide = project(9_000, &days(10, |_| Some(1_000)), &[2_000.0; 350])
            .unwrap()
            .generated_wh;
        assert!(wide.high - wide.mid > 0.2 * wide.mid, "{wide:?}");
    }

    #[test]
    fn unknown_days_are_filled_in_and_nothing_gives_nothing() {
        let holes = project(500, &days(100, |day| (day % 2 == 0).then_some(1_000)), &[]).unwrap();
        assert!((holes.generated_wh.mid - 100_000.0).abs() < 1e-6 && holes.known_days == 50);
        assert_eq!(project(500, &days(10, |_| None), &[2_000.0]), None);
        assert_eq!(project(500, &[], &[2_000.0]), None);
    }
}
