//! `taraz calc phases`.

use std::ops::RangeInclusive;

use taraz_analytics::imbalance::{
    LineVoltages, PhaseVoltages, current_unbalance_pct, iec_unbalance_pct, lines_of_phasors,
    mean_deviation_pct, neutral_current_a, symmetrical_pct,
};

use super::Files;
use super::table::{Row, Table, Writer, six_decimals};

const COLUMNS: &[&str] = &[
    "v1",
    "ang1",
    "v2",
    "ang2",
    "v3",
    "ang3",
    "u12",
    "u23",
    "u31",
    "vuf_true_u2_pct",
    "vuf_iec61000_4_30_lines_pct",
    "nema_lvur_pct",
    "phase_pvur_pct",
    "u0_pct",
    "i1",
    "i2",
    "i3",
    "current_unbalance_pct",
    "neutral_current_a_pf1_120deg",
];

/// What an effective value can be.
const EFFECTIVE: RangeInclusive<f64> = 0.0..=1e9;
/// What an angle can be in degrees: any turn, as meters count them.
const ANGLE: RangeInclusive<f64> = -720.0..=720.0;

pub(super) fn run(files: &Files) -> anyhow::Result<()> {
    let table = Table::read(&files.input, &[])?;
    let is_there = |names: [&str; 3]| {
        names
            .iter()
            .all(|name| table.columns().iter().any(|column| column == name))
    };
    let groups = [["v1", "v2", "v3"], ["u12", "u23", "u31"], ["i1", "i2", "i3"]];
    anyhow::ensure!(
        groups.into_iter().any(is_there),
        "{} has neither v1, v2, v3 nor u12, u23, u31 nor i1, i2, i3; it has: {}",
        files.input.display(),
        table.columns().join(", ")
    );
    let mut writer = Writer::create(&files.output, COLUMNS)?;
    for row in table.rows() {
        let cells = cells(row)?;
        writer.row(&cells.map(six_decimals))?;
    }
    writer.finish()
}

/// Three cells, when all of them are known.
fn three(
    row: Row<'_>,
    names: [&str; 3],
    range: &RangeInclusive<f64>,
    unit: &str,
) -> anyhow::Result<Option<[f64; 3]>> {
    let [a, b, c] = names.map(|name| row.number_within(name, range.clone(), unit));
    Ok(a?.zip(b?).zip(c?).map(|((a, b), c)| [a, b, c]))
}

fn cells(row: Row<'_>) -> anyhow::Result<[Option<f64>; 19]> {
    let voltage_v = three(row, ["v1", "v2", "v3"], &EFFECTIVE, " V")?;
    let angle_deg = three(row, ["ang1", "ang2", "ang3"], &ANGLE, "°")?;
    let phasors = voltage_v
        .zip(angle_deg)
        .map(|(voltage_v, angle_deg)| PhaseVoltages { voltage_v, angle_deg });
    let lines = match phasors {
        Some(phasors) => Some(lines_of_phasors(&phasors)),
        None => three(row, ["u12", "u23", "u31"], &EFFECTIVE, " V")?.map(LineVoltages),
    };
    let exact = phasors.and_then(|phasors| symmetrical_pct(&phasors));
    let current_a = three(row, ["i1", "i2", "i3"], &EFFECTIVE, " A")?;
    let [v1, v2, v3] = split(voltage_v);
    let [ang1, ang2, ang3] = split(angle_deg);
    let [u12, u23, u31] = split(lines.map(|lines| lines.0));
    let [i1, i2, i3] = split(current_a);
    Ok([
        v1,
        ang1,
        v2,
        ang2,
        v3,
        ang3,
        u12,
        u23,
        u31,
        exact.map(|exact| exact.negative_pct),
        lines.and_then(iec_unbalance_pct),
        lines.and_then(|lines| mean_deviation_pct(lines.0)),
        voltage_v.and_then(mean_deviation_pct),
        exact.map(|exact| exact.zero_pct),
        i1,
        i2,
        i3,
        current_a.and_then(current_unbalance_pct),
        current_a.map(neutral_current_a),
    ])
}

fn split(values: Option<[f64; 3]>) -> [Option<f64>; 3] {
    values.map_or([None; 3], |values| values.map(Some))
}
