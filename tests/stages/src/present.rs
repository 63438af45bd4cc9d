//! What the present of a whole fleet costs: what is computed every few seconds, and what is answered over HTTP.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use taraz_ingest::{Ingest, Store};
use taraz_load::{Usage, page};
use tokio_util::sync::CancellationToken;

use crate::ingest::{batches, prepared};
use crate::{Amount, devices_from, now_ms};

/// Polls of each device before the present; the last one is now.
const ROUNDS: usize = 10;
/// From one of them to the next.
const STEP_MS: u64 = 600_000;
/// How often each answer is asked for; the median is told.
const ASKED: usize = 5;
/// What is asked for, with its name in the figures.
const PATHS: [(&str, &str); 4] = [
    ("scrape", "/metrics"),
    ("plants", "/api/v1/plants"),
    ("sites", "/api/v1/sites"),
    ("gaps", "/api/v1/gaps"),
];

/// Stores an hour and a half of `plants`, then computes and asks for everything that is said of the present.
///
/// # Errors
/// When ingest does not start, does not take a batch, or does not answer.
pub(crate) fn run(plants: usize, folder: &Path) -> Result<Value> {
    let amount = Amount {
        devices: plants,
        readings_per_frame: 1,
        readings: plants * ROUNDS,
    };
    let now_ms = now_ms()?;
    let (config, fleet) = prepared(&amount, folder)?;
    let start_ms = now_ms - (ROUNDS as u64 - 1) * STEP_MS;
    let batches = batches(&mut devices_from(plants, 1, start_ms, STEP_MS)?, &amount, now_ms)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let registry = prometheus::Registry::new();
        let ingest = Ingest::start(config, fleet, registry, stop.clone()).await?;
        let receiver = ingest.receiver();
        for batch in batches {
            receiver.receive(batch).await?;
        }
        let (store, address) = (ingest.store().clone(), ingest.http_addr);
        let figures = tokio::task::spawn_blocking(move || look(&store, address)).await??;
        stop.cancel();
        ingest.stopped().await?;
        Ok(Value::Object(figures))
    })
}

fn look(store: &Store, address: SocketAddr) -> Result<Map<String, Value>> {
    let mut figures = Map::new();
    let at_ms = i64::try_from(now_ms()?)?;
    let live = store.live();
    let mut timed = |name: &str, work: &dyn Fn() -> Result<()>| -> Result<()> {
        let begun = Instant::now();
        work()?;
        figures.insert(format!("{name}_ms"), json!(ms_since(begun)));
        Ok(())
    };
    timed("figures", &|| Ok(live.refresh(store, at_ms)?))?;
    timed("outlook", &|| Ok(live.refresh_outlook(store, at_ms)?))?;
    timed("ledger", &|| Ok(live.gaps().refresh(store).map(drop)?))?;
    for (name, path) in PATHS {
        let mut bytes = 0;
        let mut times_ms = Vec::new();
        for _ in 0..ASKED {
            let begun = Instant::now();
            bytes = page(address, path)?.len();
            times_ms.push(ms_since(begun));
        }
        times_ms.sort_by(f64::total_cmp);
        let median = times_ms.get(ASKED / 2).context("no answer was timed")?;
        figures.insert(format!("{name}_ms"), json!(median));
        figures.insert(format!("{name}_bytes"), json!(bytes));
    }
    let usage = Usage::of(std::process::id())?;
    figures.insert("rss_kib".to_owned(), json!(usage.rss_kib));
    figures.insert("rss_peak_kib".to_owned(), json!(usage.rss_peak_kib));
    Ok(figures)
}

fn ms_since(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e3
}
