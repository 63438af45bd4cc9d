//! `cargo xtask soak`: the random part of the device's end-to-end test for longer than CI has time for.
//!
//! The board in the emulator polls a simulated plant while its power is cut at random and the road to its broker is
//! blocked, cut and slow; afterwards every answered poll and every identity is accounted for. The test itself is
//! `tests/board.rs`; here are only its length and its seed.

use anyhow::{Context, Result, bail};

use crate::command::CommandLine;
use crate::{boards, setup};

const EXPECTED: &str = "--minutes N (1 to 1440), --cuts N (1 to 10000), --seed N";
const TEST: &str = "whatever_the_road_and_the_power_do_nothing_is_lost";

/// How long, how often, which.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    minutes: u64,
    cuts: u64,
    seed: Option<u64>,
}

impl Options {
    /// From the words after `cargo xtask soak`.
    ///
    /// # Errors
    /// When they are none of the known options, or a number is out of its range.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            minutes: 5,
            cuts: 20,
            seed: None,
        };
        for pair in words.chunks(2) {
            let number = |max: u64| {
                let word = pair.get(1).copied().unwrap_or("nothing");
                let number: u64 = word
                    .parse()
                    .ok()
                    .filter(|number| (1..=max).contains(number))
                    .with_context(|| format!("{} is a number from 1 to {max}, found: {word}", pair[0]))?;
                Ok::<_, anyhow::Error>(number)
            };
            match pair[0] {
                "--minutes" => options.minutes = number(1_440)?,
                "--cuts" => options.cuts = number(10_000)?,
                "--seed" => options.seed = Some(number(u64::MAX)?),
                other => bail!("expected {EXPECTED} after `cargo xtask soak`, found: {other}"),
            }
        }
        Ok(options)
    }
}

/// Builds the boards and runs the test with its output on the terminal.
///
/// # Errors
/// When a build or the test fails.
pub(crate) fn run(options: &Options) -> Result<()> {
    let environment = setup::run()?;
    boards::run()?;
    let mut line = CommandLine::new(&[
        "cargo",
        "test",
        "--locked",
        "-p",
        "taraz",
        "--test",
        "board",
        TEST,
        "--",
        "--nocapture",
    ])
    .envs(&environment)
    .env("TARAZ_SOAK_SECONDS", &(options.minutes * 60).to_string())
    .env("TARAZ_SOAK_CUTS", &options.cuts.to_string());
    if let Some(seed) = options.seed {
        line = line.env("TARAZ_SOAK_SEED", &seed.to_string());
    }
    println!("soak: {} minutes, {} power cuts", options.minutes, options.cuts);
    line.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_defaults_and_bounds() {
        let default = Options {
            minutes: 5,
            cuts: 20,
            seed: None,
        };
        assert_eq!(Options::parse(&[]).unwrap(), default);
        let all = Options::parse(&["--minutes", "30", "--cuts", "100", "--seed", "7"]).unwrap();
        assert_eq!(
            all,
            Options {
                minutes: 30,
                cuts: 100,
                seed: Some(7)
            }
        );
        for wrong in [
            &["--minutes", "0"][..],
            &["--cuts"],
            &["--cuts", "many"],
            &["--for", "5"],
        ] {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
        let error = Options::parse(&["--for", "5"]).unwrap_err().to_string();
        assert!(error.contains("--minutes") && error.contains("--for"), "{error}");
    }
}
