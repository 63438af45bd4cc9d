//! The whole chain under the loads that its goals are set for, in one process and in two.

use std::path::Path;

use anyhow::{Result, bail};

use super::build::Binaries;
use super::matrix::Matrix;
use super::options::{ChainOptions, Processes};
use super::report::Report;
use super::{load, machine};

/// Readings a second of the paced scenarios, and of the probe of the others.
const PACED_PER_S: &str = "50000";
const IDLE_S: &str = "5";

/// A load with a name.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) connections: usize,
    pub(super) window: usize,
    /// Paced, with live times and the latencies up to the metric; flat out otherwise, with the times of a backlog.
    pub(super) paced: bool,
}

/// Connections × messages in flight; what is paced is asked for 50,000 readings a second.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "1000x20",
        connections: 1_000,
        window: 20,
        paced: false,
    },
    Scenario {
        name: "1000x1",
        connections: 1_000,
        window: 1,
        paced: false,
    },
    Scenario {
        name: "50x20",
        connections: 50,
        window: 20,
        paced: false,
    },
    Scenario {
        name: "1000-paced",
        connections: 1_000,
        window: 20,
        paced: true,
    },
    Scenario {
        name: "10000-paced",
        connections: 10_000,
        window: 20,
        paced: true,
    },
];

/// Readings of a frame.
const FRAMES: [usize; 2] = [1, 10];

impl Scenario {
    fn arguments(&self, readings_per_frame: usize, seconds: u32) -> Vec<String> {
        let seconds = seconds.to_string();
        let mut words = vec![
            "--connections".to_owned(),
            self.connections.to_string(),
            "--window".to_owned(),
            self.window.to_string(),
            "--readings-per-frame".to_owned(),
            readings_per_frame.to_string(),
            "--seconds".to_owned(),
            seconds.clone(),
            "--idle-seconds".to_owned(),
            IDLE_S.to_owned(),
        ];
        let more = if self.paced {
            vec![
                "--rate",
                PACED_PER_S,
                "--times",
                "live",
                "--probe-seconds",
                &seconds,
            ]
        } else {
            vec!["--times", "backlog"]
        };
        words.extend(more.into_iter().map(str::to_owned));
        words
    }
}

/// Runs every scenario that the options name.
///
/// # Errors
/// After all have run, when one failed or readings were missing in its end.
pub(super) fn measure(binaries: &Binaries, options: &ChainOptions, folder: &Path) -> Result<Report> {
    let mut report = Report::default();
    report.add(machine::before(folder)?);
    let mut matrix = Matrix::default();
    let mut failures = Vec::new();
    let scenarios = SCENARIOS
        .iter()
        .filter(|scenario| options.only.as_deref().is_none_or(|only| only == scenario.name));
    for scenario in scenarios {
        for &processes in &options.processes {
            for readings in FRAMES {
                let part = part(scenario, processes, readings);
                println!("━━ {part} ━━");
                let name = format!("run-{}", matrix.len() + failures.len());
                let measured = load::run(
                    binaries,
                    processes,
                    scenario.connections,
                    1,
                    &scenario.arguments(readings, options.seconds),
                    &folder.join(name),
                );
                match measured.and_then(|outcome| outcome.check().map(|()| outcome)) {
                    Ok(outcome) => {
                        matrix.add(&part, &outcome);
                        println!("{}", matrix.last());
                        report.add(outcome.figures(&part));
                    }
                    Err(error) => {
                        println!("{part}: FAILED: {error:#}");
                        failures.push(format!("{part}: {error:#}"));
                    }
                }
            }
        }
    }
    report.add([machine::after()?]);
    print!("\n{}", matrix.table());
    if !failures.is_empty() {
        bail!("{} runs failed:\n{}", failures.len(), failures.join("\n"));
    }
    Ok(report)
}

fn part(scenario: &Scenario, processes: Processes, readings: usize) -> String {
    let processes = match processes {
        Processes::One => "up",
        Processes::Two => "gateway + ingest",
    };
    format!("{} · {readings}/frame · {processes}", scenario.name)
}

/// Names of the scenarios, for messages.
pub(super) fn names() -> String {
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.join(", ")
}
