//! What can be configured, read and checked whole before any socket opens.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use taraz_settings::{Key, Wrong};

use crate::forward::{HttpUplink, HttpUplinkError};

/// A complete, commented example, what is optional commented out; tests hold it parseable either way, and equal to the
/// defaults where it says so.
pub const EXAMPLE: &str = include_str!("example.toml");

/// The keys of the table that [`Config`] is read from.
pub const KEYS: &[Key] = &[
    Key::must("data_dir", "the path of a folder, as \"taraz-data/gateway\""),
    Key::may("mqtt_listen", MQTT_LISTEN),
    Key::may(
        "http_listen",
        "ADDRESS:PORT, as \"127.0.0.1:8081\"; port 0 to 65535, 0 takes a free one",
    ),
    Key::may("spool_max_mib", SPOOL_ALLOWED),
    Key::may("connections_max", CONNECTIONS_ALLOWED),
    Key::may("device_frames_per_s_max", DEVICE_RATE_ALLOWED),
    Key::may("in_flight_max", IN_FLIGHT_ALLOWED),
    Key::table(
        "broker",
        "a table with url, client_id, username and password: [broker]",
    ),
    Key::must("broker.url", BROKER_URL),
    Key::may("broker.client_id", CLIENT_ID),
    Key::may("broker.username", "a text, as \"gateway\""),
    Key::may(
        "broker.password",
        "a text in quotes, only together with broker.username",
    )
    .secret(),
    Key::table("ingest", "a table with url and token: [ingest]"),
    Key::must("ingest.url", INGEST_URL),
    Key::must("ingest.token", INGEST_TOKEN).secret(),
];

const MQTT_LISTEN: &str = "ADDRESS:PORT, as \"0.0.0.0:1883\"; port 0 to 65535, 0 takes a free one";
const SPOOL_ALLOWED: &str = "1 to 1000000, as 4096";
const CONNECTIONS_ALLOWED: &str = "1 to 100000, as 10000";
const DEVICE_RATE_ALLOWED: &str = "1 to 1000000, as 20000";
const IN_FLIGHT_ALLOWED: &str = "1 to 10000, as 128";
const BROKER_URL: &str = "mqtt://HOST or mqtt://HOST:PORT, as \"mqtt://broker.example.org:1883\"";
const CLIENT_ID: &str = "1 to 128 bytes, as \"taraz-gateway\"";
const INGEST_URL: &str = "http://HOST:PORT, as \"http://127.0.0.1:8080\"";
const INGEST_TOKEN: &str = "the token of ingest's configuration in quotes, not empty, ASCII";
/// Megabytes in the spool's bound, least and most.
const SPOOL_MIB: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// Connections in the listener's bound, least and most.
const CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=100_000;
/// Frames per second in a device's bound, least and most.
const DEVICE_RATE: std::ops::RangeInclusive<u32> = 1..=1_000_000;
/// Frames of a connection that wait for their commit, least and most.
const IN_FLIGHT: std::ops::RangeInclusive<u16> = 1..=10_000;
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
    /// Frames per second that one device may send through the listener, all its sessions together, 1 to 1,000,000; above it the
    /// device is not read for a while.
    #[serde(default = "default_device_frames_per_s_max")]
    pub device_frames_per_s_max: u32,
    /// Frames of one connection that may wait for their commit, 1 to 10,000; above it its socket is not read. MQTT 5 clients are told
    /// (Receive Maximum).
    #[serde(default = "default_in_flight_max")]
    pub in_flight_max: u16,
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
            device_frames_per_s_max: default_device_frames_per_s_max(),
            in_flight_max: default_in_flight_max(),
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Wrong`] for the first that is not allowed.
    pub fn check(&self) -> Result<(), Wrong> {
        if self.data_dir.as_os_str().is_empty() {
            return Err(Wrong::new("data_dir", "\"\"", "the path of a folder"));
        }
        if self.mqtt_listen.is_none() && self.broker.is_none() {
            let allowed = format!("at least one of mqtt_listen and [broker]; {MQTT_LISTEN}");
            return Err(Wrong::missing("mqtt_listen", allowed));
        }
        if !SPOOL_MIB.contains(&self.spool_max_mib) {
            return Err(Wrong::new("spool_max_mib", self.spool_max_mib, SPOOL_ALLOWED));
        }
        if !CONNECTIONS.contains(&self.connections_max) {
            return Err(Wrong::new(
                "connections_max",
                self.connections_max,
                CONNECTIONS_ALLOWED,
            ));
        }
        if !DEVICE_RATE.contains(&self.device_frames_per_s_max) {
            let found = self.device_frames_per_s_max;
            return Err(Wrong::new("device_frames_per_s_max", found, DEVICE_RATE_ALLOWED));
        }
        if !IN_FLIGHT.contains(&self.in_flight_max) {
            return Err(Wrong::new("in_flight_max", self.in_flight_max, IN_FLIGHT_ALLOWED));
        }
        let broker = self.broker.as_ref().map_or(Ok(()), BrokerConfig::check);
        broker.map_err(|wrong| wrong.below("broker"))?;
        let ingest = self.ingest.as_ref().map_or(Ok(()), IngestConfig::check);
        ingest.map_err(|wrong| wrong.below("ingest"))
    }
}

impl BrokerConfig {
    fn check(&self) -> Result<(), Wrong> {
        let url = || Wrong::new("url", &self.url, BROKER_URL);
        let (host, port) = self.parts().ok_or_else(url)?;
        if host.is_empty() || port == Some(0) {
            return Err(url());
        }
        if self.client_id.is_empty() || self.client_id.len() > 128 {
            return Err(Wrong::new("client_id", &self.client_id, CLIENT_ID));
        }
        if self.password.is_some() && self.username.is_none() {
            return Err(Wrong::secret("password", "only together with broker.username"));
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
    fn check(&self) -> Result<(), Wrong> {
        if self.token.trim().is_empty() || !self.token.is_ascii() {
            return Err(Wrong::secret("token", INGEST_TOKEN));
        }
        HttpUplink::new(&self.url, &self.token)
            .map(|_| ())
            .map_err(|error| match error {
                HttpUplinkError::Url { reason, .. } => {
                    Wrong::new("url", &self.url, format!("{INGEST_URL}; {reason}"))
                }
                client @ HttpUplinkError::Client(_) => Wrong::new("url", &self.url, client.to_string()),
            })
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

const fn default_http_listen() -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8_081)
}

const fn default_spool_max_mib() -> u64 {
    4_096
}

const fn default_connections_max() -> usize {
    10_000
}

const fn default_in_flight_max() -> u16 {
    crate::doors::IN_FLIGHT_DEFAULT
}

const fn default_device_frames_per_s_max() -> u32 {
    20_000
}

fn default_client_id() -> String {
    "taraz-gateway".to_owned()
}

#[cfg(test)]
mod tests {
    use taraz_settings::{Document, Section};

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

    /// What a file of this text is refused with.
    fn refusal(text: &str) -> String {
        const SECTIONS: &[Section] = &[Section { head: "", keys: KEYS }];
        let read = || {
            let document = Document::parse("gateway.toml", text, SECTIONS)?;
            let config: Config = document.read()?;
            config.check().map_err(|wrong| document.mistake(wrong))
        };
        read().expect_err(text).to_string()
    }

    #[test]
    fn an_error_names_line_key_value_and_what_is_allowed() {
        let cases = [
            (
                "spool_max_mib = 4096",
                "spool_max_mib = 0",
                "spool_max_mib: found 0; allowed: 1 to 1000000, as 4096",
            ),
            (
                "connections_max = 10000",
                "connections_max = 0",
                "connections_max: found 0; allowed: 1 to 100000, as 10000",
            ),
            (
                "mqtt_listen = \"0.0.0.0:1883\"",
                "mqtt_listen = \"localhost\"",
                "mqtt_listen: found \"localhost\"; allowed: ADDRESS:PORT, as \"0.0.0.0:1883\"",
            ),
            (
                "mqtt://broker.example.org:1883",
                "tcp://broker",
                "broker.url: found \"tcp://broker\"; allowed: mqtt://HOST or mqtt://HOST:PORT",
            ),
            (
                "mqtt://broker.example.org:1883",
                "mqtt://broker:99999",
                "broker.url: found \"mqtt://broker:99999\"; allowed: mqtt://HOST or mqtt://HOST:PORT",
            ),
            (
                "username = ",
                "# username = ",
                "broker.password: found (not shown); allowed: only together with broker.username",
            ),
            (
                "token = \"replace-me-with-a-long-random-text\"",
                "token = \"\"",
                "ingest.token: found (not shown); allowed: the token of ingest's configuration",
            ),
            (
                "http://127.0.0.1:8080",
                "https://ingest.example.org",
                "ingest.url: found \"https://ingest.example.org\"; allowed: ",
            ),
        ];
        let example = uncommented();
        for (from, to, expected) in cases {
            assert!(example.contains(from), "{from}");
            let said = refusal(&example.replacen(from, to, 1));
            assert!(
                said.starts_with("gateway.toml: line ") && said.contains(expected),
                "{said}"
            );
        }
    }

    #[test]
    fn every_key_that_is_told_stands_in_the_example() {
        for key in KEYS {
            let name = key.path().rsplit('.').next().unwrap();
            let is_there =
                |line: &str| line.starts_with(&format!("{name} = ")) || line == format!("[{name}]");
            assert!(uncommented().lines().any(is_there), "{name}");
        }
    }

    #[test]
    fn a_gateway_needs_a_door() {
        let mut config = Config::new("x".into(), "127.0.0.1:0".parse().unwrap());
        config.mqtt_listen = None;
        assert_eq!(config.check().unwrap_err().place.to_string(), "mqtt_listen");
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
