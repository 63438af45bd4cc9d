//! What all servers have in common: a folder, a port, a start that waits until it serves, a kill and a restart.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::{Process, Signal, free_port, get, wait_for};

/// A server that does not serve within this time has failed. Generous: two cores may be busy with other tests.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A server that does not end after a polite signal within this time has failed.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How often to start with another port when the server ends at once: somebody may have taken the port meanwhile.
const START_ATTEMPTS_MAX: usize = 3;

/// How to know that a server serves.
pub(crate) enum Ready {
    /// It accepts TCP connections.
    Accepts,
    /// It answers a GET of this path with 200 or 204.
    Answers(&'static str),
}

/// How to start a server with its data in a folder, listening at an address.
type CommandFor = Box<dyn Fn(&Path, SocketAddr) -> Command + Send + Sync>;

/// A server of another program, with its data in a folder of its own.
pub(crate) struct Service {
    name: &'static str,
    // Before the folder: fields are dropped in order, and the folder must outlive the process.
    process: Option<Process>,
    folder: TempDir,
    address: SocketAddr,
    command: CommandFor,
    ready: Ready,
}

impl Service {
    /// Starts it in a new folder on a free port, and waits until it serves.
    pub(crate) fn start(
        name: &'static str,
        ready: Ready,
        command: impl Fn(&Path, SocketAddr) -> Command + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("taraz-{name}-"))
            .tempdir()
            .expect("a temporary folder");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut service = Self {
            name,
            process: None,
            folder,
            address,
            command: Box::new(command),
            ready,
        };
        for attempt in 1..=START_ATTEMPTS_MAX {
            match service.try_start() {
                Ok(()) => break,
                Err(reason) => assert!(attempt < START_ATTEMPTS_MAX, "{name} does not start: {reason}"),
            }
            service.address.set_port(free_port());
        }
        service
    }

    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process, when it runs.
    ///
    /// # Panics
    /// When it has been killed or stopped.
    pub(crate) fn process(&mut self) -> &mut Process {
        self.process
            .as_mut()
            .unwrap_or_else(|| panic!("{} is not running: start it again first", self.name))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process().kill();
        self.process = None;
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) {
        self.process().signal(Signal::Terminate);
        self.process().wait(STOP_LIMIT);
        self.process = None;
    }

    /// Starts it again with the same folder and port, after a kill or stop.
    pub(crate) fn start_again(&mut self) {
        assert!(self.process.is_none(), "{} is running already", self.name);
        if let Err(reason) = self.try_start() {
            panic!("{} does not start again: {reason}", self.name);
        }
    }

    fn try_start(&mut self) -> Result<(), String> {
        let log = self.folder.path().join(format!("{}.log", self.name));
        let mut command = (self.command)(self.folder.path(), self.address);
        let mut process = Process::start(self.name, &mut command, &log);
        let what = format!("{} to serve at {}", self.name, self.address);
        let started = wait_for(START_LIMIT, &what, || {
            if !process.is_running() {
                return Ok(Err(format!("it ended at once\n{}", process.output())));
            }
            self.serves()
                .map(Ok)
                .map_err(|reason| format!("{reason}\n{}", process.output()))
        });
        self.process = Some(process);
        started
    }

    fn serves(&self) -> Result<(), String> {
        match self.ready {
            Ready::Accepts => {
                let limit = Duration::from_secs(1);
                std::net::TcpStream::connect_timeout(&self.address, limit)
                    .map(drop)
                    .map_err(|error| error.to_string())
            }
            Ready::Answers(path) => {
                let response = get(self.address, path)?;
                let good = matches!(response.status, 200 | 204);
                good.then_some(())
                    .ok_or_else(|| format!("{path} answers {}: {}", response.status, response.body))
            }
        }
    }
}
