//! The workshop: `cargo xtask setup | test | boards | size | qemu | soak | chaos | fuzz | bench | tidy`.
//!
//! `test` is the whole check, on a lone clone as in CI. Few dependencies, so that it compiles in seconds.

mod bench;
mod boards;
mod chaos;
mod command;
mod fuzz;
mod qemu;
mod setup;
mod soak;
mod steps;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// Every command with what it does. The README may name these and no others (`tidy` checks).
pub(crate) const COMMANDS: &[(&str, &str)] = &[
    (
        "setup",
        "install what the tests need: servers and qemu from Debian, the Python venv, the bare-metal targets",
    ),
    (
        "test",
        "everything CI runs; --quick leaves out the end-to-end tests, --only NAME runs one step or one file of tests/",
    ),
    (
        "boards",
        "format, lints and release build of the firmware for every board, into target/boards, and its size; NAME builds just that one",
    ),
    (
        "size",
        "flash, memory and stack of every board; fails above firmware/boards/budgets.toml; --json",
    ),
    (
        "qemu",
        "a board in the emulator with simulated meters and an installation of its own, to try; --fresh forgets the last run",
    ),
    (
        "soak",
        "the emulated device under random power cuts and bad roads: --minutes N (5), --cuts N (20), --seed N",
    ),
    (
        "chaos",
        "the fault matrix: every part killed, stopped, cut off, damaged, without disk: --minutes N (30), --seed N, --stop-s N (5), --round N",
    ),
    (
        "fuzz",
        "damaged and hostile input to every decoder: --seconds N (60), --target NAME, --seed N, --input FILE",
    ),
    (
        "bench",
        "measure the data path on the release binary: demo, load, chain, stages, peers, month, herd or all; --json FILE (docs/performance.md)",
    ),
    (
        "tidy",
        "the house rules: rooms, licences, bans, file lengths, links (seconds, changes nothing)",
    ),
    ("help", "this text"),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["setup"] => setup::run().map(|_| ()),
        ["test", options @ ..] => test::run(&test::Selection::parse(options)?),
        ["boards"] => boards::run(),
        ["boards", name] => boards::run_one(name),
        ["size", options @ ..] => boards::size(options),
        ["qemu", options @ ..] => qemu::run(options),
        ["soak", options @ ..] => soak::run(&soak::Options::parse(options)?),
        ["chaos", options @ ..] => chaos::run(&chaos::Options::parse(options)?),
        ["fuzz", options @ ..] => fuzz::run(options),
        ["bench", options @ ..] => bench::run(&bench::Options::parse(options)?),
        ["tidy"] => tidy::run(),
        [] | ["help" | "-h" | "--help"] => {
            print!("{}", usage());
            Ok(())
        }
        _ => bail!("unknown command: {}\n\n{}", words.join(" "), usage()),
    }
}

fn usage() -> String {
    let mut text = String::from("cargo xtask COMMAND\n\n");
    for (name, what) in COMMANDS {
        text.push_str(&format!("  {name:<6} {what}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_command_is_refused_with_the_list() {
        let error = run(&["tset".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("unknown command: tset") && error.contains("tidy"),
            "{error}"
        );
    }
}
