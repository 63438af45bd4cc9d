//! `cargo xtask bench`: the figures of the data path, measured on real processes of the release binary.
//!
//! In: what to measure. Out: a table on standard output and, when asked for, a file of JSON; what the figures mean is in
//! `docs/performance.md`. Nothing here judges a figure, but a run whose readings are not all stored in the end has failed.

mod build;
mod chain;
mod close;
mod demo;
mod disk;
mod herd;
mod installation;
mod load;
mod machine;
mod matrix;
mod month;
mod options;
mod outcome;
mod peers;
mod process;
mod proxy;
mod rebuild;
mod report;
mod rig;
mod runs;
mod scrape;
mod stages;
mod told;
mod wire;

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::workspace;
use build::Binaries;
pub(crate) use options::Options;
use options::Part;
pub(crate) use process::Process;
use report::Report;

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
    let mut all = Map::new();
    for (name, part) in options.parts() {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let report =
            measure(&binaries, part, &folder).with_context(|| format!("logs in {}", folder.display()))?;
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        match part {
            // Their runs stand side by side already.
            Part::Chain(_) | Part::Peers(_) => print!("\n{}", report.table_of(machine::PART)),
            _ => print!("\n{}", report.table()),
        }
        all.insert(name.to_owned(), report.json());
    }
    std::fs::remove_dir(&folder).with_context(|| folder.display().to_string())?;
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", Value::Object(all));
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn measure(binaries: &Binaries, part: &Part, folder: &Path) -> Result<Report> {
    match part {
        Part::Chain(chain) => chain::measure(binaries, chain, folder),
        Part::Demo { days } => demo::measure(&binaries.taraz, *days, folder),
        Part::Peers(peers) => peers::measure(binaries, peers, folder),
        Part::Stages => stages::measure(binaries, folder),
        Part::Rebuild => rebuild::measure(binaries, folder),
        Part::Close => close::measure(binaries, folder),
        Part::Month(options) => month::measure(binaries, options, folder),
        Part::Herd(options) => herd::measure(binaries, options, folder),
        Part::Load { processes, arguments } => load::measure(binaries, *processes, arguments, folder),
    }
}
