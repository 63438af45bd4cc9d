//! `taraz report`: what an installation's store says, for people.
//!
//! In: the store, read-only, and the registry. Out: a document in the form and language that was asked for. It computes no
//! energy: the figures are ingest's, here they are only written down.

mod csv;
mod html;
mod numbers;
mod owner;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use taraz_fleet::Fleet;
use taraz_ingest::{Archive, duty_report};

use crate::calc::instant_ms;
use crate::cli::{DutyArgs, Format, ReportCommand, Source};
use crate::config::Config;
use crate::demo;

/// Writes one report.
pub(crate) fn run(command: &ReportCommand) -> anyhow::Result<()> {
    match command {
        ReportCommand::Duty(args) => duty(args),
    }
}

fn duty(args: &DutyArgs) -> anyhow::Result<()> {
    let now_ms = until_ms(args.until.as_deref())?;
    let (fleet, archive) = open(&args.source)?;
    let report = duty_report(&archive, &fleet, args.year, args.owner.as_deref(), now_ms)?;
    let text = match args.format {
        Format::Html => html::document(&report, args.lang),
        Format::Csv => csv::rows(&report)?,
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    write(args.out.as_deref(), &text)
}

/// The registry and the store that a command names.
pub(crate) fn open(source: &Source) -> anyhow::Result<(Arc<Fleet>, Archive)> {
    let (fleet, data) = installation(source)?;
    Ok((fleet, Archive::open(&data)?))
}

/// The registry and the data folder of the ingest that a command names.
pub(crate) fn installation(source: &Source) -> anyhow::Result<(Arc<Fleet>, PathBuf)> {
    match (&source.config, &source.data) {
        (Some(path), _) => {
            let config = Config::read(path)?;
            let data = config.ingest()?.data.clone();
            Ok((config.fleet, data))
        }
        (None, Some(data)) => {
            let (fleet, data) = demo::installation(data)?;
            Ok((Arc::new(fleet), data))
        }
        (None, None) => anyhow::bail!("expected --config FILE or --data DIR"),
    }
}

/// The instant until which readings count, UTC ms.
pub(crate) fn until_ms(until: Option<&str>) -> anyhow::Result<i64> {
    match until {
        Some(text) => instant_ms(text).context("--until"),
        None => Ok(jiff::Timestamp::now().as_millisecond()),
    }
}

/// Writes to a file, or prints.
pub(crate) fn write(out: Option<&Path>, text: &str) -> anyhow::Result<()> {
    match out {
        Some(path) => std::fs::write(path, text).with_context(|| format!("can't write {}", path.display())),
        None => {
            crate::out::text(text);
            Ok(())
        }
    }
}
