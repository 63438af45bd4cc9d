//! A rebuild of every interval from the records: while days are open, and after they are sealed.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};
use taraz_ingest::{Store, compact};

use crate::filled::{Past, filled, open};
use crate::now_ms;

/// Stores the past, makes its intervals anew, seals its days, makes them anew again.
///
/// # Errors
/// When one of these fails.
pub(crate) fn run(past: &Past, folder: &Path) -> Result<Value> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let begun = Instant::now();
        let store = filled(past, folder).await?;
        let store_s = begun.elapsed().as_secs_f64();
        let open_s = rebuilt(&store).await?;
        store.close().await;
        drop(store);
        let begun = Instant::now();
        compact(&folder.join("ingest"), 1, i64::try_from(now_ms()?)?, |_| {})?;
        let seal_s = begun.elapsed().as_secs_f64();
        let store = open(folder)?;
        let sealed_s = rebuilt(&store).await?;
        let bytes = store.bytes();
        store.close().await;
        Ok(json!({
            "readings": past.readings(), "store_s": store_s, "open_s": open_s, "seal_s": seal_s,
            "sealed_s": sealed_s, "bytes": bytes,
        }))
    })
}

async fn rebuilt(store: &Store) -> Result<f64> {
    let begun = Instant::now();
    store.rebuild().await?;
    Ok(begun.elapsed().as_secs_f64())
}
