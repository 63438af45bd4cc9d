//! `cargo xtask test`: the whole check, the same for a person and for CI.

use anyhow::{Result, bail};

use crate::command::CommandLine;
use crate::setup::{self, LIBRARY_TARGET};
use crate::steps::{self, Action, Step};
use crate::{boards, tidy, workspace};

/// What of the check to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// Everything.
    All,
    /// Everything but the end-to-end tests.
    Quick,
    /// One step, or one file of `tests/`.
    Only(String),
}

impl Selection {
    /// From the words after `cargo xtask test`.
    ///
    /// # Errors
    /// When they are none of the known options.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        match words {
            [] => Ok(Self::All),
            ["--quick"] => Ok(Self::Quick),
            ["--only", name] => Ok(Self::Only((*name).to_owned())),
            _ => bail!(
                "expected nothing, --quick or --only NAME after `cargo xtask test`, found: {}",
                words.join(" ")
            ),
        }
    }
}

/// Runs the selected steps.
///
/// # Errors
/// At the first step that fails, with the command that runs it again.
pub(crate) fn run(selection: &Selection) -> Result<()> {
    println!("━━ setup ━━");
    let environment = setup::run()?;
    let steps = all_steps(&environment, *selection == Selection::Quick);
    match selection {
        Selection::All | Selection::Quick => steps::run(&steps),
        Selection::Only(name) => steps::run(&[only(steps, &environment, name)?]),
    }
}

/// The steps after setup. `environment` is what setup found: the Python of the venv, where the bare-metal core is.
fn all_steps(environment: &[(String, String)], quick: bool) -> Vec<Step> {
    let cargo = |words: &[&str]| CommandLine::new(&[&["cargo"], words].concat()).envs(environment);
    let commands = |name, lines: Vec<CommandLine>| Step {
        name,
        action: Action::Commands(lines),
    };
    let check_core = [
        "check",
        "--locked",
        "-p",
        "taraz-telemetry",
        "-p",
        "taraz-firmware",
        "--target",
        LIBRARY_TARGET,
    ];
    let clippy = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    let docs = cargo(&["doc", "--locked", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    let tests = if quick {
        vec![
            cargo(&["test", "--locked", "--workspace", "--exclude", "taraz"]),
            cargo(&["test", "--locked", "-p", "taraz", "--bins"]),
        ]
    } else {
        vec![cargo(&["test", "--locked", "--workspace"])]
    };
    vec![
        commands("fmt", vec![cargo(&["fmt", "--all", "--check"])]),
        Step {
            name: "tidy",
            action: Action::Inner(tidy::run, "cargo xtask tidy"),
        },
        commands("bare-metal", vec![cargo(&check_core)]),
        Step {
            name: "boards",
            action: Action::Inner(boards::run, "cargo xtask boards"),
        },
        commands("clippy", vec![cargo(&clippy)]),
        commands("docs", vec![docs]),
        commands(
            "build",
            vec![cargo(&["test", "--locked", "--workspace", "--no-run"])],
        ),
        commands("tests", tests),
    ]
}

/// The step called `name`, or the end-to-end tests in `tests/NAME.rs`.
fn only(steps: Vec<Step>, environment: &[(String, String)], name: &str) -> Result<Step> {
    let names: Vec<&str> = steps.iter().map(|step| step.name).collect();
    let files = end_to_end_files();
    let expected = format!(
        "expected a step ({}) or a file of tests/ ({})",
        names.join(", "),
        files.join(", ")
    );
    if let Some(step) = steps.into_iter().find(|step| step.name == name) {
        return Ok(step);
    }
    if !files.iter().any(|file| file == name) {
        bail!("{expected}, found: {name}");
    }
    let line =
        CommandLine::new(&["cargo", "test", "--locked", "-p", "taraz", "--test", name]).envs(environment);
    Ok(Step {
        name: "end-to-end",
        action: Action::Commands(vec![line]),
    })
}

/// The names of the end-to-end tests: `tests/NAME.rs` and `tests/NAME/main.rs`, as cargo finds them.
fn end_to_end_files() -> Vec<String> {
    let entries = std::fs::read_dir(workspace::root().join("tests"))
        .into_iter()
        .flatten()
        .flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| {
            let path = entry.path();
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").is_file()
        })
        .filter_map(|entry| {
            entry
                .path()
                .file_stem()
                .and_then(|stem| stem.to_str())
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        assert_eq!(Selection::parse(&[]).unwrap(), Selection::All);
        assert_eq!(Selection::parse(&["--quick"]).unwrap(), Selection::Quick);
        assert_eq!(
            Selection::parse(&["--only", "fmt"]).unwrap(),
            Selection::Only("fmt".to_owned())
        );
        assert!(
            Selection::parse(&["--fast"])
                .unwrap_err()
                .to_string()
                .contains("--quick")
        );
        assert!(Selection::parse(&["--only"]).is_err());
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let error = only(all_steps(&[], false), &[], "no-such-step")
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("clippy") && error.contains("no-such-step"),
            "{error}"
        );
        assert_eq!(only(all_steps(&[], false), &[], "docs").unwrap().name, "docs");
    }

    #[test]
    fn quick_leaves_the_end_to_end_tests_out_and_only_them() {
        let shown = |quick| {
            let steps = all_steps(&[], quick);
            let Action::Commands(lines) = &steps.last().unwrap().action else {
                panic!("not commands")
            };
            lines.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(shown(false), ["cargo test --locked --workspace"]);
        assert_eq!(
            shown(true),
            [
                "cargo test --locked --workspace --exclude taraz",
                "cargo test --locked -p taraz --bins"
            ]
        );
    }
}
