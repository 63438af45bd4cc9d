//! `taraz up`: gateway, ingest and store in one process; for the demo also the plants and their devices.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Value, json};
use taraz_fleet::Fleet;
use taraz_gateway::{Gateway, RunningGateway, Uplink, UplinkError, View};
use taraz_ingest::{Beside, Ingest, ReceiveError, Receiver, RunningIngest};
use taraz_telemetry::{BatchError, MasterKey};
use tokio_util::sync::CancellationToken;

use crate::cli::UpArgs;
use crate::config::Config;
use crate::out::say;
use crate::{demo, runtime, stop};

/// What runs in one process.
pub(crate) struct Parts {
    /// The registry.
    pub(crate) fleet: Arc<Fleet>,
    /// The secret behind every device's key.
    pub(crate) master_key: MasterKey,
    /// The gateway's configuration.
    pub(crate) gateway: taraz_gateway::Config,
    /// Ingest's configuration.
    pub(crate) ingest: taraz_ingest::Config,
}

/// Gateway and ingest that run.
pub(crate) struct Running {
    /// The gateway.
    pub(crate) gateway: RunningGateway,
    /// Ingest.
    pub(crate) ingest: RunningIngest,
    ingest_stop: CancellationToken,
}

/// `taraz up`
pub(crate) fn run(args: UpArgs) -> anyhow::Result<()> {
    let Some(path) = args.config.clone() else {
        return demo::run(&args);
    };
    let parts = from_config(&path, &args)?;
    let devices = parts.fleet.devices().count();
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let running = start(parts, &stop).await?;
        say!(
            "taraz: page at http://{} · {devices} devices registered · Ctrl-C stops",
            running.ingest.http_addr
        );
        say!(
            "       MQTT at {}",
            crate::services::shown(running.gateway.mqtt_addr)
        );
        running.stopped().await?;
        say!("taraz: stopped; everything acknowledged is on disk");
        Ok(())
    })
}

/// Starts ingest, then the gateway that delivers to it within the process.
pub(crate) async fn start(parts: Parts, stop: &CancellationToken) -> anyhow::Result<Running> {
    let registry = crate::process::registry()?;
    // The gateway ends first and ingest after it, so that what is under way is still taken.
    let ingest_stop = CancellationToken::new();
    let ingest = Ingest::start(
        parts.ingest,
        Arc::clone(&parts.fleet),
        registry.clone(),
        ingest_stop.clone(),
    )
    .await?;
    let uplink = InProcess {
        receiver: ingest.receiver(),
    };
    let gateway = Gateway::start(
        parts.gateway,
        parts.fleet,
        parts.master_key,
        uplink,
        &registry,
        stop.clone(),
    )
    .await?;
    ingest.show_beside(Shown(gateway.view()));
    // Should ingest end by itself, there is nobody to deliver to: everything ends.
    let (ingest_ended, all) = (ingest_stop.clone(), stop.clone());
    tokio::spawn(async move {
        ingest_ended.cancelled().await;
        all.cancel();
    });
    Ok(Running {
        gateway,
        ingest,
        ingest_stop,
    })
}

impl Running {
    /// Returns when both have stopped; an error when the gateway ended without being asked to.
    pub(crate) async fn stopped(self) -> anyhow::Result<()> {
        let ended = self.gateway.stopped().await;
        self.ingest_stop.cancel();
        // Ingest ending by itself is why the gateway was told to stop, so it is the reason that counts.
        self.ingest.stopped().await?;
        Ok(ended?)
    }
}

fn from_config(path: &Path, args: &UpArgs) -> anyhow::Result<Parts> {
    let config = Config::read(path)?;
    let mut gateway = config.gateway()?.clone();
    let mut ingest = config.ingest()?.clone();
    if let Some(data) = &args.data {
        gateway.data_dir = data.join("gateway");
        ingest.data = data.join("ingest");
    }
    if let Some(http) = args.http {
        ingest.listen = http;
    }
    gateway.mqtt_listen = args.mqtt.or(gateway.mqtt_listen);
    let master_key = config.master_key()?.clone();
    Ok(Parts {
        fleet: config.fleet,
        master_key,
        gateway,
        ingest,
    })
}

/// The hop from gateway to ingest within one process: the same batch, the same verdict, no HTTP.
struct InProcess {
    receiver: Receiver,
}

impl Uplink for InProcess {
    async fn deliver(&self, batch: Vec<u8>) -> Result<(), UplinkError> {
        match self.receiver.receive(batch).await {
            Ok(verdict) if verdict.rejected.is_empty() => Ok(()),
            Ok(verdict) => Err(UplinkError::Rejected(verdict.rejected)),
            Err(ReceiveError::Malformed(BatchError::Length(_))) => Err(UplinkError::TooLarge),
            Err(error) => Err(UplinkError::Unavailable {
                reason: error.to_string(),
                retry_after: None,
            }),
        }
    }
}

/// What the gateway shows of itself, at ingest's address.
struct Shown(View);

impl Beside for Shown {
    fn refused(&self) -> Value {
        json!(self.0.refused())
    }

    fn devices(&self) -> Value {
        json!(self.0.device_states())
    }

    fn not_ready(&self) -> Option<&'static str> {
        self.0.not_ready()
    }
}

/// A data folder that exists.
pub(crate) fn data_folder(path: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(path)
        .with_context(|| format!("--data {}: the folder can't be made", path.display()))
}
