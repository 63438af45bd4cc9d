//! The figures that sinks get: of quarter-hours and of local days, per site, plant and meter.
//!
//! In: one state of the store. Out: points with integers only, the same numbers as the API's: energies in Wh, ratios in millionths. What may
//! be unknown says so itself ([`Value::Maybe`]), because a sink can't take a value back.

use taraz_analytics::performance::Report;
use taraz_analytics::sampling::GAP_MS_MAX;
use taraz_fleet::{Device, Meter, Plant, Site};

use super::expectation::{Board, Expected, row, sensor_of, sensor_quarters};
use super::performance::reports;
use crate::analytics::{Contribution, Measured, QUARTER_H, quarters_of, site_balance};
use crate::store::{Counted, ReadResult, Register, Snapshot, Store, StoreError};
use crate::view::{ExpectationMethod, ExpectationRow, IntervalFlags, IntervalRow};

const PPM: f64 = 1e6;
/// mWh in a kWh.
const MWH_PER_KWH: f64 = 1e6;
/// mWh in a Wh.
const MWH_PER_WH: f64 = 1e3;

/// What is known of one thing over one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) measurement: &'static str,
    /// In the order of their keys.
    pub(crate) tags: Vec<(&'static str, String)>,
    /// Whose sendings count for it, a [`Counted`]'s key.
    pub(crate) counted_by: String,
    /// The period's begin, UTC ms.
    pub(crate) start_ms: i64,
    pub(crate) fields: Vec<(&'static str, Value)>,
}

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Always known.
    Is(i64),
    /// Perhaps not known, perhaps no more.
    Maybe(Option<i64>),
}

/// The measurements of one kind of period.
struct Kind {
    plant: &'static str,
    site: &'static str,
    meter: &'static str,
}

const QUARTERS: Kind = Kind {
    plant: "plant_interval",
    site: "site_interval",
    meter: "meter_interval",
};
const DAYS: Kind = Kind {
    plant: "plant_day",
    site: "site_day",
    meter: "meter_day",
};

impl Store {
    /// The figures of sites over quarter-hours (UTC ms; in order, without gaps).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub(crate) fn quarter_figures(
        &self,
        sites: &[Site],
        quarters: &[(i64, i64)],
    ) -> Result<Vec<Point>, StoreError> {
        self.snapshot(|snapshot| {
            let mut points = Vec::new();
            let given_up_ms = snapshot.given_up_ms()?;
            let mut board = Board::new(snapshot, self.fleet(), quarters);
            for site in sites {
                let of_site = OfSite {
                    snapshot,
                    site,
                    periods: quarters,
                    kind: &QUARTERS,
                    given_up_ms,
                };
                of_site.energies(&mut points, &mut |plant, rows, points| {
                    let expected = board.expected(plant)?;
                    let measured = sensor_quarters(snapshot, plant, quarters)?;
                    for (at, row) in rows.iter().enumerate() {
                        points.push(of_site.plant(
                            plant,
                            row,
                            quarter_fields(&expected, &measured[at], at, row),
                        ));
                    }
                    Ok(())
                })?;
            }
            Ok(points)
        })
    }

    /// The figures of sites over local days (UTC ms; in order, without gaps).
    ///
    /// # Errors
    /// [`StoreError::Sqlite`].
    pub(crate) fn day_figures(&self, sites: &[Site], days: &[(i64, i64)]) -> Result<Vec<Point>, StoreError> {
        let quarters = quarters_of(days);
        self.snapshot(|snapshot| {
            let mut points = Vec::new();
            let given_up_ms = snapshot.given_up_ms()?;
            let mut board = Board::new(snapshot, self.fleet(), &quarters);
            for site in sites {
                let of_site = OfSite {
                    snapshot,
                    site,
                    periods: days,
                    kind: &DAYS,
                    given_up_ms,
                };
                of_site.energies(&mut points, &mut |plant, rows, points| {
                    let expected = board.expected(plant)?;
                    for row in rows {
                        // Each by itself: what is never stated in a day is not measured in it.
                        let report = reports(snapshot, plant, &[(row.start_ms, row.end_ms)])?;
                        let report = report.first().copied().unwrap_or_default();
                        let expectation = of_day(&expected, &quarters, row);
                        points.push(of_site.plant(plant, row, day_fields(&expectation, &report, row)));
                    }
                    Ok(())
                })?;
            }
            Ok(points)
        })
    }
}

/// What is done with a plant's energies.
type OfPlant<'a, 'p> = dyn FnMut(&'p Plant, &[IntervalRow], &mut Vec<Point>) -> ReadResult<()> + 'a;

struct OfSite<'a> {
    snapshot: &'a Snapshot<'a>,
    site: &'a Site,
    periods: &'a [(i64, i64)],
    kind: &'a Kind,
    /// Readings before this instant were given up, UTC ms.
    given_up_ms: i64,
}

/// Whether a plant's field can be told when its readings were given up: it follows from accounts and the sun alone. What was sent of the others before
/// stays.
fn is_kept(field: &str, has_sensor: bool) -> bool {
    match field {
        "generated_wh" | "completeness_ppm" | "clear_sky_wh" | "spread" | "reset" | "held" => true,
        "expected_wh" | "expected_by" | "expected_completeness_ppm" => !has_sensor,
        _ => false,
    }
}

impl<'a> OfSite<'a> {
    /// The site's points and its meters'; its plants to `of_plant`.
    fn energies(&self, points: &mut Vec<Point>, of_plant: &mut OfPlant<'_, 'a>) -> ReadResult<()> {
        let parts = self.snapshot.site_parts(&self.site.id, self.periods)?;
        for (at, &(start_ms, end_ms)) in self.periods.iter().enumerate() {
            let balance = site_balance(&parts.energies[at]);
            let mut fields = vec![
                ("generated_wh", Value::Maybe(balance.generated_wh)),
                ("consumed_wh", Value::Maybe(balance.consumed_wh)),
                ("import_wh", Value::Maybe(balance.import_wh)),
                ("export_wh", Value::Maybe(balance.export_wh)),
                ("imbalance_wh", Value::Maybe(balance.imbalance_wh)),
            ];
            let flags = parts.flags(at, &[], end_ms);
            fields.extend(flag_fields(flags));
            fields.push(("assumed", Value::Is(i64::from(flags.assumed))));
            points.push(self.point(
                self.kind.site,
                vec![("site", self.site.id.clone())],
                Counted::site_key(&self.site.id),
                start_ms,
                fields,
            ));
        }
        for plant in self.snapshot.fleet().plants_at(&self.site.id) {
            let rows = self.snapshot.intervals_beside(plant, &parts, self.periods)?;
            of_plant(plant, &rows, points)?;
            for device in &plant.devices {
                for meter in &device.meters {
                    self.meter(plant, device, meter, points)?;
                }
            }
        }
        Ok(())
    }

    fn meter(
        &self,
        plant: &Plant,
        device: &Device,
        meter: &Meter,
        points: &mut Vec<Point>,
    ) -> ReadResult<()> {
        let registers = self.snapshot.registers(device, meter, self.periods)?;
        if registers.is_empty() {
            return Ok(());
        }
        for (at, &(start_ms, _)) in self.periods.iter().enumerate() {
            let parts = || registers.iter().map(|(register, parts)| (*register, parts[at]));
            let mut fields: Vec<_> = parts()
                .flat_map(|(register, part)| register_fields(register, part))
                .collect();
            fields.push((
                "spread",
                Value::Is(i64::from(parts().any(|(_, part)| part.spread > 0))),
            ));
            fields.push((
                "reset",
                Value::Is(i64::from(parts().any(|(_, part)| part.resets > 0))),
            ));
            let tags = vec![
                ("device", device.id.to_string()),
                ("meter", meter.address.to_string()),
                ("plant", plant.id.clone()),
                ("role", meter.role.as_str().to_owned()),
            ];
            points.push(self.point(
                self.kind.meter,
                tags,
                Counted::plant_key(&plant.id),
                start_ms,
                fields,
            ));
        }
        Ok(())
    }

    fn plant(&self, plant: &Plant, row: &IntervalRow, mut fields: Vec<(&'static str, Value)>) -> Point {
        // Some readings before it have a part in its means.
        if row.start_ms < self.given_up_ms.saturating_add(GAP_MS_MAX) {
            let has_sensor = sensor_of(plant).is_some();
            fields.retain(|(name, _)| is_kept(name, has_sensor));
        }
        self.point(
            self.kind.plant,
            vec![("plant", plant.id.clone())],
            Counted::plant_key(&plant.id),
            row.start_ms,
            fields,
        )
    }

    fn point(
        &self,
        measurement: &'static str,
        tags: Vec<(&'static str, String)>,
        counted_by: String,
        start_ms: i64,
        fields: Vec<(&'static str, Value)>,
    ) -> Point {
        Point {
            measurement,
            tags,
            counted_by,
            start_ms,
            fields,
        }
    }
}

fn register_fields(register: Register, part: Contribution) -> [(&'static str, Value); 2] {
    let (energy, known) = match register {
        Register::Energy => ("energy_wh", "energy_known_ms"),
        Register::Import => ("import_wh", "import_known_ms"),
        Register::Export => ("export_wh", "export_known_ms"),
    };
    [
        (energy, Value::Maybe(part.energy())),
        (known, Value::Is(part.known_ms)),
    ]
}

fn flag_fields(flags: IntervalFlags) -> [(&'static str, Value); 3] {
    [
        ("spread", flags.spread),
        ("reset", flags.reset),
        ("held", flags.held),
    ]
    .map(|(name, is_set)| (name, Value::Is(i64::from(is_set))))
}

/// What plants' points of both kinds begin with.
fn energy_fields(row: &IntervalRow, expected: &ExpectationRow) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("generated_wh", Value::Maybe(row.generated_wh)),
        ("completeness_ppm", Value::Is(scaled(row.completeness, PPM))),
        ("expected_wh", Value::Maybe(expected.expected_wh)),
        ("expected_by", Value::Maybe(expected.method.map(number_of))),
        ("clear_sky_wh", Value::Is(expected.clear_sky_wh)),
    ];
    fields.extend(flag_fields(row.flags));
    fields
}

fn quarter_fields(
    expected: &Expected,
    measured: &Measured,
    at: usize,
    row: &IntervalRow,
) -> Vec<(&'static str, Value)> {
    let period = (row.start_ms, row.end_ms);
    let expectation = self::row(period, &expected.quarters[at..=at], &expected.made_wh[at..=at]);
    let mut fields = energy_fields(row, &expectation);
    let irradiation_wh_m2 = measured.plane_w_m2.map(|plane| plane * QUARTER_H);
    fields.push((
        "irradiation_mwh_m2",
        Value::Maybe(irradiation_wh_m2.map(|wh| scaled(wh, MWH_PER_WH))),
    ));
    fields
}

/// The expectation of a day among the quarter-hours of several.
fn of_day(expected: &Expected, quarters: &[(i64, i64)], day: &IntervalRow) -> ExpectationRow {
    let first = quarters.partition_point(|quarter| quarter.0 < day.start_ms);
    let after = quarters.partition_point(|quarter| quarter.0 < day.end_ms);
    row(
        (day.start_ms, day.end_ms),
        &expected.quarters[first..after],
        &expected.made_wh[first..after],
    )
}

fn day_fields(expected: &ExpectationRow, report: &Report, row: &IntervalRow) -> Vec<(&'static str, Value)> {
    let of_valid = |value: Option<f64>, scale: f64| {
        let value = value.filter(|_| report.valid > 0);
        Value::Maybe(value.map(|value| scaled(value, scale)))
    };
    let ppm = |value: Option<f64>| of_valid(value, PPM);
    // A quarter-hour count is far below 2^63.
    let count = |count: usize| Value::Is(i64::try_from(count).unwrap_or(i64::MAX));
    let mut fields = energy_fields(row, expected);
    fields.extend([
        (
            "expected_completeness_ppm",
            Value::Is(scaled(expected.completeness, PPM)),
        ),
        ("quarters", count(report.intervals)),
        ("valid_quarters", count(report.valid)),
        (
            "irradiation_mwh_m2",
            of_valid(report.irradiation_kwh_m2, MWH_PER_KWH),
        ),
        ("dc_mwh", of_valid(report.dc_kwh, MWH_PER_KWH)),
        ("ac_mwh", of_valid(Some(report.ac_kwh), MWH_PER_KWH)),
        ("reference_yield_uh", ppm(report.reference_yield_h)),
        ("array_yield_uh", ppm(report.array_yield_h)),
        ("final_yield_uh", ppm(Some(report.final_yield_h))),
        ("performance_ratio_ppm", ppm(report.pr)),
        ("performance_ratio_stc_ppm", ppm(report.pr_stc)),
        ("performance_ratio_annual_ppm", ppm(report.pr_annual)),
        ("capacity_factor_dc_ppm", ppm(report.capacity_factor_dc)),
        ("capacity_factor_ac_ppm", ppm(report.capacity_factor_ac)),
        ("availability_time_ppm", ppm(report.availability_time)),
        ("availability_energy_ppm", ppm(report.availability_energy)),
        ("lost_mwh", of_valid(report.lost_kwh, MWH_PER_KWH)),
    ]);
    fields
}

/// As it stands in the sinks; a number never changes its meaning.
const fn number_of(method: ExpectationMethod) -> i64 {
    match method {
        ExpectationMethod::Night => 0,
        ExpectationMethod::Neighbours => 1,
        ExpectationMethod::Measured => 2,
    }
}

/// In whole parts of a unit; figures here are far below 2^53 of them.
#[allow(clippy::cast_possible_truncation)]
fn scaled(value: f64, parts: f64) -> i64 {
    (value * parts).round() as i64
}

#[cfg(test)]
#[path = "exported_tests.rs"]
mod tests;
