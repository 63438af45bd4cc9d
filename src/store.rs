//! `taraz store`: verify, compact and back up the store of an ingest that may be running, and what contradicts it.

mod conflicts;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::bail;
use taraz_ingest::{Progress, Sealing, StoreConfig, Verified, backup, compact, verify};

use crate::cli::{Installation, StoreCommand};
use crate::config::Config;
use crate::out::{say, tell};

/// The folder of ingest within the data folder of `taraz up`.
const INGEST_FOLDER: &str = "ingest";

/// `taraz store …`
pub(crate) fn run(command: &StoreCommand) -> anyhow::Result<()> {
    match command {
        StoreCommand::Verify(of) => verified(&verify(&place(of)?.0)?),
        StoreCommand::Compact(of) => compacted(of),
        StoreCommand::Conflicts(args) => conflicts::run(args, &place(&args.of)?.0),
        StoreCommand::Backup(args) => {
            let found = backup(&place(&args.of)?.0, &args.to)?;
            say!("{}: written and verified", args.to.display());
            verified(&found)
        }
    }
}

/// The store's folder and its policy.
fn place(of: &Installation) -> anyhow::Result<(PathBuf, StoreConfig)> {
    let within = of.data.as_ref().map(|data| data.join(INGEST_FOLDER));
    let Some(path) = &of.config else {
        return Ok((within.unwrap_or_default(), StoreConfig::default()));
    };
    let config = Config::read(path)?;
    let ingest = config.ingest()?;
    Ok((within.unwrap_or_else(|| ingest.data.clone()), ingest.store))
}

fn compacted(of: &Installation) -> anyhow::Result<()> {
    let (folder, policy) = place(of)?;
    let compacted = compact(
        &folder,
        policy.seal_after_days,
        now_ms(),
        |progress| match progress {
            Progress::Sealing(done) => tell!("sealed {}", told(&done)),
            Progress::FreePages(left) => tell!("giving space back: {left} pages are left"),
        },
    )?;
    say!("sealed {}", told(&compacted.sealing));
    say!(
        "the file had {} bytes, it has {}",
        compacted.bytes_before,
        compacted.bytes_after
    );
    if compacted.is_stuck {
        say!(
            "free space stays in the file, which an earlier version has made, and is used again; to give it back, stop ingest and compact once more"
        );
    }
    if compacted.sealing.unsealable > 0 {
        bail!(
            "{} days of devices can't be sealed: `taraz store verify` says why",
            compacted.sealing.unsealable
        );
    }
    Ok(())
}

fn told(sealing: &Sealing) -> String {
    format!(
        "{} readings of {} days of devices: {} bytes to {}",
        sealing.readings, sealing.device_days, sealing.records_bytes, sealing.chunk_bytes
    )
}

fn verified(found: &Verified) -> anyhow::Result<()> {
    say!(
        "{} records with a row of their own; {} readings in {} runs; {} readings in {} sealed chunks of {} bytes; {} readings given up by policy",
        found.rows,
        found.run_readings,
        found.runs,
        found.chunk_readings,
        found.chunks,
        found.chunk_bytes,
        found.forgotten
    );
    for what in &found.wrong {
        say!("wrong: {what}");
    }
    let count = found.wrong.len() as u64 + found.more_wrong;
    if count > 0 {
        bail!("{count} things are wrong with the store; a backup that was verified has them right");
    }
    say!("everything is as it was written");
    Ok(())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
