//! An installation in a folder of its own: the demo's fleet, a key, the configuration, and its processes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::process::Process;
use super::scrape::metric;
use crate::workspace;

/// How long a program may take to serve.
const START_LIMIT: Duration = Duration::from_secs(60);
/// From one round of polls of the history to the next.
const STEP_S: u32 = 300;
const TOKEN: &str = "bench-token-of-one-run";

/// Where everything of one installation is.
pub(crate) struct Installation {
    folder: PathBuf,
    binary: PathBuf,
    days: u32,
    meters: usize,
    mqtt: SocketAddr,
    gateway: SocketAddr,
    ingest: SocketAddr,
}

impl Installation {
    /// Writes fleet, key and configuration into the new `folder`.
    ///
    /// # Errors
    /// When a file can't be written.
    pub(crate) fn lay_out(folder: &Path, binary: &Path, days: u32) -> Result<Self> {
        std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
        let demo = workspace::root().join("simulator/demo");
        for file in ["fleet.toml", "simulation.toml"] {
            let from = demo.join(file);
            std::fs::copy(&from, folder.join(file)).with_context(|| from.display().to_string())?;
        }
        let [mqtt, gateway, ingest] = free_addresses()?;
        std::fs::write(folder.join("taraz.toml"), configuration(mqtt, gateway, ingest))?;
        write_private(&folder.join("master.key"), &"07".repeat(32))?;
        Ok(Self {
            meters: meters(&std::fs::read_to_string(folder.join("fleet.toml"))?)?,
            folder: folder.to_owned(),
            binary: binary.to_owned(),
            days,
            mqtt,
            gateway,
            ingest,
        })
    }

    /// How many readings the histories of all meters have, without the round of the first instant.
    pub(crate) fn history_readings(&self) -> f64 {
        self.meters as f64 * f64::from(self.days) * f64::from(86_400 / STEP_S)
    }

    /// The port of the gateway's door.
    pub(crate) fn door(&self) -> u16 {
        self.mqtt.port()
    }

    /// The folder of the gateway's spool, or of ingest's store.
    pub(crate) fn data(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }

    /// Starts the gateway and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start_gateway(&self) -> Result<Process> {
        self.start_service("gateway", self.gateway)
    }

    /// Starts ingest and waits until it serves.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn start_ingest(&self) -> Result<Process> {
        self.start_service("ingest", self.ingest)
    }

    fn start_service(&self, name: &'static str, address: SocketAddr) -> Result<Process> {
        let mut process = self.start(name, name, &[name, "--config", "taraz.toml"])?;
        process.wait_until(START_LIMIT, "open port", |_| {
            Ok(std::net::TcpStream::connect(address).is_ok())
        })?;
        Ok(process)
    }

    /// Starts the simulator; the devices with the addresses of their buses.
    ///
    /// # Errors
    /// When it does not serve.
    pub(crate) fn start_simulator(&self) -> Result<(Process, BTreeMap<String, String>)> {
        let arguments = [
            "simulate",
            "--fleet",
            "fleet.toml",
            "--plants",
            "simulation.toml",
            "--first-port",
            "0",
            "--follow-clock",
        ];
        let mut process = self.start("simulate", "simulate", &arguments)?;
        process.wait_until(START_LIMIT, "list of buses", |process| {
            Ok(process.lines_with("Ctrl-C stops")? > 0)
        })?;
        let buses = process.output()?.lines().filter_map(bus_of_line).collect();
        Ok((process, buses))
    }

    /// Writes the configuration of every device on `buses`, with the gateway at the local port `door`.
    ///
    /// # Errors
    /// When the program does not print one.
    pub(crate) fn configure_devices(&self, buses: &BTreeMap<String, String>, door: u16) -> Result<Devices> {
        let broker = format!("mqtt://127.0.0.1:{door}");
        let mut files = Vec::new();
        for (device, bus) in buses {
            let state = format!("device-{device}");
            let printed = Command::new(&self.binary)
                .args(["device", "config", device, "--config", "taraz.toml"])
                .args(["--bus", bus, "--broker", &broker, "--state", &state])
                .current_dir(&self.folder)
                .output()?;
            if !printed.status.success() {
                bail!(
                    "taraz device config {device}: {}",
                    String::from_utf8_lossy(&printed.stderr)
                );
            }
            let config = String::from_utf8(printed.stdout)?;
            let history = format!("history = {{ days = {}, step_s = {STEP_S} }}\n", self.days);
            let file = format!("{device}.toml");
            write_private(&self.folder.join(&file), &(history + &config))?;
            files.push(file);
        }
        Ok(Devices { files })
    }

    /// Starts all devices in one process, with its output in `LOG.log`.
    ///
    /// # Errors
    /// When it can't be started.
    pub(crate) fn start_devices(&self, devices: &Devices, log: &str) -> Result<Process> {
        let files = devices.files.iter().map(String::as_str);
        let arguments: Vec<&str> = ["device", "run"].into_iter().chain(files).collect();
        self.start("devices", log, &arguments)
    }

    /// Readings that ingest has stored since its start.
    ///
    /// # Errors
    /// When ingest does not answer.
    pub(crate) fn stored_readings(&self) -> Result<f64> {
        metric(self.ingest, "ingest_records_total", "kind=\"reading\"")
    }

    /// Frames that the gateway has and ingest has not.
    ///
    /// # Errors
    /// When the gateway does not answer.
    pub(crate) fn backlog_frames(&self) -> Result<f64> {
        metric(self.gateway, "gateway_backlog_frames", "")
    }

    fn start(&self, name: &'static str, log: &str, arguments: &[&str]) -> Result<Process> {
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        Process::start(name, &self.binary, &arguments, &self.folder, log)
    }
}

/// The configured devices.
pub(crate) struct Devices {
    files: Vec<String>,
}

impl Devices {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.files.len()
    }
}

/// `taraz.toml` for gateway and ingest with their data beside it.
pub(super) fn configuration(mqtt: SocketAddr, gateway: SocketAddr, ingest: SocketAddr) -> String {
    format!(
        "fleet = \"fleet.toml\"\nmaster_key = \"master.key\"\n\n\
         [gateway]\ndata_dir = \"gateway\"\nmqtt_listen = \"{mqtt}\"\nhttp_listen = \"{gateway}\"\n\
         ingest = {{ url = \"http://{ingest}\", token = \"{TOKEN}\" }}\n\n\
         [ingest]\ndata = \"ingest\"\nlisten = \"{ingest}\"\ntoken = \"{TOKEN}\"\n"
    )
}

/// Ports of 127.0.0.1 that nobody listened on just now; all are held until all are known.
pub(super) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address).context("a free port of 127.0.0.1")?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

/// `bus sari-01 tcp://127.0.0.1:5020` → the device and where its bus is.
fn bus_of_line(line: &str) -> Option<(String, String)> {
    let mut words = line.strip_prefix("bus ")?.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

/// How many meters a registry has.
fn meters(fleet: &str) -> Result<usize> {
    let fleet: toml::Table = fleet.parse()?;
    let list = |table: &toml::Table, key: &str| -> Vec<toml::Table> {
        let entries = table
            .get(key)
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten();
        entries.filter_map(|entry| entry.as_table().cloned()).collect()
    };
    let plants = list(&fleet, "plant");
    let devices = plants.iter().flat_map(|plant| list(plant, "device"));
    Ok(devices.map(|device| list(&device, "meter").len()).sum())
}

/// Writes a file with a secret, which only its owner can read: programs refuse others. An existing one is replaced.
fn write_private(path: &Path, text: &str) -> Result<()> {
    if path.exists() {
        std::fs::remove_file(path)?;
    }
    let mut file = std::fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_are_found_in_what_the_simulator_prints() {
        assert_eq!(
            bus_of_line("bus sari-01 tcp://127.0.0.1:5020"),
            Some(("sari-01".to_owned(), "tcp://127.0.0.1:5020".to_owned()))
        );
        assert_eq!(bus_of_line("taraz simulate: 12 buses · Ctrl-C stops"), None);
    }

    #[test]
    fn the_meters_of_a_registry_are_counted() {
        let fleet = "[[plant]]\n[[plant.device]]\n[[plant.device.meter]]\n[[plant.device.meter]]\n\
                     [[plant]]\n[[plant.device]]\n[[plant.device.meter]]\n";
        assert_eq!(meters(fleet).unwrap(), 3);
    }
}
