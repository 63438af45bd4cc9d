//! Gateway and ingest as processes of their own.

use anyhow::Context as _;
use taraz_gateway::{Gateway, HttpUplink};
use taraz_ingest::Ingest;

use crate::cli::ConfigArgs;
use crate::config::Config;
use crate::out::say;
use crate::{process, runtime, stop};

/// `taraz gateway`
pub(crate) fn gateway(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let part = config.gateway()?.clone();
    let master = config.master_key()?.clone();
    let ingest = config.gateway_ingest()?;
    let uplink = HttpUplink::new(&ingest.url, &ingest.token)?;
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let registry = process::registry()?;
        let http = part.http_listen;
        let running = Gateway::start(part, config.fleet, master, uplink, &registry, stop.clone()).await?;
        let served = taraz_gateway::http::serve(http, registry, running.view(), stop)
            .await
            .with_context(|| format!("gateway.http_listen = {http}: can't listen there"))?;
        say!(
            "taraz gateway: MQTT at {}, status at http://{}",
            shown(running.mqtt_addr),
            served.addr
        );
        running.stopped().await?;
        say!("taraz gateway: stopped; everything acknowledged is on disk");
        Ok(())
    })
}

/// `taraz ingest`
pub(crate) fn ingest(args: &ConfigArgs) -> anyhow::Result<()> {
    let config = Config::read(&args.config)?;
    let part = config.ingest()?.clone();
    runtime()?.block_on(async {
        let stop = stop::on_signal()?;
        let running = Ingest::start(part, config.fleet, process::registry()?, stop).await?;
        say!("taraz ingest: page at http://{}", running.http_addr);
        running.stopped().await?;
        say!("taraz ingest: stopped; everything acknowledged is on disk");
        Ok(())
    })
}

/// An address that may be closed.
pub(crate) fn shown(addr: Option<std::net::SocketAddr>) -> String {
    addr.map_or_else(
        || "no own door, only the broker".to_owned(),
        |addr| addr.to_string(),
    )
}
