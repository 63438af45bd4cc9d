//! A herd: devices that all come back at once with a week of backlog, beside live ones, and a gateway that is killed in the middle;
//! or an overload: the same devices with a backlog that does not end, beside devices gone mad and strangers.
//!
//! What is told: how long the backlog takes or how much of it was accepted, what a live reading waits for its PUBACK and for
//! the store meanwhile, and the most memory of each process. A run in which anything acknowledged is not stored in the end has failed,
//! and an overload in which a process takes more memory than it may.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use taraz_load::Usage;

use super::build::Binaries;
use super::machine;
use super::options::{HerdOptions, Processes};
use super::process::Process;
use super::report::{Figure, Report};
use super::rig::{Rig, raised};
use super::told::{LIVE_TIMES, told};

/// Made by the generator when half of the backlog is acknowledged.
const HALF: &str = "half";
const END: &str = "end";
const FIGURES: &str = "herd.json";
/// Live devices whose readings are looked for in the store.
const FOLLOWED_MAX: usize = 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
const FOLLOW_LIMIT: Duration = Duration::from_secs(60);
/// After an overload: until what waits in the spool is stored.
const DRAIN_SECONDS: u64 = 3_600;
/// What gateway and ingest may take under an overload by 10,000 devices, in MiB.
const MEMORY_MAX_MIB: [(&str, f64); 2] = [("gateway", 190.0), ("ingest", 512.0)];

/// Lets the herd come, kills the gateway when half of the backlog is acknowledged, and waits until everything is stored.
///
/// # Errors
/// When a process ends by itself, readings are missing in the end, or an overload takes too much memory.
pub(super) fn measure(binaries: &Binaries, options: &HerdOptions, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let at = folder.join("herd");
    let devices = options.connections + options.live + options.mad;
    let mut rig = Rig::start(&at, binaries, Processes::Two, devices, 1)?;
    let mut run = Run {
        binaries,
        options,
        at,
        peaks: Peaks::default(),
        is_killed: false,
    };
    let figures = run.figures(&mut rig)?;
    let refused = rig.refused()?;
    rig.stop()?;
    let part = options.part();
    report.add(told(part, &figures));
    report.add(
        refused
            .into_iter()
            .map(|(name, count)| Figure::new(part, name, count, "")),
    );
    report.add(run.peaks.told(part));
    report.add([machine::after()?]);
    run.judge(&figures)?;
    Ok(report)
}

struct Run<'o> {
    binaries: &'o Binaries,
    options: &'o HerdOptions,
    at: PathBuf,
    peaks: Peaks,
    is_killed: bool,
}

impl Run<'_> {
    /// Of the generator, and of whoever looked at the store meanwhile.
    fn figures(&mut self, rig: &mut Rig) -> Result<Value> {
        let follower = self.follow()?;
        let words = self.words(rig);
        let mut generator = Command::new("/bin/sh")
            .args(raised(&self.binaries.load, &words))
            .spawn()
            .context("/bin/sh")?;
        let status = loop {
            if let Some(status) = generator.try_wait()? {
                break status;
            }
            self.peaks.look(rig)?;
            if !self.is_killed && self.at.join(HALF).exists() {
                rig.kill_and_start("gateway", self.binaries)?;
                self.is_killed = true;
            }
            std::thread::sleep(LOOK_INTERVAL);
        };
        if !status.success() {
            bail!("taraz-load {}: {status}", words.join(" "));
        }
        let file = self.at.join(FIGURES);
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let mut figures: Value = serde_json::from_str(&text)?;
        std::fs::write(self.at.join(END), "").context(END)?;
        let seen: Value = serde_json::from_str(&follower.wait_output(FOLLOW_LIMIT)?)?;
        for key in LIVE_TIMES.map(|(key, _)| key) {
            if let Some(times) = seen.get(key) {
                figures[key] = times.clone();
            }
        }
        Ok(figures)
    }

    /// Somebody who looks at the store.
    fn follow(&self) -> Result<Process> {
        let words = [
            "follow".to_owned(),
            format!("--store={}", self.at.join("ingest").display()),
            format!("--devices={}", self.options.live.min(FOLLOWED_MAX)),
            format!("--half-file={}", self.at.join(HALF).display()),
            format!("--end-file={}", self.at.join(END).display()),
        ];
        Process::start("follower", &self.binaries.stages, &words, &self.at, "follower")
    }

    /// What the generator is told.
    fn words(&self, rig: &Rig) -> Vec<String> {
        let options = self.options;
        let mut words = vec![
            "herd".to_owned(),
            format!("--broker={}", rig.mqtt()),
            format!("--master-key={}", self.at.join("master.key").display()),
            format!("--connections={}", options.connections),
            format!("--live={}", options.live),
            format!("--mad={}", options.mad),
            format!("--strangers={}", options.strangers),
            format!("--half-file={}", self.at.join(HALF).display()),
            format!("--json={}", self.at.join(FIGURES).display()),
            format!(
                "--stored={}/metrics#ingest_records_total{{kind=\"reading\"",
                rig.http()
            ),
        ];
        match options.minutes {
            Some(minutes) => words.extend([
                format!("--seconds={}", minutes * 60),
                format!("--limit-seconds={}", u64::from(minutes) * 60 + DRAIN_SECONDS),
            ]),
            None => words.push(format!("--backlog-readings={}", options.backlog_readings)),
        }
        words
    }

    fn judge(&self, figures: &Value) -> Result<()> {
        if self.options.minutes.is_none() && !self.is_killed {
            bail!("the backlog was over before the gateway could be killed: more --backlog-readings");
        }
        let missing = figures["missing_readings"].as_f64();
        if missing.is_none_or(|missing| missing > 0.0) {
            bail!("readings are missing in the store: {figures:#}");
        }
        if self.options.minutes.is_some() {
            self.peaks.judge()?;
        }
        Ok(())
    }
}

/// The most memory of each process, as it was seen while it was loaded: the start, which reads the registry, is not in it.
#[derive(Default)]
struct Peaks {
    names: Vec<&'static str>,
    kib: Vec<u64>,
    spool_mib: f64,
}

impl Peaks {
    fn look(&mut self, rig: &Rig) -> Result<()> {
        let usages = rig.usages()?;
        self.names = usages.iter().map(|(name, _)| *name).collect();
        self.kib.resize(usages.len(), 0);
        for (peak, (_, usage)) in self.kib.iter_mut().zip(usages) {
            *peak = usage.rss_kib.max(*peak);
        }
        // Bytes of a data folder: far below 2⁵³.
        #[allow(clippy::cast_precision_loss)]
        let spool_mib = rig.spool_bytes()? as f64 / f64::from(1 << 20);
        self.spool_mib = self.spool_mib.max(spool_mib);
        Ok(())
    }

    fn each(&self) -> impl Iterator<Item = (&'static str, f64)> {
        // Memory in KiB: far below 2⁵³.
        #[allow(clippy::cast_precision_loss)]
        let mib = |(name, kib): (&&'static str, &u64)| (*name, *kib as f64 / 1_024.0);
        self.names.iter().zip(&self.kib).map(mib)
    }

    fn told(&self, part: &str) -> Vec<Figure> {
        let memory = self
            .each()
            .map(|(name, mib)| Figure::new(part, format!("{name}, most memory under load"), mib, "MiB"));
        let spool = Figure::new(part, "spool, most on disk", self.spool_mib, "MiB");
        memory.chain([spool]).collect()
    }

    fn judge(&self) -> Result<()> {
        for (name, mib) in self.each() {
            let bound = MEMORY_MAX_MIB.iter().find(|(known, _)| *known == name);
            if let Some((_, mib_max)) = bound.filter(|(_, mib_max)| mib > *mib_max) {
                bail!(
                    "{name} took {mib:.0} MiB, expected at most {mib_max} MiB: something in it grows with the load"
                );
            }
        }
        Ok(())
    }
}

/// What a process has used, by its name.
pub(super) type Usages = Vec<(&'static str, Usage)>;
