//! `taraz-stages`: each stage of the data path alone, by its crate's public interface.
//!
//! In: which stage, how much. Out: figures as JSON on standard output. `gateway` serves until it is told to stop: the load
//! generator loads it from outside, and whoever started both reads its CPU.

mod close;
mod decode;
mod filled;
mod follow;
mod gateway;
mod ingest;
mod present;
mod rebuild;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "taraz-stages",
    about = "Each stage of the data path alone in a process"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check the tags of frames and read their records
    Decode {
        #[command(flatten)]
        amount: Amount,
    },
    /// Store batches as the gateway delivers them
    Ingest {
        #[command(flatten)]
        amount: Amount,
        /// A new folder for registry and store
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Readings state no register: no points, no intervals
        #[arg(long)]
        without_registers: bool,
        /// A sink that is away: what changes is written down for it
        #[arg(long)]
        with_sink: bool,
    },
    /// Compute and answer what is said of the present of many plants
    Present {
        /// Plants, each with a meter
        #[arg(long, default_value_t = 10_000)]
        plants: usize,
        /// A new folder for registry and store
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Make every interval of a store anew, before and after its days are sealed
    Rebuild {
        #[command(flatten)]
        past: filled::Past,
        /// A new folder for registry and store
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Compute all figures that sinks get of the last quarter-hour and local day, and the duty report
    Close {
        #[command(flatten)]
        past: filled::Past,
        /// A new folder for registry and store
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
    },
    /// Look at a store again and again: how long live readings take until they are there
    Follow(follow::Followed),
    /// Serve as a gateway whose ingest takes everything at once, until Ctrl-C
    Gateway {
        /// A folder with the fleet.toml and master.key of a load
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Where it listens for MQTT
        #[arg(long, value_name = "ADDRESS:PORT")]
        listen: std::net::SocketAddr,
    },
}

/// How much of it.
#[derive(clap::Args)]
struct Amount {
    /// Devices that take turns
    #[arg(long, default_value_t = 1_000)]
    devices: usize,
    /// Readings in each frame
    #[arg(long, default_value_t = 1)]
    readings_per_frame: usize,
    /// Readings of all
    #[arg(long, default_value_t = 500_000)]
    readings: usize,
}

/// From one poll of a device to the next.
const STEP_MS: u64 = 10_000;
/// How long ago the first poll was.
const BACKLOG_DAYS: u64 = 300;
/// Identities of the one run that a process makes.
const INCARNATION: u32 = 1;

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Decode { amount } => println!("{:#}", decode::run(&amount)?),
        Command::Ingest {
            amount,
            folder,
            without_registers,
            with_sink,
        } => println!(
            "{:#}",
            ingest::run(&amount, &folder, without_registers, with_sink)?
        ),
        Command::Present { plants, folder } => println!("{:#}", present::run(plants, &folder)?),
        Command::Rebuild { past, folder } => println!("{:#}", rebuild::run(&past, &folder)?),
        Command::Close { past, folder } => println!("{:#}", close::run(&past, &folder)?),
        Command::Follow(followed) => println!("{:#}", follow::run(&followed)?),
        Command::Gateway { folder, listen } => gateway::serve(&folder, listen)?,
    }
    Ok(())
}

/// UTC ms by the system's clock.
fn now_ms() -> Result<u64> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(since.as_millis().try_into()?)
}

/// The devices of a run, with the key that [`taraz_load::lay_out`] writes.
fn devices(count: usize, now_ms: u64) -> Result<Vec<taraz_load::Device>> {
    devices_from(count, 1, now_ms - BACKLOG_DAYS * 86_400_000, STEP_MS)
}

/// Devices with so many meters that were polled every `step_ms` from `start_ms` (UTC) on.
fn devices_from(count: usize, meters: usize, start_ms: u64, step_ms: u64) -> Result<Vec<taraz_load::Device>> {
    let master = taraz_load::master_key();
    let device = |index| taraz_load::Device::new(index, meters, &master, INCARNATION, start_ms, step_ms);
    (0..count).map(device).collect()
}
