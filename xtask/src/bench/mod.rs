//! `cargo xtask bench`: the figures of the data path, measured on real processes of the release binary.
//!
//! Twelve devices with history in their queues deliver it to a gateway and an ingest of their own. The figures go to
//! standard output as a table and, when asked for, to a file as JSON; what they mean is in `docs/performance.md`.
//! Nothing here judges a figure.

mod disk;
mod installation;
mod process;
mod proxy;
mod report;
mod runs;
mod scrape;
mod usage;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::CommandLine;
use crate::workspace;
use installation::Installation;
pub(crate) use process::Process;
use report::{Figure, Report};

/// What follows `cargo xtask bench`, for messages.
const EXPECTED: &str = "--days N (1 to 365), --json FILE, --binary PATH";
/// The longest history that a device takes.
const DAYS_MAX: u32 = 365;
/// Names a binary to measure, as `--binary` does.
const BINARY_VARIABLE: &str = "TARAZ_BENCH_BINARY";

/// What to measure, and where to put it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// How much history each device has.
    days: u32,
    /// A file for the figures.
    json: Option<PathBuf>,
    /// An existing binary instead of a fresh build.
    binary: Option<PathBuf>,
}

impl Options {
    /// From the words after `cargo xtask bench`.
    ///
    /// # Errors
    /// When they are none of the known options.
    pub(crate) fn parse(words: &[&str]) -> Result<Self> {
        let mut options = Self {
            days: 7,
            json: None,
            binary: None,
        };
        for pair in words.chunks(2) {
            match pair {
                ["--days", days] => {
                    options.days = days
                        .parse()
                        .ok()
                        .filter(|days| (1..=DAYS_MAX).contains(days))
                        .with_context(|| format!("--days {days}: expected 1 to {DAYS_MAX}"))?;
                }
                ["--json", file] => options.json = Some(PathBuf::from(file)),
                ["--binary", path] => options.binary = Some(PathBuf::from(path)),
                _ => bail!(
                    "expected {EXPECTED} after `cargo xtask bench`, found: {}",
                    words.join(" ")
                ),
            }
        }
        Ok(options)
    }
}

/// Measures everything and reports it.
///
/// # Errors
/// When the build fails, a process ends or says an error, or a part of the history does not arrive in time; the folder
/// with the logs is kept then and named.
pub(crate) fn run(options: &Options) -> Result<()> {
    let binary = binary(options)?;
    let folder = workspace::root()
        .join("target")
        .join(format!("bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let report =
        measure(&binary, options.days, &folder).with_context(|| format!("logs in {}", folder.display()))?;
    std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    print!("\n{}", report.table());
    if let Some(file) = &options.json {
        let text = format!("{:#}\n", report.json());
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn measure(binary: &std::path::Path, days: u32, folder: &std::path::Path) -> Result<Report> {
    let mut report = Report::default();
    let sync_us = disk::sync_p50_us(folder)?;
    let load = usage::load_average()?;
    let cores = std::thread::available_parallelism()?.get();
    report.add([
        Figure::new("machine", "cores", cores as f64, ""),
        Figure::new("machine", "load before, 1 min", load, ""),
        Figure::new("machine", "fdatasync of 4 KiB, p50", sync_us, "µs"),
        Figure::new("machine", "history of each device", f64::from(days), "days"),
    ]);
    println!("━━ whole path: reading the past and delivering it at once ━━");
    let installation = Installation::lay_out(&folder.join("whole"), binary, days)?;
    report.add(runs::whole_path(&installation)?);
    println!("━━ apart: first reading the past, then delivering it ━━");
    let installation = Installation::lay_out(&folder.join("apart"), binary, days)?;
    report.add(runs::apart(&installation)?);
    report.add([Figure::new(
        "machine",
        "load after, 1 min",
        usage::load_average()?,
        "",
    )]);
    Ok(report)
}

/// The binary to measure: the given one, else a fresh release build.
fn binary(options: &Options) -> Result<PathBuf> {
    let given = options
        .binary
        .clone()
        .or_else(|| std::env::var_os(BINARY_VARIABLE).map(PathBuf::from));
    let path = if let Some(path) = given {
        path
    } else {
        let build = CommandLine::new(&["cargo", "build", "--release", "--locked", "--bin", "taraz"]);
        println!("$ {build}");
        build.run()?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
        workspace::root().join(target).join("release/taraz")
    };
    path.canonicalize()
        .with_context(|| format!("the binary to measure: {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_understood_or_refused() {
        let options = Options::parse(&["--json", "a.json", "--days", "3"]).unwrap();
        assert_eq!((options.days, options.json), (3, Some(PathBuf::from("a.json"))));
        assert_eq!(Options::parse(&[]).unwrap().days, 7);
        for words in [
            ["--days", "0"],
            ["--days", "366"],
            ["--days", "x"],
            ["--fast", "1"],
        ] {
            let error = Options::parse(&words).unwrap_err().to_string();
            assert!(error.contains("expected"), "{error}");
        }
        assert!(Options::parse(&["--json"]).is_err());
    }
}
