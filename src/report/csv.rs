//! The duty as CSV: a row for each owner, each of its plants and each of its sites. What is not known is empty.
//!
//! An owner's `generated_wh` is of the known days (`completeness` of all) at sites with a known consumption; a plant's is all that its
//! registers counted. Between them are the other days and `left_out_generated_wh`.

use anyhow::Context as _;
use taraz_analytics::calendar::{Jalali, date_of_ms};
use taraz_ingest::{DutyReport, OwnerDuty, PlantYear, Range, SiteYear};

const COLUMNS: &[&str] = &[
    "level",
    "owner",
    "id",
    "name",
    "name_fa",
    "kind",
    "year",
    "through",
    "days_so_far",
    "known_days",
    "completeness",
    "share_per_myriad",
    "generated_wh",
    "consumed_wh",
    "due_wh",
    "gap_wh",
    "covered_ratio",
    "peak_w",
    "projected_generated_wh",
    "projected_generated_low_wh",
    "projected_generated_high_wh",
    "projected_consumed_wh",
    "projected_consumed_low_wh",
    "projected_consumed_high_wh",
    "projected_due_wh",
    "projected_gap_wh",
    "projected_gap_low_wh",
    "projected_gap_high_wh",
    "missing_peak_w",
    "gap_rial",
    "flags",
    "left_out_generated_wh",
];

/// Cells by column; a column that is not named stays empty.
struct Row(Vec<String>);

impl Row {
    fn new() -> Self {
        Self(vec![String::new(); COLUMNS.len()])
    }

    fn set(&mut self, column: &str, value: impl ToString) -> &mut Self {
        if let Some(at) = COLUMNS.iter().position(|known| *known == column) {
            self.0[at] = value.to_string();
        }
        self
    }

    fn set_known(&mut self, column: &str, value: Option<impl ToString>) -> &mut Self {
        match value {
            Some(value) => self.set(column, value),
            None => self,
        }
    }

    fn set_range(&mut self, name: &str, range: Range) -> &mut Self {
        self.set(&format!("projected_{name}_wh"), range.mid)
            .set(&format!("projected_{name}_low_wh"), range.low)
            .set(&format!("projected_{name}_high_wh"), range.high)
    }
}

/// The whole file.
pub(super) fn rows(report: &DutyReport) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for owner in &report.owners {
        writer.write_record(&started(report, owner, owner_row(owner))?.0)?;
        for plant in &owner.plants {
            writer.write_record(&started(report, owner, plant_row(plant))?.0)?;
        }
        for site in &owner.sites {
            writer.write_record(&started(report, owner, site_row(site))?.0)?;
        }
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// What stands in every row.
fn started(report: &DutyReport, owner: &OwnerDuty, mut row: Row) -> anyhow::Result<Row> {
    row.set("owner", &owner.id)
        .set("year", report.year)
        .set("days_so_far", report.days_so_far);
    if report.days_so_far > 0 {
        let through =
            Jalali::from_gregorian(date_of_ms(report.through_ms - 1)).context("the report's last day")?;
        row.set("through", through);
    }
    Ok(row)
}

fn owner_row(owner: &OwnerDuty) -> Row {
    let mut row = Row::new();
    row.set("level", "owner")
        .set("id", &owner.id)
        .set("name", &owner.name)
        .set("name_fa", &owner.name_fa)
        .set("kind", owner.kind.as_str())
        .set("known_days", owner.known_days)
        .set("completeness", owner.completeness)
        .set("flags", owner.flags.join("|"))
        .set_known("left_out_generated_wh", owner.left_out_generated_wh)
        .set("peak_w", owner.peak_w)
        .set_known("share_per_myriad", owner.share_per_myriad)
        .set_known("generated_wh", owner.generated_wh)
        .set_known("consumed_wh", owner.consumed_wh)
        .set_known("due_wh", owner.due_wh)
        .set_known("gap_wh", owner.gap_wh)
        .set_known(
            "covered_ratio",
            owner.covered_ratio.map(|ratio| format!("{ratio:.6}")),
        );
    if let Some(projected) = owner.projection {
        row.set_range("generated", projected.generated_wh)
            .set_range("consumed", projected.consumed_wh)
            .set_range("gap", projected.gap_wh)
            .set("projected_due_wh", projected.due_wh)
            .set_known("missing_peak_w", projected.missing_peak_w)
            .set_known("gap_rial", projected.gap_rial);
    }
    row
}

fn plant_row(plant: &PlantYear) -> Row {
    let mut row = Row::new();
    row.set("level", "plant")
        .set("id", &plant.id)
        .set("name", &plant.name)
        .set("name_fa", &plant.name_fa)
        .set("peak_w", plant.peak_w)
        .set("completeness", plant.completeness)
        .set("flags", plant.flags.join("|"))
        .set_known("generated_wh", plant.generated_wh);
    row
}

fn site_row(site: &SiteYear) -> Row {
    let mut row = Row::new();
    row.set("level", "site")
        .set("id", &site.id)
        .set("name", &site.name)
        .set("name_fa", &site.name_fa)
        .set("kind", site.source.as_str())
        .set("completeness", site.completeness)
        .set("flags", site.flags.join("|"))
        .set_known("consumed_wh", site.consumed_wh);
    row
}
