//! `taraz-load`: the load generator as a program of its own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use taraz_load::{HerdOptions, Options};

#[derive(Parser)]
#[command(
    name = "taraz-load",
    about = "Thousands of real MQTT connections with realistic readings, and what became of them"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write fleet.toml and master.key for the devices of a run
    LayOut {
        /// An existing folder
        #[arg(long, value_name = "FOLDER")]
        folder: PathBuf,
        /// Devices, each at a plant of its own
        #[arg(long, default_value_t = 1_000)]
        devices: usize,
        /// Meters of each device
        #[arg(long, default_value_t = 1)]
        meters: usize,
    },
    /// Connect, publish, and tell the figures as JSON
    Run(Box<Options>),
    /// Let devices with a backlog come back at once beside live ones, and tell the figures as JSON
    Herd(Box<HerdOptions>),
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::LayOut {
            folder,
            devices,
            meters,
        } => taraz_load::lay_out(&folder, devices, meters),
        Command::Run(options) => tell(&taraz_load::run(&options)?, options.json.as_deref()),
        Command::Herd(options) => {
            let mut at_half = || match &options.half_file {
                Some(file) => std::fs::write(file, "").with_context(|| file.display().to_string()),
                None => Ok(()),
            };
            tell(
                &taraz_load::herd(&options, &mut at_half)?,
                options.json.as_deref(),
            )
        }
    }
}

fn tell(figures: &serde_json::Value, file: Option<&Path>) -> Result<()> {
    let figures = format!("{figures:#}\n");
    match file {
        Some(file) => std::fs::write(file, figures).with_context(|| file.display().to_string()),
        None => {
            print!("{figures}");
            Ok(())
        }
    }
}
