//! An InfluxDB v2 server, or what speaks its write protocol. The only folder that names InfluxDB's crate.
//!
//! In: lines. Out: what became of them, told apart by who must act. The `influxdb2` crate carries them; encoding is ours
//! (its own escapes too little), and so is the time limit (it has none).

mod line;
#[cfg(test)]
mod server_tests;

use std::time::Duration;

use influxdb2::RequestError;
use influxdb2::api::write::TimestampPrecision;

use crate::config::InfluxConfig;

pub(crate) use line::{Line, encode, encode_point};

/// How long one write may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How much of a server's answer is kept, in bytes.
const ANSWER_LEN_MAX: usize = 300;

/// A write that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WriteError {
    /// The server read it and found a line it will never take (400, 422).
    #[error("the server refused the lines with {status}: {answer}")]
    Refused { status: u16, answer: String },
    /// Too much at once (413).
    #[error("the server takes less at once (413)")]
    TooLarge,
    /// Nothing is known against the lines: the same ones may be taken later.
    #[error("{0}")]
    Later(String),
}

/// A sink that can't be used as it is configured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("influx \"{name}\": {key}: {allowed}")]
pub struct SinkError {
    /// The sink's name.
    pub name: String,
    /// The key in its table.
    pub key: &'static str,
    /// What is allowed.
    pub allowed: String,
}

/// One server and bucket.
#[derive(Debug)]
pub(crate) struct Influx {
    client: influxdb2::Client,
    org: String,
    bucket: String,
    timeout: Duration,
}

impl Influx {
    /// Makes the client; nothing is sent.
    ///
    /// # Errors
    /// [`SinkError`] when the address or the token can't be used.
    pub(crate) fn new(config: &InfluxConfig) -> Result<Self, SinkError> {
        let wrong = |key, allowed: &str| SinkError {
            name: config.name.clone(),
            key,
            allowed: allowed.to_owned(),
        };
        // The crate panics on an address that it can't read, so it only gets the plainest form.
        if !is_plain_base(&config.url) {
            return Err(wrong(
                "url",
                "http://host:port without a path (TLS through a side-car on this machine)",
            ));
        }
        if !config.token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(wrong("token", "visible ASCII characters"));
        }
        let builder = influxdb2::ClientBuilder::new(&config.url, &config.org, &config.token);
        let client = builder
            .build()
            .map_err(|error| wrong("url", &error.to_string()))?;
        Ok(Self {
            client,
            org: config.org.clone(),
            bucket: config.bucket.clone(),
            timeout: WRITE_TIMEOUT,
        })
    }

    #[cfg(test)]
    pub(crate) fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Writes lines whose times are in ms; returns when the server said it has them (204).
    pub(crate) async fn write(&self, lines: String) -> Result<(), WriteError> {
        let precision = TimestampPrecision::Milliseconds;
        let write = self
            .client
            .write_line_protocol_with_precision(&self.org, &self.bucket, lines, precision);
        // The client's future is large; boxed, it does not make every future above it so.
        match tokio::time::timeout(self.timeout, Box::pin(write)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(sort(error)),
            Err(_) => Err(WriteError::Later(format!(
                "no answer within {} s",
                self.timeout.as_secs_f32()
            ))),
        }
    }
}

/// Sorts an error by who must act. Only an answer about the lines themselves may ever cost a line: a wrong token, a missing
/// bucket, a proxy's page or silence say nothing about them.
fn sort(error: RequestError) -> WriteError {
    match error {
        RequestError::Http { status, text } => match status.as_u16() {
            status @ (400 | 422) => WriteError::Refused {
                status,
                answer: shorten(&text),
            },
            413 => WriteError::TooLarge,
            status => WriteError::Later(format!(
                "the server answered {status}, expected 204: {}",
                shorten(&text)
            )),
        },
        RequestError::ReqwestProcessing { source } => {
            let mut reason = source.to_string();
            let mut cause = std::error::Error::source(&source);
            while let Some(error) = cause {
                reason = format!("{reason}: {error}");
                cause = error.source();
            }
            WriteError::Later(reason)
        }
        other => WriteError::Later(other.to_string()),
    }
}

fn shorten(text: &str) -> String {
    text.trim()
        .chars()
        .scan(0, |used, c| {
            *used += c.len_utf8();
            (*used <= ANSWER_LEN_MAX).then_some(c)
        })
        .collect()
}

/// `http://host[:port][/]`, the host as a name, an IPv4 or a bracketed IPv6 address.
pub(crate) fn is_plain_base(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("ipv6", port.strip_prefix(':').or(port.is_empty().then_some("80")))
        }
        Some(_) => return false,
        None => authority
            .split_once(':')
            .map_or((authority, Some("80")), |(host, port)| (host, Some(port))),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    // A host of digits and dots must be an address: the crate's reader would refuse anything else.
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()));
    let named = !host.is_empty() && !host.starts_with('.') && !host.contains("..") && host.bytes().all(plain);
    named
        && !host
            .to_ascii_lowercase()
            .split('.')
            .any(|label| label.starts_with("xn--"))
        && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
        && port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> InfluxConfig {
        InfluxConfig {
            name: "a".into(),
            url: url.into(),
            org: "o".into(),
            bucket: "b".into(),
            token: String::new(),
            overwrites: false,
        }
    }

    #[test]
    fn an_address_that_would_panic_is_an_error() {
        let good = [
            "http://127.0.0.1:8086",
            "http://influx.local:8086/",
            "http://[::1]:8086",
            "http://localhost",
        ];
        for url in good {
            Influx::new(&config(url)).unwrap();
        }
        let bad = [
            "",
            "http://",
            "http:///",
            "https://a",
            "http://a b",
            "http://a:99999",
            "http://a:0",
            "http://1.2.3.4.5",
            "http://[::g]:1",
            "http://a/path",
            "http://u:p@a",
            "http://a:1:2",
            "http://999.1.1.1",
            "http://xn--a",
        ];
        for url in bad {
            let error = Influx::new(&config(url)).expect_err(url);
            assert!(error.to_string().contains("http://host:port"), "{error}");
        }
        let token = InfluxConfig {
            token: "a\nb".into(),
            ..config("http://a")
        };
        assert_eq!(Influx::new(&token).unwrap_err().key, "token");
    }

    #[test]
    fn a_long_answer_is_cut_at_a_character() {
        assert_eq!(shorten(&"س".repeat(1_000)).len(), ANSWER_LEN_MAX);
        assert_eq!(shorten(" short \n"), "short");
    }
}
