//! Starting and stopping: listeners, lines, the journal and the fault file.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use taraz_settings::Mistake;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_modbus::server::{rtu_over_tcp, tcp};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Shared};
use super::pty::Line;
use crate::faults::LiveFaults;
use crate::journal::Journal;
use crate::simulation::{Simulation, World};

/// The most connections with one bus at a time; more are closed at once.
pub const CONNECTIONS_MAX: usize = 64;
/// How often the journal is written out and the fault file looked at.
const TICK: Duration = Duration::from_millis(500);
/// How long to wait after a listener failed.
const RETRY: Duration = Duration::from_millis(200);

/// How a bus is spoken to over TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// RTU frames as they are on the wire, over TCP: what a serial device server gives.
    #[default]
    RtuOverTcp,
    /// Modbus TCP.
    ModbusTcp,
}

/// How to serve a simulation.
#[derive(Clone, Debug)]
pub struct Options {
    /// How buses are spoken to.
    pub transport: Transport,
    /// The address to listen on.
    pub listen: IpAddr,
    /// The port of the first bus, the next ones following in the order of their ids; `None` takes free ports.
    pub first_port: Option<u16>,
    /// Give every bus a pseudo-terminal too (only with [`Transport::RtuOverTcp`]).
    pub pty: bool,
    /// Let a client set its connection's bus clock: function 16 to unit 247, register 0, four registers, UTC ms.
    /// In its time nothing takes time: answers have no delay, and the silence of a unit is exception 11 (gateway target
    /// device failed to respond) at once.
    pub follow_clock: bool,
    /// Where to write the journal; an existing file is replaced.
    pub journal: Option<PathBuf>,
    /// A fault list that is read again when it changes. A fault in it without `from` begins when it is read, and one that
    /// is taken out ends then.
    pub faults: Option<PathBuf>,
    /// What the buses' clocks are ahead of the wall clock, in ms.
    pub offset_ms: i64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            transport: Transport::default(),
            listen: IpAddr::V4(Ipv4Addr::LOCALHOST),
            first_port: None,
            pty: false,
            follow_clock: false,
            journal: None,
            faults: None,
            offset_ms: 0,
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The fault list can't be read.
    #[error("can't read the fault list {path}")]
    ReadFaults {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The fault list can't be used.
    #[error(transparent)]
    Faults(#[from] Mistake),
    /// The journal can't be created.
    #[error("can't create the journal {path}")]
    Journal {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A bus can't listen.
    #[error("bus {bus}: can't listen on {address}: give a free port, or none to take any")]
    Listen {
        /// The device's id.
        bus: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The ports run out.
    #[error("first port {first} is too high for {buses} buses: at most {most}")]
    Ports {
        /// What was asked for.
        first: u16,
        /// How many there are.
        buses: usize,
        /// What would do.
        most: usize,
    },
    /// There is no pseudo-terminal for a bus.
    #[error("bus {bus}: can't open a pseudo-terminal: {reason}")]
    Pty {
        /// The device's id.
        bus: String,
        /// What the system says.
        reason: String,
    },
}

/// A simulator that serves its buses until it is cancelled.
pub struct RunningSimulator {
    /// Where each bus is, by the id of the device that reads it.
    pub buses: BTreeMap<String, SocketAddr>,
    /// The pseudo-terminal of each bus, if asked for.
    pub ptys: BTreeMap<String, String>,
    tasks: JoinSet<()>,
    journal: Option<Arc<Journal>>,
}

impl RunningSimulator {
    /// Waits until the simulator was cancelled and everything is written.
    ///
    /// # Errors
    /// When the journal could not be written completely.
    pub async fn stopped(mut self) -> io::Result<()> {
        while self.tasks.join_next().await.is_some() {}
        self.journal.map_or(Ok(()), |journal| journal.flush())
    }
}

/// Serves simulations.
pub struct Simulator;

impl Simulator {
    /// Checks the fault list, then opens a listener per bus and serves until `cancel` fires.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left open then.
    pub async fn start(
        simulation: Simulation,
        options: Options,
        cancel: CancellationToken,
    ) -> Result<RunningSimulator, StartError> {
        let mut faults = FaultFile::new(&simulation, &options)?;
        let journal = options.journal.as_deref().map(create_journal).transpose()?;
        let listeners = listen(&simulation, &options).await?;
        let (publish, world) = watch::channel(Arc::new(faults.world()));
        let mut running = RunningSimulator {
            buses: BTreeMap::new(),
            ptys: BTreeMap::new(),
            tasks: JoinSet::new(),
            journal: journal.clone(),
        };
        for (bus, (id, listener, address)) in listeners.into_iter().enumerate() {
            if options.pty && options.transport == Transport::RtuOverTcp {
                let pty = |reason: String| StartError::Pty {
                    bus: id.clone(),
                    reason,
                };
                let line = Line::open().map_err(|error| pty(error.to_string()))?;
                let path = line.path().ok_or_else(|| pty("it has no name".to_owned()))?;
                running.ptys.insert(id.clone(), path);
                running.tasks.spawn(line.carry(address, cancel.clone()));
            }
            running.buses.insert(id, address);
            let shared = Arc::new(Shared {
                bus,
                world: world.clone(),
                journal: journal.clone(),
                follow_clock: options.follow_clock,
                offset_ms: options.offset_ms,
                connections: AtomicUsize::new(0),
            });
            running
                .tasks
                .spawn(serve(listener, shared, options.transport, cancel.clone()));
        }
        running.tasks.spawn(async move {
            let mut tick = tokio::time::interval(TICK);
            while cancel.run_until_cancelled(tick.tick()).await.is_some() {
                if let Some(Err(error)) = journal.as_deref().map(Journal::flush) {
                    tracing::error!(%error, "the journal can't be written and ends here");
                }
                if faults.reread() {
                    publish.send_replace(Arc::new(faults.world()));
                }
            }
        });
        Ok(running)
    }
}

fn create_journal(path: &Path) -> Result<Arc<Journal>, StartError> {
    let failed = |source| StartError::Journal {
        path: path.to_owned(),
        source,
    };
    Journal::create(path).map(Arc::new).map_err(failed)
}

async fn listen(
    simulation: &Simulation,
    options: &Options,
) -> Result<Vec<(String, TcpListener, SocketAddr)>, StartError> {
    let buses = simulation.devices().count();
    let mut listeners = Vec::with_capacity(buses);
    for id in simulation.devices() {
        let place = simulation.devices().filter(|&other| other < id).count();
        let port = match options.first_port {
            None => 0,
            Some(first) => u16::try_from(usize::from(first) + place).map_err(|_| {
                let most = usize::from(u16::MAX) + 1 - buses;
                StartError::Ports { first, buses, most }
            })?,
        };
        let address = SocketAddr::new(options.listen, port);
        let failed = |source| StartError::Listen {
            bus: id.to_owned(),
            address,
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        listeners.push((id.to_owned(), listener, address));
    }
    Ok(listeners)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, transport: Transport, cancel: CancellationToken) {
    let on_connected = |stream: TcpStream, peer: SocketAddr| {
        let shared = Arc::clone(&shared);
        async move {
            if shared.connections.load(Ordering::Relaxed) >= CONNECTIONS_MAX {
                tracing::warn!(%peer, "too many connections with one bus: closed");
                return Ok(None);
            }
            stream.set_nodelay(true)?;
            Ok(Some((Connection::new(shared), stream)))
        }
    };
    // What no Modbus frame can be read from ends its connection, as a serial device server's would.
    let on_process_error = |error: io::Error| tracing::debug!(%error, "a connection ended");
    let serve = async {
        match transport {
            Transport::RtuOverTcp => {
                let server = rtu_over_tcp::Server::new(listener);
                loop {
                    pause_after(server.serve(&on_connected, on_process_error).await).await;
                }
            }
            Transport::ModbusTcp => {
                let server = tcp::Server::new(listener);
                loop {
                    pause_after(server.serve(&on_connected, on_process_error).await).await;
                }
            }
        }
    };
    cancel.run_until_cancelled(serve).await;
}

/// A listener fails when a peer is gone before it is accepted or file descriptors run out: neither is for ever.
async fn pause_after(served: io::Result<()>) {
    if let Err(error) = served {
        tracing::warn!(%error, "a bus could not accept a connection");
    }
    tokio::time::sleep(RETRY).await;
}

/// The fault list of a running simulator.
struct FaultFile {
    simulation: Simulation,
    path: Option<PathBuf>,
    offset_ms: i64,
    text: String,
    live: LiveFaults,
    version: u64,
}

impl FaultFile {
    fn new(simulation: &Simulation, options: &Options) -> Result<Self, StartError> {
        let mut file = Self {
            simulation: simulation.clone(),
            path: options.faults.clone(),
            offset_ms: options.offset_ms,
            text: String::new(),
            live: LiveFaults::default(),
            version: 0,
        };
        if let Some(path) = &options.faults {
            let failed = |source| StartError::ReadFaults {
                path: path.clone(),
                source,
            };
            let text = std::fs::read_to_string(path).map_err(failed)?;
            file.take(&path.display().to_string(), text)?;
        }
        Ok(file)
    }

    fn take(&mut self, name: &str, text: String) -> Result<(), Mistake> {
        let parsed = self.simulation.parse_faults(name, &text);
        // Kept even if it is bad: the same bad list is not reported twice.
        self.text = text;
        self.live
            .update(parsed?, Timestamp::now().as_millisecond() + self.offset_ms);
        self.version += 1;
        Ok(())
    }

    /// Reads the file again; true when another list is in force. A bad list is reported, and the one before stays.
    fn reread(&mut self) -> bool {
        let Some(path) = &self.path else { return false };
        let text = match std::fs::read_to_string(path) {
            Ok(text) if text == self.text => return false,
            Ok(text) => text,
            Err(error) => {
                tracing::debug!(path = %path.display(), %error, "the fault list can't be read now");
                return false;
            }
        };
        let name = path.display().to_string();
        match self.take(&name, text) {
            Ok(()) => {
                tracing::info!(faults = self.live.all().len(), "the fault list is in force");
                true
            }
            Err(error) => {
                tracing::error!(%error, "the fault list stays as it was");
                false
            }
        }
    }

    fn world(&self) -> World {
        self.simulation.world(&self.live.all(), self.version)
    }
}
