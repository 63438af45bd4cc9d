//! The steps of a check: announced, timed, stopped at the first that breaks.

use std::fmt::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::command::CommandLine;

/// One step of a check.
pub(crate) struct Step {
    /// One word, the name for `--only`.
    pub name: &'static str,
    /// What it runs.
    pub action: Action,
}

/// What a step runs.
pub(crate) enum Action {
    /// These command lines, in order.
    Commands(Vec<CommandLine>),
    /// A part of xtask, with the command that runs it alone.
    Inner(fn() -> Result<()>, &'static str),
}

/// Runs the steps in order and prints how long each took, at the end once more as a table.
///
/// # Errors
/// At the first step that fails, with the command that runs it again.
pub(crate) fn run(steps: &[Step]) -> Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        println!("\n━━ {}/{} {} ━━", number + 1, steps.len(), step.name);
        let begun = Instant::now();
        step.action
            .run()
            .with_context(|| format!("step `{}` failed after {}", step.name, seconds(begun.elapsed())))?;
        println!("── {} done in {}", step.name, seconds(begun.elapsed()));
        times.push((step.name, begun.elapsed()));
    }
    print!("\n{}", table(&times, start.elapsed()));
    Ok(())
}

impl Action {
    fn run(&self) -> Result<()> {
        match self {
            Self::Inner(function, again) => function().with_context(|| format!("to run it again: {again}")),
            Self::Commands(lines) => lines.iter().try_for_each(|line| {
                println!("$ {line}");
                // The error of `run` holds the line itself.
                line.run()
                    .context("to run it again, from the root of the checkout")
            }),
        }
    }
}

fn table(times: &[(&str, Duration)], total: Duration) -> String {
    let mut text = String::new();
    for (name, time) in times {
        let _ = writeln!(text, "{name:<12} {:>9}", seconds(*time));
    }
    let _ = writeln!(text, "{:<12} {:>9}", "all", seconds(total));
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_broken_step_stops_the_run_and_says_how_to_run_it_again() {
        let step = |name, script| Step {
            name,
            action: Action::Commands(vec![CommandLine::new(&["sh", "-c", script])]),
        };
        let error = run(&[
            step("first", "true"),
            step("second", "exit 7"),
            step("third", "exit 8"),
        ])
        .unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("step `second` failed"), "{message}");
        assert!(
            message.contains("to run it again") && message.contains("sh -c 'exit 7'"),
            "{message}"
        );
        assert!(!message.contains("exit 8"), "{message}");
    }

    #[test]
    fn steps_that_pass_pass() {
        run(&[Step {
            name: "inner",
            action: Action::Inner(|| Ok(()), "cargo xtask inner"),
        }])
        .unwrap();
    }
}
