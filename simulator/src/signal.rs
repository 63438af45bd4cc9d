//! A quantity over the years: a day curve for every solar day, and the integral since the first.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::{Date, date};

use crate::curve::{DayCurve, Split};
use crate::recording::{Channel, Recording, SourceName};
use crate::solar::SolarDays;

/// The last day that a simulation knows; behind it every register stands still.
pub(crate) const LAST_DAY: Date = date(2049, 12, 31);

/// An integral in µJ, of the positive and the negative part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Energy {
    /// Of the positive part.
    pub(crate) positive_uj: i128,
    /// Of the negative part, as a positive number.
    pub(crate) negative_uj: i128,
}

impl Energy {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            positive_uj: self.positive_uj + other.positive_uj,
            negative_uj: self.negative_uj + other.negative_uj,
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            positive_uj: self.positive_uj - other.positive_uj,
            negative_uj: self.negative_uj - other.negative_uj,
        }
    }
}

impl From<Split> for Energy {
    fn from(split: Split) -> Self {
        Self {
            positive_uj: split.positive.into(),
            negative_uj: split.negative.into(),
        }
    }
}

/// A step function of UTC and its exact integral.
#[derive(Debug)]
pub(crate) struct Signal {
    days: Arc<SolarDays>,
    curves: Vec<Arc<DayCurve>>,
    /// Which curve stands for each day.
    curve_of: Vec<u32>,
    /// The integral up to the beginning of each day.
    before: Vec<Energy>,
}

impl Signal {
    /// A channel of a recording, times `factor`, replayed on the solar days.
    pub(crate) fn replay(days: &Arc<SolarDays>, source: SourceName, channel: Channel, factor: f64) -> Self {
        let recording = Recording::of(source);
        let curves = recording.days.iter();
        let curves = curves
            .map(|day| Arc::new(DayCurve::from_samples(day.samples(channel), factor)))
            .collect();
        let curve_of = (0..days.len()).map(|day| recording.choice.day_for(days.date(day)));
        let curve_of = curve_of.map(|day| u32::try_from(day).unwrap_or(0)).collect();
        Self::new(Arc::clone(days), curves, curve_of)
    }

    /// `load` minus all of `generation`, on the same solar days.
    pub(crate) fn net(load: &Self, generation: &[Arc<Self>]) -> Self {
        let mut curves = Vec::new();
        let mut seen: HashMap<Vec<u32>, u32> = HashMap::new();
        let curve_of = (0..load.days.len()).map(|day| {
            let mut key = vec![load.curve_of[day]];
            key.extend(generation.iter().map(|signal| signal.curve_of[day]));
            *seen.entry(key).or_insert_with(|| {
                let others: Vec<&DayCurve> = generation.iter().map(|signal| signal.curve(day)).collect();
                curves.push(Arc::new(load.curve(day).minus(&others)));
                u32::try_from(curves.len() - 1).unwrap_or(0)
            })
        });
        let curve_of = curve_of.collect();
        Self::new(Arc::clone(&load.days), curves, curve_of)
    }

    fn new(days: Arc<SolarDays>, curves: Vec<Arc<DayCurve>>, curve_of: Vec<u32>) -> Self {
        let mut signal = Self {
            before: Vec::with_capacity(curve_of.len()),
            days,
            curves,
            curve_of,
        };
        let mut sum = Energy::default();
        for day in 0..signal.days.len() {
            signal.before.push(sum);
            let length_ms = signal.days.bound_ms(day + 1) - signal.days.bound_ms(day);
            sum = sum.plus(signal.curve(day).integral_uj(length_ms).into());
        }
        signal
    }

    fn curve(&self, day: usize) -> &DayCurve {
        &self.curves[self.curve_of[day] as usize]
    }

    /// The value at an instant in thousandths of the unit.
    pub(crate) fn value_at(&self, at_ms: i64) -> i64 {
        let (day, since_ms) = self.days.locate(at_ms);
        self.curve(day).value_at(since_ms)
    }

    /// The integral from the beginning of the first day to an instant.
    pub(crate) fn energy_at(&self, at_ms: i64) -> Energy {
        let (day, since_ms) = self.days.locate(at_ms);
        self.before[day].plus(self.curve(day).integral_uj(since_ms).into())
    }

    /// When the quantity is first and last positive on the day of an instant, and where in that day the instant is, in
    /// ms since solar midnight.
    pub(crate) fn daylight_ms(&self, at_ms: i64) -> (Option<(i64, i64)>, i64) {
        let (day, since_ms) = self.days.locate(at_ms);
        (self.curve(day).daylight_ms(), since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solar::DAY_MS;

    fn days() -> Arc<SolarDays> {
        Arc::new(SolarDays::new(53.06, date(2026, 1, 1), date(2026, 12, 31)))
    }

    #[test]
    fn energy_goes_on_across_midnight_and_never_falls() {
        let days = days();
        let load = Signal::replay(&days, SourceName::AusgridHouse, Channel::Load, 1_000.0);
        for day in 1..days.len() {
            let midnight = days.bound_ms(day);
            let (before, after) = (load.energy_at(midnight - 1), load.energy_at(midnight + 1));
            let power = i128::from(load.value_at(midnight - 1) + load.value_at(midnight));
            assert_eq!(after.positive_uj - before.positive_uj, power, "day {day}");
        }
    }

    #[test]
    fn import_minus_export_is_load_minus_generation() {
        let days = days();
        let load = Signal::replay(&days, SourceName::AusgridHouse, Channel::Load, 4_000.0);
        let generation = Arc::new(Signal::replay(
            &days,
            SourceName::Inv30339,
            Channel::Generation,
            1_300.0,
        ));
        let net = Signal::net(&load, &[Arc::clone(&generation)]);
        for hour in 0..24 * 364 {
            let at = days.bound_ms(0) + hour * 3_600_000 + 1_234;
            let net_now = net.energy_at(at);
            let wanted = load.energy_at(at).positive_uj - generation.energy_at(at).positive_uj;
            assert_eq!(net_now.positive_uj - net_now.negative_uj, wanted);
            assert_eq!(net.value_at(at), load.value_at(at) - generation.value_at(at));
        }
        assert!(net.energy_at(i64::MAX).negative_uj > 0, "a summer noon exports");
    }

    #[test]
    fn a_year_at_noon_is_bright_and_at_midnight_dark() {
        let days = days();
        for source in SourceName::ALL.into_iter().filter(|source| !source.is_verbatim()) {
            let signal = Signal::replay(&days, source, Channel::Generation, 1_000.0);
            let noons = (0..days.len())
                .filter(|&day| signal.value_at(days.bound_ms(day) + DAY_MS / 2) > 0)
                .count();
            assert!(noons * 100 >= days.len() * 98, "{source:?}: {noons} bright noons");
            assert!(
                (0..days.len()).all(|day| signal.value_at(days.bound_ms(day)) == 0),
                "{source:?}"
            );
        }
    }
}
