//! Each stage alone: tag check and decode, the gateway without an ingest, ingest without a gateway, the present of many plants.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::build::Binaries;
use super::installation::free_addresses;
use super::machine;
use super::outcome::Outcome;
use super::process::Process;
use super::report::{Figure, Report};
use super::rig::{raised, run_generator};
use crate::command::{CommandLine, text};

const START_LIMIT: Duration = Duration::from_secs(60);
const DEVICES: usize = 1_000;
/// Of what is said of the present.
const PLANTS: usize = 10_000;
const WINDOW: usize = 20;
/// Of each run of the gateway and of ingest.
const READINGS: u64 = 500_000;
/// Decoding is so fast that it needs more of them to be timed.
const DECODED: u64 = 5_000_000;

/// Measures every stage with one and with ten readings a frame.
///
/// # Errors
/// When one of them fails.
pub(super) fn measure(binaries: &Binaries, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    for readings in [1_u64, 10] {
        let part = format!("{readings}/frame");
        let mut add = |name: &str, value: f64, unit| report.add([Figure::new(&part, name, value, unit)]);
        println!("━━ {part} ━━");
        let decoded = stage(binaries, &["decode"], readings, DECODED)?;
        add(
            "tag check and decode, CPU",
            cpu_s_per_million(&decoded)?,
            "s/million",
        );
        add(
            "frame",
            number(&decoded, "bytes")? / number(&decoded, "readings")?,
            "B/reading",
        );
        let gateway = gateway(binaries, readings, &folder.join(format!("gateway-{readings}")))?;
        let cpu = gateway
            .cpu_s_per_million("gateway")
            .context("CPU of the gateway")?;
        add(
            "gateway alone (door, validate, spool, /ack), CPU",
            cpu,
            "s/million",
        );
        add(
            "gateway alone",
            gateway.durable_per_s().context("a rate")?,
            "readings/s",
        );
        let at = |name: &str| folder.join(format!("ingest-{readings}-{name}"));
        let (with, without) = (at("with"), at("without"));
        let whole = stage(
            binaries,
            &["ingest", "--folder", text(&with)?],
            readings,
            READINGS,
        )?;
        let bare = stage(
            binaries,
            &["ingest", "--without-registers", "--folder", text(&without)?],
            readings,
            READINGS,
        )?;
        let (all, commit) = (cpu_s_per_million(&whole)?, cpu_s_per_million(&bare)?);
        add("ingest alone, CPU", all, "s/million");
        add(
            "ingest alone",
            number(&whole, "readings")? / number(&whole, "seconds")?,
            "readings/s",
        );
        add(
            "ingest alone, readings without a register, CPU",
            commit,
            "s/million",
        );
        add("interval update (the difference), CPU", all - commit, "s/million");
    }
    report.add(present(binaries, &folder.join("present"))?);
    report.add([machine::after()?]);
    Ok(report)
}

/// What is said of the present of many plants: how long it takes to compute and to answer, and how long the answers are.
fn present(binaries: &Binaries, folder: &Path) -> Result<Vec<Figure>> {
    let (part, plants) = (format!("{PLANTS} plants"), PLANTS.to_string());
    println!("━━ {part} ━━");
    let words = ["present", "--plants", &plants, "--folder", text(folder)?];
    let line = [&[text(&binaries.stages)?], &words[..]].concat();
    let told = serde_json::from_str(&CommandLine::new(&line).output()?)?;
    let mut figures = Vec::new();
    for (what, name) in [
        ("today's figures are computed in", "figures"),
        ("the outlook is computed in", "outlook"),
        ("the gap ledger is read in", "ledger"),
    ] {
        figures.push(Figure::new(
            &part,
            what,
            number(&told, &format!("{name}_ms"))?,
            "ms",
        ));
    }
    for (what, name) in [
        ("scrape of /metrics", "scrape"),
        ("/api/v1/plants", "plants"),
        ("/api/v1/sites", "sites"),
        ("/api/v1/gaps", "gaps"),
    ] {
        let (ms, bytes) = (format!("{name}_ms"), format!("{name}_bytes"));
        figures.push(Figure::new(&part, what, number(&told, &ms)?, "ms"));
        figures.push(Figure::new(&part, what, number(&told, &bytes)?, "B"));
    }
    let rss_mib = number(&told, "rss_kib")? / 1_024.0;
    figures.push(Figure::new(&part, "memory", rss_mib, "MiB"));
    Ok(figures)
}

fn stage(binaries: &Binaries, words: &[&str], per_frame: u64, readings: u64) -> Result<Value> {
    let (devices, per_frame, readings) = (DEVICES.to_string(), per_frame.to_string(), readings.to_string());
    let amount = [
        "--devices",
        &devices,
        "--readings-per-frame",
        &per_frame,
        "--readings",
        &readings,
    ];
    let line = [&[text(&binaries.stages)?], words, &amount[..]].concat();
    Ok(serde_json::from_str(&CommandLine::new(&line).output()?)?)
}

/// What a stage says over a past of so many plants, meters of each, and days of one poll a minute.
pub(super) fn past(
    binaries: &Binaries,
    stage: &str,
    (plants, meters, days): (u64, u64, u64),
    folder: &Path,
) -> Result<Value> {
    let numbers = [plants, meters, days].map(|number| number.to_string());
    let [plants, meters, days] = &numbers;
    let words = [
        text(&binaries.stages)?,
        stage,
        "--plants",
        plants,
        "--meters",
        meters,
        "--days",
        days,
        "--folder",
        text(folder)?,
    ];
    let told = serde_json::from_str(&CommandLine::new(&words).output()?)?;
    // Each of them is large.
    std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    Ok(told)
}

fn gateway(binaries: &Binaries, per_frame: u64, folder: &Path) -> Result<Outcome> {
    std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    taraz_load::lay_out(folder, DEVICES, 1)?;
    let [address] = free_addresses()?;
    let words = ["gateway", "--folder", ".", "--listen", &address.to_string()].map(str::to_owned);
    let arguments = raised(&binaries.stages, &words);
    let mut process = Process::start("gateway", Path::new("/bin/sh"), &arguments, folder, "gateway")?;
    process.wait_until(START_LIMIT, "open port", |_| {
        Ok(std::net::TcpStream::connect(address).is_ok())
    })?;
    let file = folder.join("load.json");
    let words = [
        "run".to_owned(),
        format!("--broker={address}"),
        format!("--master-key={}", folder.join("master.key").display()),
        format!("--json={}", file.display()),
        format!("--watch=gateway={}", process.id()),
        format!("--connections={DEVICES}"),
        format!("--window={WINDOW}"),
        format!("--readings-per-frame={per_frame}"),
        format!("--readings={READINGS}"),
        "--times=backlog".to_owned(),
    ];
    run_generator(&binaries.load, &words)?;
    let figures = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    process.stop()?;
    let outcome = Outcome {
        figures,
        spool_bytes: 0,
        store_bytes: 0,
    };
    outcome.check()?;
    Ok(outcome)
}

pub(super) fn number(figures: &Value, name: &str) -> Result<f64> {
    let number = figures.get(name).and_then(Value::as_f64);
    number.with_context(|| format!("taraz-stages says nothing of {name}: {figures}"))
}

fn cpu_s_per_million(figures: &Value) -> Result<f64> {
    Ok(number(figures, "cpu_s")? / number(figures, "readings")? * 1e6)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cpu_is_for_a_million_readings() {
        let figures = json!({ "cpu_s": 0.5, "readings": 250_000 });
        assert_eq!(cpu_s_per_million(&figures).unwrap(), 2.0);
        assert!(cpu_s_per_million(&json!({ "readings": 1 })).is_err());
    }
}
