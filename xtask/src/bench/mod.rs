//! `cargo xtask bench`: the figures of the data path, measured on real processes of the release binary.
//!
//! In: what to measure. Out: a table on standard output and, when asked for, a file of JSON; what the figures mean is in
//! `docs/performance.md`. Nothing here judges a figure, but a run whose readings are not all stored in the end has failed.

mod build;
mod chain;
mod demo;
mod disk;
mod installation;
mod load;
mod machine;
mod matrix;
mod options;
mod outcome;
mod peers;
mod process;
mod proxy;
mod report;
mod rig;
mod runs;
mod scrape;
mod wire;

use anyhow::{Context, Result};

use crate::workspace;
pub(crate) use options::Options;
use options::Part;
pub(crate) use process::Process;

/// Measures and reports.
///
/// # Errors
/// When the build fails, a process ends or says an error, or readings do not arrive in time; the folder with the logs is
/// kept then and named.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binaries = build::binaries(options.binary.as_deref())?;
    let folder = workspace::root()
        .join("target")
        .join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let measured = match &options.part {
        Part::Chain(chain) => chain::measure(&binaries, chain, &folder),
        Part::Demo { days } => demo::measure(&binaries.taraz, *days, &folder),
        Part::Peers(peers) => peers::measure(&binaries, peers, &folder),
        Part::Load { processes, arguments } => load::measure(&binaries, *processes, arguments, &folder),
    };
    let report = measured.with_context(|| format!("logs in {}", folder.display()))?;
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    print!("\n{}", report.table());
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", report.json());
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
