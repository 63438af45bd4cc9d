//! InfluxDB 1.6: no v2 API, but the strictest reader of line protocol at hand, and InfluxQL.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;

use super::{escaped, write};
use crate::service::{Ready, Service};
use crate::{Response, free_port, get, request, require};

/// A running InfluxDB 1.6.
pub struct Influxd(Service);

impl Influxd {
    /// Starts it on a free port.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        let program = require("influxd");
        Self(Service::start(
            "influxd",
            Ready::Answers("/ping"),
            move |folder, address| {
                let config = folder.join("influxdb.conf");
                let folder_text = folder.display();
                let backup_port = free_port();
                write(
                    &config,
                    &format!(
                        "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup_port}\"\n\
                     [meta]\n  dir = \"{folder_text}/meta\"\n\
                     [data]\n  dir = \"{folder_text}/data\"\n  wal-dir = \"{folder_text}/wal\"\n  index-version = \"inmem\"\n\
                     [monitor]\n  store-enabled = false\n\
                     [http]\n  bind-address = \"{address}\"\n  log-enabled = false\n"
                    ),
                );
                let mut command = Command::new(&program);
                command.arg("-config").arg(config);
                command
            },
        ))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// Makes an empty database.
    ///
    /// # Panics
    /// When it refuses.
    pub fn create_database(&self, name: &str) {
        let path = format!("/query?q={}", escaped(&format!("CREATE DATABASE \"{name}\"")));
        let response = request("POST", self.address(), &path, &[], b"").expect("an answer of InfluxDB");
        assert_eq!(response.status, 200, "{}", response.body);
    }

    /// Writes line protocol with milliseconds: 204 when all lines were taken, 400 with the reason when one was not.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn write(&self, database: &str, lines: &str) -> Response {
        let path = format!("/write?db={}&precision=ms", escaped(database));
        request("POST", self.address(), &path, &[], lines.as_bytes()).expect("an answer of InfluxDB")
    }

    /// The answer to an InfluxQL question, with times in milliseconds.
    ///
    /// # Panics
    /// When it does not answer with JSON.
    #[must_use]
    pub fn query(&self, database: &str, question: &str) -> Value {
        let path = format!("/query?db={}&epoch=ms&q={}", escaped(database), escaped(question));
        get(self.address(), &path).expect("an answer of InfluxDB").json()
    }
}
