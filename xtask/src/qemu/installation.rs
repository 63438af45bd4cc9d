//! What the emulated board talks to: gateway and ingest in one process, and the simulator of its bus.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench::Process;

const FLEET: &str = include_str!("fleet.toml");
const SIMULATION: &str = include_str!("simulation.toml");
/// The device of [`FLEET`].
const DEVICE: &str = "sari-01";
/// The computer, as QEMU's own network shows it.
const HOST: &str = "10.0.2.2";
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL_INTERVAL_S: &str = "5";

/// Its processes; dropped, they are killed.
pub(super) struct Installation {
    folder: PathBuf,
    taraz: PathBuf,
    mqtt: SocketAddr,
    page: SocketAddr,
    bus_port: u16,
    processes: Vec<Process>,
}

impl Installation {
    /// Lays it out in `folder`, as far as it is not there, and starts it.
    pub(super) fn start(folder: &Path, taraz: &Path) -> Result<Self> {
        let board = folder.join("board");
        std::fs::create_dir_all(&board).with_context(|| board.display().to_string())?;
        let [mqtt, gateway, page, bus] = free_addresses()?;
        let config = format!(
            "fleet = \"fleet.toml\"\nmaster_key = \"master.key\"\n\n\
             [gateway]\ndata_dir = \"gateway\"\nmqtt_listen = \"{mqtt}\"\nhttp_listen = \"{gateway}\"\n\n\
             [ingest]\ndata = \"ingest\"\nlisten = \"{page}\"\ntoken = \"token-of-one-emulated-board\"\n"
        );
        for (name, text) in [
            ("fleet.toml", FLEET),
            ("simulation.toml", SIMULATION),
            ("taraz.toml", &config),
        ] {
            std::fs::write(folder.join(name), text).with_context(|| name.to_owned())?;
        }
        let mut installation = Self {
            folder: folder.to_owned(),
            taraz: taraz.to_owned(),
            mqtt,
            page,
            bus_port: bus.port(),
            processes: Vec::new(),
        };
        if !folder.join("master.key").exists() {
            installation.taraz(&["config", "master-key", "master.key"])?;
        }
        installation.run("up", &["up", "--config", "taraz.toml"], mqtt)?;
        let port = bus.port().to_string();
        let simulate = [
            "simulate",
            "--fleet",
            "fleet.toml",
            "--plants",
            "simulation.toml",
            "--journal",
            "journal.jsonl",
            "--first-port",
            &port,
        ];
        installation.run("simulate", &simulate, bus)?;
        Ok(installation)
    }

    /// Puts the device's configuration page into the board's flash file; the queue in it stays.
    pub(super) fn write_flash(&self, elf: &Path, board: &str, sntp_port: u16) -> Result<()> {
        let broker = format!("{HOST}:{}", self.mqtt.port());
        let sntp = format!("{HOST}:{sntp_port}");
        let program = elf.display().to_string();
        self.taraz(&[
            "device",
            "image",
            DEVICE,
            "--board",
            board,
            "--program",
            &program,
            "--broker",
            &broker,
            "--sntp",
            &sntp,
            "--bus",
            "baud=9600",
            "--poll-interval-s",
            POLL_INTERVAL_S,
            "--config",
            "taraz.toml",
            "--out",
            "board/flash.img",
        ])
    }

    /// Where people look.
    pub(super) const fn page(&self) -> SocketAddr {
        self.page
    }

    /// Where the bus is, as RTU over TCP.
    pub(super) const fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// The emulator's working folder.
    pub(super) fn board_folder(&self) -> PathBuf {
        self.folder.join("board")
    }

    /// Ends it politely.
    pub(super) fn stop(self) -> Result<()> {
        self.processes.into_iter().rev().try_for_each(Process::stop)
    }

    fn run(&mut self, name: &'static str, arguments: &[&str], serves: SocketAddr) -> Result<()> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let mut process = Process::start(name, &self.taraz, &arguments, &self.folder, name)?;
        process.wait_until(START_LIMIT, "open port", |_| {
            Ok(TcpStream::connect(serves).is_ok())
        })?;
        self.processes.push(process);
        Ok(())
    }

    fn taraz(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(&self.taraz)
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .with_context(|| self.taraz.display().to_string())?;
        if !output.status.success() {
            bail!(
                "taraz {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr).trim_end()
            );
        }
        Ok(())
    }
}

fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    // All are open at once, so that none is given twice.
    let listeners: Vec<TcpListener> = addresses
        .iter()
        .map(TcpListener::bind)
        .collect::<Result<_, _>>()
        .context("free ports")?;
    for (address, listener) in addresses.iter_mut().zip(&listeners) {
        *address = listener.local_addr()?;
    }
    Ok(addresses)
}
