//! What a run is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::client::WINDOW_MAX;
use crate::packets::Version;
use crate::payload::Format;
use crate::scrape::Series;
use crate::series::METERS_MAX;
use crate::usage::open_files_max;

/// Devices of a run; a registry has no more plants.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Files that are open beside the connections.
const FILES_BESIDE: u64 = 64;

/// A run against one server.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Where the broker or the gateway's door listens
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:1883")]
    pub broker: SocketAddr,
    /// The master key that the devices' keys are derived from; not needed for JSON
    #[arg(long, value_name = "FILE")]
    pub master_key: Option<PathBuf>,
    /// Devices, each with a connection of its own
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Messages that each connection has in flight at most
    #[arg(long, default_value_t = 20)]
    pub window: usize,
    /// Readings in each message
    #[arg(long, default_value_t = 1)]
    pub readings_per_frame: usize,
    /// Meters of each device: inverter, grid, consumption
    #[arg(long, default_value_t = 1)]
    pub meters: usize,
    /// How long to publish
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Publish exactly so many readings instead (rounded up to whole messages)
    #[arg(long, conflicts_with = "seconds")]
    pub readings: Option<u64>,
    /// Readings a second of all connections together; flat out when left out
    #[arg(long)]
    pub rate: Option<f64>,
    /// How long the connections only stand before that
    #[arg(long, default_value_t = 0.0)]
    pub idle_seconds: f64,
    /// MQTT version
    #[arg(long, value_enum, default_value_t = MqttVersion::V5)]
    pub mqtt: MqttVersion,
    /// Frames of docs/protocol.md, or one JSON message under solar/DEVICE/1
    #[arg(long, value_enum, default_value_t = Payload::Frames)]
    pub payload: Payload,
    /// What the readings say of when they were taken
    #[arg(long, value_enum, default_value_t = When::Live)]
    pub times: When,
    /// Backlog: how long ago it began
    #[arg(long, default_value_t = 300)]
    pub backlog_days: u64,
    /// Backlog: from one poll of a meter to the next
    #[arg(long, default_value_t = 10_000)]
    pub step_ms: u64,
    /// QoS of the subscription to /ack
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=1))]
    pub ack_qos: u8,
    /// A counter that says how many readings are stored, as 127.0.0.1:8080/metrics#ingest_records_total{kind="reading"}
    #[arg(long, value_name = "ADDRESS:PORT/PATH#SERIES")]
    pub stored: Option<Series>,
    /// What that counter rises by for each reading
    #[arg(long, default_value_t = 1.0)]
    pub stored_per_reading: f64,
    /// Give up waiting for the last readings to be stored after so long without another one
    #[arg(long, default_value_t = 60.0)]
    pub stored_timeout_seconds: f64,
    /// A gauge that states the power of the first device, as 127.0.0.1:8080/metrics#solar_ac_power_watts{plant="load-00001"}
    #[arg(long, value_name = "ADDRESS:PORT/PATH#SERIES")]
    pub gauge: Option<Series>,
    /// Then publish on for so long and look at both at 10 Hz, for the latencies; not part of the CPU figures
    #[arg(long, default_value_t = 0.0)]
    pub probe_seconds: f64,
    /// A process whose CPU and memory are told, as gateway=4711; may be given several times
    #[arg(long, value_name = "NAME=PID")]
    pub watch: Vec<Watch>,
    /// Where the figures go as JSON; to standard output when left out
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// MQTT versions by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MqttVersion {
    /// MQTT 3.1.1
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5
    #[value(name = "5")]
    V5,
}

/// Payloads by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Payload {
    /// Frames with their tags
    Frames,
    /// JSON
    Json,
}

/// Times of readings by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Taken now
    Live,
    /// Taken one step after the other, long ago
    Backlog,
}

/// A process to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// What it is called in the figures.
    pub name: String,
    /// Its id.
    pub id: u32,
}

impl std::str::FromStr for Watch {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts = || {
            let (name, id) = text.split_once('=')?;
            Some(Self {
                name: name.to_owned(),
                id: id.parse().ok()?,
            })
        };
        parts().ok_or_else(|| anyhow::anyhow!("expected NAME=PID, as gateway=4711, found {text}"))
    }
}

impl Options {
    pub(crate) const fn version(&self) -> Version {
        match self.mqtt {
            MqttVersion::V311 => Version::V311,
            MqttVersion::V5 => Version::V5,
        }
    }

    pub(crate) const fn format(&self) -> Format {
        match self.payload {
            Payload::Frames => Format::Frames,
            Payload::Json => Format::Json,
        }
    }

    /// How long to publish, and how many messages at most.
    pub(crate) fn amount(&self) -> (Duration, u64) {
        let per_message = self.readings_per_frame as u64;
        match self.readings {
            Some(readings) => (Duration::MAX, readings.div_ceil(per_message)),
            None => (Duration::from_secs_f64(self.seconds), u64::MAX),
        }
    }

    /// Checks what can be checked before anything is opened.
    ///
    /// # Errors
    /// The first value that can't be, with what is allowed; or too few open files, with how to raise the limit.
    pub fn check(&self) -> Result<()> {
        let Self {
            connections,
            window,
            meters,
            readings_per_frame,
            ..
        } = self;
        if !(1..=CONNECTIONS_MAX).contains(connections) {
            bail!("--connections {connections}: expected 1 to {CONNECTIONS_MAX}");
        }
        if !(1..=WINDOW_MAX).contains(window) {
            bail!("--window {window}: expected 1 to {WINDOW_MAX}");
        }
        if !(1..=METERS_MAX).contains(meters) {
            bail!("--meters {meters}: expected 1 to {METERS_MAX}");
        }
        if *readings_per_frame == 0 {
            bail!("--readings-per-frame 0: expected 1 or more");
        }
        for (name, value) in [
            ("seconds", Some(self.seconds)),
            ("rate", self.rate),
            ("stored-per-reading", Some(self.stored_per_reading)),
        ] {
            if value.is_some_and(|value| !(value > 0.0 && value.is_finite())) {
                bail!("--{name}: expected a number above 0");
            }
        }
        if self.step_ms == 0 {
            bail!("--step-ms 0: expected 1 or more");
        }
        if self.master_key.is_none() && self.payload == Payload::Frames {
            bail!("--master-key FILE is needed for frames: `taraz-load lay-out` writes one");
        }
        if self.gauge.is_some() && *meters != 1 {
            bail!("--gauge needs --meters 1: a numbered power belongs to one meter");
        }
        let (needed, may) = (*connections as u64 + FILES_BESIDE, open_files_max()?);
        if may < needed {
            bail!(
                "{connections} connections need {needed} open files and this process may have {may}: run `ulimit -n {needed}` \
                 in this shell first (above the hard limit, `ulimit -Hn`, only root can: /etc/security/limits.conf)"
            );
        }
        Ok(())
    }
}
