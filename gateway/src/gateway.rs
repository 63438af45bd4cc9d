//! Puts the rooms together: spool, doors, forwarding; starts them, watches them, closes them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use serde::Serialize;
use taraz_fleet::Fleet;
use taraz_settings::Wrong;
use taraz_telemetry::MasterKey;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::doors::{Broker, DeviceState, Doorway, Hub, Listener};
use crate::forward::{Forward, Uplink};
use crate::metrics::Metrics;
use crate::spool::{Spool, SpoolError, SpoolLimits};
use crate::validate::{Fingerprints, Refusals, RefusedSample, Validator};

/// How long the doors get to close before the spool is closed under them.
const DOORS_CLOSE_MAX: Duration = Duration::from_secs(6);

/// Starts gateways.
#[derive(Debug)]
pub struct Gateway;

/// A gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A value of the configuration.
    #[error("gateway configuration: {0}")]
    Config(#[from] Wrong),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The MQTT listener's address.
    #[error(
        "can't listen for MQTT on {address}: {error}; gateway.mqtt_listen (or --mqtt) takes another ADDRESS:PORT"
    )]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
    /// The registry already holds a gateway's metrics.
    #[error("can't register the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A gateway has ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// An MQTT door.
    #[error(
        "an MQTT door has ended by itself; what was acknowledged is safe in the spool: start the gateway again, and see its log for the reason"
    )]
    Door,
}

/// A gateway at work. Dropping it leaves it running; cancel its token to stop it.
#[derive(Debug)]
pub struct RunningGateway {
    /// Where the MQTT listener listens, with the port it was given.
    pub mqtt_addr: Option<SocketAddr>,
    view: View,
    ended: JoinHandle<Result<(), StopError>>,
}

/// What a gateway shows of itself: for the HTTP interface and for whoever embeds it.
#[derive(Clone, Debug)]
pub struct View {
    metrics: Metrics,
    refusals: Arc<Refusals>,
    hub: Arc<Hub>,
    spool: Arc<Spool>,
    /// The broker is the only door.
    broker_alone: bool,
}

/// The last state that a device stated of itself, or its last will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceLine {
    /// The device's id.
    pub device: String,
    /// What it stated, as `online`.
    pub state: String,
    /// When, UTC ms.
    pub at_ms: u64,
}

impl Gateway {
    /// Checks the configuration, opens the spool, binds the listener, and starts everything. Cancel `stop` to close:
    /// doors first, then the spool, which commits and acknowledges what it had taken.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        config: Config,
        fleet: Arc<Fleet>,
        master_key: MasterKey,
        uplink: impl Uplink,
        registry: &Registry,
        stop: CancellationToken,
    ) -> Result<RunningGateway, StartError> {
        config.check()?;
        let metrics = Metrics::new(registry)?;
        let fingerprints = Fingerprints::default();
        let validator = Arc::new(Validator::new(&fleet, &master_key, fingerprints.clone()));
        let (folder, limits) = (
            config.data_dir.clone(),
            SpoolLimits::new(config.spool_max_mib << 20),
        );
        let spool_metrics = metrics.clone();
        let opened =
            tokio::task::spawn_blocking(move || Spool::open(&folder, limits, fingerprints, spool_metrics));
        let spool = Arc::new(opened.await.map_err(|_| SpoolError::Closed)??);
        let refusals = Arc::new(Refusals::new(metrics.clone()));
        let hub = Arc::new(Hub::new(metrics.clone(), config.device_frames_per_s_max));
        // The doors' own token: they also close when the spool ends.
        let door = Doorway {
            validator,
            spool: Arc::clone(&spool),
            refusals: Arc::clone(&refusals),
            metrics: metrics.clone(),
            in_flight_max: config.in_flight_max,
            stop: stop.child_token(),
        };
        let mut doors = JoinSet::new();
        let mut mqtt_addr = None;
        if let Some(address) = config.mqtt_listen {
            let at = |error| StartError::Listen { address, error };
            let listener = Listener::start(address, config.connections_max, Arc::clone(&hub), door.clone());
            let listener = listener.map_err(at)?;
            mqtt_addr = Some(listener.address());
            doors.spawn(listener.run());
        }
        if let Some(broker) = &config.broker {
            metrics.show_broker(registry)?;
            doors.spawn(Broker::new(broker, door.clone()).run());
        }
        let forward = Forward::new(Arc::clone(&spool), uplink, metrics.clone(), door.stop.clone());
        let ended = tokio::spawn(supervise(door, doors, tokio::spawn(forward.run())));
        Ok(RunningGateway {
            mqtt_addr,
            view: View {
                metrics,
                refusals,
                hub,
                spool,
                broker_alone: config.mqtt_listen.is_none(),
            },
            ended,
        })
    }
}

/// Waits for the stop, or for the end of the spool or of a door; closes the doors, then forwarding, then the spool.
async fn supervise(
    door: Doorway,
    mut doors: JoinSet<()>,
    forward: JoinHandle<Result<(), SpoolError>>,
) -> Result<(), StopError> {
    let mut forward = forward;
    let mut result = tokio::select! {
        biased;
        () = door.stop.cancelled() => Ok(()),
        () = door.spool.ended() => Err(SpoolError::Closed.into()),
        forwarded = &mut forward => forwarded.unwrap_or(Err(SpoolError::Closed)).map_err(StopError::from),
        Some(_) = doors.join_next() => Err(StopError::Door),
    };
    door.stop.cancel();
    let all = async { while doors.join_next().await.is_some() {} };
    if timeout(DOORS_CLOSE_MAX, all).await.is_err() {
        tracing::warn!("the MQTT doors did not close in time");
        doors.abort_all();
    }
    if !forward.is_finished() {
        let forwarded = forward.await.unwrap_or(Err(SpoolError::Closed));
        result = result.and(forwarded.map_err(StopError::from));
    }
    let spool = door.spool;
    let closed = tokio::task::spawn_blocking(move || spool.close()).await;
    result.and(closed.map_err(|_| SpoolError::Closed.into()))
}

impl RunningGateway {
    /// What it shows of itself.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.clone()
    }

    /// Waits until it has closed: after its token was cancelled, or because the spool ended.
    ///
    /// # Errors
    /// [`StopError`] when it ended without being asked to.
    pub async fn stopped(self) -> Result<(), StopError> {
        self.ended
            .await
            .unwrap_or(Err(StopError::Spool(SpoolError::Closed)))
    }
}

impl View {
    /// The last refused messages of each reason.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedSample> {
        self.refusals.samples()
    }

    /// Why nothing is taken in or acknowledged at the moment; `None` when all is well. A broker that can't be reached is a reason
    /// only where it is the only door: devices at the gateway's own listener are served without it.
    #[must_use]
    pub fn not_ready(&self) -> Option<&'static str> {
        if self.spool.has_ended() {
            return Some("the spool has ended");
        }
        if self.metrics.blocked.get() != 0 {
            return Some("the spool is full or its disk fails: nothing is acknowledged");
        }
        (self.broker_alone && !self.metrics.is_broker_connected()).then_some(
            "no subscribed session with the broker, the only door: no reading comes in; see that the broker runs and lets \
             this gateway in (gateway.broker), the log names the error",
        )
    }

    /// The last state of each device that stated one.
    #[must_use]
    pub fn device_states(&self) -> Vec<DeviceLine> {
        let each = |(id, DeviceState { state, at_ms })| DeviceLine {
            device: taraz_telemetry::DeviceId::to_string(&id),
            state,
            at_ms,
        };
        self.hub.states().into_iter().map(each).collect()
    }
}
