//! The command line: what can be said, with help that a person can start from.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod calc;
mod device;
mod energy;
mod gaps;
mod quarantine;
mod report;
mod schedule;
mod spool;
mod store;

pub(crate) use calc::{CalcCommand, Files, FilesWithParams, ReplayArgs, Stamp};
pub(crate) use device::{AddArgs, DeviceCommand, FlashArgs, ImageArgs, ScanArgs};
pub(crate) use energy::{EnergyCommand, ExplainArgs, ExplainFormat};
pub(crate) use gaps::{GAPS_HELP, GapsArgs};
pub(crate) use quarantine::{Chosen, ItemId, QuarantineCommand};
pub(crate) use report::{DutyArgs, Format, Language, ReportCommand, Source};
pub(crate) use schedule::ScheduleCommand;
pub(crate) use spool::{ExportArgs, ImportArgs, SpoolArgs, SpoolCommand, SpoolPlace};
pub(crate) use store::{ConflictsArgs, Installation, StoreCommand};

/// Energy monitoring and IoT ingestion for installed solar plants.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  taraz up --demo                           twelve simulated plants, nothing to install, page at http://127.0.0.1:8080
  taraz config example > taraz.toml         a complete, commented configuration
  taraz up --config taraz.toml              gateway and ingest for real devices in one process
  taraz device add sari-02 --plant sari-roof-1 --meter 1:inverter:sunspec --config taraz.toml
  taraz device image sari-02 --board w5500-evb-pico --broker 192.168.7.2 --config taraz.toml --out sari-02.uf2
  taraz device flash sari-02 --image sari-02.uf2
  taraz device config sari-01 --config taraz.toml --out sari-01.toml
  taraz energy explain sari-roof-1 --from 1404-09-01 --to 1404-10-01 --config taraz.toml
  taraz report duty --year 1404 --lang fa --out duty.html --config taraz.toml
  taraz device run sari-01.toml             this computer as a meter device (USB to RS-485)

Set RUST_LOG (e.g. info, debug, taraz_gateway=debug) for more or less to read.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Gateway, ingest and store in one process; with --demo also twelve simulated plants and their devices.
    Up(UpArgs),
    /// Only the gateway: takes frames in over MQTT, durably, and hands them to an ingest service.
    Gateway(ConfigArgs),
    /// Only the ingest service: stores readings, computes intervals, serves metrics, API and page.
    Ingest(ConfigArgs),
    /// Simulated inverters and meters on Modbus, replaying real measured plants.
    Simulate(SimulateArgs),
    /// Meter devices: register one, make its image and write it to a board, or run one on this computer.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// What ingest rejected or holds back: look at it, try it again, or drop it.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// What waits in the gateway for ingest: list, check, repair, export, import.
    #[command(subcommand)]
    Spool(SpoolCommand),
    /// Examples and checks of configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The analytics' figures from files to files, for auditors.
    #[command(subcommand)]
    Calc(CalcCommand),
    /// Reports from an ingest's store, which may be running.
    #[command(subcommand)]
    Report(ReportCommand),
    /// What the store's registers say about an energy.
    #[command(subcommand)]
    Energy(EnergyCommand),
    /// What plants are scheduled to generate.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Of every record that the devices have written, what became of it; ingest may be running.
    #[command(after_help = GAPS_HELP)]
    Gaps(GapsArgs),
    /// Verify, compact or back up ingest's store, which may be in use, or list what contradicts it.
    #[command(subcommand)]
    Store(StoreCommand),
    /// The analytics over a folder of recorded registers, causally: daily energies with their completeness.
    #[command(after_help = calc::REPLAY_HELP)]
    Replay(ReplayArgs),
}

/// How `up` is started.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["demo", "config"])))]
pub(crate) struct UpArgs {
    /// Twelve simulated plants in Mazandaran with 30 days of history; needs nothing else.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Run for real devices, as this file says (see `taraz config example`).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The data folder; it is made if need be. With --demo: ./taraz-data unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where the page, the API and /metrics are served.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) http: Option<SocketAddr>,
    /// Where devices connect over MQTT.
    #[arg(long, value_name = "ADDR", value_parser = socket)]
    pub(crate) mqtt: Option<SocketAddr>,
    /// With --demo: also write every reading to this InfluxDB v2 or VictoriaMetrics, for Grafana's history panels.
    #[arg(long, value_name = "URL", requires = "demo")]
    pub(crate) influx: Option<String>,
    /// With --demo: move the plants along their parallel to where it is noon now.
    #[arg(long, requires = "demo")]
    pub(crate) noon: bool,
    /// With --demo: days of history that the devices start with, 0 to 365.
    #[arg(long, value_name = "DAYS", requires = "demo", default_value_t = 30, value_parser = clap::value_parser!(u16).range(0..=365))]
    pub(crate) history_days: u16,
}

/// A configuration file and nothing else.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    /// The configuration (see `taraz config example`).
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
}

/// How the simulator is started.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taraz simulate                            the demo's twelve plants, one Modbus RTU-over-TCP port for each device
  taraz simulate --tcp --first-port 15020   the same over Modbus TCP
  taraz simulate --pty                      over pseudo terminals, as if on a serial port
  taraz simulate --fleet fleet.toml --plants simulation.toml --faults faults.toml --journal journal.jsonl")]
pub(crate) struct SimulateArgs {
    /// Which plants exist; the demo's unless given.
    #[arg(long, value_name = "FILE", requires = "plants")]
    pub(crate) fleet: Option<PathBuf>,
    /// What each device's bus has on it (see `taraz config example simulation`); the demo's unless given.
    #[arg(long, value_name = "FILE", requires = "fleet")]
    pub(crate) plants: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1", value_parser = address)]
    pub(crate) listen: IpAddr,
    /// The first bus's port; the others follow in the order of the devices' ids. 0 takes free ports.
    #[arg(long, default_value_t = 5020)]
    pub(crate) first_port: u16,
    /// Modbus TCP instead of RTU over TCP.
    #[arg(long, conflicts_with = "pty")]
    pub(crate) tcp: bool,
    /// Pseudo terminals instead of TCP ports.
    #[arg(long)]
    pub(crate) pty: bool,
    /// Write every answered read to this file, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
    /// Faults to act out; the file is read again whenever it changes (see `taraz config example faults`).
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<PathBuf>,
    /// Shift the replayed plants by this many seconds (noon at midnight: 43200).
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = seconds
    )]
    pub(crate) offset_s: i64,
    /// Let a bus master set its connection's clock (unit 247), for devices with simulated history.
    #[arg(long)]
    pub(crate) follow_clock: bool,
}

/// What can be done with configuration files.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print a complete, commented example.
    Example {
        /// Which file.
        #[arg(value_enum, default_value_t = ExampleKind::Taraz)]
        file: ExampleKind,
    },
    /// Check a taraz.toml and the files it names, and open nothing.
    Check {
        /// The configuration.
        #[arg(value_name = "FILE")]
        config: PathBuf,
    },
    /// Draw a new master key into a file that only you can read; an existing file is never replaced.
    MasterKey {
        /// The file to make.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// The files that have an example.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ExampleKind {
    /// taraz.toml: gateway, ingest and where their files are.
    Taraz,
    /// fleet.toml: owners, plants, devices, meters.
    Fleet,
    /// A device's configuration for `taraz device run`.
    Device,
    /// What stands on the simulated buses.
    Simulation,
    /// Faults for the simulator to act out.
    Faults,
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    let allowed =
        "allowed: ADDRESS:PORT, as 127.0.0.1:8080 or [::1]:8080; port 0 to 65535, 0 takes a free one";
    text.parse().map_err(|_| allowed.to_owned())
}

fn address(text: &str) -> Result<IpAddr, String> {
    let allowed = "allowed: an IP address, as 127.0.0.1 or ::1";
    text.parse().map_err(|_| allowed.to_owned())
}

fn seconds(text: &str) -> Result<i64, String> {
    let allowed = "allowed: a whole number of seconds, as 43200 or -3600";
    text.parse().map_err(|_| allowed.to_owned())
}
