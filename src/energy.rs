//! `taraz energy explain`: how a plant's generation came about.
//!
//! In: the store, read-only, and the registry. Out: for each inverter the steps from register value to register value, which add up
//! to its energy, and the plant's sum. The steps are the accounting's own, not told again.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use jiff::civil::Date;
use serde::Serialize;
use taraz_analytics::calendar::{JALALI_YEAR_MAX, Jalali, date_start_ms, jalali_day_bounds_ms};
use taraz_analytics::energy::{Explanation, Line, PeriodEnergy};
use taraz_fleet::Plant;
use taraz_ingest::{Archive, Register, account_for};
use taraz_telemetry::{MeterAddress, MeterRole};

use crate::calc::instant_ms;
use crate::cli::{EnergyCommand, ExplainArgs, ExplainFormat};
use crate::report;

/// A plant's generation over a period.
#[derive(Serialize)]
struct Explained {
    plant: String,
    from_ms: i64,
    to_ms: i64,
    /// `None` when no inverter states anything, or one does not.
    energy_wh: Option<i64>,
    /// The least known inverter's.
    completeness: f64,
    registers: Vec<OneRegister>,
}

/// One inverter's part.
#[derive(Serialize)]
struct OneRegister {
    device: String,
    meter: MeterAddress,
    energy_wh: Option<i64>,
    completeness: f64,
    flags: Vec<&'static str>,
    lines: Vec<Step>,
}

/// One step.
#[derive(Serialize)]
struct Step {
    energy_wh: i64,
    /// All steps up to this one.
    sum_wh: i64,
    from_ms: i64,
    /// `None` for a reading that was left out.
    to_ms: Option<i64>,
    from_wh: i64,
    to_wh: Option<i64>,
    text: String,
}

/// Answers one question.
pub(crate) fn run(command: &EnergyCommand) -> anyhow::Result<()> {
    match command {
        EnergyCommand::Explain(args) => explain(args),
    }
}

fn explain(args: &ExplainArgs) -> anyhow::Result<()> {
    let from_ms = time_ms(&args.from).context("--from")?;
    let to_ms = time_ms(&args.to).context("--to")?;
    ensure!(
        from_ms < to_ms,
        "--to {}: expected a time after --from {}",
        args.to,
        args.from
    );
    let (fleet, archive) = report::open(&args.source)?;
    let plant = fleet.plant(&args.plant).with_context(|| {
        let known: Vec<&str> = fleet.plants.iter().map(|plant| plant.id.as_str()).collect();
        format!(
            "no plant \"{}\" in the registry; expected one of: {}",
            args.plant,
            known.join(", ")
        )
    })?;
    let explained = account(&archive, plant, from_ms, to_ms)?;
    let text = match args.format {
        ExplainFormat::Text => table(&explained)?,
        ExplainFormat::Json => serde_json::to_string_pretty(&explained)? + "\n",
    };
    report::write(args.out.as_deref(), &text)
}

/// A date of either calendar (the begin of its day in Tehran), or a time.
pub(crate) fn time_ms(text: &str) -> anyhow::Result<i64> {
    let is_date = text.len() <= 10 && text.split(['-', '/']).count() == 3;
    if !is_date {
        return instant_ms(text);
    }
    let year: Option<i16> = text.split(['-', '/']).next().and_then(|year| year.parse().ok());
    if year.is_some_and(|year| year <= JALALI_YEAR_MAX) {
        return Ok(jalali_day_bounds_ms(text.parse::<Jalali>()?).0);
    }
    let date: Date = text
        .parse()
        .with_context(|| format!("expected a date or a time, got {text:?}"))?;
    Ok(date_start_ms(date))
}

fn account(archive: &Archive, plant: &Plant, from_ms: i64, to_ms: i64) -> anyhow::Result<Explained> {
    let mut registers = Vec::new();
    for device in &plant.devices {
        let inverters = device
            .meters
            .iter()
            .filter(|meter| meter.role == MeterRole::Inverter);
        for meter in inverters {
            // Readings after the period decide what its last ones were.
            let account = account_for(archive, device, meter, Register::Energy, i64::MAX)?;
            let period = account.ledger.period(from_ms, to_ms);
            let explanation = account.ledger.explain(from_ms, to_ms);
            registers.push(OneRegister {
                device: device.id.to_string(),
                meter: meter.address,
                energy_wh: (period.covered_ms > 0).then_some(explanation.energy_wh),
                completeness: completeness(&period, from_ms, to_ms),
                flags: period.flags.words().collect(),
                lines: steps(&explanation),
            });
        }
    }
    let energies: Option<Vec<i64>> = registers.iter().map(|register| register.energy_wh).collect();
    Ok(Explained {
        plant: plant.id.clone(),
        from_ms,
        to_ms,
        energy_wh: energies
            .filter(|energies| !energies.is_empty())
            .map(|energies| energies.iter().sum()),
        completeness: registers
            .iter()
            .map(|register| register.completeness)
            .reduce(f64::min)
            .unwrap_or(0.0),
        registers,
    })
}

fn completeness(period: &PeriodEnergy, from_ms: i64, to_ms: i64) -> f64 {
    let share = period.known_ms as f64 / (to_ms - from_ms) as f64;
    (share * 1e6).round() / 1e6
}

fn steps(explanation: &Explanation) -> Vec<Step> {
    let mut sum_wh = 0;
    let step = |line: &Line| {
        sum_wh += line.energy_wh();
        let (from, to) = match line {
            Line::Plain { whole, .. } => (whole.from, Some(whole.to)),
            Line::Noted { segment, .. } => (segment.from, Some(segment.to)),
            Line::Ignored(ignored) => (ignored.point, None),
        };
        Step {
            energy_wh: line.energy_wh(),
            sum_wh,
            from_ms: from.time_ms,
            to_ms: to.map(|to| to.time_ms),
            from_wh: from.value_wh,
            to_wh: to.map(|to| to.value_wh),
            text: line.to_string(),
        }
    };
    explanation.lines.iter().map(step).collect()
}

fn table(explained: &Explained) -> anyhow::Result<String> {
    let mut text = String::new();
    let energy = |energy_wh: Option<i64>| energy_wh.map_or("unknown".to_owned(), |wh| format!("{wh} Wh"));
    for register in &explained.registers {
        writeln!(text, "device {}, meter {}", register.device, register.meter)?;
        writeln!(text, "{:>12} {:>14}  how", "Wh", "sum in Wh")?;
        for line in &register.lines {
            writeln!(text, "{:>12} {:>14}  {}", line.energy_wh, line.sum_wh, line.text)?;
        }
        writeln!(
            text,
            "{}, {:.1} % of the time known\n",
            energy(register.energy_wh),
            register.completeness * 100.0
        )?;
    }
    writeln!(
        text,
        "plant {}: {}, {:.1} % of the time known",
        explained.plant,
        energy(explained.energy_wh),
        explained.completeness * 100.0
    )?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_both_calendars_are_the_begin_of_a_day_in_tehran() {
        // 1404-01-01 is 2025-03-21.
        let start_ms = 1_742_502_600_000;
        for text in ["1404-01-01", "1404/1/1", "2025-03-21", "2025-03-20T20:30Z"] {
            assert_eq!(time_ms(text).unwrap(), start_ms, "{text}");
        }
        for text in ["", "1404-13-01", "2025-02-30", "yesterday"] {
            assert!(time_ms(text).is_err(), "{text}");
        }
    }
}
