//! Generation of a plant and the energy balance of its site over one period.
//!
//! Sign: generation positive; energy imbalance = consumption − generation, > 0 is a deficit. A site with a consumption
//! meter states its consumption itself; one with a grid meter only states import − export, which is the same quantity by
//! the balance of the connection. With both, the consumption meter's statement is used.

use taraz_telemetry::MeterRole;

use super::{Contribution, QUARTER_MS};

/// What the registers of a site's meters state about one period.
#[derive(Clone, Debug, Default)]
pub(crate) struct SiteEnergies {
    /// Per inverter of every plant at the site.
    pub(crate) generated: Vec<Contribution>,
    /// Per consumption meter.
    pub(crate) consumed: Vec<Contribution>,
    /// Per grid meter.
    pub(crate) imported: Vec<Contribution>,
    /// Per grid meter.
    pub(crate) exported: Vec<Contribution>,
    /// A register that a meter has not stated yet was taken for 0.
    pub(crate) assumed: bool,
}

impl SiteEnergies {
    /// Where a meter of this role is added; a grid meter's second register is what it exported.
    pub(crate) fn of(&mut self, role: MeterRole, exported: bool) -> &mut Vec<Contribution> {
        match role {
            MeterRole::Consumption => &mut self.consumed,
            MeterRole::Grid if exported => &mut self.exported,
            MeterRole::Grid => &mut self.imported,
            MeterRole::Inverter | MeterRole::Irradiance => &mut self.generated,
        }
    }

    /// Every meter's.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Contribution> {
        [&self.generated, &self.consumed, &self.imported, &self.exported]
            .into_iter()
            .flatten()
    }
}

/// The balance of a site over one period in Wh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) generated_wh: Option<i64>,
    pub(crate) consumed_wh: Option<i64>,
    pub(crate) import_wh: Option<i64>,
    pub(crate) export_wh: Option<i64>,
    pub(crate) imbalance_wh: Option<i64>,
}

/// What all inverters together generated in Wh, and how much of the period is known (0 to 1, the least known inverter).
/// `None` when one of them states nothing, or when there is none.
pub(crate) fn plant_energy(inverters: &[Contribution], period_ms: i64) -> (Option<i64>, f64) {
    (sum(inverters), completeness(inverters, period_ms))
}

/// The site's balance; a sum is `None` as soon as one of its meters states nothing.
pub(crate) fn site_balance(site: &SiteEnergies) -> Balance {
    let generated_wh = sum(&site.generated);
    let import_wh = sum(&site.imported);
    let export_wh = sum(&site.exported);
    let net_wh = import_wh.zip(export_wh).map(|(import, export)| import - export);
    let consumed_wh = if site.consumed.is_empty() {
        net_wh.zip(generated_wh).map(|(net, generated)| net + generated)
    } else {
        sum(&site.consumed)
    };
    let imbalance_wh = if site.consumed.is_empty() {
        net_wh
    } else {
        consumed_wh
            .zip(generated_wh)
            .map(|(consumed, generated)| consumed - generated)
    };
    Balance {
        generated_wh,
        consumed_wh,
        import_wh,
        export_wh,
        imbalance_wh,
    }
}

/// What all registers together counted in a quarter-hour in Wh; `None` unless each of them is known for the whole of it.
pub(crate) fn whole_wh(registers: &[Contribution]) -> Option<i64> {
    let is_whole = |part: &Contribution| part.known_ms == QUARTER_MS && part.spread == 0 && part.resets == 0;
    if registers.is_empty() || !registers.iter().all(is_whole) {
        return None;
    }
    sum(registers)
}

fn sum(parts: &[Contribution]) -> Option<i64> {
    if parts.is_empty() {
        return None;
    }
    parts.iter().map(Contribution::energy).sum()
}

fn completeness(parts: &[Contribution], period_ms: i64) -> f64 {
    let least_ms = parts.iter().map(|part| part.known_ms).min().unwrap_or(0);
    // Far below 2^53.
    (least_ms as f64 / period_ms.max(1) as f64).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(energy_wh: i64) -> Contribution {
        Contribution {
            energy_wh,
            known_ms: 900_000,
            ..Contribution::default()
        }
    }

    #[test]
    fn a_grid_meter_alone_states_imbalance_and_consumption() {
        let site = SiteEnergies {
            generated: vec![known(700), known(300)],
            imported: vec![known(50)],
            exported: vec![known(450)],
            ..SiteEnergies::default()
        };
        let balance = site_balance(&site);
        assert_eq!(balance.imbalance_wh, Some(-400));
        assert_eq!(balance.consumed_wh, Some(600));
    }

    #[test]
    fn a_consumption_meter_is_preferred() {
        let site = SiteEnergies {
            generated: vec![known(1_000)],
            consumed: vec![known(900)],
            imported: vec![known(1)],
            exported: vec![known(2)],
            assumed: false,
        };
        let balance = site_balance(&site);
        assert_eq!(
            (balance.consumed_wh, balance.imbalance_wh),
            (Some(900), Some(-100))
        );
        assert_eq!((balance.import_wh, balance.export_wh), (Some(1), Some(2)));
    }

    #[test]
    fn what_one_meter_does_not_state_is_unknown_not_zero() {
        let unknown = Contribution::default();
        let site = SiteEnergies {
            generated: vec![known(1), unknown],
            imported: vec![known(5)],
            exported: vec![known(0)],
            ..SiteEnergies::default()
        };
        let balance = site_balance(&site);
        assert_eq!(
            (balance.generated_wh, balance.consumed_wh, balance.imbalance_wh),
            (None, None, Some(5))
        );
        assert_eq!(plant_energy(&[known(1), unknown], 900_000), (None, 0.0));
        assert_eq!(plant_energy(&[], 900_000), (None, 0.0));
    }
}
