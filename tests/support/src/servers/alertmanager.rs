//! Prometheus' Alertmanager, alone.

use std::net::SocketAddr;
use std::process::Command;

use super::write;
use crate::require;
use crate::service::{Ready, Service};

/// A running Alertmanager.
pub struct Alertmanager(Service);

impl Alertmanager {
    /// Starts it with the text of an `alertmanager.yml`.
    ///
    /// # Panics
    /// When it is not installed or does not start; what it says of a wrong configuration is in the message.
    #[must_use]
    pub fn start(configuration: &str) -> Self {
        let program = require("prometheus-alertmanager");
        let configuration = configuration.to_owned();
        Self(Service::start(
            "alertmanager",
            Ready::Answers("/-/ready"),
            move |folder, address| {
                write(&folder.join("alertmanager.yml"), &configuration);
                let mut command = Command::new(&program);
                command.current_dir(folder).args([
                    "--config.file=alertmanager.yml",
                    "--storage.path=data",
                    // No cluster: it would listen on every interface.
                    "--cluster.listen-address=",
                    &format!("--web.listen-address={address}"),
                ]);
                command
            },
        ))
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }
}
