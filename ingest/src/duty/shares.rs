//! Which share an owner owes: the law's table, what the registry adds to it, exceptions.

use taraz_analytics::duty::{DutyRow, DutyTable, DutyTableError};
use taraz_fleet::{DutyShare, Fleet, Owner};

/// The law's shares are asked for within these years when the registry's rows are laid over them.
const LAW_YEARS: std::ops::RangeInclusive<i16> = 1_403..=1_406;

/// What is due in one year.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// In ten-thousandths; `None` before any duty.
    pub(super) share_per_myriad: Option<u16>,
    /// What a missing kWh costs in rial, where it is set.
    pub(super) rial_per_kwh: Option<i64>,
    /// The owner has a row of its own.
    pub(super) is_exception: bool,
}

/// The table that holds for everybody without an exception.
pub(super) fn table(fleet: &Fleet) -> Result<DutyTable, DutyTableError> {
    let law = DutyTable::iran();
    let general = fleet.duties.iter().filter(|row| row.owner.is_none());
    let mut rows: Vec<DutyRow> = general
        .map(|row| DutyRow {
            from_year: row.from_year,
            owner_kind: row.owner_kind.map(|kind| kind.as_str().to_owned()),
            share_per_myriad: row.share_per_myriad,
        })
        .collect();
    for from_year in LAW_YEARS {
        let is_replaced = rows
            .iter()
            .any(|row| row.from_year == from_year && row.owner_kind.is_none());
        if let Some(share_per_myriad) = law.share_per_myriad("", from_year).filter(|_| !is_replaced) {
            rows.push(DutyRow {
                from_year,
                owner_kind: None,
                share_per_myriad,
            });
        }
    }
    DutyTable::new(rows)
}

/// What an owner owes in a Jalali year.
pub(super) fn due(fleet: &Fleet, table: &DutyTable, owner: &Owner, year: i16) -> Due {
    let newest = |holds: &dyn Fn(&DutyShare) -> bool| {
        let rows = fleet
            .duties
            .iter()
            .filter(|row| row.from_year <= year && holds(row));
        rows.max_by_key(|row| row.from_year)
    };
    let own = newest(&|row| row.owner.as_deref() == Some(&owner.id));
    let of_kind = || newest(&|row| row.owner.is_none() && row.owner_kind == Some(owner.kind));
    let of_all = || newest(&|row| row.owner.is_none() && row.owner_kind.is_none());
    let share = own.map(|row| row.share_per_myriad);
    Due {
        share_per_myriad: share.or_else(|| table.share_per_myriad(owner.kind.as_str(), year)),
        rial_per_kwh: own
            .or_else(of_kind)
            .or_else(of_all)
            .and_then(|row| row.rial_per_kwh),
        is_exception: own.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet(duties: &str) -> Fleet {
        Fleet::parse(&format!("{}\n{duties}", taraz_fleet::EXAMPLE)).unwrap()
    }

    fn share(fleet: &Fleet, year: i16) -> Option<u16> {
        due(fleet, &table(fleet).unwrap(), &fleet.owners[0], year).share_per_myriad
    }

    #[test]
    fn without_rows_the_law_holds() {
        let fleet = fleet("");
        let shares = [1402, 1403, 1404, 1405, 1406, 1420].map(|year| share(&fleet, year));
        assert_eq!(
            shares,
            [
                None,
                Some(500),
                Some(1_000),
                Some(1_500),
                Some(2_000),
                Some(2_000)
            ]
        );
    }

    #[test]
    fn rows_go_on_after_the_law_or_replace_a_year_and_an_owner_has_exceptions() {
        let general = "[[duty]]\nfrom_year = 1407\nshare_per_myriad = 2500\nrial_per_kwh = 30000\n\
                       [[duty]]\nfrom_year = 1405\nowner_kind = \"municipality\"\nshare_per_myriad = 1200\n";
        let plain = fleet(general);
        // A kind's own row holds until the kind's next one.
        assert_eq!(
            [1404, 1405, 1407].map(|year| share(&plain, year)),
            [Some(1_000), Some(1_200), Some(1_200)]
        );
        let own = format!(
            "{general}[[duty]]\nfrom_year = 1404\nowner = \"sari-municipality\"\nshare_per_myriad = 0\n"
        );
        let excepted = fleet(&own);
        let found = due(&excepted, &table(&excepted).unwrap(), &excepted.owners[0], 1406);
        assert_eq!((found.share_per_myriad, found.is_exception), (Some(0), true));
        assert_eq!(share(&excepted, 1403), Some(500));
        let everybody = fleet("[[duty]]\nfrom_year = 1407\nshare_per_myriad = 2500\nrial_per_kwh = 30000\n");
        let later = due(
            &everybody,
            &table(&everybody).unwrap(),
            &everybody.owners[0],
            1408,
        );
        assert_eq!(
            (later.share_per_myriad, later.rial_per_kwh),
            (Some(2_500), Some(30_000))
        );
    }
}
