//! What registers state about one period, as balances and yields reckon with it.

use taraz_analytics::energy::PeriodEnergy;

/// What a register states about one period. Contributions of times that don't overlap add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contribution {
    /// Energy in Wh.
    pub(crate) energy_wh: i64,
    /// For how long the total is known, in ms.
    pub(crate) known_ms: i64,
    /// How many silences or standstills over which the energy is spread have a share in it.
    pub(crate) spread: i64,
    /// How many times of which the total is not known have a share in it: resets, jumps and falls without a record.
    pub(crate) resets: i64,
}

impl Contribution {
    /// Energy in Wh; `None` when nothing is known about it.
    pub(crate) fn energy(&self) -> Option<i64> {
        (self.known_ms > 0 || self.spread > 0 || self.energy_wh > 0).then_some(self.energy_wh)
    }
}

impl From<PeriodEnergy> for Contribution {
    fn from(energy: PeriodEnergy) -> Self {
        Self {
            energy_wh: energy.energy_wh,
            known_ms: energy.known_ms,
            spread: i64::from(energy.flags.spread),
            resets: i64::from(energy.flags.reset || energy.flags.quarantined),
        }
    }
}

impl core::ops::AddAssign for Contribution {
    fn add_assign(&mut self, other: Self) {
        // Registers are bounded, so this can't wrap in a plant's life.
        self.energy_wh = self.energy_wh.wrapping_add(other.energy_wh);
        self.known_ms += other.known_ms;
        self.spread += other.spread;
        self.resets += other.resets;
    }
}
