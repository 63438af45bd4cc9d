//! The energy imbalance of sites: consumption − generation, alone and set off against each other.
//!
//! In: registers of sites' meters, whose role says what they count. Out: per period the balance of each quarter-hour of which every meter is
//! known, summed. A quarter-hour that one meter leaves open is in no sum.

use taraz_analytics::imbalance::{EnergyBalance, EnergyInterval, Netting, energy_balance, netting};
use taraz_fleet::Fleet;
use taraz_telemetry::MeterRole;

use crate::analytics::{QUARTER_H, SiteEnergies, quarters_of, whole_wh};
use crate::store::{ReadResult, Snapshot, Store, StoreError};

const WH_PER_KWH: f64 = 1_000.0;

/// The balance of one or several sites over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct PeriodBalance {
    /// Sums over all sites; the largest import and export are those of one site.
    pub(crate) balance: EnergyBalance,
    /// What the sites gain when they are set off against each other.
    pub(crate) netting: Netting,
}

impl Store {
    /// The balance of sites over each of these periods (UTC ms; in order, without gaps).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub(crate) fn balances(
        &self,
        sites: &[String],
        periods: &[(i64, i64)],
    ) -> Result<Vec<PeriodBalance>, StoreError> {
        let quarters = quarters_of(periods);
        let of_sites = self.snapshot(|snapshot| {
            let each = sites.iter().map(|site| site_quarters(snapshot, site, &quarters));
            each.collect::<ReadResult<Vec<_>>>()
        })?;
        let of_period = |&(start_ms, end_ms): &(i64, i64)| {
            let first = quarters.partition_point(|quarter| quarter.0 < start_ms);
            let after = quarters.partition_point(|quarter| quarter.0 < end_ms);
            let parts: Vec<_> = of_sites.iter().map(|site| &site[first..after]).collect();
            together(&parts)
        };
        Ok(periods.iter().map(of_period).collect())
    }
}

/// Sums sites up over one run of quarter-hours.
fn together(sites: &[&[EnergyInterval]]) -> PeriodBalance {
    let mut sum = EnergyBalance::default();
    for site in sites {
        sum += energy_balance(site, QUARTER_H);
    }
    let imbalances: Vec<Vec<Option<f64>>> = sites
        .iter()
        .map(|site| site.iter().map(EnergyInterval::imbalance_kwh).collect())
        .collect();
    PeriodBalance {
        balance: sum,
        netting: netting(&imbalances),
    }
}

/// What a site's meters state of each quarter-hour.
pub(super) fn site_quarters(
    snapshot: &Snapshot<'_>,
    site: &str,
    quarters: &[(i64, i64)],
) -> ReadResult<Vec<EnergyInterval>> {
    Ok(snapshot.site(site, quarters)?.iter().map(interval).collect())
}

fn interval(site: &SiteEnergies) -> EnergyInterval {
    // Far below 2^53.
    let kwh = |wh: i64| wh as f64 / WH_PER_KWH;
    let grid = whole_wh(&site.imported).zip(whole_wh(&site.exported));
    // A grid meter that says nothing is no absent grid meter: what flowed through it is not to be inferred.
    let is_silent = !site.imported.is_empty() && grid.is_none();
    EnergyInterval {
        generation_kwh: whole_wh(&site.generated).map(kwh),
        load_kwh: whole_wh(&site.consumed).filter(|_| !is_silent).map(kwh),
        grid_kwh: grid.map(|(import, export)| (kwh(import), kwh(export))),
    }
}

/// The site has a meter that tells its balance.
pub(crate) fn is_metered(fleet: &Fleet, site: &str) -> bool {
    let meters = fleet
        .plants_at(site)
        .flat_map(|plant| &plant.devices)
        .flat_map(|device| &device.meters);
    meters
        .into_iter()
        .any(|meter| matches!(meter.role, MeterRole::Grid | MeterRole::Consumption))
}

#[cfg(test)]
#[path = "balances_tests.rs"]
mod tests;
