//! `taraz-fuzz`: the fuzzing harness as a program; `cargo xtask fuzz` runs it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use taraz_fuzz::{Budget, Finding, Report, Spec, TARGETS, fuzz, named, replay};

/// Gives damaged and hostile input to every decoder of the data path.
#[derive(Debug, Parser)]
struct Arguments {
    /// How long altogether, in s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Only this one; left out: all of them, in turn.
    #[arg(long)]
    target: Option<String>,
    /// What decides every input; left out: another one each time, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// A file with one input, to see again what came of it. Needs --target.
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Where a failing input is written.
    #[arg(long, default_value = "target/fuzz")]
    out: PathBuf,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("taraz-fuzz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let specs: Vec<&Spec> = match &arguments.target {
        Some(name) => vec![named(name)?],
        None => TARGETS.iter().collect(),
    };
    if let (Some(file), [spec]) = (&arguments.input, specs.as_slice()) {
        let input = std::fs::read(file).with_context(|| file.display().to_string())?;
        let finding = replay(spec, &input)?;
        println!("{}", finding.as_deref().unwrap_or("nothing is wrong with it"));
        return Ok(finding.is_none());
    }
    let seed = arguments.seed.unwrap_or_else(|| u64::from(std::process::id()));
    let each = Duration::from_secs(arguments.seconds) / u32::try_from(specs.len())?;
    println!(
        "fuzz: seed {seed}, {:.1} s for each of {} targets",
        each.as_secs_f64(),
        specs.len()
    );
    let mut is_good = true;
    for spec in specs {
        let budget = Budget {
            seed,
            time: each,
            out: arguments.out.clone(),
        };
        let report = fuzz(spec, &budget)?;
        print(&report);
        if let Some(finding) = &report.finding {
            is_good = false;
            tell(spec, finding);
        }
    }
    Ok(is_good)
}

fn print(report: &Report) {
    println!("{report}");
    for (outcome, count) in &report.outcomes {
        println!("    {count:>9}  {outcome}");
    }
}

fn tell(spec: &Spec, finding: &Finding) {
    println!(
        "  FOUND by input {}: {}\n  again: cargo xtask fuzz --target {} --input {}\n  once mended: move the file to tests/fuzz/corpus/{}/",
        finding.number,
        finding.what,
        spec.name,
        finding.file.display(),
        spec.name
    );
}
