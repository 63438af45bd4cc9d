//! The duty of each owner over a Jalali year, from the stored registers: what is covered, what is missing, where the year will end.
//!
//! In: an [`Archive`], the registry, the year, the time until which readings count. Out: a [`DutyReport`] of plain numbers, with
//! how complete they are. Never: a guess for what a meter did not state. Generation and consumption are compared on the days on
//! which both are known; the projection fills the others in and says how surely.

mod account;
mod shapes;
mod shares;
mod sky;
mod year;

use taraz_analytics::calendar::CalendarError;
use taraz_analytics::duty::DutyTableError;
use taraz_analytics::solar::SolarError;
use taraz_fleet::Fleet;

use crate::store::{Archive, StoreError};

pub use shapes::{
    ConsumptionSource, DutyReport, MonthDuty, OwnerDuty, PlantYear, ProjectedYear, Range, SiteYear,
};
use year::Year;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The store can't be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such year.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// The registry's shares are no table.
    #[error(transparent)]
    Table(#[from] DutyTableError),
    /// A plant's place is not on the earth.
    #[error(transparent)]
    Solar(#[from] SolarError),
    /// The registry has no such owner.
    #[error("no owner \"{id}\" in the registry; expected one of: {known}")]
    UnknownOwner {
        /// As asked for.
        id: String,
        /// Whom it has.
        known: String,
    },
}

/// The duty of every owner, or of one, in a Jalali year, by what was read up to `now_ms` (UTC ms). Owners without a plant are left
/// out unless they are asked for.
///
/// # Errors
/// [`ReportError`].
pub fn duty_report(
    archive: &Archive,
    fleet: &Fleet,
    year: i16,
    owner: Option<&str>,
    now_ms: i64,
) -> Result<DutyReport, ReportError> {
    let year = Year::new(year, now_ms)?;
    let table = shares::table(fleet)?;
    if let Some(id) = owner
        && fleet.owner(id).is_none()
    {
        let known: Vec<&str> = fleet.owners.iter().map(|owner| owner.id.as_str()).collect();
        return Err(ReportError::UnknownOwner {
            id: id.to_owned(),
            known: known.join(", "),
        });
    }
    let of_owners = account::OfOwners::of(fleet, &year, owner)?;
    let asked = fleet
        .owners
        .iter()
        .filter(|one| owner.map_or_else(|| of_owners.has_plant(&one.id), |id| one.id == id));
    let accounting = account::Accounting {
        archive,
        fleet,
        year: &year,
        now_ms,
        of_owners: &of_owners,
        sites: fleet.sites.iter().map(|site| (site.id.as_str(), site)).collect(),
    };
    let owners = asked
        .map(|owner| accounting.owner(owner, shares::due(fleet, &table, owner, year.year)))
        .collect::<Result<_, ReportError>>()?;
    Ok(DutyReport {
        year: year.year,
        start_ms: year.start_ms(),
        end_ms: year.end_ms(),
        through_ms: year.through_ms(),
        days_so_far: year.so_far,
        days_of_year: year.days.len(),
        made_ms: now_ms,
        owners,
    })
}
