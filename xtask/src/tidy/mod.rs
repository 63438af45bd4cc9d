//! `cargo xtask tidy`: the house rules that a compiler does not know.
//!
//! Each rule is a pure function of what was read (the files of the checkout, `cargo metadata`, `deny.toml`) to the
//! problems found, with a unit test that shows that it can fail.

mod commands;
mod crates;
mod licences;
mod links;
mod metadata;
mod rooms;
mod sources;
mod tree;

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::command::CommandLine;
use crate::workspace;
use metadata::Metadata;
use tree::Tree;

/// Something to put right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    /// A file, a file and line, or a crate.
    place: String,
    /// What was expected, what was found, what to do.
    what: String,
}

impl Problem {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            what: what.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Checks the whole checkout.
///
/// # Errors
/// When a rule is broken (all problems are printed first), or something can't be read.
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let tree = Tree::read(&root)?;
    let policy = licences::Policy::parse(tree.text("deny.toml").context("deny.toml is missing")?)?;
    let metadata = Metadata::read(policy.targets())?;
    let mut problems = check(&tree, &metadata, &policy);
    if std::env::var_os("CI").is_some() {
        problems.extend(lock_file(
            &CommandLine::new(&["git", "status", "--porcelain", "--", "*Cargo.lock"]).output()?,
        ));
    }
    problems.sort();
    for problem in &problems {
        println!("{problem}");
    }
    if !problems.is_empty() {
        bail!("{} to put right", problems.len());
    }
    println!(
        "tidy: {} files, {} crates, nothing to put right",
        tree.len(),
        metadata.packages.len()
    );
    Ok(())
}

fn check(tree: &Tree, metadata: &Metadata, policy: &licences::Policy) -> Vec<Problem> {
    [
        rooms::dependencies(metadata),
        rooms::map(tree, metadata),
        rooms::manifests(tree, metadata),
        crates::homes(tree),
        crates::unused(tree, metadata),
        licences::check(metadata, policy),
        sources::lengths(tree),
        sources::machine_paths(tree),
        sources::ignored_tests(tree),
        commands::check(tree),
        links::check(tree),
    ]
    .concat()
}

/// In CI the lock file is as committed: cargo, starting xtask, completes one that is not whole without a word.
fn lock_file(git_status: &str) -> Option<Problem> {
    let changed = !git_status.trim().is_empty();
    changed.then(|| {
        Problem::new(
            "Cargo.lock",
            "is not what the manifests need: run `cargo check` and commit it",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_cargo_had_to_change_is_found() {
        assert!(lock_file("").is_none());
        assert!(lock_file(" M Cargo.lock\n").is_some());
    }
}
