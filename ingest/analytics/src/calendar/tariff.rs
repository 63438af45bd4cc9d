//! Money: whole rial, and what energy is worth.

use core::fmt;
use core::iter::Sum;
use core::ops::{Add, Neg, Sub};

use serde::{Deserialize, Serialize};

use super::BandKind;

const WH_PER_KWH: i128 = 1_000;

/// An amount in whole rial; below 0 is owed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rial(pub i64);

/// What a kWh costs or earns, in rial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// Per kWh in peak hours.
    pub peak_rial_per_kwh: i64,
    /// Per kWh in the hours between.
    pub middle_rial_per_kwh: i64,
    /// Per kWh in the cheapest hours.
    pub off_peak_rial_per_kwh: i64,
}

impl Tariff {
    /// The price in a band.
    #[must_use]
    pub const fn rial_per_kwh(&self, band: BandKind) -> i64 {
        match band {
            BandKind::Peak => self.peak_rial_per_kwh,
            BandKind::Middle => self.middle_rial_per_kwh,
            BandKind::OffPeak => self.off_peak_rial_per_kwh,
        }
    }

    /// What energy in Wh is worth in a band, rounded to the nearest rial, halves away from 0; an amount beyond ±9.2e18 rial is
    /// held there. Round once, over the sum of a billing period.
    #[must_use]
    pub fn value(&self, band: BandKind, energy_wh: i64) -> Rial {
        let exact = i128::from(energy_wh) * i128::from(self.rial_per_kwh(band));
        let rounded = (exact + exact.signum() * (WH_PER_KWH / 2)) / WH_PER_KWH;
        Rial(i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl Add for Rial {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Rial {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Neg for Rial {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.saturating_neg())
    }
}

impl Sum for Rial {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Rial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rial", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARIFF: Tariff = Tariff {
        peak_rial_per_kwh: 4_321,
        middle_rial_per_kwh: 2_000,
        off_peak_rial_per_kwh: 1_000,
    };

    #[test]
    fn energy_is_worth_whole_rial() {
        assert_eq!(TARIFF.value(BandKind::Peak, 1_500), Rial(6_482)); // 6,481.5
        assert_eq!(TARIFF.value(BandKind::Peak, -1_500), Rial(-6_482));
        assert_eq!(TARIFF.value(BandKind::OffPeak, 0), Rial(0));
        assert_eq!(TARIFF.value(BandKind::Middle, i64::MAX), Rial(i64::MAX));
        assert_eq!([Rial(1), Rial(2)].into_iter().sum::<Rial>() - Rial(4), -Rial(1));
    }
}
