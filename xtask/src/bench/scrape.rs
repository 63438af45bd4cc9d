//! Counters and gauges of a program, from its `/metrics`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The sum of the series of `name` whose labels hold `labels`, at the program that serves at `address`; 0 without any.
///
/// # Errors
/// When nobody answers there.
pub(crate) fn metric(address: SocketAddr, name: &str, labels: &str) -> Result<f64> {
    let text = get(address).with_context(|| format!("http://{address}/metrics"))?;
    Ok(sum(&text, name, labels))
}

fn get(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn sum(text: &str, name: &str, labels: &str) -> f64 {
    let series = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(labels)
    });
    series
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let text = "# HELP a_total A.\na_total{kind=\"x\"} 3\na_total{kind=\"y\"} 4\na_total_more 9\nb 2\n";
        assert_eq!(sum(text, "a_total", ""), 7.0);
        assert_eq!(sum(text, "a_total", "kind=\"y\""), 4.0);
        assert_eq!(sum(text, "b", ""), 2.0);
        assert_eq!(sum(text, "c", ""), 0.0);
    }
}
