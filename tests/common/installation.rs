//! An installation in a temporary folder: fleet, key, configuration, and its processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use taraz_fleet::Fleet;
use taraz_telemetry::{DeviceId, MasterKey};
use taraz_test_support::{Process, free_port, get};
use tempfile::TempDir;

/// The program under test.
pub(crate) const TARAZ: &str = env!("CARGO_BIN_EXE_taraz");
/// How long a program of ours may take to serve.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// What a gateway presents.
pub(crate) const TOKEN: &str = "end-to-end-test-token";

/// Which way devices reach the gateway.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// The gateway's own door.
    Door,
    /// A broker at this URL.
    Broker(String),
}

/// Files, ports and processes of one installation.
#[derive(Debug)]
pub(crate) struct Installation {
    folder: TempDir,
    /// The registry.
    pub(crate) fleet: Fleet,
    /// The secret behind the devices' keys.
    pub(crate) master: MasterKey,
    way: Way,
    mqtt_port: u16,
    /// Where devices connect instead, when a road of the test leads to the gateway or broker.
    road: Option<SocketAddr>,
    /// Where the gateway serves.
    pub(crate) gateway_http: SocketAddr,
    /// Where ingest serves.
    pub(crate) http: SocketAddr,
}

impl Installation {
    /// Lays out an installation with this registry.
    pub(crate) fn new(fleet_toml: &str, way: Way) -> Self {
        let folder = tempfile::Builder::new().prefix("taraz-e2e-").tempdir().unwrap();
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (mqtt_port, gateway_http, http) = (free_port(), local(free_port()), local(free_port()));
        let door = match &way {
            Way::Door => format!("mqtt_listen = \"127.0.0.1:{mqtt_port}\""),
            Way::Broker(url) => format!("broker = {{ url = \"{url}\" }}"),
        };
        let config = format!(
            "fleet = \"fleet.toml\"\nmaster_key = \"master.key\"\n\n\
             [gateway]\ndata_dir = \"gateway\"\n{door}\nhttp_listen = \"{gateway_http}\"\n\
             ingest = {{ url = \"http://{http}\", token = \"{TOKEN}\" }}\n\n\
             [ingest]\ndata = \"ingest\"\nlisten = \"{http}\"\ntoken = \"{TOKEN}\"\n"
        );
        std::fs::write(folder.path().join("taraz.toml"), config).unwrap();
        std::fs::write(folder.path().join("fleet.toml"), fleet_toml).unwrap();
        let installation = Self {
            fleet: Fleet::parse(fleet_toml).unwrap(),
            master: MasterKey::new([7; 32]),
            folder,
            way,
            mqtt_port,
            road: None,
            gateway_http,
            http,
        };
        installation.write_private("master.key", &"07".repeat(32));
        installation
    }

    /// The installation's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port of the gateway's own door.
    pub(crate) fn mqtt_port(&self) -> u16 {
        self.mqtt_port
    }

    /// Where the gateway serves metrics and probes.
    pub(crate) fn gateway_http(&self) -> SocketAddr {
        self.gateway_http
    }

    /// Devices that are configured from now on connect here.
    pub(crate) fn set_road(&mut self, road: SocketAddr) {
        self.road = Some(road);
    }

    /// The gateway delivers here from its next start on, where a road of the test leads to ingest.
    pub(crate) fn set_hop(&self, hop: SocketAddr) {
        let path = self.folder().join("taraz.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        let direct = format!("url = \"http://{}\"", self.http);
        assert!(config.contains(&direct), "{config}");
        std::fs::write(path, config.replace(&direct, &format!("url = \"http://{hop}\""))).unwrap();
    }

    /// Starts the gateway and waits until it serves.
    pub(crate) fn start_gateway(&self) -> Process {
        let mut process = Process::taraz(
            TARAZ,
            "gateway",
            &["gateway", "--config", "taraz.toml"],
            self.folder(),
        );
        process.wait_accepting(START_LIMIT, self.gateway_http);
        process
    }

    /// Starts the gateway under another program (`wrapper`, with its arguments) which leaves it its process id.
    pub(crate) fn start_gateway_under(&self, wrapper: &[String], environment: &[(&str, &str)]) -> Process {
        self.start_under(wrapper, environment, "gateway", self.gateway_http)
    }

    /// Starts ingest, as [`Self::start_gateway_under`].
    pub(crate) fn start_ingest_under(&self, wrapper: &[String], environment: &[(&str, &str)]) -> Process {
        self.start_under(wrapper, environment, "ingest", self.http)
    }

    fn start_under(
        &self,
        wrapper: &[String],
        environment: &[(&str, &str)],
        what: &str,
        address: SocketAddr,
    ) -> Process {
        let mut command = std::process::Command::new(&wrapper[0]);
        command
            .args(&wrapper[1..])
            .args([TARAZ, what, "--config", "taraz.toml"]);
        command
            .current_dir(self.folder())
            .env("NO_COLOR", "1")
            .env("RUST_LOG", "info");
        command.envs(environment.iter().copied());
        let log = self.folder().join(format!("{what}.log"));
        let mut process = Process::start(what, &mut command, &log);
        process.wait_accepting(START_LIMIT, address);
        process
    }

    /// Starts another gateway with a folder and ports of its own: where its door and its status are.
    pub(crate) fn start_second_gateway(&self) -> (Process, u16, SocketAddr) {
        let (mqtt_port, http) = (free_port(), SocketAddr::from(([127, 0, 0, 1], free_port())));
        let config = std::fs::read_to_string(self.folder().join("taraz.toml")).unwrap();
        let config = config
            .replace("data_dir = \"gateway\"", "data_dir = \"gateway-2\"")
            .replace(
                &format!("127.0.0.1:{}", self.mqtt_port),
                &format!("127.0.0.1:{mqtt_port}"),
            )
            .replace(&self.gateway_http.to_string(), &http.to_string());
        std::fs::write(self.folder().join("taraz-2.toml"), config).unwrap();
        let arguments = ["gateway", "--config", "taraz-2.toml"];
        let mut process = Process::taraz(TARAZ, "gateway-2", &arguments, self.folder());
        process.wait_accepting(START_LIMIT, http);
        (process, mqtt_port, http)
    }

    /// Starts ingest and waits until it serves.
    pub(crate) fn start_ingest(&self) -> Process {
        let mut process = Process::taraz(
            TARAZ,
            "ingest",
            &["ingest", "--config", "taraz.toml"],
            self.folder(),
        );
        process.wait_accepting(START_LIMIT, self.http);
        process
    }

    /// Starts a simulator of these plants with a journal and a clock that the bus master may set.
    pub(crate) fn start_simulator(&self, simulation_toml: &str) -> (Process, BTreeMap<String, String>) {
        std::fs::write(self.folder().join("simulation.toml"), simulation_toml).unwrap();
        let arguments = [
            "simulate",
            "--fleet",
            "fleet.toml",
            "--plants",
            "simulation.toml",
            "--first-port",
            "0",
            "--follow-clock",
            "--journal",
            "journal.jsonl",
        ];
        let mut process = Process::taraz(TARAZ, "simulate", &arguments, self.folder());
        process.wait_for_output(START_LIMIT, "Ctrl-C stops");
        let buses = process.output().lines().filter_map(bus_of_line).collect();
        (process, buses)
    }

    /// Where the simulator's journal is.
    pub(crate) fn journal(&self) -> PathBuf {
        self.folder().join("journal.jsonl")
    }

    /// Starts one registered device with so many days of history in its queue.
    pub(crate) fn start_device(&self, device: &DeviceId, bus: &str, history_days: u32) -> Process {
        let history = if history_days == 0 {
            String::new()
        } else {
            format!("history = {{ days = {history_days}, step_s = 300 }}\n")
        };
        self.configure_device(device, bus, &history);
        self.run_device(device)
    }

    /// Writes the configuration of a registered device, with more lines in front.
    pub(crate) fn configure_device(&self, device: &DeviceId, bus: &str, more: &str) {
        let broker = match (&self.way, self.road) {
            (_, Some(road)) => format!("mqtt://{road}"),
            (Way::Door, None) => format!("mqtt://127.0.0.1:{}", self.mqtt_port),
            (Way::Broker(url), None) => url.clone(),
        };
        let state = format!("device-{device}");
        let arguments = [
            "device",
            "config",
            device.as_str(),
            "--config",
            "taraz.toml",
            "--bus",
            bus,
            "--broker",
            &broker,
            "--state",
            &state,
        ];
        let printed = std::process::Command::new(TARAZ)
            .args(arguments)
            .current_dir(self.folder())
            .output()
            .unwrap();
        assert!(
            printed.status.success(),
            "{}",
            String::from_utf8_lossy(&printed.stderr)
        );
        let config = String::from_utf8(printed.stdout).unwrap();
        let file = format!("{device}.toml");
        let _ = std::fs::remove_file(self.folder().join(&file));
        self.write_private(&file, &format!("{more}{config}"));
    }

    /// Starts a device as it is configured.
    pub(crate) fn run_device(&self, device: &DeviceId) -> Process {
        let file = format!("{device}.toml");
        Process::taraz(
            TARAZ,
            &format!("device-{device}"),
            &["device", "run", &file],
            self.folder(),
        )
    }

    /// A metric of ingest, summed over the series whose labels hold `labels`; 0 when there is none.
    pub(crate) fn ingest_metric(&self, name: &str, labels: &str) -> f64 {
        metric(self.http, name, labels)
    }

    /// A metric of the gateway, as [`Self::ingest_metric`].
    pub(crate) fn gateway_metric(&self, name: &str, labels: &str) -> f64 {
        metric(self.gateway_http, name, labels)
    }

    /// The store's file.
    pub(crate) fn store(&self) -> PathBuf {
        let found = std::fs::read_dir(self.folder().join("ingest")).unwrap();
        let mut files = found.map(|entry| entry.unwrap().path());
        files
            .find(|path| path.extension().is_some_and(|e| e == "db" || e == "sqlite"))
            .expect("the store's file")
    }

    /// Writes a file that only its owner can read.
    fn write_private(&self, name: &str, text: &str) {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.folder().join(name);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
}

/// `bus sari-01 tcp://127.0.0.1:5020` → the device and where its bus is.
pub(crate) fn bus_of_line(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    if words.next() != Some("bus") {
        return None;
    }
    Some((words.next()?.to_owned(), words.next()?.to_owned()))
}

fn metric(address: SocketAddr, name: &str, labels: &str) -> f64 {
    let Ok(response) = get(address, "/metrics") else {
        return 0.0;
    };
    let series = response.body.lines().filter(|line| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && line.contains(labels)
    });
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
