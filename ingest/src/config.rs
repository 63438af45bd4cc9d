//! Ingest's configuration: parsed and checked whole before anything is opened.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use taraz_settings::{Document, Key, Mistake, Place, Section, Wrong};

use crate::sinks::is_plain_base;

/// The shortest token that is taken, in bytes.
pub const TOKEN_LEN_MIN: usize = 16;
/// The most InfluxDB sinks.
pub const SINKS_MAX: usize = 8;

/// A complete, commented example, what is optional commented out; tests hold it parseable either way.
pub const CONFIG_EXAMPLE: &str = include_str!("config.example.toml");

/// The keys of the table that [`Config`] is read from.
pub const KEYS: &[Key] = &[
    Key::must("data", "the path of a folder, as \"taraz-data/ingest\""),
    Key::may(
        "listen",
        "ADDRESS:PORT, as \"127.0.0.1:8080\"; port 0 to 65535, 0 takes a free one",
    ),
    Key::must("token", TOKEN_ALLOWED).secret(),
    Key::table(
        "store",
        "a table with seal_after_days and keep_readings_days: [store]",
    ),
    Key::may("store.seal_after_days", SEAL_ALLOWED),
    Key::may("store.keep_readings_days", KEEP_ALLOWED),
    Key::tables(
        "influx",
        "a table for each server, with name, url, org, bucket, token and overwrites: [[influx]]",
    ),
    Key::must("influx.name", NAME_ALLOWED),
    Key::must("influx.url", URL_ALLOWED),
    Key::must("influx.org", "a name, as \"mazandaran\""),
    Key::must("influx.bucket", "a name, as \"taraz\""),
    Key::may("influx.token", SINK_TOKEN_ALLOWED).secret(),
    Key::may("influx.overwrites", "true or false"),
];

const SEAL_ALLOWED: &str = "whole days, 1 to 36500, as 2";
const KEEP_ALLOWED: &str =
    "whole days, more than seal_after_days and at most 36500, as 3650; left out, readings are kept for ever";
/// The most days of a policy: a century.
const POLICY_DAYS_MAX: u32 = 36_500;
const TOKEN_ALLOWED: &str =
    "at least 16 visible ASCII characters in quotes (`openssl rand -hex 24` makes one)";
const NAME_ALLOWED: &str = "1 to 32 of a-z, 0-9 and '-', as \"local\"";
const URL_ALLOWED: &str =
    "http://HOST:PORT, as \"http://127.0.0.1:8086\" (TLS through a side-car on this machine)";
const SINK_TOKEN_ALLOWED: &str = "visible ASCII characters in quotes, or nothing";

/// The configuration of ingest.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder of the store; made if it is missing.
    pub data: PathBuf,
    /// Where HTTP listens: batches, metrics, API and page.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// What gateways must present as `Authorization: Bearer …`, at least [`TOKEN_LEN_MIN`] bytes of visible ASCII.
    pub token: String,
    /// How long readings are kept, and how.
    #[serde(default)]
    pub store: StoreConfig,
    /// InfluxDB v2 servers that get every reading, at most [`SINKS_MAX`].
    #[serde(default)]
    pub influx: Vec<InfluxConfig>,
}

/// How long readings are kept, and how. Intervals are kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// A day of UTC is compressed so many days after its end; 1 to 36,500.
    #[serde(default = "default_seal_after_days")]
    pub seal_after_days: u32,
    /// Readings are given up so many days after their day's end; `None`: never. More than `seal_after_days`.
    pub keep_readings_days: Option<u32>,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            seal_after_days: default_seal_after_days(),
            keep_readings_days: None,
        }
    }
}

impl StoreConfig {
    fn check(&self) -> Result<(), Wrong> {
        if !(1..=POLICY_DAYS_MAX).contains(&self.seal_after_days) {
            return Err(Wrong::new("seal_after_days", self.seal_after_days, SEAL_ALLOWED));
        }
        match self.keep_readings_days {
            Some(days) if !(self.seal_after_days + 1..=POLICY_DAYS_MAX).contains(&days) => {
                Err(Wrong::new("keep_readings_days", days, KEEP_ALLOWED))
            }
            _ => Ok(()),
        }
    }
}

/// One InfluxDB v2 server (or what speaks its write protocol).
#[derive(Clone, Deserialize)]
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
    /// Of several points of one series and time the server keeps the one that was written last, as InfluxDB does. For one that does not, as
    /// VictoriaMetrics, a figure that changes is sent again some ms later.
    #[serde(default)]
    pub overwrites: bool,
}

impl Config {
    /// Parses and checks a file that holds nothing else; `file` is what messages call it.
    ///
    /// # Errors
    /// [`Mistake`] names file, line and key, what was found, and what is allowed.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        const SECTIONS: &[Section] = &[Section { head: "", keys: KEYS }];
        let document = Document::parse(file, text, SECTIONS)?;
        let config: Self = document.read()?;
        config.check().map_err(|wrong| document.mistake(wrong))?;
        Ok(config)
    }

    /// Checks every value; nothing is opened.
    ///
    /// # Errors
    /// [`Wrong`] for the first that is not allowed.
    pub fn check(&self) -> Result<(), Wrong> {
        if self.data.as_os_str().is_empty() {
            return Err(Wrong::new("data", "\"\"", "the path of a folder"));
        }
        if self.token.len() < TOKEN_LEN_MIN || !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Wrong::secret("token", TOKEN_ALLOWED));
        }
        self.store
            .check()
            .map_err(|wrong| wrong.below(Place::top().key("store")))?;
        if self.influx.len() > SINKS_MAX {
            let found = format!("{} of them", self.influx.len());
            return Err(Wrong::new("influx", found, format!("at most {SINKS_MAX}")));
        }
        for (at, sink) in self.influx.iter().enumerate() {
            let place = Place::top().item("influx", at);
            sink.check().map_err(|wrong| wrong.below(place.clone()))?;
            if self.influx[..at].iter().any(|other| other.name == sink.name) {
                return Err(Wrong::new(place.key("name"), &sink.name, "each name once"));
            }
        }
        Ok(())
    }
}

impl InfluxConfig {
    fn check(&self) -> Result<(), Wrong> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(allowed) {
            return Err(Wrong::new("name", &self.name, NAME_ALLOWED));
        }
        if !is_plain_base(&self.url) {
            return Err(Wrong::new("url", &self.url, URL_ALLOWED));
        }
        if !self.token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Wrong::secret("token", SINK_TOKEN_ALLOWED));
        }
        for (key, text) in [("org", &self.org), ("bucket", &self.bucket)] {
            if text.is_empty() {
                return Err(Wrong::new(key, "\"\"", "a name"));
            }
        }
        Ok(())
    }
}

// Secrets stay out of logs.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("data", &self.data)
            .field("listen", &self.listen)
            .field("store", &self.store)
            .field("influx", &self.influx)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for InfluxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InfluxConfig")
            .field("name", &self.name)
            .field("url", &self.url)
            .field("org", &self.org)
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

const fn default_seal_after_days() -> u32 {
    2
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
        let config = Config::parse("ingest.toml", CONFIG_EXAMPLE).unwrap();
        assert_eq!(config.listen, default_listen());
        assert_eq!(config.store, StoreConfig::default());
        assert!(
            config.influx.is_empty(),
            "nothing is asked for that a new machine has not"
        );
    }

    #[test]
    fn the_examples_sink_is_right_when_it_is_uncommented() {
        let config = Config::parse("ingest.toml", &uncommented()).unwrap();
        let names: Vec<_> = config.influx.iter().map(|sink| sink.name.as_str()).collect();
        assert_eq!(names, ["local"]);
    }

    #[test]
    fn an_error_names_line_key_and_what_is_allowed_and_never_shows_a_token() {
        let example = uncommented();
        let cases = [
            (
                "\ntoken = \"replace-me-with-a-long-random-text\"",
                "\ntoken = \"s3cret\"",
                "token: found (not shown); allowed: at least 16",
            ),
            (
                "listen = \"127.0.0.1:8080\"",
                "listen = \"127.0.0.1:99999\"",
                "listen: found \"127.0.0.1:99999\"; allowed: ADDRESS:PORT",
            ),
            (
                "[[influx]]",
                "[[inflx]]",
                "inflx: found a key that does not exist; allowed: here one of data, listen, token, [store], [[influx]]",
            ),
            (
                "seal_after_days = 2",
                "seal_after_days = 0",
                "store.seal_after_days: found 0; allowed: whole days, 1 to",
            ),
            (
                "keep_readings_days = 3650",
                "keep_readings_days = 2",
                "store.keep_readings_days: found 2; allowed: whole days, more than seal_after_days",
            ),
            (
                "http://127.0.0.1:8086",
                "https://influx.example",
                "influx.url: found \"https://influx.example\"; allowed: http://HOST:PORT",
            ),
            (
                "http://127.0.0.1:8086",
                "http://127.0.0.1:808600",
                "influx.url: found \"http://127.0.0.1:808600\"; allowed: http://HOST:PORT",
            ),
            (
                "name = \"local\"",
                "name = \"Local\"",
                "influx.name: found \"Local\"; allowed: 1 to 32 of a-z",
            ),
            (
                "org = \"mazandaran\"\n",
                "",
                "influx.org: found nothing; allowed: a name",
            ),
            (
                "\ntoken = \"\"",
                "\ntoken = \"two words\"",
                "influx.token: found (not shown); allowed: visible ASCII",
            ),
        ];
        for (from, to, expected) in cases {
            assert!(example.contains(from), "{from}");
            let said = Config::parse("ingest.toml", &example.replacen(from, to, 1))
                .unwrap_err()
                .to_string();
            assert!(
                said.starts_with("ingest.toml: line ") && said.contains(expected),
                "{said}"
            );
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = uncommented().replace("\ntoken = \"\"", "\ntoken = \"sesame\"");
        let shown = format!("{:?}", Config::parse("ingest.toml", &text).unwrap());
        assert!(shown.contains("127.0.0.1:8086"), "{shown}");
        assert!(
            !shown.contains("replace-me") && !shown.contains("sesame"),
            "{shown}"
        );
    }

    #[test]
    fn every_key_that_is_told_stands_in_the_example() {
        let example = uncommented();
        for key in KEYS {
            let name = key.path().rsplit('.').next().unwrap();
            let is_there = |line: &str| {
                line.starts_with(&format!("{name} = "))
                    || line == format!("[[{name}]]")
                    || line == format!("[{name}]")
            };
            assert!(example.lines().any(is_there), "{name}");
        }
    }
}
