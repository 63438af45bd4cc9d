//! The release binaries that are measured and that measure.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::CommandLine;
use crate::workspace;

/// Names a binary to measure, as `--binary` does.
const BINARY_VARIABLE: &str = "TARAZ_BENCH_BINARY";

/// Where they are.
#[derive(Debug)]
pub(super) struct Binaries {
    /// The program.
    pub(super) taraz: PathBuf,
    /// The load generator.
    pub(super) load: PathBuf,
    /// The stages alone.
    pub(super) stages: PathBuf,
}

/// `taraz` as given or freshly built, and what measures it freshly built.
///
/// # Errors
/// When the build fails, or the given one is not there.
pub(super) fn binaries(given: Option<&Path>) -> Result<Binaries> {
    let given = given
        .map(Path::to_path_buf)
        .or_else(|| std::env::var_os(BINARY_VARIABLE).map(PathBuf::from));
    // The program is built even when another one is measured: alone, the others would ask for other features of shared crates.
    let packages = ["-p", "taraz", "-p", "taraz-load", "-p", "taraz-stages"];
    let words = [&["cargo", "build", "--release", "--locked"], &packages[..]].concat();
    let build = CommandLine::new(&words);
    println!("$ {build}");
    build.run()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let built = workspace::root().join(target).join("release");
    let taraz = given.unwrap_or_else(|| built.join("taraz"));
    let whole = |path: PathBuf| {
        let error = format!("the binary to measure: {}", path.display());
        path.canonicalize().context(error)
    };
    Ok(Binaries {
        taraz: whole(taraz)?,
        load: whole(built.join("taraz-load"))?,
        stages: whole(built.join("taraz-stages"))?,
    })
}
