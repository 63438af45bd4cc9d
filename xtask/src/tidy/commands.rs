//! Every command that a document tells people to type exists.

use super::Problem;
use super::tree::{Tree, code_lines};

/// Ways to start the program in a document.
const PROGRAM_STARTS: &[&str] = &[
    "taraz ",
    "./taraz ",
    "target/release/taraz ",
    "cargo run --release -- ",
    "cargo run -- ",
];

/// Words that clap knows by itself.
const BUILT_IN: &[&str] = &["help"];

/// Looks at every piece of code in every document.
pub(super) fn check(tree: &Tree) -> Vec<Problem> {
    let known = subcommands(tree);
    let mut problems = Vec::new();
    for (path, text) in tree.texts(&[".md"]) {
        for (number, code) in code_pieces(text) {
            let code = code.trim().trim_start_matches("$ ");
            let place = || format!("{path}:{number}");
            if let Some(word) = code.strip_prefix("cargo xtask ").and_then(command_word)
                && !crate::COMMANDS.iter().any(|(name, _)| *name == word)
            {
                problems.push(Problem::new(
                    place(),
                    format!("`cargo xtask {word}` does not exist: see `cargo xtask help`"),
                ));
            }
            let started = PROGRAM_STARTS.iter().find_map(|start| code.strip_prefix(start));
            if let Some(word) = started.and_then(command_word)
                && !known.iter().any(|name| name == word)
                && !BUILT_IN.contains(&word)
            {
                let known = known.join(", ");
                problems.push(Problem::new(
                    place(),
                    format!("`taraz {word}` does not exist; src/ has: {known}"),
                ));
            }
        }
    }
    problems
}

/// The first word, when it can be a subcommand: no option, no placeholder.
fn command_word(code: &str) -> Option<&str> {
    let word = code
        .split_whitespace()
        .next()?
        .trim_end_matches([',', '.', ';', ')']);
    let plain = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
    (plain && word.starts_with(|c: char| c.is_ascii_lowercase())).then_some(word)
}

/// The pieces of code of a Markdown text with their line numbers: lines of fenced blocks, and `` `spans` ``.
fn code_pieces(text: &str) -> Vec<(usize, &str)> {
    let mut pieces = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            pieces.push((index + 1, line));
        } else {
            pieces.extend(line.split('`').skip(1).step_by(2).map(|span| (index + 1, span)));
        }
    }
    pieces
}

/// The subcommands in `src/`: variants of the enums that derive clap's `Subcommand`, in kebab case.
fn subcommands(tree: &Tree) -> Vec<String> {
    let mut names = Vec::new();
    for (_, text) in tree.texts(&[".rs"]).filter(|(path, _)| path.starts_with("src/")) {
        let mut derived = false;
        let mut inside = false;
        for (_, line) in code_lines(text) {
            if line.contains("derive(") && line.contains("Subcommand") {
                derived = true;
            } else if derived && line.contains("enum ") {
                (derived, inside) = (false, true);
            } else if inside && line == "}" {
                inside = false;
            } else if inside && let Some(variant) = variant(line) {
                names.push(kebab(variant));
            }
        }
    }
    names
}

/// The name of the variant that starts in this line: four spaces and a capital, as rustfmt leaves it.
fn variant(line: &str) -> Option<&str> {
    let rest = line
        .strip_prefix("    ")
        .filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()))?;
    rest.split(|c: char| !c.is_ascii_alphanumeric()).next()
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLI: (&str, &str) = (
        "src/cli.rs",
        "#[derive(Debug, Subcommand)]\npub(crate) enum Command {\n    /// Up.\n    Up(UpArguments),\n    Device {\n        \
         #[command(subcommand)]\n        command: DeviceCommand,\n    },\n}\n\nenum Other {\n    Nothing,\n}\n",
    );

    #[test]
    fn documents_may_name_what_exists() {
        let text = "`cargo xtask test`, `taraz up --demo`, `taraz --help`, `taraz COMMAND`\n\n```\n$ cargo run --release -- up \
                    --demo\ntaraz device run\n```\n";
        assert_eq!(check(&Tree::of(&[CLI, ("README.md", text)])), []);
    }

    #[test]
    fn documents_may_not_name_what_does_not() {
        let text = "Try `taraz fly`.\n```\ncargo xtask dance\ncargo run --release -- nothing\n```\ntaraz prose is prose\n";
        let problems = check(&Tree::of(&[CLI, ("docs/a.md", text)]));
        let places: Vec<&str> = problems.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(
            places,
            ["docs/a.md:1", "docs/a.md:3", "docs/a.md:4"],
            "{problems:?}"
        );
        assert!(
            problems[0].what.contains("src/ has: up, device"),
            "{}",
            problems[0]
        );
    }

    #[test]
    fn names_are_made_as_clap_makes_them() {
        assert_eq!(kebab("DryRun"), "dry-run");
    }
}
