//! What a herd is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::options::CONNECTIONS_MAX;
use crate::scrape::Series as Counter;
use crate::usage::open_files_max;

/// Files that are open beside the connections.
const FILES_BESIDE: u64 = 64;
const WINDOW_MAX: usize = 128;

/// A herd against one gateway.
#[derive(Args, Clone, Debug)]
pub struct HerdOptions {
    /// Where the gateway's door listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    pub broker: SocketAddr,
    /// The master key that the devices' keys are derived from
    #[arg(long, value_name = "FILE")]
    pub master_key: PathBuf,
    /// Devices that come back at once
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Readings that each of them has kept over a week
    #[arg(long, default_value_t = 1_000)]
    pub backlog_readings: u64,
    /// Their backlog does not end: they publish as fast as they are let for so long
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Frames of each that wait for their /ack; a device's own link has 7
    #[arg(long, default_value_t = 7)]
    pub window: usize,
    /// Devices beside them that publish one reading a second from before until after
    #[arg(long, default_value_t = 100)]
    pub live: usize,
    /// Devices beside them that flood: new readings, the same ones again, and what is no frame
    #[arg(long, default_value_t = 0)]
    pub mad: usize,
    /// Connections beside them that sign in with a wrong password, again and again
    #[arg(long, default_value_t = 0)]
    pub strangers: usize,
    /// Give up after so long
    #[arg(long, default_value_t = 600)]
    pub limit_seconds: u64,
    /// A file that is made when half of the backlog is acknowledged
    #[arg(long, value_name = "FILE")]
    pub half_file: Option<PathBuf>,
    /// A counter that says how many readings are stored
    #[arg(long, value_name = "ADDRESS:PORT/PATH#SERIES")]
    pub stored: Option<Counter>,
    /// Where the figures go as JSON; to standard output when left out
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl HerdOptions {
    /// Devices with a key: live ones first, then the herd, then the mad ones.
    pub(crate) const fn devices(&self) -> usize {
        self.live + self.connections + self.mad
    }

    /// Checks what can be checked before anything is opened.
    ///
    /// # Errors
    /// The first value that can't be, with what is allowed; or too few open files, with how to raise the limit.
    pub(crate) fn check(&self) -> Result<()> {
        let devices = self.devices();
        if self.connections == 0 || devices > CONNECTIONS_MAX {
            bail!(
                "--connections, --live and --mad: expected 1 to {CONNECTIONS_MAX} together, found {devices}"
            );
        }
        if !(1..=WINDOW_MAX).contains(&self.window) {
            bail!("--window {}: expected 1 to {WINDOW_MAX}", self.window);
        }
        if self
            .seconds
            .is_some_and(|seconds| !(seconds > 0.0 && seconds.is_finite()))
        {
            bail!("--seconds: expected a number above 0");
        }
        let (needed, may) = (
            (devices + self.strangers) as u64 + FILES_BESIDE,
            open_files_max()?,
        );
        if may < needed {
            bail!(
                "{devices} connections need {needed} open files and this process may have {may}: run `ulimit -n {needed}` first"
            );
        }
        Ok(())
    }
}
