//! Gateway and ingest for a load: a registry with as many plants as there are connections, in one process or in two.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::build::Binaries;
use super::disk::bytes_in;
use super::herd::Usages;
use super::installation::{configuration, free_addresses};
use super::options::Processes;
use super::process::Process;
use super::scrape::metric;

/// How long a program may take to serve.
const START_LIMIT: Duration = Duration::from_secs(120);

/// A running installation; dropped, it is killed.
pub(super) struct Rig {
    folder: PathBuf,
    mqtt: SocketAddr,
    gateway: SocketAddr,
    http: SocketAddr,
    processes: Vec<(&'static str, Process)>,
}

impl Rig {
    /// Lays it out in the new `folder` and starts it.
    ///
    /// # Errors
    /// When a file can't be written, or a program does not serve.
    pub(super) fn start(
        folder: &Path,
        binaries: &Binaries,
        processes: Processes,
        devices: usize,
        meters: usize,
    ) -> Result<Self> {
        std::fs::create_dir(folder).with_context(|| folder.display().to_string())?;
        taraz_load::lay_out(folder, devices, meters)?;
        let [mqtt, gateway, http] = free_addresses()?;
        std::fs::write(folder.join("taraz.toml"), configuration(mqtt, gateway, http))?;
        let mut rig = Self {
            folder: folder.to_owned(),
            mqtt,
            gateway,
            http,
            processes: Vec::new(),
        };
        match processes {
            Processes::One => rig.serve(binaries, "up", mqtt)?,
            Processes::Two => {
                rig.serve(binaries, "ingest", http)?;
                rig.serve(binaries, "gateway", mqtt)?;
            }
        }
        Ok(rig)
    }

    /// Starts one process on what an installation has left in `folder`.
    ///
    /// # Errors
    /// When it does not serve.
    pub(super) fn start_again(folder: &Path, binaries: &Binaries) -> Result<Self> {
        let [mqtt, gateway, http] = free_addresses()?;
        std::fs::write(folder.join("taraz.toml"), configuration(mqtt, gateway, http))?;
        let mut rig = Self {
            folder: folder.to_owned(),
            mqtt,
            gateway,
            http,
            processes: Vec::new(),
        };
        rig.serve(binaries, "up", http)?;
        Ok(rig)
    }

    /// Where metrics, API and page are.
    pub(super) const fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where the door is.
    pub(super) const fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// What a gateway in a process of its own has refused since its start, by metric and label.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn refused(&self) -> Result<Vec<(&'static str, f64)>> {
        const COUNTED: [(&str, &str, &str); 6] = [
            (
                "gateway: sign-ins refused, wrong password",
                "gateway_connects_rejected_total",
                "\"unauthorised\"",
            ),
            (
                "gateway: sign-ins refused, too many",
                "gateway_connects_rejected_total",
                "\"too_many\"",
            ),
            (
                "gateway: sign-ins refused, too often",
                "gateway_connects_rejected_total",
                "\"too_often\"",
            ),
            ("gateway: frames refused", "gateway_refused_total", ""),
            (
                "gateway: frames that were there already",
                "gateway_frames_total",
                "\"duplicate\"",
            ),
            (
                "gateway: times that a device was not read",
                "gateway_throttled_total",
                "",
            ),
        ];
        let read = |(told, name, labels)| Ok((told, metric(self.gateway, name, labels)?));
        COUNTED.into_iter().map(read).collect()
    }

    /// What lies in the gateway's data folder, in bytes.
    ///
    /// # Errors
    /// When it can't be read.
    pub(super) fn spool_bytes(&self) -> Result<u64> {
        bytes_in(&self.folder.join("gateway"))
    }

    /// What each process has used.
    ///
    /// # Errors
    /// When one has ended.
    pub(super) fn usages(&self) -> Result<Usages> {
        let each = self.processes.iter();
        each.map(|(name, process)| Ok((*name, process.usage()?)))
            .collect()
    }

    /// Kills a process as a power cut would, and starts it again on what it left.
    ///
    /// # Errors
    /// When it does not serve again.
    pub(super) fn kill_and_start(&mut self, name: &'static str, binaries: &Binaries) -> Result<()> {
        let address = if name == "ingest" { self.http } else { self.mqtt };
        // Dropped, it is killed.
        self.processes.retain(|(other, _)| *other != name);
        self.serve(binaries, name, address)
    }

    fn serve(&mut self, binaries: &Binaries, name: &'static str, address: SocketAddr) -> Result<()> {
        let words = [name, "--config", "taraz.toml"].map(str::to_owned);
        let arguments = raised(&binaries.taraz, &words);
        let mut process = Process::start(name, Path::new("/bin/sh"), &arguments, &self.folder, name)?;
        process.wait_until(START_LIMIT, "open port", |_| {
            Ok(std::net::TcpStream::connect(address).is_ok())
        })?;
        self.processes.push((name, process));
        Ok(())
    }

    /// Runs the load generator against it with `arguments` more, and gives its figures.
    ///
    /// # Errors
    /// When it fails.
    pub(super) fn load(&self, binaries: &Binaries, meters: usize, arguments: &[String]) -> Result<Value> {
        let file = self.folder.join("load.json");
        let http = self.http;
        let mut words = vec![
            "run".to_owned(),
            "--broker".to_owned(),
            self.mqtt.to_string(),
            "--master-key".to_owned(),
            self.folder.join("master.key").display().to_string(),
            "--json".to_owned(),
            file.display().to_string(),
            "--stored".to_owned(),
            format!("{http}/metrics#ingest_records_total{{kind=\"reading\""),
        ];
        if meters == 1 {
            let gauge = format!("{http}/metrics#solar_ac_power_watts{{plant=\"load-00001\"");
            words.extend(["--gauge".to_owned(), gauge]);
        }
        for (name, process) in &self.processes {
            words.extend(["--watch".to_owned(), format!("{name}={}", process.id())]);
        }
        words.extend_from_slice(arguments);
        run_generator(&binaries.load, &words)?;
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Stops everything and gives the bytes of gateway's and ingest's data.
    ///
    /// # Errors
    /// When a process does not end well.
    pub(super) fn stop(mut self) -> Result<(u64, u64)> {
        // The gateway goes first: what it has must find ingest.
        while let Some((_, process)) = self.processes.pop() {
            process.stop()?;
        }
        let bytes = |name| bytes_in(&self.folder.join(name));
        Ok((bytes("gateway")?, bytes("ingest")?))
    }
}

/// What `/bin/sh` is given to run `program` with as many open files as it may have: a connection is one, and the soft limit of
/// most shells is 1,024.
pub(super) fn raised(program: &Path, arguments: &[String]) -> Vec<String> {
    let script = "ulimit -n \"$(ulimit -H -n)\" && exec \"$@\"";
    let mut words = ["-c", script, "sh"].map(str::to_owned).to_vec();
    words.push(program.display().to_string());
    words.extend_from_slice(arguments);
    words
}

/// The load generator with as many open files as it may have.
///
/// # Errors
/// When it fails.
pub(super) fn run_generator(program: &Path, words: &[String]) -> Result<()> {
    let status = Command::new("/bin/sh").args(raised(program, words)).status();
    let status = status.context("/bin/sh")?;
    if !status.success() {
        bail!("{} {}: {status}", program.display(), words.join(" "));
    }
    Ok(())
}
