//! The gateway without an ingest: door, tag check, spool, acknowledgement; what it forwards is taken at once and forgotten.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use taraz_fleet::Fleet;
use taraz_gateway::{Config, Gateway, Uplink, UplinkError};
use taraz_telemetry::MasterKey;
use tokio_util::sync::CancellationToken;

struct Nowhere;

impl Uplink for Nowhere {
    async fn deliver(&self, _batch: Vec<u8>) -> Result<(), UplinkError> {
        Ok(())
    }
}

/// Serves until it is interrupted.
///
/// # Errors
/// When the gateway does not start, or ends by itself.
pub(crate) fn serve(folder: &Path, listen: SocketAddr) -> Result<()> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let fleet = Arc::new(Fleet::parse(&read("fleet.toml")?)?);
    let master = MasterKey::from_hex(&read("master.key")?)?;
    let config = Config::new(folder.join("gateway"), listen);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let registry = prometheus::Registry::new();
        let running = Gateway::start(config, fleet, master, Nowhere, &registry, stop.clone()).await?;
        tokio::signal::ctrl_c().await?;
        stop.cancel();
        Ok(running.stopped().await?)
    })
}
