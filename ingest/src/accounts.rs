//! A stored register, accounted for by the auditors' arithmetic.
//!
//! In: an [`Archive`] and what the registry says of the meter. Out: the register's [`Ledger`], and when nothing is known of it
//! although its readings say nothing strange. It computes no energy itself.

use taraz_analytics::energy::{Ledger, before_first};
use taraz_fleet::Device;
use taraz_telemetry::MeterRole;

use crate::analytics::QUARTER_MS;
use crate::registers::register_of;
use crate::store::{Archive, Register, StoreError};

/// What a register's readings state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The segments and what was ignored.
    pub ledger: Ledger,
    /// Begins of quarter-hours, UTC ms, in which a register that the meter never stated can't have stood still.
    unknown_quarters: Vec<i64>,
}

impl Account {
    /// How much of a period is unknown beside what the ledger says, in ms.
    pub(crate) fn unknown_within_ms(&self, start_ms: i64, end_ms: i64) -> i64 {
        let overlap = |&quarter_ms: &i64| end_ms.min(quarter_ms + QUARTER_MS) - start_ms.max(quarter_ms);
        self.unknown_quarters
            .iter()
            .map(overlap)
            .filter(|&ms| ms > 0)
            .sum()
    }
}

impl From<Ledger> for Account {
    fn from(ledger: Ledger) -> Self {
        Self {
            ledger,
            unknown_quarters: Vec::new(),
        }
    }
}

/// Accounts for a register by what it read up to `until_ms` (UTC ms).
///
/// A grid meter may not state a register before it first counts (SunSpec: "not accumulated" is 0): it stands at 0 as long as the meter
/// states the other one, unless power flowed its way or its first value is more than the meter can have counted since.
///
/// # Errors
/// [`StoreError::Sqlite`].
pub fn account_for(
    archive: &Archive,
    device: &Device,
    meter: &taraz_fleet::Meter,
    register: Register,
    until_ms: i64,
) -> Result<Account, StoreError> {
    let read = |register| archive.register(&device.id, meter.address, register, until_ms);
    let bounds = register_of(meter, register);
    let stated = read(register)?;
    let other = match register {
        _ if meter.role != MeterRole::Grid => None,
        Register::Energy => None,
        Register::Import => Some(Register::Export),
        Register::Export => Some(Register::Import),
    };
    let Some(other) = other else {
        return Ok(Account::from(stated.account(&bounds)));
    };
    let points = stated.points();
    let first = points.first().copied();
    let others = read(other)?.points();
    let mut zeros = others
        .iter()
        .map(|point| point.time_ms)
        .filter(|&time_ms| first.is_none_or(|first| time_ms < first.time_ms));
    let begin_ms = zeros.next();
    let zero_ms = begin_ms.map(|begin_ms| (begin_ms, zeros.next_back().unwrap_or(begin_ms)));
    let before = zero_ms.and_then(|zero_ms| before_first(&bounds, zero_ms, first));
    let unknown_quarters = match first {
        Some(_) => Vec::new(),
        None => archive.unstated_flows(&device.id, meter.address, register)?,
    };
    Ok(Account {
        ledger: stated.account(&bounds).preceded_by(before.unwrap_or_default()),
        unknown_quarters,
    })
}
