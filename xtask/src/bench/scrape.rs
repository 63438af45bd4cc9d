//! Counters and gauges of a program, from its `/metrics`.

use std::net::SocketAddr;

use anyhow::Result;
use taraz_load::Series;

/// The sum of the series of `name` whose labels hold `labels`, at the program that serves at `address`; 0 without any.
///
/// # Errors
/// When nobody answers there.
pub(crate) fn metric(address: SocketAddr, name: &str, labels: &str) -> Result<f64> {
    let series = Series {
        address,
        path: "/metrics".to_owned(),
        name: name.to_owned(),
        labels: labels.to_owned(),
    };
    Ok(series.read()?.unwrap_or(0.0))
}
