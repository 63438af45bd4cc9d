//! Calendars and what depends on them: Jalali dates, Tehran's days, load bands, tariffs, dated tables, rial.
//!
//! In: instants (UTC ms), dates, tables. Out: bounds of days, months and years in UTC, the row of a table that is in force,
//! money in whole rial. Time is stored in UTC; Jalali dates are names of local days only.

mod bands;
mod days;
mod jalali;
mod table;
mod tariff;

pub use bands::{BandError, BandKind, BandPeriod, LoadBands};
pub use days::{
    date_of_ms, date_start_ms, day_bounds_ms, jalali_day_bounds_ms, month_bounds_ms, year_bounds_ms,
};
pub use jalali::{
    CalendarError, JALALI_YEAR_MAX, JALALI_YEAR_MIN, Jalali, MONTH_NAMES, MONTH_NAMES_FA, is_leap_year,
};
pub use table::{Dated, DatedTable, TableError};
pub use tariff::{Rial, Tariff};
