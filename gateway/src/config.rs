//! What can be configured, read and checked whole before any socket opens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

/// A complete, commented example, what is optional commented out; tests hold it parseable either way, and equal to the
/// defaults where it says so.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Megabytes in the spool's bound, least and most.
const SPOOL_MIB: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// Connections in the listener's bound, least and most.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=100_000;
/// The default port of MQTT without TLS (IANA).
const MQTT_PORT: u16 = 1_883;

/// Configuration of one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the spool; made if it is missing.
    pub data_dir: PathBuf,
    /// Where our own MQTT listener listens, as `ADDRESS:PORT`; left out: no listener. Port 0 takes a free one.
    #[serde(default)]
    pub mqtt_listen: Option<SocketAddr>,
    /// The external broker; left out: none. At least one of listener and broker must be there.
    #[serde(default)]
    pub broker: Option<BrokerConfig>,
    /// Where committed frames go; left out in `taraz up`, where ingest runs in the same process.
    #[serde(default)]
    pub ingest: Option<IngestConfig>,
    /// Where a lone gateway serves `/metrics`, `/healthz`, `/readyz` and `/api/v1`.
    #[serde(default = "default_http_listen")]
    pub http_listen: SocketAddr,
    /// Bytes that the spool may hold, in MiB, 1 to 1,000,000; when it is full, nothing more is acknowledged.
    #[serde(default = "default_spool_max_mib")]
    pub spool_max_mib: u64,
    /// MQTT connections that the listener holds at a time, 1 to 100,000.
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
}

/// An external MQTT 5 broker.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerConfig {
    /// `mqtt://HOST` or `mqtt://HOST:PORT`.
    pub url: String,
    /// The client id, under which the broker keeps the session: another for each gateway.
    #[serde(default = "default_client_id")]
    pub client_id: String,
    /// User name, if the broker asks for one.
    #[serde(default)]
    pub username: Option<String>,
    /// Password, only with a user name.
    #[serde(default)]
    pub password: Option<String>,
}

/// An ingest in another process.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngestConfig {
    /// `http://HOST:PORT`.
    pub url: String,
    /// The bearer token that ingest expects, not empty.
    pub token: String,
}

/// A value that is not allowed; the message names the key, its value and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key} = {value}: {allowed}")]
pub struct ConfigError {
    /// The key with its table.
    pub key: &'static str,
    /// What stands there.
    pub value: String,
    /// What is allowed.
    pub allowed: String,
}

impl Config {
    /// A gateway with its own listener and everything else at its default.
    #[must_use]
    pub fn new(data_dir: PathBuf, mqtt_listen: SocketAddr) -> Self {
        Self {
            data_dir,
            mqtt_listen: Some(mqtt_listen),
            broker: None,
            ingest: None,
            http_listen: default_http_listen(),
            spool_max_mib: default_spool_max_mib(),
            connections_max: default_connections_max(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError`] for the first that is not allowed.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(wrong("data_dir", "\"\"", "the path of a folder"));
        }
        if self.mqtt_listen.is_none() && self.broker.is_none() {
            return Err(wrong(
                "mqtt_listen",
                "(none)",
                "at least one of mqtt_listen and [broker]",
            ));
        }
        if !SPOOL_MIB.contains(&self.spool_max_mib) {
            return Err(wrong(
                "spool_max_mib",
                &self.spool_max_mib.to_string(),
                "1 to 1000000",
            ));
        }
        if !CONNECTIONS.contains(&self.connections_max) {
            return Err(wrong(
                "connections_max",
                &self.connections_max.to_string(),
                "1 to 100000",
            ));
        }
        self.broker.as_ref().map_or(Ok(()), BrokerConfig::check)?;
        self.ingest.as_ref().map_or(Ok(()), IngestConfig::check)
    }
}

impl BrokerConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let allowed = "mqtt://HOST or mqtt://HOST:PORT";
        let (host, port) = self
            .parts()
            .ok_or_else(|| wrong("broker.url", &self.url, allowed))?;
        if host.is_empty() || port == Some(0) {
            return Err(wrong("broker.url", &self.url, allowed));
        }
        if self.client_id.is_empty() || self.client_id.len() > 128 {
            return Err(wrong("broker.client_id", &self.client_id, "1 to 128 bytes"));
        }
        if self.password.is_some() && self.username.is_none() {
            return Err(wrong(
                "broker.password",
                "(not shown)",
                "only together with broker.username",
            ));
        }
        Ok(())
    }

    /// Host and port of a checked configuration.
    pub(crate) fn address(&self) -> (String, u16) {
        let (host, port) = self.parts().unwrap_or((&self.url, None));
        (host.to_owned(), port.unwrap_or(MQTT_PORT))
    }

    fn parts(&self) -> Option<(&str, Option<u16>)> {
        let rest = self.url.strip_prefix("mqtt://")?.trim_end_matches('/');
        if rest.contains(['/', '@', ' ']) {
            return None;
        }
        match rest.rsplit_once(':') {
            // The brackets of an IPv6 address hold colons of their own.
            Some((host, port)) if !port.ends_with(']') => Some((host, Some(port.parse().ok()?))),
            _ => Some((rest, None)),
        }
    }
}

impl IngestConfig {
    fn check(&self) -> Result<(), ConfigError> {
        if let Err(error) = crate::forward::HttpUplink::new(&self.url, &self.token) {
            return Err(wrong("ingest.url", &self.url, &error.to_string()));
        }
        if self.token.trim().is_empty() || !self.token.is_ascii() {
            return Err(wrong(
                "ingest.token",
                "(not shown)",
                "the token of ingest's configuration, not empty, ASCII",
            ));
        }
        Ok(())
    }
}

// Secrets stay out of logs.
impl std::fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerConfig")
            .field("url", &self.url)
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for IngestConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestConfig")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

fn wrong(key: &'static str, value: &str, allowed: &str) -> ConfigError {
    ConfigError {
        key,
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}

const fn default_http_listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_081)
}

const fn default_spool_max_mib() -> u64 {
    4_096
}

const fn default_connections_max() -> usize {
    10_000
}

fn default_client_id() -> String {
    "taraz-gateway".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example with its optional tables in force.
    fn uncommented() -> String {
        let is_key = |key: &str| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let is_toml =
            |line: &&str| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| is_key(key));
        let in_force = |line| str::strip_prefix(line, "# ").filter(is_toml).unwrap_or(line);
        EXAMPLE.lines().flat_map(|line| [in_force(line), "\n"]).collect()
    }

    #[test]
    fn the_example_parses_passes_and_states_the_defaults() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        config.check().unwrap();
        let defaults = Config::new("taraz-data/gateway".into(), "0.0.0.0:1883".parse().unwrap());
        assert_eq!(config, defaults);
    }

    #[test]
    fn the_examples_optional_tables_are_right_when_they_are_uncommented() {
        let config: Config = toml::from_str(&uncommented()).unwrap();
        config.check().unwrap();
        let broker = config.broker.unwrap();
        assert_eq!(broker.address(), ("broker.example.org".to_owned(), 1_883));
        assert_eq!(broker.client_id, default_client_id());
        assert!(broker.username.is_some() && broker.password.is_some());
        assert_eq!(config.ingest.unwrap().url, "http://127.0.0.1:8080");
    }

    #[test]
    fn every_key_of_the_example_is_known_and_an_unknown_one_is_refused() {
        let error = toml::from_str::<Config>(&EXAMPLE.replace("mqtt_listen", "mqtt_lisen")).unwrap_err();
        assert!(error.to_string().contains("mqtt_lisen"), "{error}");
    }

    #[test]
    fn an_error_names_key_value_and_what_is_allowed() {
        let cases = [
            (
                "spool_max_mib = 4096",
                "spool_max_mib = 0",
                "spool_max_mib = 0: 1 to 1000000",
            ),
            (
                "connections_max = 10000",
                "connections_max = 0",
                "connections_max = 0: 1 to 100000",
            ),
            (
                "mqtt://broker.example.org:1883",
                "tcp://broker",
                "broker.url = tcp://broker: mqtt://HOST or mqtt://HOST:PORT",
            ),
            (
                "mqtt://broker.example.org:1883",
                "mqtt://broker:99999",
                "broker.url = mqtt://broker:99999: mqtt://HOST or mqtt://HOST:PORT",
            ),
            (
                "username = ",
                "# username = ",
                "broker.password = (not shown): only together with broker.username",
            ),
            (
                "token = \"replace-me-with-a-long-random-text\"",
                "token = \"\"",
                "ingest.token = (not shown): the token of ingest's configuration, not empty, ASCII",
            ),
        ];
        let example = uncommented();
        for (from, to, expected) in cases {
            assert!(example.contains(from), "{from}");
            let config: Config = toml::from_str(&example.replacen(from, to, 1)).unwrap();
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
        let https = example.replace("http://127.0.0.1:8080", "https://ingest.example.org");
        let error = toml::from_str::<Config>(&https)
            .unwrap()
            .check()
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("ingest.url = https://ingest.example.org"),
            "{error}"
        );
    }

    #[test]
    fn a_gateway_needs_a_door() {
        let mut config = Config::new("x".into(), "127.0.0.1:0".parse().unwrap());
        config.mqtt_listen = None;
        assert_eq!(config.check().unwrap_err().key, "mqtt_listen");
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = format!("{:?}", toml::from_str::<Config>(&uncommented()).unwrap());
        assert!(text.contains("broker.example.org"), "{text}");
        assert!(
            !text.contains("replace-me-with-a-long-random-text") && !text.contains("secret"),
            "{text}"
        );
    }

    #[test]
    fn broker_urls() {
        let of = |url: &str| {
            let text = format!("url = \"{url}\"");
            toml::from_str::<BrokerConfig>(&text).unwrap()
        };
        assert_eq!(of("mqtt://[::1]:1884").address(), ("[::1]".to_owned(), 1_884));
        assert_eq!(of("mqtt://[::1]").address(), ("[::1]".to_owned(), 1_883));
        assert_eq!(of("mqtt://broker/").address(), ("broker".to_owned(), 1_883));
        assert!(of("mqtt://user:secret@broker").check().is_err());
        assert!(of("mqtt://").check().is_err());
    }
}
