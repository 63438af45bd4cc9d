//! Ingest's configuration: parsed and checked whole before anything is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use crate::sinks::is_plain_base;

/// The shortest token that is taken, in bytes.
pub const TOKEN_LEN_MIN: usize = 16;
/// The most InfluxDB sinks.
pub const SINKS_MAX: usize = 8;

/// A complete, commented example, what is optional commented out; tests hold it parseable either way.
pub const CONFIG_EXAMPLE: &str = include_str!("config.example.toml");

/// The configuration of ingest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the store; made if it is missing.
    pub data: PathBuf,
    /// Where HTTP listens: batches, metrics, API and page.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// What gateways must present as `Authorization: Bearer …`, at least [`TOKEN_LEN_MIN`] bytes of visible ASCII.
    pub token: String,
    /// InfluxDB v2 servers that get every reading, at most [`SINKS_MAX`].
    #[serde(default)]
    pub influx: Vec<InfluxConfig>,
}

/// One InfluxDB v2 server (or what speaks its write protocol).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluxConfig {
    /// The sink's name: it keys the durable cursor and the metrics. 1 to 32 of `a-z`, `0-9`, `-`.
    pub name: String,
    /// `http://host:port`; plain HTTP, so to loopback or a TLS side-car.
    pub url: String,
    /// The organisation.
    pub org: String,
    /// The bucket.
    pub bucket: String,
    /// The API token; empty where the server asks for none.
    #[serde(default)]
    pub token: String,
}

/// A configuration that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not TOML, a key that does not exist, or a value of the wrong type.
    #[error("ingest configuration: {0}")]
    Toml(String),
    /// A value outside what is allowed.
    #[error("ingest configuration: {key} = {value}: {allowed}")]
    Value {
        /// Where it stands.
        key: String,
        /// What stands there; secrets are not shown.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}

impl Config {
    /// Parses and checks.
    ///
    /// # Errors
    /// [`ConfigError`] names the key, its value and what is allowed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Toml(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Checks every value; nothing is opened.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.data.as_os_str().is_empty() {
            return Err(value("data", "\"\"", "a folder"));
        }
        if self.token.len() < TOKEN_LEN_MIN || !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            let allowed = format!("at least {TOKEN_LEN_MIN} visible ASCII characters");
            return Err(value("token", &format!("({} bytes)", self.token.len()), &allowed));
        }
        if self.influx.len() > SINKS_MAX {
            return Err(value(
                "influx",
                &format!("{} of them", self.influx.len()),
                &format!("at most {SINKS_MAX}"),
            ));
        }
        for (at, sink) in self.influx.iter().enumerate() {
            sink.check()?;
            if self.influx[..at].iter().any(|other| other.name == sink.name) {
                return Err(value(
                    "influx.name",
                    &format!("\"{}\"", sink.name),
                    "each name once",
                ));
            }
        }
        Ok(())
    }
}

impl InfluxConfig {
    fn check(&self) -> Result<(), ConfigError> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(allowed) {
            return Err(value(
                "influx.name",
                &format!("\"{}\"", self.name),
                "1 to 32 of a-z, 0-9 and '-'",
            ));
        }
        if !is_plain_base(&self.url) {
            let allowed = "http://host:port (TLS through a side-car on this machine)";
            return Err(value("influx.url", &format!("\"{}\"", self.url), allowed));
        }
        if !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            let shown = format!("({} bytes)", self.token.len());
            return Err(value(
                "influx.token",
                &shown,
                "visible ASCII characters, or nothing",
            ));
        }
        for (key, text) in [("influx.org", &self.org), ("influx.bucket", &self.bucket)] {
            if text.is_empty() {
                return Err(value(key, "\"\"", "a name"));
            }
        }
        Ok(())
    }
}

fn value(key: &str, value: &str, allowed: &str) -> ConfigError {
    ConfigError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}

fn default_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8080))
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
        CONFIG_EXAMPLE
            .lines()
            .flat_map(|line| [in_force(line), "\n"])
            .collect()
    }

    #[test]
    fn the_example_parses_and_states_the_defaults() {
        let config = Config::parse(CONFIG_EXAMPLE).unwrap();
        assert_eq!(config.listen, default_listen());
        assert!(
            config.influx.is_empty(),
            "nothing is asked for that a new machine has not"
        );
    }

    #[test]
    fn the_examples_sink_is_right_when_it_is_uncommented() {
        let config = Config::parse(&uncommented()).unwrap();
        let names: Vec<_> = config.influx.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["local"]);
    }

    #[test]
    fn an_error_names_key_and_what_is_allowed_and_never_shows_a_token() {
        let short = "data = \"d\"\ntoken = \"s3cret\"\n";
        let message = Config::parse(short).unwrap_err().to_string();
        assert!(
            message.contains("token") && message.contains("16") && !message.contains("s3cret"),
            "{message}"
        );
        let unknown = format!("{CONFIG_EXAMPLE}\n[extra]\n");
        assert!(Config::parse(&unknown).unwrap_err().to_string().contains("extra"));
        let example = uncommented();
        let tls = example.replace("http://127.0.0.1:8086", "https://influx.example");
        assert!(Config::parse(&tls).unwrap_err().to_string().contains("side-car"));
        let unreadable = example.replace("http://127.0.0.1:8086", "http://127.0.0.1:808600");
        assert!(
            Config::parse(&unreadable)
                .unwrap_err()
                .to_string()
                .contains("influx.url")
        );
    }
}
