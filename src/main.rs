//! The one program: command line → configuration → run. No logic lives here.

// They panic when whoever reads has left: `out` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

mod calc;
mod cli;
mod config;
mod demo;
mod device;
mod energy;
mod gaps;
mod out;
mod process;
mod progress;
mod quarantine;
mod replay;
mod report;
mod schedule;
mod services;
mod simulate;
mod spool;
mod stop;
mod store;
mod up;

use cli::{Cli, Command};
use out::tell;

/// Memory that is not used any more goes back to the system, also between what lives on: a registry takes 20 times the memory
/// while it is parsed. Frames are allocated by one thread and freed by another, which it is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is logged unless `RUST_LOG` says otherwise.
const LOG_DEFAULT: &str = "info";
/// The demo's terminal tells how it goes by itself.
const LOG_DEFAULT_DEMO: &str = "warn";

fn main() -> ExitCode {
    let cli = Cli::parse();
    let is_demo = matches!(&cli.command, Command::Up(args) if args.demo);
    start_logging(if is_demo { LOG_DEFAULT_DEMO } else { LOG_DEFAULT });
    let printed = || match out::failed() {
        Some(why) => Err(anyhow::anyhow!(
            "can't print everything: {why}; give the output another place, and look at what the command has done before you run it again"
        )),
        None => Ok(()),
    };
    match run(cli.command).and_then(|()| printed()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("taraz: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    // What needs no runtime runs without one: nothing is opened before a configuration was read whole.
    match command {
        Command::Config(command) => config::run(&command),
        Command::Quarantine(command) => quarantine::run(&command),
        Command::Spool(command) => spool::run(&command),
        Command::Calc(command) => calc::run(&command),
        Command::Replay(args) => replay::run(&args),
        Command::Store(command) => store::run(&command),
        Command::Energy(command) => energy::run(&command),
        Command::Gaps(args) => gaps::run(&args),
        Command::Report(command) => report::run(&command),
        Command::Schedule(command) => schedule::run(&command),
        Command::Device(command) => device::run(command),
        Command::Up(args) => up::run(args),
        Command::Gateway(args) => services::gateway(&args),
        Command::Ingest(args) => services::ingest(&args),
        Command::Simulate(args) => simulate::run(&args),
    }
}

fn start_logging(default: &str) {
    let filter = EnvFilter::try_from_env("RUST_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // Nobody is left to tell that nobody reads.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

/// The runtime that every long-running command shares.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
