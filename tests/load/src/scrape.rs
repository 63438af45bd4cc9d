//! Series of a program's `/metrics`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

const TIMEOUT: Duration = Duration::from_secs(120);

/// One or more series of a page of metrics: `ADDRESS:PORT/path#name{labels`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Where the page is.
    pub address: SocketAddr,
    /// Its path.
    pub path: String,
    /// The metric's name.
    pub name: String,
    /// What stands among its labels; may be empty.
    pub labels: String,
}

impl std::str::FromStr for Series {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = || {
            let (page, series) = text.split_once('#')?;
            let (address, path) = page.split_at_checked(page.find('/')?)?;
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            Some(Self {
                address: address.parse().ok()?,
                path: path.to_owned(),
                name: name.to_owned(),
                labels: labels.trim_end_matches('}').to_owned(),
            })
        };
        let example = "127.0.0.1:8080/metrics#ingest_records_total{kind=\"reading\"";
        parts().with_context(|| format!("expected ADDRESS:PORT/PATH#SERIES, as {example}, found {text}"))
    }
}

impl Series {
    /// The sum of the series as they stand; `None` when there are none.
    ///
    /// # Errors
    /// When nobody answers there.
    pub fn read(&self) -> Result<Option<f64>> {
        Ok(self.of(&page(self.address, &self.path)?))
    }

    /// The sum of the series on a page; `None` without any.
    #[must_use]
    pub fn of(&self, page: &str) -> Option<f64> {
        let series = page.lines().filter(|line| {
            let rest = line.strip_prefix(&self.name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(&self.labels)
        });
        let values = series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}

/// A page of metrics.
///
/// # Errors
/// When nobody answers there, or with anything but 200.
pub fn page(address: SocketAddr, path: &str) -> Result<String> {
    let get = || -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        // HTTP/1.0: the body comes whole and ends with the connection.
        write!(stream, "GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("an answer without a head")?;
        if head.split(' ').nth(1).is_none_or(|status| status != "200") {
            bail!("{}", head.lines().next().unwrap_or_default());
        }
        Ok(body.to_owned())
    };
    get().with_context(|| format!("http://{address}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(text: &str) -> Series {
        format!("127.0.0.1:80/metrics#{text}").parse().unwrap()
    }

    #[test]
    fn series_are_summed_by_name_and_labels() {
        let page = "# HELP a_total A.\na_total{kind=\"x\"} 3\na_total{kind=\"y\"} 4\na_total_more 9\nb 2\n";
        assert_eq!(series("a_total").of(page), Some(7.0));
        assert_eq!(series("a_total{kind=\"y\"}").of(page), Some(4.0));
        assert_eq!(series("b").of(page), Some(2.0));
        assert_eq!(series("c").of(page), None);
    }

    #[test]
    fn a_mistake_is_told_with_an_example() {
        for text in [
            "",
            "127.0.0.1/metrics#a",
            "127.0.0.1:80#a",
            "http://127.0.0.1:80/metrics#a",
        ] {
            let error = text.parse::<Series>().unwrap_err().to_string();
            assert!(error.contains("as 127.0.0.1:8080/metrics#"), "{error}");
        }
    }
}
