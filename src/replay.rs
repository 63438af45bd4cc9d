//! `taraz replay`: the analytics over a folder of recorded registers, as if they came in now.
//!
//! In: `plants.csv` (nameplates), `register_wh.csv` (what arrived on time, a column per plant), `late.csv` (what arrived
//! afterwards, and when); each may be gzipped. Out: `energy.csv`, a row per plant and local day. Nothing else of the folder is
//! read, and at `--until` nothing counts that had not been received by then.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, ensure};
use taraz_analytics::energy::{Meter, Point, Series};

use crate::calc::{Table, Writer, instant_ms};
use crate::cli::ReplayArgs;

const COLUMNS: &[&str] = &["plant", "local_day", "energy_wh", "completeness", "flags"];
const W_PER_KW: f64 = 1_000.0;

/// Replays a folder.
pub(crate) fn run(args: &ReplayArgs) -> anyhow::Result<()> {
    let until_ms = match &args.until {
        Some(text) => instant_ms(text).context("--until")?,
        None => i64::MAX,
    };
    let meters = meters(&args.folder)?;
    let mut registers: BTreeMap<&str, Series> = meters
        .keys()
        .map(|plant| (plant.as_str(), Series::default()))
        .collect();
    on_time(&args.folder, until_ms, &mut registers)?;
    late(&args.folder, until_ms, &mut registers)?;
    std::fs::create_dir_all(&args.output).with_context(|| format!("can't make {}", args.output.display()))?;
    let mut writer = Writer::create(&args.output.join("energy.csv"), COLUMNS)?;
    for (plant, meter) in &meters {
        let ledger = registers
            .remove(plant.as_str())
            .unwrap_or_default()
            .account(meter);
        for day in ledger.days() {
            // A day without any reading beside it has no energy, not 0.
            let is_covered = day.energy.covered_ms > 0;
            let energy_wh = is_covered.then(|| day.energy.energy_wh.to_string());
            writer.row(&[
                plant.clone(),
                day.date.to_string(),
                energy_wh.unwrap_or_default(),
                format!("{:.6}", day.completeness()),
                day.energy.flags.words().collect::<Vec<_>>().join("|"),
            ])?;
        }
    }
    writer.finish()
}

/// A file of the folder, plain or gzipped.
fn open(folder: &Path, name: &str, required: &[&str]) -> anyhow::Result<Table> {
    let plain = folder.join(format!("{name}.csv"));
    if plain.exists() {
        return Table::read(&plain, required);
    }
    let packed = folder.join(format!("{name}.csv.gz"));
    ensure!(
        packed.exists(),
        "{} has neither {name}.csv nor {name}.csv.gz",
        folder.display()
    );
    Table::read(&packed, required)
}

/// Each plant's register, rated as its inverter is (or its modules, where the file names no inverter).
fn meters(folder: &Path) -> anyhow::Result<BTreeMap<String, Meter>> {
    let table = open(folder, "plants", &["plant", "p0_kw"])?;
    let mut meters = BTreeMap::new();
    for row in table.rows() {
        let rated_kw = match row.number("pac_kw")? {
            Some(rated_kw) => rated_kw,
            None => row.required_number("p0_kw")?,
        };
        let rated_w = (rated_kw * W_PER_KW).round();
        ensure!(
            (1.0..=f64::from(u32::MAX)).contains(&rated_w),
            "{}: expected a rated power of 0.001 to 4294967 kW, got {rated_kw}",
            row.place()
        );
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        let meter = Meter::new(rated_w as u32);
        let meter = match row.text("rolls_over_wh") {
            Some(text) => register_wh(text)
                .and_then(|modulus_wh| Ok(meter.with_modulus(modulus_wh)?))
                .with_context(|| format!("{}: rolls_over_wh", row.place()))?,
            None => meter,
        };
        let twice = meters.insert(row.required("plant")?.to_owned(), meter);
        ensure!(twice.is_none(), "{}: the plant stands twice", row.place());
    }
    Ok(meters)
}

/// What came in as it was read.
fn on_time(folder: &Path, until_ms: i64, registers: &mut BTreeMap<&str, Series>) -> anyhow::Result<()> {
    let table = open(folder, "register_wh", &["ts_utc"])?;
    for column in table.columns().iter().filter(|&column| column != "ts_utc") {
        ensure!(
            registers.contains_key(column.as_str()),
            "register_wh has a column {column}, which plants.csv does not name"
        );
    }
    for row in table.rows() {
        let time_ms = row.time_ms("ts_utc")?;
        if time_ms > until_ms {
            continue;
        }
        for (plant, series) in registers.iter_mut() {
            if let Some(text) = row.text(plant) {
                let value_wh = register_wh(text).with_context(|| format!("{}: {plant}", row.place()))?;
                series.insert(Point { time_ms, value_wh });
            }
        }
    }
    Ok(())
}

/// What came in afterwards.
fn late(folder: &Path, until_ms: i64, registers: &mut BTreeMap<&str, Series>) -> anyhow::Result<()> {
    let table = open(
        folder,
        "late",
        &["plant", "ts_utc", "received_utc", "register_wh"],
    )?;
    for row in table.rows() {
        let plant = row.required("plant")?;
        let series = registers
            .get_mut(plant)
            .with_context(|| format!("{}: plants.csv does not name {plant}", row.place()))?;
        if row.time_ms("received_utc")? > until_ms {
            continue;
        }
        let value_wh = register_wh(row.required("register_wh")?).with_context(|| row.place())?;
        series.insert(Point {
            time_ms: row.time_ms("ts_utc")?,
            value_wh,
        });
    }
    Ok(())
}

/// A register is whole Wh; other programs write them as 123.0.
fn register_wh(text: &str) -> anyhow::Result<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, decimals)| {
        if decimals.bytes().all(|digit| digit == b'0') {
            whole
        } else {
            text
        }
    });
    let value_wh: i64 = whole
        .parse()
        .with_context(|| format!("expected a register in whole Wh, got {text:?}"))?;
    ensure!(
        value_wh >= 0,
        "expected a register of 0 Wh or more, got {value_wh}"
    );
    Ok(value_wh)
}
