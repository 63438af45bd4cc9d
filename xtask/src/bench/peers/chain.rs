//! One chain: broker, bridge, database.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::super::build::Binaries;
use super::super::disk::bytes_in;
use super::super::installation::free_addresses;
use super::super::outcome::Outcome;
use super::super::process::Process;
use super::super::rig::{raised, run_generator};
use super::install::Installed;

const START_LIMIT: Duration = Duration::from_secs(120);
const MOSQUITTO_CONF: &str = include_str!("../../../peers/mosquitto.conf");
const NODE_RED_SETTINGS: &str = include_str!("../../../peers/settings.js");
const BRIDGE: &str = include_str!("../../../peers/bridge.py");
/// VictoriaMetrics counts values: a reading has twelve.
const ROWS_PER_READING: &str = "12";
/// Node-RED's word once its flow listens.
const NODE_RED_READY: &str = "Connected to broker";
/// The bridge's.
const BRIDGE_READY: &str = "subscribed";

/// A chain with a name.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) bridge: Bridge,
    /// It gets one reading of so many.
    pub(super) share: u64,
}

/// What reads the broker and writes the database.
pub(super) enum Bridge {
    NodeRed { flow: &'static str },
    Python,
}

/// Starts the chain in the new `folder`, loads it, and gives its figures.
///
/// # Errors
/// When a part of it does not start, or ends.
pub(super) fn run(
    binaries: &Binaries,
    installed: &Installed,
    peer: &Peer,
    arguments: &[String],
    folder: &Path,
) -> Result<Outcome> {
    std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    let [broker, database, ui] = free_addresses()?;
    let chain = Chain {
        folder: folder.to_owned(),
        broker,
        database,
        ui,
    };
    let mosquitto = chain.mosquitto(&installed.mosquitto)?;
    let victoria = chain.victoria(&installed.victoria)?;
    let (name, bridge) = match peer.bridge {
        Bridge::NodeRed { flow } => ("node-red", chain.node_red(installed, flow)?),
        Bridge::Python => ("bridge", chain.python(installed)?),
    };
    let file = folder.join("load.json");
    let mut words: Vec<String> = [
        "run",
        "--payload",
        "json",
        "--stored-per-reading",
        ROWS_PER_READING,
        "--broker",
        &broker.to_string(),
        "--json",
        &file.display().to_string(),
        "--stored",
        &format!("{database}/metrics#vm_rows_inserted_total{{type=\"influx\""),
    ]
    .map(str::to_owned)
    .to_vec();
    for (name, process) in [
        ("mosquitto", &mosquitto),
        (name, &bridge),
        ("victoria-metrics", &victoria),
    ] {
        words.extend(["--watch".to_owned(), format!("{name}={}", process.id())]);
    }
    words.extend_from_slice(arguments);
    run_generator(&binaries.load, &words)?;
    let figures = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let figures = serde_json::from_str(&figures)?;
    // A bridge has nothing to keep, and ends as it likes.
    drop(bridge);
    victoria.stop()?;
    mosquitto.stop()?;
    Ok(Outcome {
        figures,
        spool_bytes: 0,
        store_bytes: bytes_in(&folder.join("victoria"))?,
    })
}

struct Chain {
    folder: PathBuf,
    broker: SocketAddr,
    database: SocketAddr,
    ui: SocketAddr,
}

impl Chain {
    fn filled(&self, text: &str) -> String {
        text.replace("BROKER_PORT", &self.broker.port().to_string())
            .replace("INFLUX_PORT", &self.database.port().to_string())
    }

    fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        std::fs::write(&path, self.filled(text)).with_context(|| path.display().to_string())?;
        Ok(path)
    }

    fn start(&self, name: &'static str, program: &Path, arguments: &[String]) -> Result<Process> {
        let arguments = raised(program, arguments);
        Process::start(name, Path::new("/bin/sh"), &arguments, &self.folder, name)
    }

    fn serving(
        &self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
        at: SocketAddr,
    ) -> Result<Process> {
        let mut process = self.start(name, program, arguments)?;
        process.wait_until(START_LIMIT, "open port", |_| {
            Ok(std::net::TcpStream::connect(at).is_ok())
        })?;
        Ok(process)
    }

    fn saying(
        &self,
        name: &'static str,
        program: &Path,
        arguments: &[String],
        word: &str,
    ) -> Result<Process> {
        let mut process = self.start(name, program, arguments)?;
        process.wait_until(START_LIMIT, word, |process| Ok(process.lines_with(word)? > 0))?;
        Ok(process)
    }

    fn mosquitto(&self, program: &Path) -> Result<Process> {
        let conf = self.write("mosquitto.conf", MOSQUITTO_CONF)?;
        let arguments = ["-c".to_owned(), conf.display().to_string()];
        self.serving("mosquitto", program, &arguments, self.broker)
    }

    fn victoria(&self, program: &Path) -> Result<Process> {
        let arguments = [
            "-storageDataPath=victoria".to_owned(),
            "-retentionPeriod=100y".to_owned(),
            "-loggerLevel=WARN".to_owned(),
            format!("-httpListenAddr={}", self.database),
        ];
        self.serving("victoria-metrics", program, &arguments, self.database)
    }

    fn node_red(&self, installed: &Installed, flow: &str) -> Result<Process> {
        let modules = installed
            .node_red
            .ancestors()
            .nth(2)
            .context("the folder of node_modules")?;
        // Node-RED looks for further nodes beside its flows.
        std::os::unix::fs::symlink(modules, self.folder.join("node_modules"))?;
        self.write("flows.json", flow)?;
        std::fs::write(
            self.folder.join("package.json"),
            include_str!("../../../peers/package.json"),
        )?;
        let settings = self.write("settings.js", NODE_RED_SETTINGS)?;
        let words = [
            format!("PEER_UI_PORT={}", self.ui.port()),
            format!("PEER_DIR={}", self.folder.display()),
            installed.node.display().to_string(),
            installed.node_red.display().to_string(),
            "--settings".to_owned(),
            settings.display().to_string(),
        ];
        self.saying("node-red", Path::new("/usr/bin/env"), &words, NODE_RED_READY)
    }

    fn python(&self, installed: &Installed) -> Result<Process> {
        let script = self.write("bridge.py", BRIDGE)?;
        let arguments = [
            script.display().to_string(),
            self.broker.port().to_string(),
            format!("http://{}", self.database),
        ];
        self.saying("bridge", &installed.python, &arguments, BRIDGE_READY)
    }
}
