//! `cargo xtask fuzz`: damaged and hostile input to every decoder, for longer than CI has time for.
//!
//! The harness is `tests/fuzz`; here is only how it is started: with the checks of an unoptimised build, because an overflow that
//! wraps is a finding, too.

use anyhow::{Result, bail};

use crate::command::CommandLine;

const EXPECTED: &str = "--seconds N, --target NAME, --seed N, --input FILE (with --target)";
const OPTIONS: [&str; 4] = ["--seconds", "--target", "--seed", "--input"];

/// Runs the harness with these words; what they mean is its own business.
///
/// # Errors
/// When a word is no option of it, or something was found.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    line(words)?.run()
}

fn line(words: &[&str]) -> Result<CommandLine> {
    for pair in words.chunks(2) {
        if !OPTIONS.contains(&pair[0]) || pair.len() < 2 {
            bail!(
                "expected {EXPECTED} after `cargo xtask fuzz`, found: {}",
                pair.join(" ")
            );
        }
    }
    let cargo = ["cargo", "run", "--locked", "--quiet", "-p", "taraz-fuzz", "--"];
    Ok(CommandLine::new(&[&cargo, words].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_on_to_the_harness_and_others_are_refused() {
        let line = line(&["--seconds", "5", "--target", "door"]).unwrap().to_string();
        assert!(
            line.ends_with("-p taraz-fuzz -- --seconds 5 --target door"),
            "{line}"
        );
        for wrong in [&["--seconds"][..], &["--minutes", "5"], &["door"]] {
            let error = super::line(wrong).unwrap_err().to_string();
            assert!(error.contains("--target NAME"), "{error}");
        }
    }
}
