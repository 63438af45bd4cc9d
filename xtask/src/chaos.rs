//! `cargo xtask chaos`: the fault matrix for longer than CI has time for.
//!
//! Round after round of real processes under faults that a seed decides, each judged when it is over. The test itself is
//! `tests/chaos.rs`; here are only its length, its seed and how hard it is.

use anyhow::{Context, Result, bail};

use crate::command::CommandLine;
use crate::setup;

const EXPECTED: &str = "--minutes N (1 to 1440), --seed N, --stop-s N (1 to 600), --round N";
const TEST: &str = "whatever_fails_nothing_is_lost";

/// How long, which, how hard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    minutes: u64,
    seed: Option<u64>,
    stop_s: u64,
    /// Only this one, to see a failure again.
    round: Option<u64>,
}

impl Options {
    /// From the words after `cargo xtask chaos`.
    ///
    /// # Errors
    /// When they are none of the known options, or a number is out of its range.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            minutes: 30,
            seed: None,
            stop_s: 5,
            round: None,
        };
        for pair in words.chunks(2) {
            let number = |least: u64, most: u64| {
                let word = pair.get(1).copied().unwrap_or("nothing");
                let number = word.parse().ok().filter(|number| (least..=most).contains(number));
                number
                    .with_context(|| format!("{} is a number from {least} to {most}, found: {word}", pair[0]))
            };
            match pair[0] {
                "--minutes" => options.minutes = number(1, 1_440)?,
                "--seed" => options.seed = Some(number(0, u64::MAX)?),
                "--stop-s" => options.stop_s = number(1, 600)?,
                "--round" => options.round = Some(number(0, 1_000_000)?),
                other => bail!("expected {EXPECTED} after `cargo xtask chaos`, found: {other}"),
            }
        }
        Ok(options)
    }
}

/// Runs the test with its output on the terminal.
///
/// # Errors
/// When something that it needs can't be had, or the test fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let environment = setup::run()?;
    let mut line = CommandLine::new(&[
        "cargo",
        "test",
        "--locked",
        "-p",
        "taraz",
        "--test",
        "chaos",
        TEST,
        "--",
        "--nocapture",
    ])
    .envs(&environment)
    .env("TARAZ_CHAOS_SECONDS", &(options.minutes * 60).to_string())
    .env("TARAZ_CHAOS_STOP_MS", &(options.stop_s * 1_000).to_string());
    // Without a seed each run is another one; it is printed.
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()));
    line = line.env("TARAZ_CHAOS_SEED", &seed.to_string());
    if let Some(round) = options.round {
        line = line.env("TARAZ_CHAOS_ROUND", &round.to_string());
    }
    println!("chaos: {} minutes, seed {seed}", options.minutes);
    line.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_bounds() {
        let default = Options {
            minutes: 30,
            seed: None,
            stop_s: 5,
            round: None,
        };
        assert_eq!(Options::parse(&[]).unwrap(), default);
        let words = ["--minutes", "5", "--seed", "7", "--stop-s", "60", "--round", "3"];
        let all = Options {
            minutes: 5,
            seed: Some(7),
            stop_s: 60,
            round: Some(3),
        };
        assert_eq!(Options::parse(&words).unwrap(), all);
        for wrong in [
            &["--minutes", "0"][..],
            &["--seed"],
            &["--stop-s", "many"],
            &["--for", "5"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
